"""Live systems: their initrd fetches the root over HTTP, each make in its own way."""

from __future__ import annotations

from bootserver.images.recipes.families import ARCHISO, CASPER, DRACUT, LIVE_BOOT, NETWORK
from bootserver.images.recipes.offers import Kernel
from bootserver.images.recipes.recipe import Recipe
from bootserver.images.recipes.signs import any_of, has, publisher, says, volume

_LIVE_PLACES = (("/live/vmlinuz*", "/live/initrd*"),)
_LIVE_MEDIUM = ("/live/filesystem.squashfs", "/live/*.squashfs")


def _live_boot(otherwise: str, always: str = "") -> Kernel:
    """Debian's live-boot: `fetch=` puts the file system into memory before it is mounted."""
    return Kernel(
        places=_LIVE_PLACES,
        arguments=f"{LIVE_BOOT.added} {always}".strip(),
        otherwise=otherwise,
        medium=_LIVE_MEDIUM,
        family=LIVE_BOOT,
    )


_DEBIAN = _live_boot("components")
_KALI = _live_boot("components username=kali hostname=kali")
# What it runs is said here: a recovery disc's own entry overwrites a disk, from files on the disc.
_CLONEZILLA = _live_boot(
    "union=overlay components config username=user noswap edd=on nomodeset net.ifnames=0",
    always="ocs_live_run=ocs-live-general ocs_live_batch=no",
)
_GPARTED = _live_boot("union=overlay components username=user noswap noeject")
_GRML = Kernel(
    places=(("/boot/grml*/vmlinuz", "/boot/grml*/initrd.img"),),
    arguments=LIVE_BOOT.added,
    medium=("/live/grml*/*.squashfs",),
    family=LIVE_BOOT,
)
_PLAIN_LIVE = _live_boot("")
# Without a family: which arguments of its own menu do no harm here is untried.
_TAILS = Kernel(
    places=_LIVE_PLACES,
    arguments="boot=live fromiso=/tails.iso config module=Tails noprompt nopersistence "
    "splash noautologin slab_nomerge init_on_free=1 mds=full,nosmt",
    iso_in_initramfs="/tails.iso",
)

# A casper before it knew url= alone wants boot=casper; the later ones do not mind it.
_CASPER_PLACES = (
    ("/casper/vmlinuz*", "/casper/initrd*"),
    ("/casper/hwe-vmlinuz", "/casper/hwe-initrd"),
)
_CASPER = Kernel(places=_CASPER_PLACES, arguments=CASPER.added, family=CASPER)
# Without it subiquity takes the ISO's URL for that of its own configuration.
_SUBIQUITY = Kernel(
    places=_CASPER_PLACES,
    arguments=f"{CASPER.added} cloud-config-url=/dev/null",
    family=CASPER,
)
_CASPER_CAVEAT = "its initrd fetches the whole ISO into memory, and the system runs from there"

_DRACUT_PLACES = (
    ("/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"),
    ("/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd"),  # Fedora from 42 on
    ("/isolinux/vmlinuz*", "/isolinux/initrd*"),
)
_FEDORA = Kernel(
    places=_DRACUT_PLACES,
    arguments=DRACUT.added,
    medium=("/liveos/squashfs.img",),
    family=DRACUT,
)
# KIWI's own module for dracut puts the ISO into a RAM disk of the kernel. It has 2 GiB if nothing
# is said (KIWI 11: dracut/modules.d/55kiwi-live/kiwi-live-lib.sh, ProvideIso).
_SUSE_LIVE = Kernel(
    places=_DRACUT_PLACES,
    arguments=f"{DRACUT.added.replace('{tree}{medium}', '{iso}')} ramdisk_size={{iso_kib}}",
    family=DRACUT,
)

_SYSTEM_RESCUE = Kernel(
    places=(("/sysresccd/boot/x86_64/vmlinuz", "/sysresccd/boot/x86_64/sysresccd.img"),),
    arguments=f"archisobasedir=sysresccd archiso_http_srv={{tree}} {NETWORK}",
    medium=("/sysresccd/x86_64/airootfs.sfs", "/sysresccd/x86_64/airootfs.erofs"),
    microcode="/sysresccd/boot/*ucode.img",
    family=ARCHISO,
)
_ARCH = Kernel(
    places=(("/{base}/boot/x86_64/vmlinuz*", "/{base}/boot/x86_64/initramfs*.img"),),
    arguments=f"archisobasedir={{base}} archiso_http_srv={{tree}} {NETWORK}",
    medium=("/{base}/x86_64/airootfs.sfs", "/{base}/x86_64/airootfs.erofs"),
    microcode="/{base}/boot/*ucode.img",
    base="/*/boot/x86_64/vmlinuz*",
    family=ARCHISO,
)
_ARCHISO_CAVEAT = (
    "its initrd fetches the file system into memory and copies it there: for a moment it is in "
    "memory twice"
)

_LIVE_BOOT = has("/live/*.squashfs")
_DISK_INFO = "/.disk/info"

LIVE = (
    Recipe(
        "tails",
        "Tails (live-boot without network drivers)",
        (any_of(has("/live/tails.module"), volume("tails*")), _LIVE_BOOT),
        bios=(_TAILS,),
        uefi=(_TAILS,),
        caveats=(
            "Tails keeps network drivers out of its initrd on purpose, so the whole ISO goes into "
            "the initramfs",
            "its live-boot finds no medium without a usr/lib/live/boot/9990-misc-helpers.sh that "
            "looks for fromiso= in the initramfs too (side-car, inject)",
            "the Tails project advises against booting it over a network",
        ),
    ),
    Recipe(
        "kali-live",
        "Kali live system (live-boot)",
        (any_of(says(_DISK_INFO, "kali"), volume("kali", "kali[ -]*")), _LIVE_BOOT),
        bios=(_KALI,),
        uefi=(_KALI,),
    ),
    Recipe(
        "grml",
        "Grml (live-boot)",
        (has("/live/grml*/*.squashfs"), has("/boot/grml*/vmlinuz")),
        bios=(_GRML,),
        uefi=(_GRML,),
    ),
    Recipe(
        "clonezilla",
        "Clonezilla live (live-boot)",
        (any_of(has("/clonezilla-live-version"), volume("clonezilla*")), _LIVE_BOOT),
        bios=(_CLONEZILLA,),
        uefi=(_CLONEZILLA,),
    ),
    Recipe(
        "gparted",
        "GParted live (live-boot)",
        (any_of(has("/gparted-live-version"), volume("gparted*")), _LIVE_BOOT),
        bios=(_GPARTED,),
        uefi=(_GPARTED,),
    ),
    Recipe(
        "finnix",
        "Finnix (live-boot)",
        (any_of(says(_DISK_INFO, "finnix"), volume("finnix*")), _LIVE_BOOT),
        bios=(_PLAIN_LIVE,),
        uefi=(_PLAIN_LIVE,),
        caveats=("Finnix before 112 has no live-boot and does not start this way",),
    ),
    Recipe(
        "rescatux",
        "Rescatux (live-boot)",
        (any_of(says(_DISK_INFO, "rescatux"), volume("*rescatux*")), _LIVE_BOOT),
        bios=(_PLAIN_LIVE,),
        uefi=(_PLAIN_LIVE,),
    ),
    Recipe(
        "debian-live",
        "Debian live system, or one built like it (live-boot)",
        (_LIVE_BOOT, has("/live/vmlinuz*")),
        bios=(_DEBIAN,),
        uefi=(_DEBIAN,),
    ),
    Recipe(
        "ubuntu-server",
        "Ubuntu Server installer (casper, subiquity)",
        (
            has("/casper/vmlinuz*", "/casper/hwe-vmlinuz"),
            any_of(volume("ubuntu-server*"), says(_DISK_INFO, "ubuntu-server")),
        ),
        bios=(_SUBIQUITY,),
        uefi=(_SUBIQUITY,),
        caveats=(_CASPER_CAVEAT,),
    ),
    Recipe(
        "ubuntu-desktop",
        "Ubuntu desktop, or a flavour of it (casper)",
        (
            has("/casper/vmlinuz*"),
            any_of(volume("*ubuntu*"), says(_DISK_INFO, "[a-z]*ubuntu[a-z]*")),
        ),
        bios=(_SUBIQUITY,),
        uefi=(_SUBIQUITY,),
        caveats=(_CASPER_CAVEAT,),
    ),
    Recipe(
        "casper",
        "live system built like Ubuntu's: Linux Mint, Rescuezilla and others (casper)",
        (has("/casper/vmlinuz*"), has("/casper/*.squashfs")),
        bios=(_CASPER,),
        uefi=(_CASPER,),
        caveats=(_CASPER_CAVEAT,),
    ),
    Recipe(
        "agama",
        "openSUSE or SUSE 16 installer (Agama)",
        (
            has("/liveos/squashfs.img"),
            any_of(volume("install*", "*agama*"), says("/boot/grub2/grub.cfg", "agama")),
        ),
        bios=(_SUSE_LIVE,),
        uefi=(_SUSE_LIVE,),
    ),
    Recipe(
        "suse-live",
        "openSUSE live system (KIWI)",
        (has("/liveos/squashfs.img"), any_of(publisher("suse*"), volume("opensuse*live*"))),
        bios=(_SUSE_LIVE,),
        uefi=(_SUSE_LIVE,),
        caveats=(
            "a KIWI initrd before KIWI 11, built without dracut's livenet, knows ATA over Ethernet "
            "alone",
        ),
    ),
    Recipe(
        "fedora-live",
        "Fedora live system, or one built like it (dracut)",
        (
            has("/liveos/squashfs.img"),
            has("/images/pxeboot/vmlinuz", "/boot/x86_64/loader/linux", "/isolinux/vmlinuz*"),
        ),
        bios=(_FEDORA,),
        uefi=(_FEDORA,),
        caveats=(
            "its initrd must have dracut's livenet; without it the boot ends at “Don't know how "
            "to handle root=live:http”",
        ),
    ),
    Recipe(
        "system-rescue",
        "SystemRescue (archiso)",
        (has("/sysresccd/boot/x86_64/vmlinuz"),),
        bios=(_SYSTEM_RESCUE,),
        uefi=(_SYSTEM_RESCUE,),
        caveats=(_ARCHISO_CAVEAT,),
    ),
    Recipe(
        "arch",
        "Arch Linux, or one built like it (archiso)",
        (
            has("/*/x86_64/airootfs.sfs", "/*/x86_64/airootfs.erofs"),
            has("/*/boot/x86_64/vmlinuz*"),
        ),
        bios=(_ARCH,),
        uefi=(_ARCH,),
        caveats=(_ARCHISO_CAVEAT,),
    ),
)
