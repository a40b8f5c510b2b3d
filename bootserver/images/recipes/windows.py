"""Windows PE and what is built on it: it runs from memory once boot.wim is there."""

from __future__ import annotations

from bootserver.images.recipes.offers import Whole, Wimboot
from bootserver.images.recipes.recipe import Recipe
from bootserver.images.recipes.signs import any_of, application, has, volume

_BOOT_WIM = "/sources/boot.wim"
_WHOLE = Whole(twice=_BOOT_WIM, room_mib=512)
_WIMBOOT = Wimboot()
_CAVEATS = (
    "Windows PE has no driver for a disc in memory: what lies beside boot.wim it does not see",
    "Windows PE needs a driver for the network card of its own; iPXE's is gone once it runs",
)

WINDOWS = (
    Recipe(
        "hbcd-pe",
        "Hiren's BootCD PE (Windows PE)",
        (any_of(volume("hbcd*"), has("/hbcd*.ini")), has(_BOOT_WIM)),
        bios=(_WHOLE, _WIMBOOT),
        uefi=(_WHOLE, _WIMBOOT),
        caveats=(
            "wimboot can add nothing to its boot.wim, a solid LZMS: export it with LZX "
            "(wimlib-imagex export boot.wim all new.wim --compress=LZX)",
            *_CAVEATS,
        ),
    ),
    Recipe(
        "windows-setup",
        "Windows setup",
        (
            has(_BOOT_WIM),
            has("/sources/install.wim", "/sources/install.esd", "/sources/install.swm"),
        ),
        bios=(_WIMBOOT, _WHOLE),
        uefi=(_WIMBOOT, _WHOLE),
        caveats=(
            "setup does not fetch install.wim over HTTP: Windows PE must be given it from a share "
            "(net use, then setup.exe)",
            *_CAVEATS,
        ),
    ),
    Recipe(
        "winpe-oscdimg",
        "Windows PE recovery disc as backup programs make it: Symantec, Acronis, Macrium",
        (has(_BOOT_WIM), volume("dvd_rom"), application("*oscdimg*")),
        bios=(Wimboot(store_needed=True), _WHOLE),
        uefi=(Wimboot(store_needed=True), _WHOLE),
        caveats=_CAVEATS,
    ),
    Recipe(
        "winpe",
        "Windows PE",
        (has(_BOOT_WIM),),
        bios=(_WIMBOOT, _WHOLE),
        uefi=(_WIMBOOT, _WHOLE),
        caveats=_CAVEATS,
    ),
)
