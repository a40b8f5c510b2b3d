"""GRUB's menus in the shapes of the live systems and installers of the last ten years, as data.

Each is written for these tests. What starts by itself is told by hand, and GRUB is the judge of it.
"""

from __future__ import annotations

from tests.fixtures.live_shapes import GRML_2025
from tests.images.menus.shapes import Shape, Start

GRUB = "/boot/grub/grub.cfg"
EFI = "/EFI/BOOT/grub.cfg"
LOOPBACK = "/boot/grub/loopback.cfg"

# On UEFI, or as on both.
GRUB_SHAPES = (
    Shape(
        "F1: a default without `set`",
        {
            GRUB: """\
default=1
timeout=5
menuentry 'Erase all disks' {
  linux /k1 wipe
}
menuentry 'Live' {
  linux /k2 live
  initrd /i2
}
""",
        },
        Start("Live", "/k2", ("/i2",), "live"),
        2,
    ),
    Shape(
        "F1: a default by its ID",
        {
            GRUB: """\
set default="two"
menuentry "One" --id one {
  linux /k1
}
menuentry "Two" --class linux --id two --unrestricted {
  linux /k2
}
""",
        },
        Start("Two", "/k2"),
        2,
    ),
    Shape(
        "F1: a default behind a submenu",
        {
            GRUB: """\
set default=2
menuentry A {
 linux /a
}
submenu B {
 menuentry B1 {
  linux /b1
 }
 menuentry B2 {
  linux /b2
 }
}
menuentry C {
 linux /c
}
""",
        },
        Start("C", "/c"),
        4,
    ),
    Shape(
        "F1: entries on one line each",
        {
            GRUB: r"""
set default='1' timeout=1; set timeout=2
menuentry "x" { linux /a b; initrd /c }; menuentry "y" { linux /d \
  e; initrd /f }
""",
        },
        Start("y", "/d", ("/f",), "e"),
        2,
    ),
    Shape(
        "Debian Live 12: a theme in a file of its own, submenus for the rest",
        {
            GRUB: """\
source /boot/grub/config.cfg

# Live boot
menuentry "Live system (amd64)" --hotkey=l {
  linux  /live/vmlinuz-6.1.0-9-amd64 boot=live components quiet splash findiso=${iso_path}
  initrd  /live/initrd.img-6.1.0-9-amd64
}
menuentry "Live system (amd64 fail-safe mode)" {
  linux  /live/vmlinuz-6.1.0-9-amd64 boot=live components memtest noapic
  initrd  /live/initrd.img-6.1.0-9-amd64
}
submenu 'Utilities...' --hotkey=u {
  set theme=/boot/grub/live-theme/theme.txt
  if [ "${grub_platform}" = "efi" ]; then
  menuentry "UEFI Firmware Settings" {
    fwsetup
  }
  fi
}
""",
            "/boot/grub/config.cfg": """\
set default=0

if [ x$feature_default_font_path = xy ] ; then
   font=unicode
else
   font=$prefix/unicode.pf2
fi

if loadfont $font ; then
  set gfxmode=800x600
  set gfxpayload=keep
  insmod efi_gop
else
  set gfxmode=auto
  insmod all_video
fi

insmod gfxterm
source /boot/grub/theme.cfg
terminal_output gfxterm
""",
            "/boot/grub/theme.cfg": "set color_normal=light-gray/black\n",
        },
        Start(
            "Live system (amd64)",
            "/live/vmlinuz-6.1.0-9-amd64",
            ("/live/initrd.img-6.1.0-9-amd64",),
            "boot=live components quiet splash findiso=",
        ),
        3,
    ),
    Shape(
        "Debian's installer: options before the title, submenus of submenus",
        {
            GRUB: """\
if [ x$feature_default_font_path = xy ] ; then
   font=unicode
else
   font=$prefix/font.pf2
fi
if loadfont $font ; then
  set gfxmode=800x600
  terminal_output gfxterm
fi
if background_image /isolinux/splash.png; then
  set color_normal=light-gray/black
elif background_image /splash.png; then
  set color_normal=light-gray/black
else
  set menu_color_normal=cyan/blue
fi
insmod play
play 960 440 1 0 4 440 1
set theme=/boot/grub/theme/1
menuentry --hotkey=g 'Graphical install' {
    set background_color=black
    linux    /install.amd/vmlinuz vga=788 --- quiet
    initrd   /install.amd/gtk/initrd.gz
}
menuentry --hotkey=i 'Install' {
    linux    /install.amd/vmlinuz vga=788 --- quiet
    initrd   /install.amd/initrd.gz
}
submenu --hotkey=a 'Advanced options ...' {
    set menu_color_normal=cyan/blue
    submenu '... Desktop menu' {
        menuentry '... GNOME' {
            linux    /install.amd/vmlinuz desktop=gnome vga=788 --- quiet
            initrd   /install.amd/gtk/initrd.gz
        }
    }
    menuentry --hotkey=x '... Expert install' {
        linux    /install.amd/vmlinuz priority=low vga=788 ---
        initrd   /install.amd/initrd.gz
    }
}
""",
        },
        Start(
            "Graphical install",
            "/install.amd/vmlinuz",
            ("/install.amd/gtk/initrd.gz",),
            "vga=788 --- quiet",
        ),
        4,
    ),
    Shape(
        "Ubuntu before 20.04: casper in words, quoted paths, a loopback for OEMs",
        {
            GRUB: """\
if loadfont /boot/grub/font.pf2 ; then
  set gfxmode=auto
  insmod efi_gop
  insmod gfxterm
  terminal_output gfxterm
fi

set menu_color_normal=white/black
menuentry "Try without installing" {
  set gfxpayload=keep
  linux  /casper/vmlinuz.efi  file=/cdrom/preseed/desktop.seed boot=casper quiet splash ---
  initrd  /casper/initrd.lz
}
menuentry "Install" {
  set gfxpayload=keep
  linux  /casper/vmlinuz.efi  boot=casper only-ubiquity quiet splash ---
  initrd  /casper/initrd.lz
}
""",
        },
        Start(
            "Try without installing",
            "/casper/vmlinuz.efi",
            ("/casper/initrd.lz",),
            "file=/cdrom/preseed/desktop.seed boot=casper quiet splash ---",
        ),
        2,
    ),
    Shape(
        "Ubuntu since 22.04: platform tests around the rest",
        {
            GRUB: """\
set timeout=30

loadfont unicode

set menu_color_normal=white/black

menuentry "Try or Install" {
  set gfxpayload=keep
  linux  /casper/vmlinuz  --- quiet splash
  initrd  /casper/initrd
}
menuentry "Try (safe graphics)" {
  set gfxpayload=keep
  linux  /casper/vmlinuz nomodeset  --- quiet splash
  initrd  /casper/initrd
}
grub_platform
if [ "$grub_platform" = "efi" ]; then
menuentry 'Boot from next volume' {
  exit 1
}
menuentry 'UEFI Firmware Settings' {
  fwsetup
}
else
menuentry 'Test memory' {
  linux16 /boot/memtest86+x64.bin
}
fi
""",
        },
        Start("Try or Install", "/casper/vmlinuz", ("/casper/initrd",), "--- quiet splash"),
        4,
    ),
    Shape(
        "Mint: loopback.cfg, with the disc in a file",
        {
            LOOPBACK: r"""
menuentry "Start Live" --class linux {
  set gfxpayload=keep
  linux  /casper/vmlinuz  iso-scan/filename=${iso_path} file=/cdrom/preseed/live.seed \
        boot=casper quiet splash --
  initrd  /casper/initrd.lz
}
menuentry "OEM install" {
  linux  /casper/vmlinuz  oem-config/enable=true iso-scan/filename=${iso_path}
  initrd  /casper/initrd.lz
}
""",
        },
        Start(
            "Start Live",
            "/casper/vmlinuz",
            ("/casper/initrd.lz",),
            "iso-scan/filename= file=/cdrom/preseed/live.seed boot=casper quiet splash --",
        ),
        2,
    ),
    Shape(
        "Fedora Live before 2023: linuxefi, the second entry is the default",
        {
            EFI: r"""
set default="1"

function load_video {
  insmod efi_gop
  insmod all_video
}

load_video
set gfxpayload=keep
insmod gzio
insmod part_gpt
insmod ext2

set timeout=60
### END /etc/grub.d/00_header ###

search --no-floppy --set=root -l 'LIVE-38'

### BEGIN /etc/grub.d/10_linux ###
menuentry 'Start Live 38' --class fedora --class gnu {
  linuxefi /images/pxeboot/vmlinuz root=live:CDLABEL=LIVE-38  rd.live.image quiet rhgb
  initrdefi /images/pxeboot/initrd.img
}
menuentry 'Test this media & start Live 38' {
  linuxefi /images/pxeboot/vmlinuz root=live:CDLABEL=LIVE-38  rd.live.image rd.live.check \
        quiet rhgb
  initrdefi /images/pxeboot/initrd.img
}
submenu 'Troubleshooting -->' {
  menuentry 'Start in basic graphics mode' {
    linuxefi /images/pxeboot/vmlinuz nomodeset
    initrdefi /images/pxeboot/initrd.img
  }
}
""",
        },
        Start(
            "Test this media & start Live 38",
            "/images/pxeboot/vmlinuz",
            ("/images/pxeboot/initrd.img",),
            "root=live:CDLABEL=LIVE-38 rd.live.image rd.live.check quiet rhgb",
        ),
        3,
    ),
    Shape(
        "Fedora Live since 2024: one file for both, an escaped blank in the label",
        {
            EFI: """\
search --file --set=root /boot/0x12345678
set prefix=($root)/boot/grub2
configfile ($root)/boot/grub2/grub.cfg
""",
            "/boot/0x12345678": "",
            "/boot/grub2/grub.cfg": r"""
set default=1
set timeout=60
if [ -f ${prefix}/font.pf2 ]; then
  loadfont ${prefix}/font.pf2
fi
menuentry "Start Live" --class os {
    set gfxpayload=keep
    linux ($root)/boot/x86_64/loader/linux quiet rhgb "root=live:CDLABEL=Live\x2042" \
        rd.live.image
    initrd ($root)/boot/x86_64/loader/initrd
}
menuentry "Test this media & start" {
    linux ($root)/boot/x86_64/loader/linux quiet rhgb "root=live:CDLABEL=Live\x2042" \
        rd.live.image rd.live.check
    initrd ($root)/boot/x86_64/loader/initrd
}
if [ "$grub_platform" == "efi" ]; then
    menuentry "UEFI Firmware Settings" {
        fwsetup
    }
fi
""",
        },
        Start(
            "Test this media & start",
            "/boot/x86_64/loader/linux",
            ("/boot/x86_64/loader/initrd",),
            "quiet rhgb root=live:CDLABEL=Live\\x2042 rd.live.image rd.live.check",
        ),
        3,
    ),
    Shape(
        "Anaconda: the check of the medium is the default, rescue in a submenu",
        {
            EFI: """\
set default="1"
set timeout=60
search --no-floppy --set=root -l 'RHEL-9-BaseOS'
menuentry 'Install' --class red {
  linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=RHEL-9-BaseOS quiet
  initrdefi /images/pxeboot/initrd.img
}
menuentry 'Test this media & install' {
  linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=RHEL-9-BaseOS rd.live.check quiet
  initrdefi /images/pxeboot/initrd.img
}
submenu 'Troubleshooting -->' {
  menuentry 'Rescue' {
    linuxefi /images/pxeboot/vmlinuz inst.rescue
    initrdefi /images/pxeboot/initrd.img
  }
}
""",
        },
        Start(
            "Test this media & install",
            "/images/pxeboot/vmlinuz",
            ("/images/pxeboot/initrd.img",),
            "inst.stage2=hd:LABEL=RHEL-9-BaseOS rd.live.check quiet",
        ),
        3,
    ),
    Shape(
        "openSUSE's installer: the local disk is the default, commands in variables",
        {
            EFI: """\
with_fips=0
if [ -f $prefix/fips ]; then with_fips=1; fi
if [ "${grub_cpu}" = x86_64 ]; then
  linux=linuxefi
  initrd=initrdefi
fi
set timeout=60
default=0
menuentry 'Boot from Hard Disk' --class opensuse {
  exit
}
menuentry 'Installation' --class opensuse {
  set gfxpayload=keep
  echo 'Loading kernel ...'
  $linux /boot/x86_64/loader/linux splash=silent
  $initrd /boot/x86_64/loader/initrd
}
submenu 'More ...' {
  menuentry 'Rescue' {
    $linux /boot/x86_64/loader/linux rescue=1
  }
}
""",
        },
        Start("Boot from Hard Disk"),
        3,
    ),
    Shape(
        "KIWI's live images: functions, a fallback for the font, many options",
        {
            "/boot/grub2/grub.cfg": """\
set default=0
set boot_timeout=10
if [ "x${grub_platform}" = xefi ]; then
    set linux=linux
    set initrd=initrd
    if [ "${grub_cpu}" = "i386" ]; then
        set linux=linux16
        set initrd=initrd16
    fi
else
    set linux=linux
    set initrd=initrd
fi
function terminal_setup {
    if [ $1 = console ]; then
        return
    fi
    terminal_input $1
}
terminal_setup console
set timeout=$boot_timeout
menuentry "Live" --class os --unrestricted {
    set gfxpayload=keep
    echo Loading kernel...
    $linux ($root)/boot/x86_64/loader/linux splash root=live:CDLABEL=CDROM rd.live.image
    echo Loading initrd...
    $initrd ($root)/boot/x86_64/loader/initrd
}
menuentry "Failsafe -- Live" {
    $linux ($root)/boot/x86_64/loader/linux ide=nodma
    $initrd ($root)/boot/x86_64/loader/initrd
}
""",
        },
        Start(
            "Live",
            "/boot/x86_64/loader/linux",
            ("/boot/x86_64/loader/initrd",),
            "splash root=live:CDLABEL=CDROM rd.live.image",
        ),
        2,
    ),
    Shape(
        "Agama: the root of the live system by its label, a check by an option",
        {
            "/boot/grub2/grub.cfg": """\
set timeout_style=menu
set timeout=10
set default=0
set label=Install-x86_64
set options="live.net.accept_tm=1 rd.neednet"
menuentry 'Install' {
  linux ($root)/boot/x86_64/loader/linux splash=silent root=live:LABEL=$label $options
  initrd ($root)/boot/x86_64/loader/initrd
}
menuentry 'Check Installation Medium' {
  linux ($root)/boot/x86_64/loader/linux mediacheck=1
  initrd ($root)/boot/x86_64/loader/initrd
}
menuentry 'Boot from Hard Disk' {
  search --set=root --label EFI --hint hd0,gpt1
  chainloader /EFI/opensuse/shim.efi
}
""",
        },
        Start(
            "Install",
            "/boot/x86_64/loader/linux",
            ("/boot/x86_64/loader/initrd",),
            "splash=silent root=live:LABEL=Install-x86_64 live.net.accept_tm=1 rd.neednet",
        ),
        3,
    ),
    Shape(
        "archiso's own: the default is an ID, the disc's ID is asked of it",
        {
            GRUB: r"""
insmod part_gpt
insmod iso9660
if [ "${grub_platform}" == "efi" ]; then
    insmod efi_gop
    insmod efi_uga
fi
if loadfont "${prefix}/fonts/unicode.pf2" ; then
    insmod gfxterm
    set gfxmode="auto"
    terminal_input console
fi
default=archlinux
timeout=15
timeout_style=menu
menuentry "Install medium" --class arch --id 'archlinux' {
    set gfxpayload=keep
    linux /arch/boot/x86_64/vmlinuz-linux archisobasedir=arch \
        archisosearchuuid=2024-05-01-10-00-00-00
    initrd /arch/boot/x86_64/initramfs-linux.img
}
menuentry "with speech" --hotkey s --id 'archlinux-accessibility' {
    linux /arch/boot/x86_64/vmlinuz-linux accessibility=on
    initrd /arch/boot/x86_64/initramfs-linux.img
}
if [ "${grub_platform}" == 'efi' -a "${grub_cpu}" == 'x86_64' -a -f \
        '/boot/memtest86+/memtest.efi' ]; then
    menuentry 'Memtest86+' {
        linux /boot/memtest86+/memtest.efi
    }
fi
menuentry 'System shutdown' {
    echo 'System shutting down...'
    halt
}
""",
        },
        Start(
            "Install medium",
            "/arch/boot/x86_64/vmlinuz-linux",
            ("/arch/boot/x86_64/initramfs-linux.img",),
            "archisobasedir=arch archisosearchuuid=2024-05-01-10-00-00-00",
        ),
        3,
    ),
    Shape(
        "Manjaro: words of all entries in variables, chosen in submenus",
        {
            GRUB: """\
source /boot/grub/variable.cfg
set def_tz="UTC"
set def_keyboard="us"
export def_tz def_keyboard
source /boot/grub/kernels.cfg
submenu "tz=$def_tz" {
    source /boot/grub/tz.cfg
}
""",
            "/boot/grub/variable.cfg": """\
misobasedir="manjaro"
misolabel="MANJARO_X"
miso="misobasedir=$misobasedir misolabel=$misolabel"
boot="/boot"
""",
            "/boot/grub/kernels.cfg": """\
default="0"
opts="tz=$def_tz keytable=$def_keyboard $miso quiet"
menuentry "Boot with open source drivers" --class=arch '$boot' {
    linux  $boot/vmlinuz-x86_64 $opts driver=free nouveau.modeset=1
    initrd $boot/intel_ucode.img $boot/initramfs-x86_64.img
}
menuentry "Boot with proprietary drivers" {
    linux  $boot/vmlinuz-x86_64 $opts driver=nonfree
    initrd $boot/initramfs-x86_64.img
}
""",
            "/boot/grub/tz.cfg": """\
menuentry "Back" {
    configfile /boot/grub/grub.cfg
}
menuentry "Europe/Berlin" {
    def_tz=Europe/Berlin
    export def_tz
    configfile /boot/grub/grub.cfg
}
""",
        },
        Start(
            "Boot with open source drivers",
            "/boot/vmlinuz-x86_64",
            ("/boot/intel_ucode.img", "/boot/initramfs-x86_64.img"),
            "tz=UTC keytable=us misobasedir=manjaro misolabel=MANJARO_X quiet "
            "driver=free nouveau.modeset=1",
        ),
        4,
    ),
    Shape(
        "EndeavourOS: a loopback.cfg that seeks the file's device",
        {
            LOOPBACK: r"""
# https://example.invalid
search --no-floppy --set=root --file "${iso_path}"
probe --set archiso_img_dev_uuid --fs-uuid "${root}"
default=endeavouros
timeout=15
menuentry "Online" --class arch --id 'endeavouros' {
    set gfxpayload=keep
    linux /arch/boot/x86_64/vmlinuz-linux archisobasedir=arch \
        img_dev=UUID=${archiso_img_dev_uuid} img_loop="${iso_path}" nomodeset
    initrd /arch/boot/x86_64/initramfs-linux.img
}
""",
        },
        Start(
            "Online",
            "/arch/boot/x86_64/vmlinuz-linux",
            ("/arch/boot/x86_64/initramfs-linux.img",),
            "archisobasedir=arch img_dev=UUID= img_loop= nomodeset",
        ),
        1,
    ),
    Shape(
        "Gentoo: a quoted title, no default, one kernel with many words",
        {
            GRUB: r"""
set default=0
set gfxpayload=keep
set timeout=10
insmod all_video

menuentry 'Boot LiveCD (kernel: gentoo)' --class gnu-linux --class os {
  search --no-floppy --set=root -l 'Gentoo-amd64'
  linux /boot/gentoo dokeymap root=live:CDLABEL=Gentoo-amd64 rd.live.dir=/ \
        rd.live.squashimg=image.squashfs cdroot
  initrd /boot/gentoo.igz
}
menuentry 'Boot LiveCD (kernel: gentoo) (cached)' {
  linux /boot/gentoo docache
  initrd /boot/gentoo.igz
}
""",
        },
        Start(
            "Boot LiveCD (kernel: gentoo)",
            "/boot/gentoo",
            ("/boot/gentoo.igz",),
            "dokeymap root=live:CDLABEL=Gentoo-amd64 rd.live.dir=/ "
            "rd.live.squashimg=image.squashfs cdroot",
        ),
        2,
    ),
    Shape(
        "NixOS: paths of the store, hotkeys, a menu of consoles in submenus",
        {
            EFI: r"""
set timeout=10
clear
echo "Loading graphical boot menu..."
echo ""
set textmode_default=false
export textmode_default
search --set=root --file /EFI/nixos-installer-image
if [ "\$textmode" == "false" ]; then
  terminal_output gfxterm
fi
menuentry 'NixOS 24.05 Installer '  --class installer {
  linux /boot/nix/store/abc-linux-6.6/bzImage ${isoboot} init=/nix/store/abc/init  \
        root=LABEL=nixos-24.05 boot.shell_on_fail loglevel=4
  initrd /boot/nix/store/def-initrd/initrd
}
submenu "HiDPI, Quirks" --class submenu {
  submenu "Suggests resolution @720p" {
    menuentry 'NixOS nomodeset' {
      linux /boot/nix/store/abc-linux-6.6/bzImage video=1280x720@60
    }
  }
}
menuentry 'Firmware Setup' --class settings {
  fwsetup
}
""",
            "/EFI/nixos-installer-image": "",
        },
        Start(
            "NixOS 24.05 Installer ",
            "/boot/nix/store/abc-linux-6.6/bzimage",
            ("/boot/nix/store/def-initrd/initrd",),
            "init=/nix/store/abc/init root=LABEL=nixos-24.05 boot.shell_on_fail loglevel=4",
        ),
        3,
    ),
    Shape(
        "Void: a default by its ID out of `--id`, entries from a loop",
        {
            GRUB: """\
set pager="1"
set locale_dir="(${voidlive})/boot/grub/locale"

if [ -e "${prefix}/${grub_cpu}-${grub_platform}/all_video.mod" ]; then
  insmod all_video
else
  insmod efi_gop
  insmod video_bochs
fi

set timeout="15"
set default=linux-acc
for kind in '' -acc; do
menuentry "Void Linux$kind" --id linux$kind $kind {
  linux (${voidlive})/boot/vmlinuz root=live:CDLABEL=VOID ro init=/sbin/init rd.live.image $2
  initrd (${voidlive})/boot/initrd
}
done
if [ "${grub_platform}" = "efi" ]; then
  menuentry 'UEFI Firmware' --hotkey f {
    fwsetup
  }
fi
""",
        },
        Start(
            "Void Linux-acc",
            "/boot/vmlinuz",
            ("/boot/initrd",),
            "root=live:CDLABEL=VOID ro init=/sbin/init rd.live.image -acc",
        ),
        3,
    ),
    Shape(
        "Slackware: a menu of one, its kernel's words in quotes",
        {
            EFI: r"""
set timeout=2
menuentry "Slackware installer" {
  echo "Loading kernel..."
  linux /kernels/huge.s/bzImage load_ramdisk=1 prompt_ramdisk=0 rw printk.time=0 \
        "kernel.name=huge s" SLACK_KERNEL='huge.s'
  echo "Loading installer image..."
  initrd /isolinux/initrd.img
}
""",
        },
        Start(
            "Slackware installer",
            "/kernels/huge.s/bzimage",
            ("/isolinux/initrd.img",),
            'load_ramdisk=1 prompt_ramdisk=0 rw printk.time=0 "kernel.name=huge s" '
            "SLACK_KERNEL=huge.s",
        ),
        1,
    ),
    Shape(
        "Alpine: as short as a menu can be",
        {
            GRUB: """\
set timeout=1
menuentry "Linux lts" {
linux  /boot/vmlinuz-lts modules=loop,squashfs,sd-mod,usb-storage quiet
initrd  /boot/initramfs-lts
}
""",
        },
        Start(
            "Linux lts",
            "/boot/vmlinuz-lts",
            ("/boot/initramfs-lts",),
            "modules=loop,squashfs,sd-mod,usb-storage quiet",
        ),
        1,
    ),
    Shape(
        "Proxmox: a functional menu with a hidden submenu, and the rescue of a disk",
        {
            GRUB: """\
insmod gzio
insmod iso9660
if [ x$feature_default_font_path = xy ] ; then
    font=unicode
else
    font=$prefix/unicode.pf2
fi
set gfxmode=1024x768
if [ "${grub_platform}" == "efi" ]; then
    insmod efi_gop
fi
if loadfont "${font}"; then
    insmod gfxterm
    background_image /boot/grub/bg.png
    terminal_output gfxterm
fi
set default=0
menuentry 'Install (Graphical)' --class debian {
    echo 'Loading Installer ...'
    linux   /boot/linux26 ro ramdisk_size=16777216 rw quiet splash=silent
    echo 'Loading initial ramdisk ...'
    initrd  /boot/initrd.img
}
submenu 'Advanced Options' {
    menuentry 'Rescue Boot' {
        insmod ext2
        search --set=root --file /boot/pve/vmlinuz
        linux /boot/pve/vmlinuz ro
        initrd /boot/pve/initrd.img
    }
    menuentry 'Test memory' {
        linux /boot/memtest86+x64.efi
    }
}
""",
        },
        Start(
            "Install (Graphical)",
            "/boot/linux26",
            ("/boot/initrd.img",),
            "ro ramdisk_size=16777216 rw quiet splash=silent",
        ),
        3,
    ),
    Shape(
        "SystemRescue: conditions around entries, hotkeys, an include that may be missing",
        {
            "/boot/grub/grubsrcd.cfg": r"""
if [ -f /boot/grub/custom.cfg ]; then source /boot/grub/custom.cfg; fi
set default="0"
set timeout=90
set gfxpayload=keep
if [ "${grub_platform}" = "efi" -a "${iso_path}" = "" ]; then
  archiso=archisolabel=RESCUE1101
else
  archiso=img_loop=${iso_path}
fi
menuentry "Boot using default options" {
  set gfxpayload=keep
  linux /sysresccd/boot/x86_64/vmlinuz archisobasedir=sysresccd $archiso iomem=relaxed
  initrd /sysresccd/boot/intel_ucode.img /sysresccd/boot/amd_ucode.img \
        /sysresccd/boot/x86_64/sysresccd.img
}
menuentry "Boot while verifying integrity of the medium" {
  linux /sysresccd/boot/x86_64/vmlinuz checksum
  initrd /sysresccd/boot/x86_64/sysresccd.img
}
menuentry "Boot existing OS" {
  linux /sysresccd/boot/x86_64/vmlinuz findroot
  initrd /sysresccd/boot/x86_64/sysresccd.img
}
""",
        },
        Start(
            "Boot using default options",
            "/sysresccd/boot/x86_64/vmlinuz",
            (
                "/sysresccd/boot/intel_ucode.img",
                "/sysresccd/boot/amd_ucode.img",
                "/sysresccd/boot/x86_64/sysresccd.img",
            ),
            "archisobasedir=sysresccd archisolabel=RESCUE1101 iomem=relaxed",
        ),
        3,
    ),
    Shape(
        "Clonezilla: IDs of every entry, words with quotes and commas",
        {
            GRUB: r"""
set prefix=/boot/grub/
set default=live-toram
set timeout=30
set pref=/boot/grub
if loadfont $pref/unicode.pf2; then
  set gfxmode=auto
  insmod efi_gop
  terminal_output gfxterm
fi
set hidden_timeout_quiet=false
menuentry --hotkey=l "Clonezilla live (VGA 800x600)" --id live-default {
  search --set -f /live/vmlinuz
  linux /live/vmlinuz boot=live union=overlay username=user ocs_live_run="ocs-live-general" \
        ocs_live_extra_param="" keyboard-layouts= vga=788 toram=live,syslinux,EFI net.ifnames=0
  initrd /live/initrd.img
}
menuentry --hotkey=r "(To RAM)" --id live-toram {
  search --set -f /live/vmlinuz
  linux /live/vmlinuz boot=live ocs_live_run="ocs-live-general" ocs_live_extra_param="" \
        'keyboard-layouts=' toram
  initrd /live/initrd.img
}
menuentry "Local operating system (if available)" --id local-disk {
  if [ "$grub_platform" = "efi" ]; then
    chainloader /EFI/microsoft/boot/bootmgfw.efi
  else
    chainloader +1
  fi
}
menuentry "Memory test" --id memtest86 {
  linux /live/memtest
}
""",
            "/live/vmlinuz": "",
        },
        Start(
            "(To RAM)",
            "/live/vmlinuz",
            ("/live/initrd.img",),
            "boot=live ocs_live_run=ocs-live-general ocs_live_extra_param= keyboard-layouts= toram",
        ),
        4,
    ),
    Shape(
        "GParted: submenus by function, a default in words",
        {
            GRUB: """\
set default="Live (Default settings)"
set timeout=30
function words {
  set w="boot=live union=overlay $1 components noswap vga=$2"
}
words username=user 788
export w
menuentry 'Other' {
  linux /live/vmlinuz $w
}
menuentry 'Live (Default settings)' {
  linux /live/vmlinuz $w ip= net.ifnames=0
  initrd /live/initrd.img
}
submenu 'Other modes' {
  menuentry 'Failsafe' {
    linux /live/vmlinuz $w nomodeset
    initrd /live/initrd.img
  }
}
""",
        },
        Start(
            "Live (Default settings)",
            "/live/vmlinuz",
            ("/live/initrd.img",),
            "boot=live union=overlay username=user components noswap vga=788 ip= net.ifnames=0",
        ),
        3,
    ),
    Shape(
        "Grml: parts in files by pattern, addons",
        {
            GRUB: """\
set timeout=20
set default="grml64-full"
insmod regexp
set kernelopts=''
export kernelopts
if [ -e /conf/bootfile_x ]; then search --no-floppy --set=root --file /conf/bootfile_x; fi
source /boot/grub/header.cfg
for conf in /boot/grub/*_default.cfg; do
  source $conf
done
submenu 'Addons' {
  source /boot/grub/addons.cfg
}
""",
            "/conf/bootfile_x": "",
            "/boot/grub/header.cfg": "set menu_color_normal=white/black\n",
            "/boot/grub/grml64full_default.cfg": r"""
menuentry "grml64-full" --class grml {
  set gfxpayload=keep
  echo 'Loading kernel...'
  linux  /boot/grml64full/vmlinuz apm=power-off boot=live live-media-path=/live/grml64-full/ \
        nomce net.ifnames=0 ${kernelopts}
  echo 'Loading initrd...'
  initrd /boot/grml64full/initrd.img
}
""",
            "/boot/grub/grml64small_default.cfg": """\
menuentry "grml64-small" {
  linux  /boot/grml64small/vmlinuz boot=live
  initrd /boot/grml64small/initrd.img
}
""",
            "/boot/grub/addons.cfg": """\
if test -e /boot/addons/memtest; then
menuentry "Memory test" {
  linux16 /boot/addons/memtest
}
fi
menuentry "Boot OS of first partition" {
  set root=(hd0,1)
  chainloader +1
}
""",
        },
        Start(
            "grml64-full",
            "/boot/grml64full/vmlinuz",
            ("/boot/grml64full/initrd.img",),
            "apm=power-off boot=live live-media-path=/live/grml64-full/ nomce net.ifnames=0",
        ),
        3,
    ),
    Shape(
        "Grml since 2025: the second file of a pair is named by an expression",
        {f"/{path}": text for path, text in GRML_2025.texts.items() if "/grub/" in path},
        Start(
            "grml-full-amd64 2025.05",
            "/boot/grmlfullamd64/vmlinuz",
            ("/boot/grmlfullamd64/initrd.img",),
            "apm=power-off nomce",
        ),
        5,
    ),
    Shape(
        "Finnix: an architecture in its paths, a serial console tried",
        {
            GRUB: r"""
set default=0
if serial --unit=0 --speed=115200; then
  terminal_output --append serial
fi
set timeout=5
menuentry "Finnix (amd64)" {
  linux /live/vmlinuz-6.1\
    boot=live quiet \
    findiso="${iso_path}"
  initrd /live/initrd.img-6.1
}
""",
        },
        Start(
            "Finnix (amd64)",
            "/live/vmlinuz-6.1",
            ("/live/initrd.img-6.1",),
            "boot=live quiet findiso=",
        ),
        1,
    ),
    Shape(
        "Kali: live and installers of one disc in one menu",
        {
            GRUB: """\
source /boot/grub/config.cfg
set default=live-persistence
menuentry "Live system" --id live {
 linux /live/vmlinuz boot=live components quiet splash noeject
 initrd /live/initrd.img
}
menuentry "Live with USB persistence" --hotkey=p --id live-persistence {
 linux /live/vmlinuz boot=live persistence
 initrd /live/initrd.img
}
menuentry "Start installer" {
 linux /install/gtk/vmlinuz video=vesa:ywrap,mtrr vga=788 ---
 initrd /install/gtk/initrd.gz
}
""",
            "/boot/grub/config.cfg": "set timeout=10\n",
        },
        Start(
            "Live with USB persistence",
            "/live/vmlinuz",
            ("/live/initrd.img",),
            "boot=live persistence",
        ),
        3,
    ),
    Shape(
        "Tails: a random seed and a fallback by the machine's processor",
        {
            EFI: """\
set default=0
set timeout=4
set prefix=($root)/EFI/debian
set kernelopts='initrd=/live/initrd.img boot=live config nopersistence slab_nomerge'
if [ -n "$grub_cpu" -a ! -z "$grub_platform" ]; then
  menuentry 'Tails' {
    linux /live/vmlinuz $kernelopts FSUUID=1234 quiet
    initrd /live/initrd.img
  }
fi
menuentry 'Tails (Troubleshooting Mode)' {
  linux /live/vmlinuz $kernelopts noapic
  initrd /live/initrd.img
}
menuentry 'Tails (External Hard Disk)' {
  linux /live/vmlinuz $kernelopts
  initrd /live/initrd.img
}
""",
        },
        Start(
            "Tails",
            "/live/vmlinuz",
            ("/live/initrd.img",),
            "initrd=/live/initrd.img boot=live config nopersistence slab_nomerge FSUUID=1234 quiet",
        ),
        3,
    ),
    Shape(
        "Rescuezilla: languages in submenus, each with entries of the same title",
        {
            GRUB: """\
insmod all_video
set timeout=10
set default='0>1'
function entries {
  menuentry "Start" $1 {
    linux /casper/vmlinuz boot=casper locale=$2 quiet ---
    initrd /casper/initrd.lz
  }
  menuentry "Start (fallback)" $1 {
    linux /casper/vmlinuz boot=casper locale=$2 nomodeset ---
    initrd /casper/initrd.lz
  }
}
submenu 'Ελληνικά' {
  entries el_GR.UTF-8
}
submenu 'English' {
  entries en_US.UTF-8
}
""",
        },
        Start(
            "Start (fallback)",
            "/casper/vmlinuz",
            ("/casper/initrd.lz",),
            "boot=casper locale=el_GR.UTF-8 nomodeset ---",
            ("Ελληνικά",),
        ),
        4,
    ),
    Shape(
        "Harvester and Elemental: words in files that GRUB runs, numbered entries",
        {
            GRUB: r"""
search --no-floppy --file --set=root /boot/kernel
set default=0
set timeout=10
set timeout_style=menu
set linux=linux
set initrd=initrd
if [ "${grub_cpu}" = "x86_64" -o "${grub_cpu}" = "i386" ]; then
  if [ "${grub_platform}" = "efi" ]; then
    if [ "${grub_cpu}" != "i386" ]; then
      set linux=linuxefi
      set initrd=initrdefi
    fi
  fi
fi
set font=($root)/boot/x86_64/loader/grub2/fonts/unicode.pf2
if [ -f ${font} ]; then
  loadfont ${font}
fi
source ($root)/boot/grub/params.cfg
menuentry "Installer" --class os --unrestricted {
    echo Loading kernel...
    $linux ($root)/boot/kernel cdroot root=live:CDLABEL=COS_LIVE rd.live.dir=/ \
        rd.live.squashimg=rootfs.squashfs $params
    echo Loading initrd...
    $initrd ($root)/boot/initrd
}
""",
            "/boot/kernel": "",
            "/boot/grub/params.cfg": 'params="console=tty1 harvester.install.automatic=false"\n',
        },
        Start(
            "Installer",
            "/boot/kernel",
            ("/boot/initrd",),
            "cdroot root=live:CDLABEL=COS_LIVE rd.live.dir=/ "
            "rd.live.squashimg=rootfs.squashfs console=tty1 "
            "harvester.install.automatic=false",
        ),
        1,
    ),
    Shape(
        "CoreOS: one entry, several initrds, one of which is filled later",
        {
            "/EFI/fedora/grub.cfg": r"""
set default="0"
set gfxpayload=keep
set timeout=5
search --no-floppy --set=root -l 'fedora-coreos-40'
menuentry 'CoreOS (Live)' --class fedora {
  linux /images/pxeboot/vmlinuz ignition.firstboot ignition.platform.id=metal \
        coreos.liveiso=fedora-coreos-40
################################ COREOS_KARG_EMBED
  initrd /images/pxeboot/initrd.img /images/pxeboot/rootfs.img /images/ignition.img
}
""",
        },
        Start(
            "CoreOS (Live)",
            "/images/pxeboot/vmlinuz",
            ("/images/pxeboot/initrd.img", "/images/pxeboot/rootfs.img", "/images/ignition.img"),
            "ignition.firstboot ignition.platform.id=metal coreos.liveiso=fedora-coreos-40",
        ),
        1,
    ),
    Shape(
        "Flatcar: functions that set the kernel, an entry of two commands",
        {
            GRUB: """\
set default="live"
set timeout=1
set linux_console="console=ttyS0"
set oem=""
function gptprio {
    set live_kernel="/flatcar/vmlinuz"
}
if [ -f /oem.cfg ]; then source /oem.cfg; fi
menuentry "Flatcar default" --id=live --unrestricted {
    gptprio
    linux$suffix $live_kernel $linux_console flatcar.autologin $linux_append
    initrd /flatcar/cpio.gz
}
menuentry "USR-A" --id=a {
    linux /flatcar/vmlinuz-a
}
""",
            "/oem.cfg": 'linux_append="rootflags=rw"\n',
        },
        Start(
            "Flatcar default",
            "/flatcar/vmlinuz",
            ("/flatcar/cpio.gz",),
            "console=ttyS0 flatcar.autologin rootflags=rw",
        ),
        2,
    ),
    Shape(
        "VyOS: files by pattern, functions and exported variables",
        {
            GRUB: """\
load_env
insmod regexp
set default=1
set timeout=5
export prefix
for cfgfile in ${prefix}/grub.cfg.d/*-autoload.cfg
do
    source ${cfgfile}
done
""",
            "/boot/grub/grub.cfg.d/10-vars-autoload.cfg": """\
set console_type="tty"
set boot_opts="boot=live rootdelay=5 noautologin"
export console_type boot_opts
""",
            "/boot/grub/grub.cfg.d/20-modes-autoload.cfg": """\
menuentry 'Live (KVM)' {
    linux /live/vmlinuz $boot_opts console=ttyS0 console=tty0
    initrd /live/initrd.img
}
menuentry 'Live (Serial)' {
    if [ "$console_type" == "tty" ]; then c=ttyS0; fi
    linux /live/vmlinuz $boot_opts console=tty0 console=$c
    initrd /live/initrd.img
}
""",
        },
        Start(
            "Live (Serial)",
            "/live/vmlinuz",
            ("/live/initrd.img",),
            "boot=live rootdelay=5 noautologin console=tty0 console=ttyS0",
        ),
        2,
    ),
    Shape(
        "Qubes: Xen by multiboot2, an installer that is no Linux kernel to us",
        {
            EFI: """\
set default="0"
set timeout=60
menuentry 'Install Qubes OS' --class qubes {
  multiboot2 /images/pxeboot/xen.gz console=none
  module2 /images/pxeboot/vmlinuz inst.repo=hd:LABEL=QUBES plymouth.ignore-serial-consoles quiet
  module2 /images/pxeboot/initrd.img
}
""",
        },
        Start("Install Qubes OS"),
        1,
    ),
    Shape(
        "Memtest86+: a menu of one that is no system",
        {
            GRUB: """\
set timeout=0
menuentry "Start memtest86+" {
  linux /boot/mt86plus.efi
}
""",
        },
        Start("Start memtest86+"),
        1,
    ),
    Shape(
        "other loaders by chainloader, as pfSense and ESXi have them",
        {
            GRUB: """\
set default=1
menuentry 'pfSense' {
  chainloader /boot/loader.efi
}
menuentry 'ESXi' {
  chainloader /EFI/BOOT/mboot.efi -c /boot.cfg
}
""",
            "/boot/loader.efi": "",
            "/efi/boot/mboot.efi": "",
        },
        Start("ESXi"),
        2,
    ),
    Shape(
        "an installed system's generated menu on a disc, with a saved entry",
        {
            GRUB: """\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
function recordfail {
  set recordfail=1
}
menuentry 'GNU/Linux' --class gnu $menuentry_id_option 'gnulinux-simple' {
  recordfail
  savedefault
  linux  /boot/vmlinuz-6.1 root=/dev/sda1 ro  quiet
  initrd  /boot/initrd.img-6.1
}
submenu 'Advanced options' $menuentry_id_option 'advanced' {
  menuentry 'with 6.1' $menuentry_id_option 'gnulinux-6.1' {
    linux /boot/vmlinuz-6.1 ro
  }
  menuentry 'with 6.1 (recovery mode)' $menuentry_id_option 'recovery' {
    savedefault
    linux /boot/vmlinuz-6.1 ro single # $chosen
    initrd /boot/initrd.img-6.1
  }
}
""",
            "/boot/grub/grubenv": "# GRUB Environment Block\nsaved_entry=advanced>recovery\n".ljust(
                1024, "#"
            ),
        },
        Start(
            "with 6.1 (recovery mode)",
            "/boot/vmlinuz-6.1",
            ("/boot/initrd.img-6.1",),
            "ro single",
            ("Advanced options",),
        ),
        3,
    ),
)

# On BIOS only.
GRUB_BIOS_SHAPES = (
    Shape(
        "linux16 on BIOS, chosen by the platform",
        {
            GRUB: """\
if [ "$grub_platform" = "pc" ]; then
  l=16
else
  l=efi
fi
set default=live
menuentry M { linux$l /boot/memtest.bin; }
menuentry L --id live {
  linux$l /k a
  initrd$l /i
}
""",
        },
        Start("L", "/k", ("/i",), "a"),
        2,
    ),
    Shape(
        "the disk of the machine is the default on BIOS",
        {
            GRUB: """\
set default=1
menuentry Install {
  linux /k
}
if [ $grub_platform = pc ]; then
menuentry 'Boot from first hard disk' {
  set root=(hd0)
  chainloader +1
}
else
menuentry 'Firmware' {
  exit
}
fi
""",
        },
        Start("Boot from first hard disk"),
        2,
    ),
)
