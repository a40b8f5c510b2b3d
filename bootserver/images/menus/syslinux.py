"""The boot menus of syslinux and isolinux, read as their own programs read them.

The rules are the manual's (syslinux.cfg.txt, syslinux-cli.txt, menu.txt), and where it is silent
those of version 6.04. Where versions differ in what they would start, that is said.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bootserver.images.menus.files import MenuFiles, TooMuchToReadError, disc_path
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry

# Where the loaders look for their configuration, in this order (syslinux.cfg.txt, LOCATION/NAME).
# Before 4.02 isolinux took the first of the directories that exists, and only isolinux.cfg in it.
ISOLINUX_CONFIGS = tuple(
    f"{folder}/{name}"
    for folder in ("/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", "")
    for name in ("isolinux.cfg", "syslinux.cfg")
)
# The first directory is that of the loader's own file.
SYSLINUX_EFI_CONFIGS = tuple(
    f"{folder}/{name}"
    for folder in ("/efi/boot", "/boot/syslinux", "/syslinux", "")
    for name in ("extlinux.conf", "syslx64.cfg", "syslinux.cfg")
)

MAX_ENTRIES = 64  # of one disc: a menu for people has fewer
MAX_LABELS = 1000  # of one configuration
MAX_TEXTS = 64  # read for one menu
MAX_NESTED = 16  # files that include each other (syslinux.cfg.txt, INCLUDE), and menus that lead on

_WORD = re.compile(r"[\0- ]*([^\0- ]*)[\0- ]*(.*)", re.DOTALL)  # C's idea of blanks
_INTEGER = re.compile(r"[-+]?(0x[0-9a-f]+|\d+)", re.IGNORECASE)
_KERNELS = frozenset(
    ("linux", "boot", "bss", "pxe", "fdimage", "comboot", "com32", "config", "localboot")
)
# What a file's name says it is (syslinux.cfg.txt, KERNEL-LIKE DIRECTIVES), in the order in which
# they are tried for a name without one (syslinux-cli.txt, ALTERNATE FILENAMES).
_EXTENSIONS = {
    ".bin": "boot",
    ".bs": "boot",
    ".bss": "bss",
    ".c32": "com32",
    ".cbt": "comboot",
    ".com": "comboot",
    ".img": "fdimage",
}
# Programs that have themselves loaded as if they were Linux.
_NO_LINUX = re.compile(r"(memtest|memdisk|mt86|wimboot|[ig]?pxe\b).*|.*\.(lkrn|krn|exe)")
_MENUS = ("menu", "vesamenu")
_OF_NETWORK = 3  # bits of SYSAPPEND that add nothing where the loader came from a disc
_SYSAPPEND = "gets more arguments, which describe the machine (SYSAPPEND)"
# Files whose code chain.c32 starts with a disk's data (chain.txt, OPTIONS).
_CHAINED_FILE = re.compile(r"\b(file|seg|bs|ntldr|cmldr|freedos|msdos|drmk|grub|grldr|isolinux)=")


@dataclass(slots=True, eq=False)
class _Menu:
    """The top-level menu, or what stands between MENU BEGIN and MENU END."""

    tag: str = ""
    parent: _Menu | None = None
    label: str = ""
    title: str = ""
    items: list[_Label] = field(default_factory=list)
    default: _Label | None = None
    times_out: bool = False
    on_timeout: str = ""

    def path(self) -> tuple[str, ...]:
        """The titles of this menu and those around it, without the top-level one."""
        titles, menu = list[str](), self
        while menu.parent is not None:
            titles.append(_title(menu.label or menu.title or menu.tag))
            menu = menu.parent
        return tuple(reversed(titles))


@dataclass(slots=True, eq=False)
class _Label:
    """A LABEL, or the line of a menu that leads to another menu or nowhere."""

    menu: _Menu
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

    def command(self) -> _Command:
        append = "" if self.append in (None, "-") else self.append
        initrd = self.initrd and f"initrd={self.initrd}"
        line = " ".join(filter(None, (self.kernel, append, initrd)))
        return _Command(self.kind, line, _SYSAPPEND if self.sysappend & ~_OF_NETWORK else "")


@dataclass(frozen=True, slots=True)
class _Command:
    """What the loader is to start: `kind` as the directives name it, "" = see the extension."""

    kind: str
    line: str
    unread: str = ""


@dataclass(frozen=True, slots=True)
class _Opens:
    """Another configuration, or by `program` a menu of it."""

    paths: tuple[str, ...]  # none: those that are in force
    folder: str
    program: str = ""  # "menu" or "gfxboot"


@dataclass(frozen=True, slots=True)
class _Runs:
    """Another command line, as if it had been typed."""

    line: str


@dataclass(slots=True)
class _Config:
    """One configuration with all that it includes."""

    paths: tuple[str, ...]
    folder: str  # relative paths begin here
    top: _Menu = field(default_factory=_Menu)
    labels: list[_Label] = field(default_factory=list)
    by_name: dict[str, _Label] = field(default_factory=dict)
    start_menu: _Menu | None = None
    ui: str = ""
    default: str = ""
    append: str = ""
    on_timeout: str = ""
    prompt: bool = False
    times_out: bool = False
    total_timeout: bool = False
    implicit: bool = True
    shiftkey: bool = False


def read_syslinux(files: MenuFiles, path: str, firmware: Firmware) -> DiscMenu:
    """The menu that begins with the configuration at `path`.

    Its default is what starts when nobody presses a key; where the menu waits for ever, what Enter
    starts. The arguments are those that syslinux passes on, without the `initrd=` and the
    `BOOT_IMAGE=` of its own. Paths may have any characters that a word has.
    """
    path = _path("/", path)
    walk = _Walk(files, firmware)
    start = walk.open(_Opens((path,), posixpath.dirname(path)), (), 0)
    if walk.cut:
        start = "not all files of the menu were read"
        walk.unread.append("The menu has more files than are read of one disc")
    if walk.full:
        walk.unread.append(f"The menu has more than {MAX_ENTRIES} entries")
    default, doubt = (start, "") if isinstance(start, int) else (None, start)
    return DiscMenu(
        path, "syslinux", firmware, tuple(walk.entries), default, doubt, tuple(walk.unread)
    )


class _Walk:
    """From a configuration to all that can be reached from it."""

    def __init__(self, files: MenuFiles, firmware: Firmware) -> None:
        self.entries: list[MenuEntry] = []
        self.unread: list[str] = []
        self.cut = False  # there was more to read than is allowed
        self.full = False  # there were more entries than are kept
        self._files = files
        self._texts_left = MAX_TEXTS
        self._names: dict[str, frozenset[str]] = {}
        self._numbers: dict[_Label, int | None] = {}
        self._opened: set[tuple[str, ...]] = set()
        self._configs: dict[tuple[tuple[str, ...], str], _Config | None] = {}
        self._starts: dict[_Opens, int | str] = {}
        self._place = "-iso-" if firmware is Firmware.BIOS else "-sys-"

    def text(self, path: str) -> str | None:
        """A configuration's text; None too where no more is read."""
        if self.cut or not self._texts_left:
            self.cut = True
            return None
        self._texts_left -= 1
        try:
            return self._files.text(path)
        except TooMuchToReadError:
            self.cut = True
            return None

    def open(self, opens: _Opens, parents: tuple[str, ...], depth: int) -> int | str:
        """Add the entries of configurations; the number of the one that starts, or the doubt."""
        if opens in self._starts:
            return self._starts[opens]
        self._starts[opens] = "its menus lead in a circle"
        self._opened.add(opens.paths)
        if depth > MAX_NESTED:
            return "its menus lead on and on"
        key = (opens.paths, opens.folder)
        if key not in self._configs:
            self._configs[key] = _Parser(self).read(*key)
        config = self._configs[key]
        if config is None:
            return f"the disc has no {' and no '.join(opens.paths)}"
        if opens.program:
            start = self._menu(opens.program, config, parents, depth)
        else:
            start = self._prompt(config, parents, depth)
        self._starts[opens] = start
        return start

    def _prompt(self, config: _Config, parents: tuple[str, ...], depth: int) -> int | str:
        """What the loader itself makes of a configuration (syslinux.cfg.txt, UI and PROMPT)."""
        line = config.ui or config.default
        waits = not line or (config.prompt and not config.ui)
        if waits and (config.times_out or config.total_timeout) and config.on_timeout:
            line = config.on_timeout
        if waits:
            self._list(config.labels, config, parents, depth)
        if not line:
            return f"{config.paths[0]} has neither DEFAULT nor UI: it waits for a command"
        return self._run(line, config, parents, depth, listed=waits)

    def _menu(
        self, program: str, config: _Config, parents: tuple[str, ...], depth: int
    ) -> int | str:
        """What the programs with a menu make of a configuration (menu.txt)."""
        if program == "gfxboot":
            self._list(config.labels, config, parents, depth)
            first = next(iter(config.labels), None)
            found = config.by_name.get(config.default) if config.default else first
            if found is None:
                return "its graphical menu decides what starts"
            return self._run(found.name, config, parents, depth, listed=True, label=found)
        self._list([label for label in config.labels if not label.hidden], config, parents, depth)
        menu, item = config.start_menu or config.top, None
        wanted = config.by_name.get(_split(config.default)[0]) if config.ui else None
        if wanted is not None and not wanted.hidden:  # menu.txt, DEFAULT
            menu, item = wanted.menu, wanted
        times_out = menu.times_out or config.total_timeout
        if times_out and menu.on_timeout and not config.shiftkey:
            return self._run(menu.on_timeout, config, parents, depth, listed=True)
        first = next((i for i in menu.items if not i.disabled), None)
        item = item or menu.default or first
        if item is None:
            return "its menu has no entries"
        if item.moves:
            return "its menu begins on a line that leads to another menu"
        return self._run(item.name, config, parents, depth, listed=True, label=item)

    def _list(
        self, labels: Sequence[_Label], config: _Config, parents: tuple[str, ...], depth: int
    ) -> None:
        """Add the entry of each label, and the entries of the menus that it leads to."""
        for label in labels:
            if self.full:
                return
            if label in self._numbers or label.moves or label.disabled:
                continue
            self._numbers[label] = None
            title = _title(label.title or label.name)
            around = (*parents, *label.menu.path())
            step: MenuEntry | _Opens | _Runs = self._step(label.command(), config)
            for _ in range(MAX_NESTED):
                if not isinstance(step, _Runs):
                    break
                step = self._step(self._typed(step.line, config)[0], config)
            if isinstance(step, _Opens) and step.paths not in self._opened:
                self.open(step, (*around, title), depth + 1)
            elif isinstance(step, MenuEntry):
                entry = replace(step, title=title, name=label.name, parents=around)
                self._numbers[label] = self._add(entry)

    def _add(self, entry: MenuEntry) -> int | None:
        if len(self.entries) == MAX_ENTRIES:
            self.full = True
            return None
        self.entries.append(entry)
        return len(self.entries) - 1

    def _run(
        self,
        line: str,
        config: _Config,
        parents: tuple[str, ...],
        depth: int,
        *,
        listed: bool,
        label: _Label | None = None,
    ) -> int | str:
        """What a command line starts, as if typed at the prompt."""
        for _ in range(MAX_NESTED):
            name, arguments = _split(line)
            if label is None:
                command, label = self._typed(line, config)
            else:
                command, arguments = label.command(), ""
            if label is None and not config.implicit:
                return f'"{name}" is no label, and IMPLICIT forbids others'
            if label is not None and label.moves:
                return f'"{name}" leads to another menu'
            step = self._step(command, config)
            if isinstance(step, _Opens):
                return self.open(step, parents, depth + 1)
            if isinstance(step, MenuEntry):
                if not listed:
                    self._list(config.labels, config, parents, depth)
                return self._started(step, line, arguments, label, parents)
            line, label = step.line, None
        return "its commands lead in a circle"

    def _started(
        self,
        entry: MenuEntry,
        line: str,
        arguments: str,
        label: _Label | None,
        parents: tuple[str, ...],
    ) -> int | str:
        """The number of the entry that a command line starts; it may be in no menu."""
        if label is None and not self._is_there(entry):
            return f'"{_split(line)[0]}" is neither a label nor a file of the disc'
        number = self._numbers.get(label) if label is not None and not arguments else None
        if number is None:
            title = _title(label.title or label.name) if label is not None else line
            around = parents if label is None else (*parents, *label.menu.path())
            name = label.name if label is not None else ""
            number = self._add(replace(entry, title=title, name=name, parents=around))
            if label is not None and not arguments:
                self._numbers[label] = number
        return f"it starts none of its first {MAX_ENTRIES} entries" if number is None else number

    def _is_there(self, entry: MenuEntry) -> bool:
        if entry.kind is not EntryKind.LINUX:
            return True
        folder, name = posixpath.split(entry.kernel)
        return name in self._names_in(folder)

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names and not self.cut:
            try:
                self._names[folder] = frozenset(self._files.names(folder))
            except TooMuchToReadError:
                self.cut = True
        return self._names.get(folder, frozenset())

    def _typed(self, line: str, config: _Config) -> tuple[_Command, _Label | None]:
        """The command of a line at the prompt: a label with more arguments, or a file."""
        name, arguments = _split(line)
        label = config.by_name.get(name)
        if label is None:
            unread = ""
            if config.append:  # the manual adds it, 6.04 does not
                unread = "may or may not get the arguments of APPEND, by the loader's version"
            return _Command("", line, unread), None
        command = label.command()
        if arguments:
            command = replace(command, line=f"{command.line} {arguments}")
        return command, label

    def _step(self, command: _Command, config: _Config) -> MenuEntry | _Opens | _Runs:
        """What a command does."""
        program, arguments = _split(command.line)
        kind = command.kind
        if not kind and program.startswith(".") and program[1:] in _KERNELS:  # as 6.04 writes it
            kind, (program, arguments) = program[1:], _split(arguments)
        if not program:
            return MenuEntry("", EntryKind.OTHER, unread="names no kernel")
        path = _path(config.folder, program)
        kind = kind or self._kind_of(path)
        if kind == "localboot":
            return MenuEntry("", EntryKind.LOCAL_DISK)
        if kind == "config":
            folder = _path(config.folder, arguments) if arguments else config.folder
            return _Opens((path,), folder)
        if kind == "com32":
            return self._module(path, arguments, command, config)
        if kind == "linux" and not _NO_LINUX.fullmatch(posixpath.basename(path)):
            return _linux(config.folder, path, arguments, command.unread)
        return MenuEntry("", EntryKind.OTHER)

    def _kind_of(self, path: str) -> str:
        """What a file is by its name, with the extension that it has on the disc."""
        extension = posixpath.splitext(path)[1]
        if extension in _EXTENSIONS:
            return _EXTENSIONS[extension]
        folder, name = posixpath.split(path)
        names = self._names_in(folder)
        if name not in names:
            for extension, kind in _EXTENSIONS.items():
                if name + extension in names:
                    return kind
        return "linux"

    def _module(
        self, path: str, arguments: str, command: _Command, config: _Config
    ) -> MenuEntry | _Opens | _Runs:
        """What a program of syslinux does with its arguments."""
        words = arguments.split()
        name = posixpath.basename(path).removesuffix(".c32")
        if name in _MENUS:
            paths = (p for w in words for p in (config.paths if w == "~" else (w,)))
            chosen = tuple(_path(config.folder, p) for p in paths) or config.paths
            return _Opens(chosen, config.folder, "menu")
        if name == "gfxboot":
            return _Opens(config.paths, config.folder, "gfxboot")
        if name == "config" and words:
            folder = _path(config.folder, words[1]) if words[1:] else config.folder
            return _Opens((_path(config.folder, words[0]),), folder)
        if name == "linux":
            while words and words[0].startswith("-"):
                del words[0]
            kernel = _path(config.folder, words[0]) if words else ""
            return _linux(config.folder, kernel, " ".join(words[1:]), command.unread)
        if name == "whichsys" and self._place in words:  # by the medium that it is loaded from
            rest = words[words.index(self._place) + 1 :]
            ends = [n for n, word in enumerate(rest) if word in ("-iso-", "-pxe-", "-sys-")]
            return _Runs(" ".join(rest[: ends[0]] if ends else rest))
        if name == "ifcpu64" and words:  # 64-bit -- 32-bit with PAE -- 32-bit
            line = " ".join(words).partition(" -- ")[0]
            said = f'"{line}" is taken for 64-bit processors'
            if said not in self.unread:
                self.unread.append(said)
            return _Runs(line)
        on_disk = name == "chain" and re.match(r"(hd\d|mbr|guid|label)", arguments)
        if on_disk and not _CHAINED_FILE.search(arguments):
            return MenuEntry("", EntryKind.LOCAL_DISK)
        return MenuEntry("", EntryKind.OTHER)


class _Parser:
    """Reads configurations as one: the included files, and those that a menu is given."""

    def __init__(self, walk: _Walk) -> None:
        self._walk = walk
        self._sysappend = 0

    def read(self, paths: tuple[str, ...], folder: str) -> _Config | None:
        """What the configurations say together; None if none of them is there."""
        self._config = config = _Config(paths, folder)
        self._menu = config.top
        self._label: _Label | None = None
        found = [self._file(path, 0) for path in paths]
        self._record()
        return config if any(found) else None

    def _file(self, path: str, depth: int) -> bool:
        """False if there is no such file: the loader goes on without."""
        if depth > MAX_NESTED:
            self._walk.cut = True
            return False
        text = self._walk.text(path)
        if text is None:
            return False
        in_help = False
        for line in text.split("\n"):
            word, rest = _split(line.partition("\r")[0])
            word = word.lower()
            if in_help:
                in_help = word != "endtext"
            elif word == "text":
                in_help = True
            elif word == "include":
                self._include(rest, depth)
            elif word == "menu":
                self._menu_line(*_split(rest), depth)
            else:
                self._line(word, rest)
        return True

    def _include(self, rest: str, depth: int) -> None:
        """INCLUDE FILE, or INCLUDE FILE TAG: the file as a submenu (menu.txt)."""
        name, tag = _split(rest)
        if tag:
            self._begin(tag)
        if name:
            self._file(_path(self._config.folder, name), depth + 1)
        if tag:
            self._end()

    def _line(self, word: str, rest: str) -> None:
        config, label = self._config, self._label
        match word:
            case "label":
                self._record()
                name = _split(rest)[0]
                self._label = _Label(self._menu, name, kernel=name, sysappend=self._sysappend)
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
                menu.items.append(_Label(menu, disabled=True))
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
                    menu.parent.default = _Label(menu.parent, moves=True)
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
        above.items.append(_Label(above, moves=True))
        self._menu = _Menu(tag, above, times_out=above.times_out, on_timeout=above.on_timeout)

    def _end(self) -> None:
        self._record()
        self._menu = self._menu.parent or self._menu

    def _record(self) -> None:
        """The label whose lines have been read belongs to its menu now."""
        label, self._label, config = self._label, None, self._config
        if label is None:
            return
        if len(config.labels) == MAX_LABELS:
            self._walk.cut = True
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


def _linux(folder: str, kernel: str, arguments: str, unread: str) -> MenuEntry:
    """A kernel with the initrds that its arguments name."""
    words = arguments.split()
    named = {word: None for word in words if word.startswith("initrd=")}
    if len(named) > 1:  # the manual takes the last, 6.04 the first
        unread = "names its initrd twice, and versions of the loader differ"
    names = next(reversed(named), "").removeprefix("initrd=").split(",")
    return MenuEntry(
        "",
        EntryKind.LINUX,
        kernel=kernel,
        initrds=tuple(_path(folder, name) for name in names if name),
        arguments=tuple(word for word in words if word not in named),
        unread=unread,
    )


def _split(text: str) -> tuple[str, str]:
    """The first word and the rest, without blanks around them."""
    match = _WORD.match(text)
    return (match[1], match[2].rstrip()) if match else ("", "")


def _path(folder: str, written: str) -> str:
    """A path on the disc (isolinux.txt: from `/`, or in the current directory)."""
    if written.startswith("::"):  # pxelinux' sign for the top
        written = "/" + written[2:]
    return disc_path(folder, written)


def _title(text: str) -> str:
    """A line of a menu without the signs for hot keys."""
    return " ".join(text.replace("^", "").split())


def _integer(text: str) -> int:
    """A number as C reads it at the beginning of a text; 0 if there is none."""
    match = _INTEGER.match(text)
    return int(match[0], 16 if "x" in match[0].lower() else 10) if match else 0
