"""What GRUB's menu on a disc offers: its script is run as GRUB runs it, and nothing starts.

A menu's script runs first, then the commands of each of its entries. They see the variables as the
script left them (GNU GRUB manual 2.06, sections 6.3 and 15).
"""

from __future__ import annotations

import posixpath
import re

from bootserver.images.menus.files import MenuFiles, TooMuchToReadError
from bootserver.images.menus.grub_commands import COMMANDS, MAX_ENTRIES, TOO_MANY
from bootserver.images.menus.grub_conditions import number_at_start
from bootserver.images.menus.grub_menu import (
    BootedError,
    EndedError,
    Item,
    LeftError,
    Menu,
    ShownError,
    Start,
)
from bootserver.images.menus.grub_run import (
    MAX_DEPTH,
    TOO_LONG,
    UNKNOWN,
    GrubRun,
    on_disc,
    shortened,
)
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry

_FIRST_OF_PATH = re.compile(r"((?:[^>]|>>)*)(?:>(.*))?", re.DOTALL)  # of "submenu>entry"
_ARCHITECTURE = re.compile(r"/(?:x86_64|i386|arm64)-(?:efi|pc)$")
_FEATURES = (
    *("chainloader_bpb", "ntldr", "platform_search_hint", "default_font_path"),
    *("all_video_module", "menuentry_id", "menuentry_options", "200_final"),
    *("nativedisk_cmd", "timeout_style"),
)


def read_grub(files: MenuFiles, path: str, firmware: Firmware) -> DiscMenu:
    """The menu that GRUB shows when it begins with this file; nothing in it raises an error."""
    run = GrubRun(files, path, _first_variables(path, firmware), COMMANDS)
    entries = list[MenuEntry]()
    default: int | None = None
    doubt = ""
    try:
        menu = run.shown(path)
    except BootedError:
        _add_entry(run, entries, Item("(no menu)"), ())
        default, doubt = 0, run.menu.doubt
    except (TooMuchToReadError, EndedError):
        run.unread.append(f"the menu {TOO_LONG}")
        _leaves(run, entries, run.menu, ())
        doubt = TOO_LONG
    else:
        default, doubt = (
            _leaves(run, entries, menu, ()) if menu else (None, "opens itself again and again")
        )
    return DiscMenu(
        source=path,
        loader="GRUB",
        firmware=firmware,
        entries=tuple(entries),
        default=None if doubt else default,
        doubt=f"the menu {doubt}" if doubt else "",
        unread=tuple(dict.fromkeys(run.unread)),
    )


def _first_variables(path: str, firmware: Firmware) -> dict[str, str]:
    """What GRUB itself sets, and exports, before it reads a script of a disc (section 15.1).

    `iso_path` is what other loaders set that boot a disc from a file.
    """
    uefi = firmware is Firmware.UEFI
    return {
        "grub_platform": "efi" if uefi else "pc",
        "grub_cpu": "x86_64" if uefi else "i386",
        "root": "cd0",
        "prefix": on_disc(_ARCHITECTURE.sub("", posixpath.dirname(path))),
        "cmdpath": "(cd0)/efi/boot" if uefi else "(cd0)",
        "iso_path": "",
        **{f"feature_{name}": "y" for name in _FEATURES},
    }


def _leaves(
    run: GrubRun, entries: list[MenuEntry], menu: Menu, parents: tuple[str, ...]
) -> tuple[int | None, str]:
    """Add the entries of a menu and of its submenus; which one starts, or why none is known."""
    if not menu.items:
        return None, menu.doubt or "has no entries"
    chosen, doubt = _default_item(menu)
    default: int | None = None
    for number, item in enumerate(menu.items):
        leaf, why = _leaf(run, entries, menu, item, parents)
        if number == chosen:
            default, doubt = leaf, menu.doubt or doubt or why
    return default, doubt


def _leaf(
    run: GrubRun, entries: list[MenuEntry], menu: Menu, item: Item, parents: tuple[str, ...]
) -> tuple[int | None, str]:
    """Run an entry's commands, and add what they start: the entry, or the menu that they open.

    A submenu that starts by itself starts what stands behind its name in `default`, or else its
    first entry.
    """
    if len(entries) >= MAX_ENTRIES:
        run.unread.append(f"the menu {TOO_MANY}")
        return None, TOO_MANY
    run.menu = menu.inner() if item.submenu else menu.copy()
    run.start, run.params, run.depth = Start(unread=item.unread), item.params, 0
    _, behind = _first_and_rest(menu.variables.get("default", ""))
    run.menu.variables["default"] = behind
    chosen, name = menu.variables.get("chosen"), (item.name or item.title).replace(">", ">>")
    run.menu.variables["chosen"] = name if chosen is None else f"{chosen}>{name}"
    run.menu.exported.add("chosen")
    opened = run.menu if item.submenu else None
    too_long = ""
    try:
        run.spend(len(menu.variables))
        run.block(item.body)
    except ShownError as shown:
        opened = shown.menu
    except (TooMuchToReadError, EndedError):
        run.start.unread = too_long = TOO_LONG
    except (BootedError, LeftError):
        pass
    if opened and len(parents) < MAX_DEPTH:
        default, doubt = _leaves(run, entries, opened, (*parents, shortened(item.title)))
        return default, item.unread or too_long or doubt
    _add_entry(run, entries, item, parents)
    return len(entries) - 1, ""


def _add_entry(
    run: GrubRun, entries: list[MenuEntry], item: Item, parents: tuple[str, ...]
) -> None:
    entry = MenuEntry(
        title=shortened(item.title),
        kind=run.start.kind or EntryKind.OTHER,
        name=shortened(item.name),
        parents=parents,
        kernel=run.start.kernel,
        initrds=run.start.initrds,
        arguments=run.start.arguments,
        unread=run.start.unread,
    )
    entries.append(entry)


def _first_and_rest(default: str) -> tuple[str, str]:
    """Section 15.1.10: `submenu>entry`, where ">>" stands for a ">" in a title."""
    found = _FIRST_OF_PATH.fullmatch(default)
    return (found[1].replace(">>", ">"), found[2] or "") if found else ("", "")


def _default_item(menu: Menu) -> tuple[int, str]:
    """Which line of a menu starts by itself, and why that is in doubt.

    Numbers count from 0. What is no number, and no title or ID of the menu, is as good as 0.
    """
    default = menu.variables.get("default", "")
    if found := UNKNOWN.search(default):
        return 0, f"takes its default from what GRUB's `{found[1]}` finds on the machine"
    first, _ = _first_and_rest(default)
    named = [
        number
        for number, item in enumerate(menu.items)
        if first in (item.title, item.name or item.title)
    ]
    number = number_at_start(default)
    if number is None:
        return (named[0] if named else 0), ""
    doubt = ""
    if named and named[0] != number:  # GRUB takes the number, Fedora's GRUB the entry
        doubt = f"has the default “{shortened(first)}”: one entry's name, another one's number"
    return (number if number < len(menu.items) else 0), doubt
