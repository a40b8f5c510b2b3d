"""What GRUB's script makes: menus with their lines, what an entry loads, and how a script ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bootserver.images.menus.grub_script import Block
from bootserver.model import EntryKind


class EndedError(Exception):
    """More was asked for than the bounds allow."""


class ShownError(Exception):
    """Another menu takes this one's place; None for one that is listed already."""

    def __init__(self, menu: Menu | None) -> None:
        self.menu = menu


class BootedError(Exception):
    """The machine leaves GRUB."""


class LeftError(Exception):
    """A loop or a function is left by this command."""

    def __init__(self, command: str) -> None:
        self.command = command


@dataclass(slots=True)
class Item:
    """One line of a menu."""

    title: str
    name: str = ""
    submenu: bool = False
    body: Block = ()
    params: tuple[str, ...] = ()
    unread: str = ""


@dataclass(slots=True)
class Menu:
    """Variables, and the lines that commands add; a submenu has its own."""

    variables: dict[str, str]
    exported: set[str]
    configs: tuple[str, ...]  # the files whose menus are open
    items: list[Item] = field(default_factory=list)
    doubt: str = ""

    def inner(self, *configs: str) -> Menu:
        """A menu opened from this one: it has only the variables that are exported."""
        kept = {name: self.variables[name] for name in self.exported & self.variables.keys()}
        return Menu(kept, set(kept), (*self.configs, *configs))

    def copy(self) -> Menu:
        """The same menu, to try one of its entries in."""
        return replace(
            self,
            variables=dict(self.variables),
            exported=set(self.exported),
            items=list(self.items),
        )


@dataclass(slots=True)
class Start:
    """What the commands of an entry have loaded."""

    kind: EntryKind | None = None
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    unread: str = ""
