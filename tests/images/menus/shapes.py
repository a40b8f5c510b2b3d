"""Menus in the shapes of the live systems and installers of the last ten years, as data.

Each is written for these tests. What starts by itself is told by hand, from the manuals.
"""

from __future__ import annotations

from dataclasses import dataclass

Files = dict[str, str]


@dataclass(frozen=True)
class Start:
    """What starts when no key is pressed; no kernel is the local disk."""

    name: str
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    arguments: str = ""
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    kind: str
    files: Files
    start: Start | str  # or why it cannot be told
    entries: int


ISOLINUX = "/isolinux/isolinux.cfg"
SYSLINUX = "/syslinux/syslinux.cfg"

SYSLINUX_SHAPES = (
    Shape(
        "live-build: a menu of included files, its default marked",
        {
            ISOLINUX: "include menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 50\n",
            "/isolinux/menu.cfg": "menu hshift 0\nmenu width 82\nmenu title Boot menu\n"
            "include stdmenu.cfg\ninclude live.cfg\nmenu begin utilities\n"
            "\tmenu label ^Utilities\n\tlabel hdt\n\t\tkernel hdt.c32\n"
            "\tlabel memtest\n\t\tlinux /live/memtest\nmenu end\nmenu clear\n",
            "/isolinux/stdmenu.cfg": "menu background splash.png\nmenu color title * #fff *\n",
            "/isolinux/live.cfg": "label live-amd64\n\tmenu label ^Live system (amd64)\n"
            "\tmenu default\n\tlinux /live/vmlinuz-6.1.0-9\n\tinitrd /live/initrd.img-6.1.0-9\n"
            "\tappend boot=live components quiet splash\n\n"
            "label live-amd64-failsafe\n\tmenu label ^Live system (failsafe)\n"
            "\tlinux /live/vmlinuz-6.1.0-9\n\tinitrd /live/initrd.img-6.1.0-9\n"
            "\tappend boot=live components memtest noapic\n",
        },
        Start(
            "live-amd64",
            "/live/vmlinuz-6.1.0-9",
            ("/live/initrd.img-6.1.0-9",),
            "boot=live components quiet splash",
        ),
        4,
    ),
    Shape(
        "Debian's installer: the graphical one is the default of a menu without end",
        {
            ISOLINUX: "# D-I config version 2.0\npath\ninclude menu.cfg\n"
            "default vesamenu.c32\nprompt 0\ntimeout 0\n",
            "/isolinux/menu.cfg": "menu hshift 4\ninclude gtk.cfg\ninclude txt.cfg\n"
            "menu begin advanced\n    menu label ^Advanced options\n    menu title Advanced\n"
            "    label mainmenu\n        menu label ^Back..\n        menu exit\n"
            "    include adtxt.cfg\nmenu end\n",
            "/isolinux/gtk.cfg": "label installgui\n\tmenu label ^Graphical install\n"
            "\tmenu default\n\tkernel /install.amd/vmlinuz\n"
            "\tappend vga=788 initrd=/install.amd/gtk/initrd.gz --- quiet \n",
            "/isolinux/txt.cfg": "label install\n\tmenu label ^Install\n"
            "\tkernel /install.amd/vmlinuz\n\tappend initrd=/install.amd/initrd.gz --- quiet\n",
            "/isolinux/adtxt.cfg": "label expert\n\tmenu label E^xpert install\n"
            "\tkernel /install.amd/vmlinuz\n"
            "\tappend priority=low initrd=/install.amd/initrd.gz ---\n",
        },
        Start(
            "installgui",
            "/install.amd/vmlinuz",
            ("/install.amd/gtk/initrd.gz",),
            "vga=788 --- quiet",
        ),
        3,
    ),
    Shape(
        "lorax: Fedora's live disc, `quiet` by default, the check of the medium first",
        {
            ISOLINUX: "default vesamenu.c32\ntimeout 600\ndisplay boot.msg\nmenu clear\n"
            "menu title Some Live 37\nlabel linux\n  menu label ^Start Some Live\n"
            "  kernel vmlinuz\n  append initrd=initrd.img root=live:CDLABEL=Some-37 rd.live.image"
            " quiet\nlabel check\n  menu label Test this ^media & start\n  menu default\n"
            "  kernel vmlinuz\n  append initrd=initrd.img root=live:CDLABEL=Some-37 rd.live.image"
            " rd.live.check quiet\nmenu separator\nmenu begin ^Troubleshooting\n"
            "  menu title Troubleshooting\nlabel basic\n  menu indent count 5\n  kernel vmlinuz\n"
            "  append initrd=initrd.img nomodeset quiet\nlabel memtest\n  kernel memtest\n"
            "label local\n  menu label Boot from ^local drive\n  localboot 0xffff\n"
            "label returntomain\n  menu label Return to ^main menu\n  menu exit\nmenu end\n"
        },
        Start(
            "check",
            "/isolinux/vmlinuz",
            ("/isolinux/initrd.img",),
            "root=live:CDLABEL=Some-37 rd.live.image rd.live.check quiet",
        ),
        5,
    ),
    Shape(
        "anaconda: an installer that is started by kickstart",
        {
            ISOLINUX: "default vesamenu.c32\ntimeout 100\nlabel linux\n  menu default\n"
            "  menu label ^Install\n  kernel vmlinuz\n"
            "  append initrd=initrd.img inst.stage2=hd:LABEL=S-9 inst.ks=hd:LABEL=S-9:/ks.cfg\n"
            "label rescue\n  kernel vmlinuz\n  append initrd=initrd.img inst.rescue\n"
        },
        Start(
            "linux",
            "/isolinux/vmlinuz",
            ("/isolinux/initrd.img",),
            "inst.stage2=hd:LABEL=S-9 inst.ks=hd:LABEL=S-9:/ks.cfg",
        ),
        2,
    ),
    Shape(
        "archiso: which loader it is decides, then configurations in a directory",
        {
            SYSLINUX: "DEFAULT loadconfig\n\nLABEL loadconfig\n  CONFIG archiso.cfg\n"
            "  APPEND ../arch/boot/syslinux/\n",
            "/syslinux/archiso.cfg": "DEFAULT select\n\nLABEL select\nCOM32 whichsys.c32\n"
            "APPEND -pxe- pxe -sys- sys -iso- sys\n\nLABEL pxe\nCONFIG archiso_pxe.cfg\n\n"
            "LABEL sys\nCONFIG archiso_sys.cfg\n",
            "/arch/boot/syslinux/archiso_sys.cfg": "INCLUDE archiso_head.cfg\n\nDEFAULT arch64\n"
            "TIMEOUT 150\n\nINCLUDE archiso_sys64.cfg\nINCLUDE archiso_tail.cfg\n",
            "/arch/boot/syslinux/archiso_head.cfg": "SERIAL 0 115200\nUI vesamenu.c32\n"
            "MENU TITLE Arch\nMENU CLEAR\n",
            "/arch/boot/syslinux/archiso_sys64.cfg": "LABEL arch64\nTEXT HELP\nBoot it.\nENDTEXT\n"
            "MENU LABEL Arch install medium (x86_64, BIOS)\nLINUX /arch/boot/x86_64/vmlinuz-linux\n"
            "INITRD /arch/boot/intel-ucode.img,/arch/boot/x86_64/initramfs-linux.img\n"
            "APPEND archisobasedir=arch archisolabel=ARCH_2\n",
            "/arch/boot/syslinux/archiso_tail.cfg": "LABEL existing\nMENU LABEL Boot existing OS\n"
            "COM32 chain.c32\nAPPEND hd0 0\n\nLABEL reboot\nCOM32 reboot.c32\n",
        },
        Start(
            "arch64",
            "/arch/boot/x86_64/vmlinuz-linux",
            ("/arch/boot/intel-ucode.img", "/arch/boot/x86_64/initramfs-linux.img"),
            "archisobasedir=arch archisolabel=ARCH_2",
        ),
        3,
    ),
    Shape(
        "SystemRescue: 64 or 32 bits by the processor",
        {
            ISOLINUX: "UI vesamenu.c32\nTIMEOUT 900\nONTIMEOUT sysrescue\nMENU TITLE Rescue\n"
            "LABEL sysrescue\nMENU LABEL Boot with ^default options\nCOM32 ifcpu64.c32\n"
            "APPEND rescue64 -- rescue32\nLABEL rescue64\nMENU HIDE\nLINUX rescue64\n"
            "INITRD initram.igz\nAPPEND checksum\nLABEL rescue32\nMENU HIDE\nLINUX rescue32\n"
            "INITRD initram.igz\nLABEL local\nMENU DEFAULT\nLOCALBOOT 0x80\n"
        },
        Start("sysrescue", "/isolinux/rescue64", ("/isolinux/initram.igz",), "checksum"),
        2,
    ),
    Shape(
        "casper behind a graphical menu",
        {
            ISOLINUX: "path \ninclude menu.cfg\nprompt 0\ntimeout 50\nui gfxboot bootlogo\n",
            "/isolinux/menu.cfg": "include txt.cfg\n",
            "/isolinux/txt.cfg": "default live\nlabel live-install\n  menu label ^Install\n"
            "  kernel /casper/vmlinuz\n  append only-ubiquity initrd=/casper/initrd ---\n"
            "label live\n  menu label ^Try it\n  kernel /casper/vmlinuz\n"
            "  append file=/cdrom/preseed/u.seed boot=casper initrd=/casper/initrd quiet ---\n"
            "label hd\n  menu label ^Boot from first hard disk\n  localboot 0x80\n",
            "/isolinux/gfxboot.c32": "",
        },
        Start(
            "live",
            "/casper/vmlinuz",
            ("/casper/initrd",),
            "file=/cdrom/preseed/u.seed boot=casper quiet ---",
        ),
        3,
    ),
    Shape(
        "openSUSE: the disk first, behind a graphical menu",
        {
            "/boot/x86_64/loader/isolinux.cfg": "default harddisk\n\n# hard disk\nlabel harddisk\n"
            "  localboot 0x80\n\n# install\nlabel linux\n  kernel linux\n"
            "  append initrd=initrd splash=silent showopts\n\nlabel memtest\n  kernel memtest\n\n"
            "ui gfxboot bootlogo message\nimplicit 1\ndisplay message\nprompt 1\ntimeout 600\n",
            "/boot/x86_64/loader/gfxboot.c32": "",
        },
        Start("harddisk"),
        3,
    ),
    Shape(
        "Grml: the default at a prompt, options in other files",
        {
            "/boot/isolinux/isolinux.cfg": "include vesamenu.cfg\n",
            "/boot/isolinux/vesamenu.cfg": "include grml.cfg\ndefault vesamenu.c32\n"
            "timeout 300\nmenu title grml\ninclude options.cfg\n",
            "/boot/isolinux/grml.cfg": "label grml64\n  menu label ^grml64 - Default boot\n"
            "  kernel /boot/grml64/vmlinuz\n  append apm=power-off boot=live nomce"
            " initrd=/boot/grml64/initrd.img vga=791\n  text help\n     Boot grml\n  endtext\n",
            "/boot/isolinux/options.cfg": "menu begin grml options\n  label toram\n"
            "    kernel /boot/grml64/vmlinuz\n"
            "    append initrd=/boot/grml64/initrd.img boot=live toram\nmenu end\n",
        },
        Start(
            "grml64",
            "/boot/grml64/vmlinuz",
            ("/boot/grml64/initrd.img",),
            "apm=power-off boot=live nomce vga=791",
        ),
        2,
    ),
    Shape(
        "Clonezilla and GParted: DEFAULT is the menu, MENU DEFAULT the entry",
        {
            SYSLINUX: "default vesamenu.c32\ntimeout 300\nprompt 0\nnoescape 1\n"
            "MENU MARGIN 5\nlabel Live\n  MENU DEFAULT\n  MENU LABEL Live (Default settings, VGA)\n"
            "  kernel /live/vmlinuz\n  append initrd=/live/initrd.img boot=live union=overlay\n"
            "  TEXT HELP\n  * one\n  label no\n  ENDTEXT\nMENU BEGIN Other modes\n"
            "label ram\n  kernel /live/vmlinuz\n  append initrd=/live/initrd.img toram\nMENU END\n"
            "label local\n  MENU LABEL Local operating system in harddrive (if available)\n"
            "  kernel chain.c32\n  append hd0\nlabel memtest\n  kernel /live/memtest\n"
            "label ipxe\n  kernel ipxe.lkrn\n"
        },
        Start("Live", "/live/vmlinuz", ("/live/initrd.img",), "boot=live union=overlay"),
        5,
    ),
    Shape(
        "Finnix: a prompt that goes on by itself",
        {
            ISOLINUX: "default finnix\nprompt 1\ntimeout 100\ndisplay boot.msg\nF1 help.txt\n"
            "label finnix\n  kernel /live/vmlinuz\n  append initrd=/live/initrd.img boot=live\n"
            "label memtest\n  kernel memtest.bin\n"
        },
        Start("finnix", "/live/vmlinuz", ("/live/initrd.img",), "boot=live"),
        2,
    ),
    Shape(
        "Knoppix: arguments for all, labels without a kernel of their own",
        {
            "/boot/isolinux/isolinux.cfg": "DEFAULT linux\nAPPEND lang=en apm=power-off"
            " initrd=minirt.gz nomce BOOT_IMAGE=knoppix\nTIMEOUT 100\nPROMPT 1\nDISPLAY boot.msg\n"
            "LABEL knoppix\nKERNEL linux\nLABEL memtest\nKERNEL memtest\nAPPEND -\n"
            "LABEL linux\nAPPEND lang=de initrd=minirt.gz\n"
        },
        Start("linux", "/boot/isolinux/linux", ("/boot/isolinux/minirt.gz",), "lang=de"),
        3,
    ),
    Shape(
        "Slax: paths from the top in a directory of its own",
        {
            "/slax/boot/syslinux.cfg": "PROMPT 0\nTIMEOUT 40\nUI /slax/boot/vesamenu.c32\n"
            "MENU CLEAR\nLABEL default\nMENU LABEL Run Slax (Persistent changes)\n"
            "KERNEL /slax/boot/vmlinuz\nAPPEND vga=normal initrd=/slax/boot/initrfs.img"
            " load_ramdisk=1 root=/dev/ram0 rw perch\n\nLABEL live\nMENU LABEL Run Slax (Fresh)\n"
            "KERNEL /slax/boot/vmlinuz\nAPPEND initrd=/slax/boot/initrfs.img rw\n"
        },
        Start(
            "default",
            "/slax/boot/vmlinuz",
            ("/slax/boot/initrfs.img",),
            "vga=normal load_ramdisk=1 root=/dev/ram0 rw perch",
        ),
        2,
    ),
    Shape(
        "Tiny Core: the last DEFAULT counts",
        {
            "/boot/isolinux/isolinux.cfg": "display boot.msg\ndefault microcore\n"
            "label microcore\n\tkernel /boot/vmlinuz\n\tinitrd /boot/core.gz\n\tappend loglevel=3\n"
            "label mc\n\tkernel /boot/vmlinuz\n\tappend initrd=/boot/core.gz loglevel=3 cde\n"
            "implicit 0\nprompt 1\ntimeout 300\ndefault mc\n"
        },
        Start("mc", "/boot/vmlinuz", ("/boot/core.gz",), "loglevel=3 cde"),
        2,
    ),
    Shape(
        "Alpine: one entry, started at once",
        {
            "/boot/syslinux/syslinux.cfg": "TIMEOUT 10\nPROMPT 1\nDEFAULT virt\n\nLABEL virt\n"
            "MENU LABEL Linux virt\nKERNEL /boot/vmlinuz-virt\nINITRD /boot/initramfs-virt\n"
            "FDTDIR /boot/dtbs-virt\nAPPEND modules=loop,squashfs,sd-mod quiet\n"
        },
        Start(
            "virt",
            "/boot/vmlinuz-virt",
            ("/boot/initramfs-virt",),
            "modules=loop,squashfs,sd-mod quiet",
        ),
        1,
    ),
    Shape(
        "Slackware: a kernel by its file's directory, no menu",
        {
            ISOLINUX: "default huge.s\nprompt 1\ntimeout 1200\ndisplay message.txt\n"
            "label huge.s\n  kernel /kernels/huge.s/bzImage\n"
            "  append initrd=initrd.img load_ramdisk=1 vga=normal SLACK_KERNEL=huge.s\n"
        },
        Start(
            "huge.s",
            "/kernels/huge.s/bzimage",
            ("/isolinux/initrd.img",),
            "load_ramdisk=1 vga=normal SLACK_KERNEL=huge.s",
        ),
        1,
    ),
    Shape(
        "Gentoo's minimal disc: the local disk when no key is pressed",
        {
            ISOLINUX: "default gentoo\ntimeout 150\nontimeout localhost\nprompt 1\n"
            "display boot.msg\nlabel gentoo\n  kernel /boot/gentoo\n"
            "  append root=/dev/ram0 initrd=/boot/gentoo.igz looptype=squashfs cdroot\n"
            "label localhost\n  localboot -1\n"
        },
        Start("localhost"),
        2,
    ),
    Shape(
        "PartImage and others: no label, DEFAULT is a command line",
        {
            "/isolinux.cfg": "DEFAULT /boot/vmlinuz initrd=/boot/rootfs.gz root=/dev/ram0 quiet\n",
            "/boot/vmlinuz": "",
        },
        Start(
            "",
            "/boot/vmlinuz",
            ("/boot/rootfs.gz",),
            "root=/dev/ram0 quiet",
        ),
        1,
    ),
    Shape(
        "a provisioning disc: the entry that erases is listed first and is not the default",
        {
            ISOLINUX: "DEFAULT local\nPROMPT 1\nTIMEOUT 600\nLABEL auto\n"
            "  MENU LABEL ^Automatic install, ERASES ALL DISKS\n  KERNEL vmlinuz\n"
            "  APPEND initrd=initrd.gz auto=true\nLABEL local\n  LOCALBOOT 0\n"
        },
        Start("local"),
        2,
    ),
    Shape(
        "Xen in a menu of live systems",
        {
            SYSLINUX: "UI menu.c32\nDEFAULT xen\nTIMEOUT 50\nLABEL xen\n  KERNEL mboot.c32\n"
            "  APPEND xen.gz dom0_mem=1G --- vmlinuz root=/dev/ram0 --- initrd.img\n"
            "LABEL plain\n  LINUX vmlinuz\n  INITRD initrd.img\n"
        },
        Start("xen"),
        2,
    ),
    Shape(
        "Pentoo and others: two menus that lead to each other",
        {
            ISOLINUX: "UI vesamenu.c32\nTIMEOUT 50\nLABEL a\nKERNEL a\nAPPEND initrd=a.igz\n"
            "LABEL more\nMENU LABEL More\nKERNEL vesamenu.c32\nAPPEND more.cfg\n",
            "/isolinux/more.cfg": "LABEL b\nKERNEL b\nLABEL back\nKERNEL vesamenu.c32\nAPPEND ~\n",
        },
        Start("a", "/isolinux/a", ("/isolinux/a.igz",)),
        2,
    ),
    Shape(
        "a menu for many discs: the default opens a menu of its own",
        {
            SYSLINUX: "DEFAULT menu.c32\nTIMEOUT 90\nMENU TITLE Discs\nLABEL first\n"
            "MENU LABEL First\nCONFIG /first/isolinux.cfg /first\nLABEL second\nKERNEL second\n",
            "/first/isolinux.cfg": "DEFAULT f\nLABEL f\nKERNEL vmlinuz\nAPPEND initrd=initrd f\n",
        },
        Start("f", "/first/vmlinuz", ("/first/initrd",), "f", ("First",)),
        2,
    ),
    Shape(
        "a hidden menu with passwords",
        {
            ISOLINUX: "UI menu.c32\nMENU HIDDEN\nMENU MASTER PASSWD x\nTIMEOUT 30\nALLOWOPTIONS 0\n"
            "LABEL a\nMENU PASSWD y\nKERNEL a\nLABEL b\nMENU DEFAULT\nKERNEL b\nINITRD b.img\n"
        },
        Start("b", "/isolinux/b", ("/isolinux/b.img",)),
        2,
    ),
    Shape(
        "a default that was forgotten when its label was renamed",
        {ISOLINUX: "DEFAULT old\nPROMPT 1\nTIMEOUT 9\nLABEL new\nKERNEL vmlinuz\n"},
        '"old" is neither a label nor a file of the disc',
        1,
    ),
    Shape(
        "a menu that begins on a submenu",
        {ISOLINUX: "UI menu.c32\nTIMEOUT 9\nMENU BEGIN one\nLABEL a\nKERNEL a\nMENU END\n"},
        "its menu begins on a line that leads to another menu",
        1,
    ),
)

SYSTEMD_BOOT_SHAPES = (
    Shape(
        "archiso: the default by its file",
        {
            "/loader/loader.conf": "timeout 15\ndefault 01-archiso-x86_64-linux.conf\nbeep on\n",
            "/loader/entries/01-archiso-x86_64-linux.conf": "title    Arch (x86_64, UEFI)\n"
            "sort-key 01\nlinux    /arch/boot/x86_64/vmlinuz-linux\n"
            "initrd   /arch/boot/x86_64/initramfs-linux.img\n"
            "options  archisobasedir=arch archisosearchuuid=2024-01-01\n",
            "/loader/entries/02-archiso-x86_64-speech-linux.conf": "title    Arch, speech\n"
            "sort-key 02\nlinux    /arch/boot/x86_64/vmlinuz-linux\n"
            "initrd   /arch/boot/x86_64/initramfs-linux.img\noptions  accessibility=on\n",
            "/loader/entries/03-archiso-memtest.conf": "title Memtest86+\nsort-key 03\n"
            "efi /boot/memtest86+/memtest.efi\narchitecture x64\n",
            "/arch/boot/x86_64/vmlinuz-linux": "",
            "/boot/memtest86+/memtest.efi": "",
        },
        Start(
            "01-archiso-x86_64-linux.conf",
            "/arch/boot/x86_64/vmlinuz-linux",
            ("/arch/boot/x86_64/initramfs-linux.img",),
            "archisobasedir=arch archisosearchuuid=2024-01-01",
        ),
        3,
    ),
    Shape(
        "archiso of before 2020: the default without .conf",
        {
            "/loader/loader.conf": "timeout 3\ndefault archiso-x86_64\n",
            "/loader/entries/archiso-x86_64.conf": "title Arch\nlinux /efi/archiso/vmlinuz.efi\n"
            "initrd /EFI/archiso/intel_ucode.img\ninitrd /EFI/archiso/archiso.img\n"
            "options archisobasedir=arch\n",
            "/loader/entries/uefi-shell-v2-x86_64.conf": "title Shell\nefi /EFI/shellx64_v2.efi\n",
            "/efi/archiso/vmlinuz.efi": "",
            "/efi/shellx64_v2.efi": "",
        },
        Start(
            "archiso-x86_64.conf",
            "/efi/archiso/vmlinuz.efi",
            ("/efi/archiso/intel_ucode.img", "/efi/archiso/archiso.img"),
            "archisobasedir=arch",
        ),
        2,
    ),
    Shape(
        "Pop!_OS and others: no default, the first of the list",
        {
            "/loader/loader.conf": "timeout 5\nconsole-mode keep\n",
            "/loader/entries/Pop-0.conf": "title Live\nlinux /casper/vmlinuz.efi\n"
            "initrd /casper/initrd.gz\noptions boot=casper hostname=pop\noptions quiet\n",
            "/loader/entries/Pop-1.conf": "title Live (safe)\nlinux /casper/vmlinuz.efi\n"
            "initrd /casper/initrd.gz\noptions nomodeset\n",
            "/casper/vmlinuz.efi": "",
        },
        Start("pop-1.conf", "/casper/vmlinuz.efi", ("/casper/initrd.gz",), "nomodeset"),
        2,
    ),
    Shape(
        "kernel-install: versions in names, the newest first, one that failed too often last",
        {
            "/loader/entries/0123-6.9.1.conf": "title X\nversion 6.9.1\nlinux /0123/6.9.1/linux\n"
            "initrd /0123/6.9.1/initrd\noptions root=LABEL=x\n",
            "/loader/entries/0123-6.10.0+2-1.conf": "title X\nversion 6.10.0\n"
            "linux /0123/6.10.0/linux\ninitrd /0123/6.10.0/initrd\noptions root=LABEL=x\n",
            "/loader/entries/0123-6.11.0+0-3.conf": "title X\nversion 6.11.0\n"
            "linux /0123/6.9.1/linux\n",
            "/0123/6.9.1/linux": "",
            "/0123/6.10.0/linux": "",
        },
        Start(
            "0123-6.10.0+2-1.conf",
            "/0123/6.10.0/linux",
            ("/0123/6.10.0/initrd",),
            "root=LABEL=x",
        ),
        3,
    ),
    Shape(
        "a rescue stick whose default is another system's loader",
        {
            "/loader/loader.conf": "default auto-windows\n",
            "/loader/entries/a.conf": "linux /vmlinuz\n",
            "/vmlinuz": "",
        },
        "its default, auto-windows, is none of the disc's own entries",
        1,
    ),
)
