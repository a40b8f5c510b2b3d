"""Small discs, one for every row of the recipe table and every variant that is known. Names, volume
ids and files are those that the projects' own sources give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bootserver.images.iso import inspect_iso
from bootserver.model import IsoFacts
from tests.fixtures.isos import make_iso

KERNEL = b"kernel" * 100
INITRD = b"initrd" * 200
ROOT = b"hsqs" * 1000
ANY = b"something"


@dataclass(frozen=True, eq=False)
class Disc:
    """A disc as its maker would write it, and the row it must be taken for."""

    name: str
    recipe: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    volume_id: str = "ISOIMAGE"
    publisher: str = ""
    application: str = ""
    bios: bool = True
    uefi: bool = True
    floppy: bool = False


@cache
def facts_of(disc: Disc) -> IsoFacts:
    """What inspection tells of a real ISO of that disc, whose file name tells nothing."""
    with TemporaryDirectory() as folder:
        path = make_iso(
            Path(folder) / "image.iso",
            disc.files,
            bios=disc.bios and not disc.floppy,
            uefi=disc.uefi,
            floppy=disc.floppy,
            volume_id=disc.volume_id,
            publisher=disc.publisher,
            application=disc.application,
        )
        return inspect_iso(path)


LIVE_KERNEL = {"live/vmlinuz": KERNEL, "live/initrd.img": INITRD}


def live(info: str = "", /, **more: bytes) -> dict[str, bytes]:
    """What live-build puts on every disc."""
    files = {**LIVE_KERNEL, "live/filesystem.squashfs": ROOT, **more}
    return files | ({".disk/info": info.encode()} if info else {})


def casper(info: str, **more: bytes) -> dict[str, bytes]:
    return {
        "casper/vmlinuz": KERNEL,
        "casper/initrd": INITRD,
        "casper/filesystem.squashfs": ROOT,
        ".disk/info": info.encode(),
        **more,
    }


def pxeboot(**more: bytes) -> dict[str, bytes]:
    return {
        "images/pxeboot/vmlinuz": KERNEL,
        "images/pxeboot/initrd.img": INITRD,
        ".discinfo": b"1713.1\n40\nx86_64\n",
        **more,
    }


def loader(**more: bytes) -> dict[str, bytes]:
    return {"boot/x86_64/loader/linux": KERNEL, "boot/x86_64/loader/initrd": INITRD, **more}


def archiso(base: str, kernel: str, initrd: str, root: str = "airootfs.sfs") -> dict[str, bytes]:
    return {
        f"{base}/boot/x86_64/{kernel}": KERNEL,
        f"{base}/boot/x86_64/{initrd}": INITRD,
        f"{base}/x86_64/{root}": ROOT,
        f"{base}/boot/intel-ucode.img": ANY,
        f"{base}/boot/amd-ucode.img": ANY,
    }


def install(home: str, package: str) -> dict[str, bytes]:
    """What a disc of debian-installer has, with its kernel in the directory `home`."""
    return {f"{home}/vmlinuz": KERNEL, f"{home}/initrd.gz": INITRD, package: ANY}


PE = {
    "bootmgr": ANY,
    "bootmgr.efi": ANY,
    "boot/BCD": b"regf",
    "boot/boot.sdi": b"$SDI0001",
    "EFI/BOOT/BOOTX64.EFI": b"MZ",
    "EFI/Microsoft/Boot/BCD": b"regf",
    "sources/boot.wim": b"MSWIM" * 100,
}
INSTALL_AMD = {
    "install.amd/vmlinuz": KERNEL,
    "install.amd/initrd.gz": INITRD,
    "dists/stable/Release": ANY,
    "pool/readme": ANY,
}
LINUXRC = {"boot/x86_64/root": ROOT}
PROXMOX = {"boot/linux26": KERNEL, "boot/initrd.img": INITRD, ".cd-info": b"PRODUCT='pve'\n"}
GRUB = b"""\
set default=0
loadfont unicode
menuentry "Some live system" --class gnu-linux {
    set gfxpayload=keep
    linux  /boot/vmlinuz-6.6 quiet splash root=/dev/ram0
    initrd /boot/initrd-6.6.gz
}
"""
GENTOO = b"""\
menuentry 'Boot LiveCD (kernel: gentoo)' --class gnu-linux --class os {
    linux /boot/gentoo dokeymap root=live:CDLABEL=Gentoo rd.live.dir=/ \\
        rd.live.squashimg=image.squashfs cdroot
    initrd /boot/gentoo.igz
}
"""
ISOLINUX = b"""\
DEFAULT live
LABEL live
  MENU LABEL ^Start
  KERNEL vmlinuz
  APPEND initrd=initrd.gz vga=791
"""

DISCS = (
    # Windows
    Disc(
        "windows-11-setup",
        "windows-setup",
        PE | {"sources/install.wim": ANY, "setup.exe": ANY},
        "CCCOMA_X64FRE_EN-US_DV9",
        "MICROSOFT CORPORATION",
    ),
    Disc("windows-esd", "windows-setup", PE | {"sources/install.esd": ANY}, "ESD-ISO"),
    Disc("windows-split", "windows-setup", PE | {"sources/install.swm": ANY}),
    Disc("winpe-adk", "winpe", PE, "CD_ROM"),
    Disc("winpe-renamed", "winpe", PE, "ADMIN_TOOLS"),
    Disc("symantec", "winpe-oscdimg", PE, "DVD_ROM", "", "OSCDIMG 2.56 (01/01/2005 TM)"),
    Disc("hbcd", "hbcd-pe", PE | {"HBCD_PE.ini": ANY}, "HBCD_PE_x64"),
    Disc("hbcd-without-ini", "hbcd-pe", PE, "HBCD_PE_x64"),
    Disc("hbcd-relabelled", "hbcd-pe", PE | {"HBCD_PE.ini": ANY}, "TOOLS"),
    # live-boot
    Disc("debian-live", "debian-live", live("Debian GNU/Linux 12.5.0 Live"), "d-live 12.5.0 st"),
    Disc("own-live-build", "debian-live", live(), "LIVE"),
    Disc(
        "debian-live-versions",
        "debian-live",
        {
            "live/vmlinuz-6.1.0-9-amd64": KERNEL,
            "live/initrd.img-6.1.0-9-amd64": INITRD,
            "live/vmlinuz-6.1.0-18-amd64": KERNEL,
            "live/initrd.img-6.1.0-18-amd64": INITRD,
            "live/filesystem.squashfs": ROOT,
            "live/filesystem.packages": ANY,
        },
    ),
    Disc(
        "debian-live-with-installer",
        "debian-live",
        live("Official Debian GNU/Linux Live 12.5.0") | INSTALL_AMD,
    ),
    Disc("debian-live-other-root", "debian-live", LIVE_KERNEL | {"live/root.squashfs": ROOT}),
    Disc("debian-live-module", "debian-live", live(**{"live/zz-more.squashfs": ROOT})),
    Disc("kali-live", "kali-live", live("Kali GNU/Linux 2024.1 - Live"), "Kali Live"),
    Disc("kali-live-relabelled", "kali-live", live("Kali GNU/Linux 2024.1 - Live"), "KIOSK"),
    Disc("kali-live-by-volume", "kali-live", live(), "Kali Live"),
    Disc("kali-live-short-volume", "kali-live", live(), "KALI"),
    Disc(
        "grml64",
        "grml",
        {
            "boot/grml64full/vmlinuz": KERNEL,
            "boot/grml64full/initrd.img": INITRD,
            "live/grml64-full/grml64-full.squashfs": ROOT,
            "GRML/grml64-full/grml-version": ANY,
        },
        "grml64-full 2022.11",
    ),
    Disc(
        "grml-two-flavours",
        "grml",
        {
            "boot/grmlfullamd64/vmlinuz": KERNEL,
            "boot/grmlfullamd64/initrd.img": INITRD,
            "live/grml-full-amd64/grml-full-amd64.squashfs": ROOT,
            "boot/grml32full/vmlinuz": KERNEL,
            "boot/grml32full/initrd.img": INITRD,
            "live/grml32-full/grml32-full.squashfs": ROOT,
        },
    ),
    Disc("clonezilla", "clonezilla", live(**{"Clonezilla-Live-Version": b"clonezilla-live-3"})),
    Disc("clonezilla-by-volume", "clonezilla", live(), "Clonezilla-Live"),
    Disc("gparted", "gparted", live(**{"GParted-Live-Version": b"gparted-live-1.6"})),
    Disc("gparted-by-volume", "gparted", live(), "GParted-live"),
    Disc("finnix", "finnix", live("Finnix 126"), "Finnix 126"),
    Disc("finnix-relabelled", "finnix", live("Finnix 126")),
    Disc("finnix-by-volume", "finnix", live(), "Finnix 126"),
    Disc(
        "rescatux",
        "rescatux",
        {
            "live/vmlinuz1": KERNEL,
            "live/initrd1.img": INITRD,
            "live/filesystem.squashfs": ROOT,
            ".disk/info": b"Rescatux 0.74",
        },
    ),
    Disc("rescatux-by-volume", "rescatux", live(), "Rescatux 0.74"),
    Disc("tails", "tails", live(**{"live/Tails.module": ANY}), "TAILS 6.0 - 20240227"),
    Disc("tails-relabelled", "tails", live(**{"live/Tails.module": ANY})),
    Disc("tails-by-volume", "tails", live(), "TAILS 6.0 - 20240227"),
    # casper
    Disc(
        "ubuntu-server",
        "ubuntu-server",
        casper("Ubuntu-Server 24.04 LTS", **{"casper/install-sources.yaml": ANY}),
        "Ubuntu-Server 24.04 LTS amd64",
    ),
    Disc("ubuntu-server-relabelled", "ubuntu-server", casper("Ubuntu-Server 24.04 LTS")),
    Disc("ubuntu-server-by-volume", "ubuntu-server", casper(""), "Ubuntu-Server 24.04 LTS amd64"),
    Disc(
        "ubuntu-server-hwe",
        "ubuntu-server",
        {"casper/hwe-vmlinuz": KERNEL, "casper/hwe-initrd": INITRD},
        "Ubuntu-Server 20.04.6 LTS amd64",
    ),
    Disc(
        "ubuntu-desktop",
        "ubuntu-desktop",
        casper("Ubuntu 24.04 LTS", **{"casper/install-sources.yaml": ANY}),
        "Ubuntu 24.04 LTS amd64",
    ),
    Disc("xubuntu-by-volume", "ubuntu-desktop", casper(""), "Xubuntu 24.04 LTS amd64"),
    Disc("kubuntu-relabelled", "ubuntu-desktop", casper('Kubuntu 24.04 LTS "Noble"'), "KIOSK"),
    Disc(
        "ubuntu-16",
        "ubuntu-desktop",
        {
            "casper/vmlinuz.efi": KERNEL,
            "casper/initrd.lz": INITRD,
            "casper/filesystem.squashfs": ROOT,
            ".disk/info": b"Ubuntu 16.04.1 LTS",
        },
        "Ubuntu 16.04.1 LTS amd64",
    ),
    Disc(
        "mint",
        "casper",
        {
            "casper/vmlinuz": KERNEL,
            "casper/initrd.lz": INITRD,
            "casper/filesystem.squashfs": ROOT,
            ".disk/info": b"Linux Mint 21.3 Virginia",
        },
        "Linux Mint 21.3 Cinnamon 64-bit",
    ),
    Disc("rescuezilla", "casper", casper("Rescuezilla 2.5"), "Rescuezilla"),
    # dracut
    Disc(
        "fedora-41-live",
        "fedora-live",
        pxeboot(**{"LiveOS/squashfs.img": ROOT}),
        "Fedora-WS-Live-41-1-4",
    ),
    Disc(
        "fedora-42-live",
        "fedora-live",
        loader(**{"LiveOS/squashfs.img": ROOT}),
        "Fedora-WS-Live-42",
    ),
    Disc(
        "fedora-old-live",
        "fedora-live",
        {
            "isolinux/vmlinuz0": KERNEL,
            "isolinux/initrd0.img": INITRD,
            "LiveOS/squashfs.img": ROOT,
        },
    ),
    Disc("agama", "agama", loader(**{"LiveOS/squashfs.img": ROOT}), "Install-Leap-16.0-x86_64"),
    Disc("agama-by-volume", "agama", loader(**{"LiveOS/squashfs.img": ROOT}), "SLES-16-agama"),
    Disc(
        "agama-by-menu",
        "agama",
        loader(
            **{
                "LiveOS/squashfs.img": ROOT,
                "boot/grub2/grub.cfg": b"menuentry 'Install with Agama' {\n}\n",
            }
        ),
    ),
    Disc(
        "suse-live-by-publisher",
        "suse-live",
        loader(**{"LiveOS/squashfs.img": ROOT}),
        "KIOSK",
        "SUSE LINUX GmbH",
    ),
    Disc(
        "suse-live-by-volume",
        "suse-live",
        loader(**{"LiveOS/squashfs.img": ROOT}),
        "openSUSE_Leap_15.6_GNOME_Live",
    ),
    Disc(
        "suse-live",
        "suse-live",
        loader(**{"LiveOS/squashfs.img": ROOT}),
        "openSUSE_Tumbleweed_KDE_Live",
        "SUSE LINUX GmbH",
    ),
    # archiso
    Disc("arch", "arch", archiso("arch", "vmlinuz-linux", "initramfs-linux.img"), "ARCH_202411"),
    Disc(
        "arch-erofs",
        "arch",
        archiso("arch", "vmlinuz-linux", "initramfs-linux.img", "airootfs.erofs"),
    ),
    Disc(
        "cachyos", "arch", archiso("arch", "vmlinuz-linux-cachyos", "initramfs-linux-cachyos.img")
    ),
    Disc("blackarch", "arch", archiso("blackarch", "vmlinuz-linux", "initramfs-linux.img")),
    Disc(
        "system-rescue",
        "system-rescue",
        archiso("sysresccd", "vmlinuz", "sysresccd.img"),
        "RESCUE1102",
    ),
    Disc(
        "system-rescue-erofs",
        "system-rescue",
        archiso("sysresccd", "vmlinuz", "sysresccd.img", "airootfs.erofs"),
    ),
    # installers
    Disc("debian-netinst", "debian-installer", INSTALL_AMD, "Debian 12.5.0 amd64 n"),
    Disc(
        "debian-arm64",
        "debian-installer",
        {
            "install.a64/vmlinuz": KERNEL,
            "install.a64/initrd.gz": INITRD,
            "dists/stable/Release": ANY,
            "EFI/boot/bootaa64.efi": b"MZ",
        },
        bios=False,
    ),
    Disc("debian-pool-only", "debian-installer", install("install.amd", "pool/readme")),
    Disc("debian-i386", "debian-installer", install("install.386", "dists/stable/Release")),
    Disc("debian-old", "debian-installer", install("install", "dists/squeeze/Release")),
    *(
        Disc(f"kali-{home}", "kali-installer", install(home, "pool/readme"), "Kali Linux n")
        for home in ("install.386", "install.a64", "install")
    ),
    Disc(
        "kali-installer-relabelled",
        "kali-installer",
        INSTALL_AMD | {".disk/info": b"Kali GNU/Linux 2024.1 amd64"},
    ),
    Disc("kali-installer-short-volume", "kali-installer", INSTALL_AMD, "KALI"),
    Disc(
        "kali-installer",
        "kali-installer",
        INSTALL_AMD | {".disk/info": b"Kali GNU/Linux 2024.1 amd64"},
        "Kali Linux amd64 n",
    ),
    Disc(
        "debian-mini",
        "debian-netboot",
        {"linux": KERNEL, "initrd.gz": INITRD, ".disk/mini-info": b"Debian mini.iso"},
    ),
    Disc(
        "rocky-dvd",
        "anaconda-dvd",
        pxeboot(
            **{
                "images/install.img": ROOT,
                ".treeinfo": b"[general]\n",
                "BaseOS/repodata/repomd.xml": ANY,
            }
        ),
        "Rocky-9-4-x86_64-dvd",
    ),
    Disc(
        "fedora-server-dvd",
        "anaconda-dvd",
        pxeboot(
            **{
                "images/install.img": ROOT,
                "Packages/a/a.rpm": ANY,
                "repodata/repomd.xml": ANY,
            }
        ),
        "Fedora-S-dvd-x86_64-40",
    ),
    Disc(
        "centos-6-dvd",
        "anaconda-dvd",
        {
            "isolinux/vmlinuz": KERNEL,
            "isolinux/initrd.img": INITRD,
            "images/install.img": ROOT,
            "Packages/a.rpm": ANY,
        },
        "CentOS_6.10_Final",
    ),
    Disc(
        "fedora-repodata",
        "anaconda-dvd",
        pxeboot(**{"images/install.img": ROOT, "repodata/repomd.xml": ANY}),
    ),
    Disc(
        "fedora-42-netinst",
        "anaconda",
        loader(**{"images/install.img": ROOT, ".treeinfo": b"[general]\n"}),
        "Fedora-E-dvd-x86_64-42",
    ),
    Disc(
        "rhel-boot", "anaconda", pxeboot(**{"images/install.img": ROOT}), "RHEL-9-4-0-BaseOS-x86_64"
    ),
    Disc(
        "alpine",
        "alpine",
        {
            ".alpine-release": b"3.20.0",
            "apks/x86_64/APKINDEX.tar.gz": ANY,
            "boot/vmlinuz-lts": KERNEL,
            "boot/initramfs-lts": INITRD,
            "boot/modloop-lts": ROOT,
        },
        "alpine-std 3.20.0 x86_64",
    ),
    Disc(
        "alpine-relabelled",
        "alpine",
        {
            ".alpine-release": b"3.20.0",
            "boot/vmlinuz-lts": KERNEL,
            "boot/initramfs-lts": INITRD,
            "boot/modloop-lts": ROOT,
        },
    ),
    Disc(
        "alpine-virt",
        "alpine",
        {
            "boot/vmlinuz-virt": KERNEL,
            "boot/initramfs-virt": INITRD,
            "boot/modloop-virt": ROOT,
        },
        "alpine-virt 3.20.0 x86_64",
    ),
    Disc(
        "leap",
        "suse-installer",
        loader(**{"boot/x86_64/root": ROOT, "media.1/media": ANY, "CHECKSUMS": ANY}),
        "openSUSE-Leap-15.6-DVD-x86_64",
        "SUSE LINUX GmbH",
    ),
    *(
        Disc(f"suse-with-{sign.lower()}", "suse-installer", loader(**LINUXRC, **{sign: ANY}))
        for sign in ("media.1/media", "content", "CHECKSUMS")
    ),
    Disc("suse-by-publisher", "suse-installer", loader(**LINUXRC), "X", "SUSE LINUX GmbH"),
    Disc("leap-net", "suse-net", loader(), "openSUSE-Leap-15.6-NET-x86_64"),
    Disc("sle-online", "suse-net", loader(), "SLE-15-SP5-Online-x86_64"),
    Disc("suse-net-relabelled", "suse-net", loader(), "X", "SUSE LINUX GmbH"),
    Disc("proxmox-id-only", "proxmox", PROXMOX | {".pve-cd-id.txt": ANY}),
    Disc("proxmox-base-only", "proxmox", PROXMOX | {"pve-base.squashfs": ROOT}),
    Disc(
        "proxmox-ve", "proxmox", PROXMOX | {".pve-cd-id.txt": ANY, "pve-base.squashfs": ROOT}, "PVE"
    ),
    Disc("proxmox-backup", "proxmox", PROXMOX | {".pbs-cd-id.txt": ANY}, "PBS"),
    Disc("proxmox-mail", "proxmox", PROXMOX | {".pmg-cd-id.txt": ANY}, "PMG"),
    Disc(
        "esxi",
        "esxi",
        {
            "B.B00": ANY,
            "BOOT.CFG": b"title=ESXi\nprefix=\nkernel=/b.b00\nmodules=/a.gz\n",
            "EFI/BOOT/BOOTX64.EFI": b"MZ",
        },
        "ESXI-8.0U2-22380479-STANDARD",
    ),
    # those that need nothing but themselves
    Disc(
        "memtest",
        "memtest86+",
        {"boot/floppy.img": ANY, "EFI/BOOT/bootx64.efi": b"MZ"},
        "MT86PLUS_64",
    ),
    Disc("dban", "dban", {"DBAN.BZI": KERNEL, "ISOLINUX.CFG": b"KERNEL dban.bzi\n"}, uefi=False),
    Disc(
        "shredos",
        "shredos",
        {"boot/shredos": KERNEL, "boot/grub/grub.cfg": b"menuentry x {\nlinux /boot/shredos\n}\n"},
    ),
    Disc("shredos-at-the-top", "shredos", {"shredos": KERNEL}),
    Disc(
        "kaspersky",
        "kaspersky",
        {
            "data/bases.srm": ROOT,
            "boot/grub/k-x86_64": KERNEL,
            "boot/grub/initrd.xz": INITRD,
        },
    ),
    Disc("freedos-1.2", "freedos", {"isolinux/isolinux.bin": ANY}, "FDI-CD", uefi=False),
    Disc("freedos-1.1", "freedos", {}, "FD-SETUP", uefi=False),
    Disc("freedos-remastered", "freedos", {}, "FREEDOS", uefi=False),
    Disc("freedos-1.3", "freedos", {}, "FD13-LiveCD", uefi=False),
    Disc("firmware-update", "floppy-disc", {}, "BIOSUPD", floppy=True, bios=True, uefi=False),
    # unknown
    Disc(
        "unknown-grub",
        "unknown-linux",
        {
            "boot/vmlinuz-6.6": KERNEL,
            "boot/initrd-6.6.gz": INITRD,
            "boot/grub/grub.cfg": GRUB,
        },
    ),
    Disc(
        "unknown-isolinux",
        "unknown-linux",
        {
            "isolinux/vmlinuz": KERNEL,
            "isolinux/initrd.gz": INITRD,
            "isolinux/isolinux.cfg": ISOLINUX,
        },
    ),
    Disc(
        "gentoo",
        "unknown-linux",
        {
            "boot/gentoo": KERNEL,
            "boot/gentoo.igz": INITRD,
            "boot/grub/grub.cfg": GENTOO,
            "image.squashfs": ROOT,
        },
        "Gentoo-amd64-20261122",
    ),
    Disc("grub-rescue", "disc", {"boot/grub/grub.cfg": b"insmod normal\n"}),
    Disc("data", "disc", {"music/song.ogg": ANY}, bios=False, uefi=False),
)

BY_NAME = {disc.name: disc for disc in DISCS}
