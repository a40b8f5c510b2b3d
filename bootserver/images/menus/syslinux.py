"""The boot menus of syslinux and isolinux, read as their own programs read them.

The rules are the manual's (syslinux.cfg.txt, syslinux-cli.txt, menu.txt), and where it is silent
those of version 6.04. Where versions differ in what they would start, that is said.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bootserver.images.menus.files import MenuFiles
from bootserver.images.menus.syslinux_config import (
    MAX_NESTED,
    BoundedFiles,
    Label,
    SyslinuxCommand,
    SyslinuxConfig,
    menu_title,
    path_in,
    read_config,
    split_word,
)
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry

# Where the loaders look for their configuration, in this order (syslinux.cfg.txt, LOCATION/NAME).
# Before 4.02 isolinux took the first of the directories that exists, and only isolinux.cfg in it.
# openSUSE's and Slax' own builds look where these discs have it.
ISOLINUX_CONFIGS = (
    *(
        f"{folder}/{name}"
        for folder in ("/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", "")
        for name in ("isolinux.cfg", "syslinux.cfg")
    ),
    "/boot/x86_64/loader/isolinux.cfg",
    "/slax/boot/syslinux.cfg",
)
# The first directory is that of the loader's own file.
SYSLINUX_EFI_CONFIGS = tuple(
    f"{folder}/{name}"
    for folder in ("/efi/boot", "/boot/syslinux", "/syslinux", "")
    for name in ("extlinux.conf", "syslx64.cfg", "syslinux.cfg")
)

MAX_ENTRIES = 64  # of one disc: a menu for people has fewer

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
# Files whose code chain.c32 starts with a disk's data (chain.txt, OPTIONS).
_CHAINED_FILE = re.compile(r"\b(file|seg|bs|ntldr|cmldr|freedos|msdos|drmk|grub|grldr|isolinux)=")


@dataclass(frozen=True, slots=True)
class _Opens:
    """Another configuration, or by `program` a menu of it."""

    paths: tuple[str, ...]
    folder: str
    program: str = ""  # "menu" or "gfxboot"


@dataclass(frozen=True, slots=True)
class _Runs:
    """Another command line, as if it had been typed."""

    line: str
    unread: str = ""  # a sentence about what decides


def read_syslinux(files: MenuFiles, path: str, firmware: Firmware) -> DiscMenu:
    """The menu that begins with the configuration at `path`.

    Its default is what starts without a key press. Where the menu waits for ever, it is what Enter
    starts. The arguments are those that syslinux passes on, without the `initrd=` and the
    `BOOT_IMAGE=` of its own. Paths may have any characters that a word has.
    """
    path = path_in("/", path)
    bounded = BoundedFiles(files)
    walk = _Walk(bounded, firmware)
    start = walk.open(_Opens((path,), posixpath.dirname(path)), (), 0)
    if bounded.cut:
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

    def __init__(self, files: BoundedFiles, firmware: Firmware) -> None:
        self.entries: list[MenuEntry] = []
        self.unread: list[str] = []
        self.full = False  # there were more entries than are kept
        self._files = files
        self._numbers: dict[Label, int | None] = {}
        self._opened: set[tuple[str, ...]] = set()
        self._configs: dict[tuple[tuple[str, ...], str], SyslinuxConfig | None] = {}
        self._starts: dict[_Opens, int | str] = {}
        self._place = "-iso-" if firmware is Firmware.BIOS else "-sys-"

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
            self._configs[key] = read_config(self._files, *key)
        config = self._configs[key]
        if config is None:
            return f"the disc has no {' and no '.join(opens.paths)}"
        if opens.program:
            start = self._menu(opens.program, config, parents, depth)
        else:
            start = self._prompt(config, parents, depth)
        self._starts[opens] = start
        return start

    def _prompt(self, config: SyslinuxConfig, parents: tuple[str, ...], depth: int) -> int | str:
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
        self, program: str, config: SyslinuxConfig, parents: tuple[str, ...], depth: int
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
        wanted = config.by_name.get(split_word(config.default)[0]) if config.ui else None
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
        self, labels: Sequence[Label], config: SyslinuxConfig, parents: tuple[str, ...], depth: int
    ) -> None:
        """Add the entry of each label, and the entries of the menus that it leads to."""
        for label in labels:
            if self.full:
                return
            if label in self._numbers or label.moves or label.disabled:
                continue
            self._numbers[label] = None
            title = menu_title(label.title or label.name)
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
        config: SyslinuxConfig,
        parents: tuple[str, ...],
        depth: int,
        *,
        listed: bool,
        label: Label | None = None,
    ) -> int | str:
        """What a command line starts, as if typed at the prompt."""
        chosen: tuple[Label, str] | None = None  # the first label, which a person would know
        for _ in range(MAX_NESTED):
            name, arguments = split_word(line)
            if label is None:
                command, label = self._typed(line, config)
            else:
                command, arguments = label.command(), ""
            if label is None and not config.implicit:
                return f'"{_short(name)}" is no label, and IMPLICIT forbids others'
            if label is not None and label.moves:
                return f'"{_short(name)}" leads to another menu'
            if label is not None and chosen is None:
                chosen = label, arguments
            step = self._step(command, config)
            if isinstance(step, _Opens):
                return self.open(step, parents, depth + 1)
            if isinstance(step, MenuEntry):
                if not listed:
                    self._list(config.labels, config, parents, depth)
                return self._started(step, line, chosen, parents)
            line, label = step.line, None
            if step.unread:
                self.unread.append(step.unread)
        return "its commands lead in a circle"

    def _started(
        self,
        entry: MenuEntry,
        line: str,
        chosen: tuple[Label, str] | None,
        parents: tuple[str, ...],
    ) -> int | str:
        """The number of the entry that a command line starts; it may be in no menu."""
        if chosen is None:
            if not self._is_there(entry):
                return f'"{_short(line)}" is neither a label nor a file of the disc'
            number = self._add(replace(entry, title=line, parents=parents))
        else:
            label, arguments = chosen
            number = None if arguments else self._numbers.get(label)
            if number is None:
                number = self._add(
                    replace(
                        entry,
                        title=menu_title(label.title or label.name),
                        name=label.name,
                        parents=(*parents, *label.menu.path()),
                    )
                )
        return f"it starts none of its first {MAX_ENTRIES} entries" if number is None else number

    def _is_there(self, entry: MenuEntry) -> bool:
        if entry.kind is not EntryKind.LINUX:
            return True
        folder, name = posixpath.split(entry.kernel)
        return name in self._files.names(folder)

    def _typed(self, line: str, config: SyslinuxConfig) -> tuple[SyslinuxCommand, Label | None]:
        """The command of a line at the prompt: a label with more arguments, or a file."""
        name, arguments = split_word(line)
        label = config.by_name.get(name)
        if label is None:
            unread = ""
            if config.append:  # the manual adds it, 6.04 does not
                unread = "may or may not get the arguments of APPEND, by the loader's version"
            return SyslinuxCommand("", line, unread), None
        command = label.command()
        if arguments:
            command = replace(command, line=f"{command.line} {arguments}")
        return command, label

    def _step(self, command: SyslinuxCommand, config: SyslinuxConfig) -> MenuEntry | _Opens | _Runs:
        """What a command does."""
        program, arguments = split_word(command.line)
        kind = command.kind
        if not kind and program.startswith(".") and program[1:] in _KERNELS:  # as 6.04 writes it
            kind, (program, arguments) = program[1:], split_word(arguments)
        if not program:
            return MenuEntry("", EntryKind.OTHER, unread="names no kernel")
        path = path_in(config.folder, program)
        kind = kind or self._kind_of(path)
        if kind == "localboot":
            return MenuEntry("", EntryKind.LOCAL_DISK)
        if kind == "config":
            folder = path_in(config.folder, arguments) if arguments else config.folder
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
        names = self._files.names(folder)
        if name not in names:
            for extension, kind in _EXTENSIONS.items():
                if name + extension in names:
                    return kind
        return "linux"

    def _module(
        self, path: str, arguments: str, command: SyslinuxCommand, config: SyslinuxConfig
    ) -> MenuEntry | _Opens | _Runs:
        """What a program of syslinux does with its arguments."""
        words = arguments.split()
        name = posixpath.basename(path).removesuffix(".c32")
        if name in _MENUS:
            paths = (p for w in words for p in (config.paths if w == "~" else (w,)))
            chosen = tuple(path_in(config.folder, p) for p in paths) or config.paths
            return _Opens(chosen, config.folder, "menu")
        if name == "gfxboot":
            return _Opens(config.paths, config.folder, "gfxboot")
        if name == "config" and words:
            folder = path_in(config.folder, words[1]) if words[1:] else config.folder
            return _Opens((path_in(config.folder, words[0]),), folder)
        if name == "linux":
            while words and words[0].startswith("-"):
                del words[0]
            kernel = path_in(config.folder, words[0]) if words else ""
            return _linux(config.folder, kernel, " ".join(words[1:]), command.unread)
        if name == "whichsys" and self._place in words:  # by the medium that it is loaded from
            rest = words[words.index(self._place) + 1 :]
            ends = [n for n, word in enumerate(rest) if word in ("-iso-", "-pxe-", "-sys-")]
            return _Runs(" ".join(rest[: ends[0]] if ends else rest))
        if name == "ifcpu64" and words:  # 64-bit -- 32-bit with PAE -- 32-bit
            line = " ".join(words).partition(" -- ")[0]
            return _Runs(line, f'"{_short(line)}" is taken, as on 64-bit processors')
        on_disk = name == "chain" and re.match(r"(hd\d|mbr|guid|label)", arguments)
        if on_disk and not _CHAINED_FILE.search(arguments):
            return MenuEntry("", EntryKind.LOCAL_DISK)
        return MenuEntry("", EntryKind.OTHER)


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
        initrds=tuple(path_in(folder, name) for name in names if name),
        arguments=tuple(word for word in words if word not in named),
        unread=unread,
    )


def _short(text: str) -> str:
    """The first word, for a sentence."""
    return split_word(text)[0][:60]
