"""Discs that need nothing but themselves in memory, and the rows for what is not known."""

from __future__ import annotations

from bootserver.images.recipes.offers import Chain, Kernel, Never, OwnMenu, Whole
from bootserver.images.recipes.recipe import Recipe
from bootserver.images.recipes.signs import FloppyBoot, MenuOfLinux, PlainDiskImage, has, volume

WHOLE = Whole()
_NFS_ONLY = Never(  # or from its own medium
    "is a Kaspersky Rescue Disk, which fetches nothing over HTTP: write it to a USB stick, or set "
    'recipe = "disc"'
)
_DBAN = Kernel(places=(("/dban.bzi", ""),), arguments="nuke=dwipe silent", room_mib=128)
_SHREDOS = Kernel(
    places=(("/boot/shredos", ""), ("/shredos", "")),
    arguments="console=tty3 loglevel=3",
    room_mib=512,
)

SELF_CONTAINED = (
    Recipe(
        "memtest86+",
        "Memtest86+",
        (volume("mt86plus*"),),
        bios=(WHOLE,),
        # As a program by itself: a RAM disk would be memory that is not tested.
        uefi=(Chain("/efi/boot/bootx64.efi"), WHOLE),
    ),
    Recipe(
        "dban",
        "DBAN (wipes all disks)",
        (has("/dban.bzi"),),
        bios=(_DBAN,),
        uefi=(Never("is DBAN, which boots BIOS machines only; ShredOS does the same with UEFI"),),
        caveats=("it asks before it wipes; with kernel arguments such as autonuke it does not",),
    ),
    Recipe(
        "shredos",
        "ShredOS (wipes all disks)",
        (has("/boot/shredos", "/shredos"),),
        bios=(_SHREDOS,),
        uefi=(_SHREDOS,),
        caveats=(
            "it asks before it wipes; with kernel arguments such as nwipe_options it may not",
        ),
    ),
    Recipe(
        "kaspersky",
        "Kaspersky Rescue Disk",
        (has("/data/*.srm"), has("/boot/grub/k-x86_64")),
        bios=(_NFS_ONLY,),
        uefi=(_NFS_ONLY,),
    ),
    Recipe(
        "freedos",
        "FreeDOS",
        (volume("fd-setup*", "fdi-*", "fd1[0-9]-*", "freedos*"),),
        bios=(WHOLE,),
        uefi=(WHOLE,),
    ),
    Recipe(
        "floppy-disc",
        "disc that boots a floppy image: DOS and firmware updates",
        (FloppyBoot(),),
        bios=(WHOLE,),
        uefi=(WHOLE,),
    ),
    Recipe(
        "disk-image",
        "image of a floppy or hard disk",
        (PlainDiskImage(),),
        bios=(WHOLE,),
        uefi=(WHOLE,),
        caveats=("what is written to it is lost with the power",),
    ),
)

UNKNOWN_DISC = Whole(doubt="the boot of another disc of an unknown kind says nothing of this one")
UNKNOWN = (
    Recipe(
        "unknown-linux",
        "Linux of a kind that is not known, booted as its own menu says",
        (MenuOfLinux(),),
        # memdisk would lose the disc as soon as the kernel runs; a RAM disk can be found again.
        bios=(OwnMenu(any_family=True),),
        uefi=(OwnMenu(any_family=False), Whole(own_menu=True), OwnMenu(any_family=True)),
        caveats=(
            "a system that looks for its disc finds it only with UEFI and NVDIMM drivers in its "
            "initrd (nfit, nd_pmem)",
        ),
    ),
    Recipe(
        "disc",
        "disc of a kind that is not known",
        (),
        bios=(UNKNOWN_DISC,),
        uefi=(UNKNOWN_DISC,),
        caveats=(
            "with BIOS, a system that drives the hardware itself no longer sees a disc in memory",
        ),
    ),
)
