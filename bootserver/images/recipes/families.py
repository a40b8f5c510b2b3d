"""How a Linux that is not in the table fetches its root: told from its own kernel arguments."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.images.arguments import BOOT_CARD
from bootserver.images.bootconfig import MenuEntry
from bootserver.images.recipes.paths import pick
from bootserver.model import IsoFacts

NETWORK = f"ip=dhcp {BOOT_CARD}"


# Beside the squashfs and the initramfs. A small system was seen to come up with less than this in
# all (89 MB of squashfs, 512 MiB of memory); a refusal is for what cannot work at all.
LIVE_BOOT_ROOM_MIB = 512


@dataclass(frozen=True, slots=True)
class Rest:
    """The arguments to boot with, and what the system then fetches ("" = nothing is known)."""

    arguments: tuple[str, ...]
    fetched: str = ""
    times: float = 1.0
    room_mib: int = 512


@dataclass(frozen=True, slots=True)
class _Family:
    """Initramfs of one make: the argument that betrays it, and those that make it use HTTP."""

    sign: str  # how that argument begins
    dropped: tuple[str, ...]  # beginnings of arguments that point to a medium
    added: str  # {medium} is the path of what is fetched, {value} that of the sign
    medium: tuple[str, ...]  # patterns; () = the whole image
    times: float = 1.0
    room_mib: int = 1024


_FAMILIES = (
    _Family(
        "boot=live",
        dropped=("fetch=", "live-media=", "bootfrom=", "toram", "ip="),
        added=f"fetch={{tree}}{{medium}} {NETWORK}",
        medium=("/live/filesystem.squashfs", "/live/*.squashfs", "/live/grml*/*.squashfs"),
        room_mib=LIVE_BOOT_ROOM_MIB,
    ),
    _Family(
        "boot=casper",
        dropped=("boot=", "url=", "netboot=", "live-media=", "toram", "ip="),
        added=f"boot=casper url={{iso}} {NETWORK}",
        medium=(),
        times=2.0,
    ),
    _Family(
        "archisobasedir=",
        dropped=("archisolabel=", "archisodevice=", "archisosearchuuid=", "ip="),
        added=f"archiso_http_srv={{tree}} {NETWORK}",
        medium=("/{value}/x86_64/airootfs.sfs", "/{value}/x86_64/airootfs.erofs"),
        times=2.0,
    ),
    _Family(
        "root=live:",
        dropped=("root=", "ip="),
        added=f"root=live:{{tree}}{{medium}} rd.neednet=1 {NETWORK}",
        medium=("/liveos/squashfs.img",),
    ),
    _Family(
        "inst.stage2=",
        dropped=("inst.stage2=", "inst.repo=", "ip="),
        added=f"inst.stage2={{tree}} {NETWORK}",
        medium=("/images/install.img",),
    ),
)


def rest_over_http(entry: MenuEntry, facts: IsoFacts) -> Rest:
    """What to boot this entry with, so that its system finds its root without the disc."""
    for family in _FAMILIES:
        signs = [word for word in entry.arguments if word.startswith(family.sign)]
        # Ubuntu's own menus name no boot=casper: it is what their initrd does by itself.
        if not signs and not (family.sign == "boot=casper" and "/casper/" in entry.kernel):
            continue
        value = signs[0].partition("=")[2].lower() if signs else ""
        medium = pick(facts, [m.replace("{value}", value) for m in family.medium])
        if family.medium and not medium:
            continue
        kept = [word for word in entry.arguments if not word.startswith(family.dropped)]
        added = family.added.replace("{medium}", medium[1:]).split()
        return Rest((*kept, *added), medium or "{iso}", family.times, family.room_mib)
    return Rest(entry.arguments)
