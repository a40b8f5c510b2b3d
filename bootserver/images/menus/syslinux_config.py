"""The configurations of syslinux and isolinux, as their directives say it (syslinux.cfg.txt)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bootserver.images.menus.files import MenuFiles, TooMuchToReadError, disc_path

MAX_LABELS = 1000  # of one configuration
MAX_TEXTS = 64  # read for one menu
MAX_NESTED = 16  # files that include each other (syslinux.cfg.txt, INCLUDE); menus in menus
MAX_LINE = 4095  # characters: the loader's own limit

_WORD = re.compile(r"[\0- ]*([^\0- ]*)[\0- ]*(.*)", re.DOTALL)  # C's idea of blanks
_INTEGER = re.compile(r"[-+]?(0x[0-9a-f]+|\d+)", re.IGNORECASE)
_OF_NETWORK = 3  # bits of SYSAPPEND that add nothing where the loader came from a disc
_SYSAPPEND = "gets more arguments, which describe the machine (SYSAPPEND)"


class BoundedFiles:
    """The files of a disc, as many as are read for one menu; beyond that there are none."""

    def __init__(self, files: MenuFiles) -> None:
        self.cut = False  # there was more to read
        self._files = files
        self._texts_left = MAX_TEXTS
        self._names: dict[str, frozenset[str]] = {}

    def text(self, path: str) -> str | None:
        if not self._texts_left:
            self.cut = True
        if self.cut:
            return None
        self._texts_left -= 1
        try:
            return self._files.text(path)
        except TooMuchToReadError:
            self.cut = True
            return None

    def names(self, folder: str) -> frozenset[str]:
        if folder not in self._names and not self.cut:
            try:
                self._names[folder] = frozenset(self._files.names(folder))
            except TooMuchToReadError:
                self.cut = True
        return self._names.get(folder, frozenset())


@dataclass(slots=True, eq=False)
class SyslinuxMenu:
    """The top-level menu, or what stands between MENU BEGIN and MENU END."""

    tag: str = ""
    parent: SyslinuxMenu | None = None
    depth: int = 0
    label: str = ""
    title: str = ""
    items: list[Label] = field(default_factory=list)
    default: Label | None = None
    times_out: bool = False
    on_timeout: str = ""

    def path(self) -> tuple[str, ...]:
        """The titles of this menu and those around it, without the top-level one."""
        titles, menu = list[str](), self
        while menu.parent is not None and len(titles) < MAX_NESTED:
            titles.append(menu_title(menu.label or menu.title or menu.tag))
            menu = menu.parent
        return tuple(reversed(titles))


@dataclass(slots=True, eq=False)
class Label:
    """A LABEL, or the line of a menu that leads to another menu or nowhere."""

    menu: SyslinuxMenu
    name: str = ""
    kind: str = ""  # by the extension of the kernel's name
    kernel: str = ""
    append: str | None = None
    initrd: str = ""
    sysappend: int = 0
    title: str = ""
    is_default: bool = False
    hidden: bool = False
    disabled: bool = False
    moves: bool = False  # to another menu, or out of it

    def command(self) -> SyslinuxCommand:
        append = "" if self.append in (None, "-") else self.append
        initrd = self.initrd and f"initrd={self.initrd}"
        line = " ".join(filter(None, (self.kernel, append, initrd)))
        return SyslinuxCommand(self.kind, line, _SYSAPPEND if self.sysappend & ~_OF_NETWORK else "")


@dataclass(frozen=True, slots=True)
class SyslinuxCommand:
    """What the loader is to start: `kind` as the directives name it, "" = see the extension."""

    kind: str
    line: str
    unread: str = ""


@dataclass(slots=True)
class SyslinuxConfig:
    """One configuration with all that it includes."""

    paths: tuple[str, ...]
    folder: str  # relative paths begin here
    top: SyslinuxMenu = field(default_factory=SyslinuxMenu)
    labels: list[Label] = field(default_factory=list)
    by_name: dict[str, Label] = field(default_factory=dict)
    start_menu: SyslinuxMenu | None = None
    ui: str = ""
    default: str = ""
    append: str = ""
    on_timeout: str = ""
    prompt: bool = False
    times_out: bool = False
    total_timeout: bool = False
    implicit: bool = True
    shiftkey: bool = False


def read_config(files: BoundedFiles, paths: tuple[str, ...], folder: str) -> SyslinuxConfig | None:
    """What configurations say together; None if none of them is there."""
    return _SyslinuxParser(files, SyslinuxConfig(paths, folder)).read()


class _SyslinuxParser:
    """Reads configurations as one: the included files, and those that a menu is given."""

    def __init__(self, files: BoundedFiles, config: SyslinuxConfig) -> None:
        self._files = files
        self._config = config
        self._menu = config.top
        self._label: Label | None = None
        self._sysappend = 0

    def read(self) -> SyslinuxConfig | None:
        found = [self._file(path, 0) for path in self._config.paths]
        self._record()
        return self._config if any(found) else None

    def _file(self, path: str, depth: int) -> bool:
        """False if there is no such file: the loader goes on without."""
        if depth > MAX_NESTED:
            self._files.cut = True
            return False
        text = self._files.text(path)
        if text is None:
            return False
        in_help = False
        for line in text.split("\n"):
            word, rest = split_word(line[:MAX_LINE].partition("\r")[0])
            word = word.lower()
            if in_help:
                in_help = word != "endtext"
            elif word == "text":
                in_help = True
            elif word == "include":
                self._include(rest, depth)
            elif word == "menu":
                self._menu_line(*split_word(rest), depth)
            else:
                self._line(word, rest)
        return True

    def _include(self, rest: str, depth: int) -> None:
        """INCLUDE FILE, or INCLUDE FILE TAG: the file as a submenu (menu.txt)."""
        name, tag = split_word(rest)
        if tag:
            self._begin(tag)
        if name:
            self._file(path_in(self._config.folder, name), depth + 1)
        if tag:
            self._end()

    def _line(self, word: str, rest: str) -> None:
        config, label = self._config, self._label
        match word:
            case "label":
                self._record()
                name = split_word(rest)[0]
                self._label = Label(self._menu, name, kernel=name, sysappend=self._sysappend)
            case "append":
                if label is None:
                    config.append = rest
                else:
                    label.append = rest
            case "initrd":
                if label is not None:
                    label.initrd = rest
            case "kernel" | "linux" | "boot" | "bss" | "pxe" | "fdimage" | "comboot" | "com32":
                if label is not None:
                    label.kind, label.kernel = "" if word == "kernel" else word, rest
            case "config" | "localboot":
                if label is not None:
                    label.kind, label.kernel = word, rest
            case "sysappend" | "ipappend":
                if label is None:
                    self._sysappend = _integer(rest)
                else:
                    label.sysappend = _integer(rest)
            case "default":
                config.default = rest
            case "ui":
                config.ui = rest
            case "ontimeout":
                config.on_timeout = self._menu.on_timeout = rest
            case "timeout":
                config.times_out = self._menu.times_out = _integer(rest) > 0
            case "totaltimeout":
                config.total_timeout = _integer(rest) > 0
            case "prompt":
                config.prompt = _integer(rest) != 0
            case "implicit":
                config.implicit = _integer(rest) != 0

    def _menu_line(self, word: str, rest: str, depth: int) -> None:
        menu, label = self._menu, self._label
        match word.lower():
            case "include":
                self._include(rest, depth)
            case "begin":
                self._begin(rest)
            case "end":
                self._end()
            case "start":
                self._config.start_menu = menu
            case "shiftkey":
                self._config.shiftkey = True
            case "separator":
                self._record()
                menu.items.append(Label(menu, disabled=True))
            case "title":
                menu.title = rest
            case "label":
                if label is None:
                    menu.label = rest
                else:
                    label.title = rest
            case "default":
                if label is not None:
                    label.is_default = True
                elif menu.parent is not None:  # the submenu is its parent's default
                    menu.parent.default = Label(menu.parent, moves=True)
            case _ if label is None:
                pass
            case "hide":
                label.hidden = True
            case "disable" | "disabled":
                label.disabled = True
            case "goto" | "exit" | "quit" | "help":
                label.moves = True

    def _begin(self, tag: str) -> None:
        self._record()
        above = self._menu
        if above.depth == MAX_NESTED:
            self._files.cut = True
        above.items.append(Label(above, moves=True))
        self._menu = SyslinuxMenu(
            tag, above, above.depth + 1, times_out=above.times_out, on_timeout=above.on_timeout
        )

    def _end(self) -> None:
        self._record()
        self._menu = self._menu.parent or self._menu

    def _record(self) -> None:
        """The label whose lines have been read belongs to its menu now."""
        label, self._label, config = self._label, None, self._config
        if label is None:
            return
        if len(config.labels) == MAX_LABELS:
            self._files.cut = True
            return
        if label.append is None:
            label.append = config.append
        if not label.hidden:
            label.menu.items.append(label)
        if label.disabled:
            return
        config.labels.append(label)
        config.by_name.setdefault(label.name, label)  # the first counts (syslinux.cfg.txt, LABEL)
        if label.is_default and not label.moves and not label.hidden:
            label.menu.default = label


def split_word(text: str) -> tuple[str, str]:
    """The first word and the rest, without blanks around them."""
    match = _WORD.match(text)
    return (match[1], match[2].rstrip()) if match else ("", "")


def path_in(folder: str, written: str) -> str:
    """A path on the disc (isolinux.txt: from `/`, or in the current directory)."""
    if written.startswith("::"):  # pxelinux' sign for the top
        written = "/" + written[2:]
    return disc_path(folder, written)


def menu_title(text: str) -> str:
    """A line of a menu without the signs for hot keys."""
    return " ".join(text.replace("^", "").split())


def _integer(text: str) -> int:
    """A number as C reads it at the beginning of a text; 0 if there is none."""
    match = _INTEGER.match(text)
    return int(match[0], 16 if "x" in match[0].lower() else 10) if match else 0
