"""Installers and appliances whose kernel starts from HTTP and finds its packages there."""

from __future__ import annotations

from dataclasses import replace

from bootserver.images.arguments import BOOT_CARD
from bootserver.images.recipes.families import NETWORK
from bootserver.images.recipes.offers import Chain, Kernel, Never
from bootserver.images.recipes.recipe import Recipe
from bootserver.images.recipes.signs import any_of, has, publisher, says, volume

# The tree as Debian's mirror. A disc's Release file has no signature that netboot would accept.
_DEBIAN_CD = Kernel(
    places=(
        ("/install.amd/vmlinuz", "/install.amd/initrd.gz"),
        ("/install.a64/vmlinuz", "/install.a64/initrd.gz"),
        ("/install/vmlinuz", "/install/initrd.gz"),
    ),
    arguments="mirror/country=manual mirror/protocol=http mirror/http/hostname={server} "
    "mirror/http/directory={tree_path} mirror/http/proxy= "
    f"debian-installer/allow_unauthenticated=true interface=auto {BOOT_CARD}",
    room_mib=512,
)
_DEBIAN_NETBOOT = Kernel(
    places=(("/linux", "/initrd.gz"),), arguments=f"interface=auto {BOOT_CARD}", room_mib=512
)
# UEFI of 64 bits starts no kernel of 32.
_DEBIAN_CD_BIOS = replace(
    _DEBIAN_CD,
    places=(*_DEBIAN_CD.places, ("/install.386/vmlinuz", "/install.386/initrd.gz")),
)
_DEBIAN_KERNEL = has(*(kernel for kernel, _ in _DEBIAN_CD_BIOS.places))
_DEBIAN_CAVEATS = (
    "the CD's initrd looks for a CD: replace kernel and initrd by the same release's netboot ones "
    "(side-car, replace)",
    "the disc is the mirror, but only a full DVD has all packages: give the installer a network "
    "mirror too",
)

_ANACONDA_PLACES = (
    ("/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"),
    ("/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd"),  # Fedora from 42 on
    ("/isolinux/vmlinuz", "/isolinux/initrd.img"),
)
_ANACONDA_BOOT = Kernel(
    places=_ANACONDA_PLACES,
    arguments=f"inst.stage2={{tree}} {NETWORK}",
    medium=("/images/install.img",),
)
_ANACONDA_DVD = Kernel(
    places=_ANACONDA_PLACES,
    arguments=f"inst.stage2={{tree}} inst.repo={{tree}} {NETWORK}",
    medium=("/images/install.img",),
)

_LINUXRC_PLACES = (("/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd"),)
_LINUXRC = Kernel(
    places=_LINUXRC_PLACES,
    arguments=f"install={{tree}} netsetup=dhcp {BOOT_CARD}",
    medium=("/boot/x86_64/root",),
)
# Its root comes from where its packages are.
_LINUXRC_NET = Kernel(places=_LINUXRC_PLACES, arguments=f"netsetup=dhcp {BOOT_CARD}")

# mkinitfs; the modules are those that the disc's own menu names.
_ALPINE = Kernel(
    places=(("/boot/vmlinuz-*", "/boot/initramfs-*"),),
    arguments="modules=loop,squashfs alpine_repo={tree}apks modloop={tree}{medium} " + NETWORK,
    medium=("/boot/modloop-*",),
    room_mib=256,
)

_PROXMOX = Kernel(
    places=(("/boot/linux26", "/boot/initrd.img"),),
    arguments="ramdisk_size=16777216 rw quiet splash=silent",
    iso_in_initramfs="/proxmox.iso",
    room_mib=512,
)

INSTALLERS = (
    Recipe(
        "debian-netboot",
        "Debian installer for the network (mini.iso)",
        (has("/.disk/mini-info"), has("/linux"), has("/initrd.gz")),
        bios=(_DEBIAN_NETBOOT,),
        uefi=(_DEBIAN_NETBOOT,),
    ),
    Recipe(
        "kali-installer",
        "Kali installer disc (debian-installer)",
        (
            _DEBIAN_KERNEL,
            any_of(says("/.disk/info", "kali"), volume("kali", "kali[ -]*")),
        ),
        bios=(_DEBIAN_CD_BIOS,),
        uefi=(_DEBIAN_CD,),
        caveats=_DEBIAN_CAVEATS,
    ),
    Recipe(
        "debian-installer",
        "Debian installer disc",
        (
            _DEBIAN_KERNEL,
            has("/dists", "/pool"),
        ),
        bios=(_DEBIAN_CD_BIOS,),
        uefi=(_DEBIAN_CD,),
        caveats=_DEBIAN_CAVEATS,
    ),
    Recipe(
        "anaconda-dvd",
        "Fedora, RHEL, Rocky, Alma or CentOS installer with packages (Anaconda)",
        (has("/images/install.img"), has("/repodata", "/baseos", "/packages")),
        bios=(_ANACONDA_DVD,),
        uefi=(_ANACONDA_DVD,),
    ),
    Recipe(
        "anaconda",
        "Fedora, RHEL, Rocky, Alma or CentOS network installer (Anaconda)",
        (has("/images/install.img"),),
        bios=(_ANACONDA_BOOT,),
        uefi=(_ANACONDA_BOOT,),
        caveats=("it has no packages: the installer takes them from a mirror of the network",),
    ),
    Recipe(
        "alpine",
        "Alpine Linux",
        (any_of(has("/.alpine-release"), volume("alpine*")), has("/boot/modloop-*")),
        bios=(_ALPINE,),
        uefi=(_ALPINE,),
        caveats=(
            "the standard initramfs drives only virtual machines' cards: for others take the same "
            "kernel's netboot one (side-car, replace)",
        ),
    ),
    Recipe(
        "suse-installer",
        "openSUSE Leap up to 15, Tumbleweed or SLE up to 15 installer (linuxrc)",
        (
            has("/boot/x86_64/loader/linux"),
            has("/boot/x86_64/root"),
            any_of(has("/media.1", "/content", "/checksums"), publisher("suse*")),
        ),
        bios=(_LINUXRC,),
        uefi=(_LINUXRC,),
        caveats=("linuxrc checks every file against the signed list on the disc: replace none",),
    ),
    Recipe(
        "suse-net",
        "openSUSE or SLE installer for the network (linuxrc)",
        (
            has("/boot/x86_64/loader/linux"),
            any_of(volume("opensuse-*net*", "sle*online*"), publisher("suse*")),
        ),
        bios=(_LINUXRC_NET,),
        uefi=(_LINUXRC_NET,),
        caveats=(
            "it has no packages: linuxrc takes them from the mirror that it knows, or asks for one",
        ),
    ),
    Recipe(
        "proxmox",
        "Proxmox VE, Backup Server or Mail Gateway installer",
        (
            has("/.pve-cd-id.txt", "/.pbs-cd-id.txt", "/.pmg-cd-id.txt", "/pve-base.squashfs"),
            has("/boot/linux26"),
        ),
        bios=(_PROXMOX,),
        uefi=(_PROXMOX,),
        caveats=(
            "the whole ISO goes into the initramfs; some UEFI firmware cannot take so large a one",
        ),
    ),
    Recipe(
        "esxi",
        "VMware ESXi installer",
        (has("/b.b00"), has("/boot.cfg")),
        bios=(
            Never(
                "is ESXi, whose loader for BIOS machines (mboot.c32) needs pxelinux; switch the "
                "machine to UEFI"
            ),
        ),
        uefi=(Chain("/efi/boot/bootx64.efi", "-c {tree}boot.cfg", room_mib=4096),),
        caveats=("ESXi 8 wants 8 GB of memory, earlier ones 4 GB",),
    ),
)
