"""Which entry of a disc's menu a machine boots: the one that was asked for, else the disc's own.

An entry is never taken in place of another. Where the disc's own does nothing for us, or might do
harm, a person at the machine's screen chooses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bootserver.errors import ImageError
from bootserver.model import DiscMenu, EntryKind, Firmware, IsoFacts, MenuEntry

# In a title or in the arguments: what may change a disk before anybody is asked.
_DESTRUCTIVE = re.compile(
    r"\b(eras(e|es|ing)|wip(e|es|ing)|destroy\w*|format(s|ting)?|nuke|overwrit\w+|shred|reimag\w+"
    r"|zero[- ]?fill|factory|reset to|unattended|auto(mat\w*)?[- ]?(install\w*|deploy\w*)"
    r"|all (data|disks|partitions))\b",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    r"(autonuke|nuke=|nwipe_options=|autoinstall|auto=true|priority=critical|preseed/|file=/"
    r"|inst\.ks=|ks=|autoyast=|inst\.auto=|ai=|coreos\.inst\.install_dev=|ocs_live_run=.*restore)"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A person has to choose, for this reason; it is to be read after the name of the image."""

    reason: str
    menu: DiscMenu
    numbers: tuple[int, ...]  # the entries that can be booted, as places in `menu.entries`
    needed_bytes: int = 0  # what a machine must have for any of them


def menu_for(facts: IsoFacts, firmware: Firmware) -> DiscMenu | None:
    """The menu that machines with this firmware see; any other if there is none."""
    menus = sorted(facts.menus, key=lambda menu: menu.firmware is not firmware)
    return menus[0] if menus else None


def entry_for(facts: IsoFacts, firmware: Firmware, wanted: str) -> MenuEntry | Choice:
    """The entry to boot; `wanted` is the name, title or number of one, or "" for the disc's own.

    Raises ImageError, to be read after the name of the image, if none can be booted.
    """
    menu = menu_for(facts, firmware)
    if menu is None or not (numbers := bootable(menu, firmware, facts.markers)):
        raise ImageError("has no boot menu that names a kernel on it")
    if wanted:
        number = _find(menu, wanted)
        if problem := obstacle(menu.entries[number], firmware, facts.markers):
            raise ImageError(f"has the entry “{menu.entries[number].title}”, but {problem}")
        return menu.entries[number]
    if menu.default is None:
        return Choice(menu.doubt or "has a menu whose default cannot be told", menu, numbers)
    own = menu.entries[menu.default]
    if reason := _doubt(own, firmware, facts.markers):
        return Choice(f"boots “{own.title}” by itself, and {reason}", menu, numbers)
    return own


def require_entry(image_id: str, facts: IsoFacts, wanted: str) -> None:
    """Raise ImageError, whose hint lists the disc's entries, if no machine boots that entry."""
    problem = ""
    for firmware in Firmware:
        try:
            entry_for(facts, firmware, wanted)
        except ImageError as err:
            problem = problem or err.message
        else:
            return
    entries = dict.fromkeys(
        f"#{number} {entry.title}"
        for menu in facts.menus
        for number, entry in enumerate(menu.entries, 1)
    )
    hint = f"its entries: {', '.join(entries)}" if entries else "leave the entry out"
    raise ImageError(f"{image_id} {problem}", hint=hint)


def bootable(menu: DiscMenu, firmware: Firmware, files: Mapping[str, int]) -> tuple[int, ...]:
    """The places of the entries that can be booted without the disc's own loader."""
    return tuple(
        number for number, entry in enumerate(menu.entries) if not obstacle(entry, firmware, files)
    )


def obstacle(entry: MenuEntry, firmware: Firmware, files: Mapping[str, int]) -> str:
    """Why an entry cannot be booted by its kernel, "" if it can."""
    if entry.kind is EntryKind.LOCAL_DISK:
        return "that is the machine's own disk"
    if entry.kind is EntryKind.OTHER:
        return "that is no Linux"
    if entry.unread:
        return f"it {entry.unread}"
    if firmware is Firmware.BIOS and entry.kernel.endswith(".efi"):
        return "that is a program for UEFI"
    missing = [path for path in (entry.kernel, *entry.initrds) if not files.get(path)]
    return f"{missing[0]} is not on the disc" if missing else ""


def _doubt(entry: MenuEntry, firmware: Firmware, files: Mapping[str, int]) -> str:
    """Why an entry does not start without being asked for, "" if it does."""
    if problem := obstacle(entry, firmware, files):
        return problem
    if found := _DESTRUCTIVE.search(entry.title):
        return f"its title says “{found[0]}”"
    words = [word for word in entry.arguments if _ANSWERED.match(word)]
    return f"it may change disks without a question ({words[0]})" if words else ""


def _find(menu: DiscMenu, wanted: str) -> int:
    """The place of the entry of that name, title or number; raises ImageError."""
    entries = menu.entries
    if re.fullmatch(r"#\d{1,3}", wanted) and 0 < int(wanted[1:]) <= len(entries):
        return int(wanted[1:]) - 1
    for names in ([e.name for e in entries], [e.title for e in entries]):
        found = [number for number, name in enumerate(names) if name == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise ImageError(f"has {len(found)} entries “{wanted}”; give one as “#{found[0] + 1}”")
    raise ImageError(f"has no entry “{wanted}” in {menu.source}")
