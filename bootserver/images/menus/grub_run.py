"""Runs GRUB's script as GRUB does: variables, words and statements; nothing is started.

The rules are those of the GNU GRUB manual 2.06, section 6.3, and GRUB's own where that is silent.
What only the machine knows stays unknown, with all that depends on it. Steps, depth and lengths are
bounded, so that any script ends soon.
"""

from __future__ import annotations

import contextlib
import fnmatch
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from bootserver.images.menus.files import MenuFiles
from bootserver.images.menus.grub_menu import (
    EndedError,
    LeftError,
    Menu,
    ShownError,
    Start,
)
from bootserver.images.menus.grub_script import (
    Block,
    Command,
    For,
    Function,
    If,
    While,
    parse,
    pieces,
)

MAX_STEPS = 20_000  # commands, and pieces of text of some size
SIZE_OF_A_STEP = 256  # characters
MAX_DEPTH = 16  # of files, functions and menus in each other
MAX_WORDS = 16_384  # characters of one command: no kernel takes so many
MAX_VARIABLES = 512
MAX_FILES = 64  # that a word with `*` stands for
MAX_TEXT = 256  # characters of a text for people

TOO_LONG = "is longer than what is read of a disc's menu"

# Values that only the machine knows hold the command that finds them, in NUL: no text has that.
UNKNOWN = re.compile(r"\0([^\0]*)\0")
_STAR, _ANY = "\ufdd0", "\ufdd1"  # "*" and "?" that are not quoted

_DEVICE = re.compile(r"\(([^)]*)\)(.*)", re.DOTALL)
_HARD_DISK = re.compile(r"(hd|fd|ata|ahci|usb|nvme)\d")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BLANK_FREE = re.compile(r"\S+", re.ASCII)

# They change what a menu looks like, and nothing of what it starts.
HARMLESS = (
    *("insmod", "rmmod", "loadfont", "load_video", "terminal_input", "terminal_output"),
    *("terminal", "serial", "play", "echo", "background_image", "background_color"),
    *("clear", "cls", "videoinfo", "videotest", "lsmod", "ls", "cat", "keymap", "sleep"),
    *("true", "false", "test", "[", "export", "save_env", "trust", "help", "date"),
    *("time",),
)


Commands = Mapping[str, Callable[["GrubRun", list[str]], bool | None]]


class GrubRun:
    """One reading of a disc's menu; `menu` is the one whose script or whose entry runs."""

    def __init__(
        self, files: MenuFiles, path: str, variables: Mapping[str, str], commands: Commands
    ) -> None:
        self.files = files
        self.path = path
        self.commands = commands
        self.menu = Menu(dict(variables), set(variables), (path,))
        self.functions = dict[str, Block]()
        self.images = dict[str, str]()  # files that are devices: what `loopback` has done
        self.unread = list[str]()
        self.steps = MAX_STEPS
        self.depth = 0
        self.start = Start()
        self.params: Sequence[str] = ()
        self.missing = list[tuple[int, str]]()  # of a command: word, variable that nothing sets
        self.status: bool | None = True  # of the last command; None if that cannot be told
        self.asked = ""  # the last command whose status cannot be told
        self.argument_block: Block | None = None  # of the command that runs
        self.unsure = ""  # why the commands that run may not run on the machine

    # Files

    def shown(self, path: str) -> Menu | None:
        """The menu that a file shows, which may be that of another one."""
        try:
            self.source(path)
        except ShownError as shown:
            return shown.menu
        return self.menu

    def source(self, path: str) -> bool:
        """Run a file; False if there is none."""
        text = self.files.text(path)
        if text is None:
            return False
        variables = self.menu.variables
        before = {name: variables.get(name, "") for name in ("config_file", "config_directory")}
        variables |= {"config_file": on_disc(path)}
        variables |= {"config_directory": on_disc(posixpath.dirname(path))}
        self.script(text, path)
        variables |= before
        return True

    def script(self, text: str, path: str) -> None:
        self.deeper()
        self.spend(len(text))
        for unit in parse(text):
            if unit is None:
                self.unread.append(f"a part of {shortened(path)} is no GRUB script")
                continue
            with contextlib.suppress(LeftError):
                self.block(unit)
        self.depth -= 1

    def open(self, path: str, menu: Menu) -> bool:
        """Show another file's menu, if it has one; False if there is no such file."""
        if path in self.menu.configs:
            raise ShownError(None)
        outer, self.menu = self.menu, menu
        shown = self.shown(path)
        if shown is None or shown.items or shown.doubt:
            raise ShownError(shown)
        self.menu = outer
        return self.files.size(path) is not None

    # Statements

    def spend(self, characters: int) -> None:
        self.steps -= 1 + characters // SIZE_OF_A_STEP
        if self.steps < 0:
            raise EndedError

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise EndedError

    def block(self, statements: Block) -> None:
        for statement in statements:
            self.spend(0)
            match statement:
                case Command(words, block):
                    self._command(words, block)
                case Function(name, body):
                    self.functions[name] = body
                case If(arms):
                    self._if(arms)
                case For(name, words, body):
                    for word in self._expanded(words):
                        self.set(name, word)
                        if not self._turn(body):
                            break
                case While():
                    self._while(statement)

    def _if(self, arms: tuple[tuple[Block, Block], ...]) -> None:
        for number, (condition, body) in enumerate(arms):
            if condition:
                self.block(condition)
            else:  # that of `else`
                self.status = True
            if self.status is None:
                why = f"depends on what GRUB's `{self.asked}` finds on the machine"
                self._perhaps(body, why)
                self._perhaps((If(arms[number + 1 :]),), why)
                self.status = None
                return
            if self.status:
                self.block(body)
                return
        self.status = True

    def _while(self, loop: While) -> None:
        while True:
            self.block(loop.condition)
            if self.status is None:
                self._perhaps(
                    loop.body, f"GRUB's `{self.asked}` decides how often a part of it runs"
                )
                return
            if self.status is loop.until or not self._turn(loop.body):
                return

    def _turn(self, body: Block) -> bool:
        """One turn of a loop; False if it was the last."""
        self.spend(0)
        try:
            self.block(body)
        except LeftError as left:
            if left.command == "return":
                raise
            return left.command == "continue"
        return True

    def _perhaps(self, statements: Block, why: str) -> None:
        """What commands would change that may run or not: it is not known from now on."""
        for statement in statements:
            self.spend(0)
            match statement:
                case If(arms):
                    for condition, body in arms:
                        self._perhaps((*condition, *body), why)
                case For(_, _, body) | While(_, _, body):
                    self._perhaps(body, why)
                case Command(words, block):
                    self._perhaps_command(words, block, why)

    def _perhaps_command(self, words: tuple[str, ...], block: Block | None, why: str) -> None:
        setting = words[1:] if words[0] in ("set", "unset") else words[:1]
        name, assigned, _ = "".join(setting).partition("=")
        if _NAME.fullmatch(name) and (assigned or words[0] == "unset"):
            self.set(name, unknown(self.asked))
        elif words[0] in ("menuentry", "submenu"):
            self.unsure = why
            self._command(words, block)
            self.unsure = ""
            self.menu.doubt = self.menu.doubt or why
        elif body := self.functions.get(words[0]):
            self.deeper()
            self._perhaps(body, why)
            self.depth -= 1
        elif words[0] not in HARMLESS:
            self.doubt(why)

    def doubt(self, why: str) -> None:
        """Neither the menu whose script runs, nor the entry whose commands run, is known whole."""
        self.menu.doubt = self.menu.doubt or why
        self.start.unread = self.start.unread or why

    # Words

    def set(self, name: str, value: str) -> None:
        """Set a variable; GRUB takes the brackets off a device in `root`."""
        variables = self.menu.variables
        if len(variables) >= MAX_VARIABLES and name not in variables:
            raise EndedError
        device = _DEVICE.fullmatch(value)
        variables[name] = device[1] if name == "root" and device and not device[2] else value

    def _expanded(self, words: Sequence[str]) -> list[str]:
        """The words with their variables' values; what is not quoted is split at blanks."""
        expanded, length = list[str](), 0
        self.missing = []
        for written in words:
            word: str | None = None
            for piece in pieces(written):
                values = [piece.value]
                if piece.variable:
                    unset = _NAME.match(piece.value) and piece.value not in self.menu.variables
                    if unset and word != "(":  # a device: what would set it means the disc
                        self.missing.append((len(expanded), piece.value))
                    values = self._values(piece.value)
                    if not piece.quoted:
                        values = [part for value in values for part in _BLANK_FREE.findall(value)]
                    elif piece.value != "@":
                        values = [" ".join(values)]
                for number, value in enumerate(values):
                    if number and word is not None:
                        expanded += self._names(word)
                        word = None
                    live = value if piece.quoted else value.replace("*", _STAR).replace("?", _ANY)
                    word = (word or "") + live
                    length += len(value) + 1
                    if length > MAX_WORDS:
                        raise EndedError
            if word is not None:
                expanded += self._names(word)
        self.spend(length)
        return expanded

    def _values(self, name: str) -> list[str]:
        """A variable's value, or those of the words that a function or an entry was given."""
        if name == "#":
            return [str(len(self.params))]
        if name in ("*", "@"):
            return list(self.params)
        if name == "?":
            return [unknown(self.asked) if self.status is None else str(int(not self.status))]
        if name.isdigit():
            return list(self.params[int(name[:6]) - 1 : int(name[:6])] if int(name[:6]) else ())
        return [self.menu.variables.get(name, "")]

    def _names(self, word: str) -> list[str]:
        """The files that a word with `*` or `?` names, the word itself if there are none."""
        plain = word.replace(_STAR, "*").replace(_ANY, "?")
        if plain == word:
            return [word]
        path, trouble = self.located(word)
        if trouble:
            return [plain]
        paths = [""]
        for part in path.split("/")[1:]:
            pattern = part.replace("[", "[[]").replace(_STAR, "*").replace(_ANY, "?")
            found = [
                f"{directory}/{name}"
                for directory in paths
                for name in self.files.names(directory or "/")
                if fnmatch.fnmatchcase(name, pattern)
            ]
            paths = found[:MAX_FILES]
        return paths or [plain]

    def located(self, word: str) -> tuple[str, str]:
        """The path on the disc that a word names; or where else it leads, and no path."""
        device = self.menu.variables.get("root", "")
        if written := _DEVICE.fullmatch(word):
            device, word = written[1], written[2]
        if unknown := UNKNOWN.search(device + word):
            return "", f"what GRUB's `{unknown[1]}` finds on the machine"
        if device in self.images:
            return "", f"within {self.images[device]}"
        if _HARD_DISK.match(device):
            return "", f"({shortened(device)}), a disk of the machine"
        if not word.startswith("/"):
            return "", f"“{shortened(word)}”, where GRUB finds no file"
        return posixpath.normpath("/" + word.lstrip("/")).lower(), ""

    # Commands

    def _command(self, words: tuple[str, ...], block: Block | None) -> None:
        expanded = self._expanded(words)
        if not expanded:
            return
        inverted = expanded[0] == "!" and len(expanded) > 1
        name, *args = expanded[inverted:]
        if inverted:
            self.missing = [(word - 1, variable) for word, variable in self.missing]
        self.argument_block = block
        self.status = self._run(name, args)
        if self.status is None:
            self.asked = shortened(name)
        elif inverted:
            self.status = not self.status

    def _run(self, name: str, args: list[str]) -> bool | None:
        """Run one command; whether it succeeds, or None if that cannot be told."""
        if command := self.commands.get(name):
            return command(self, args)
        if body := self.functions.get(name):
            return self._call(body, args)
        if name in ("break", "continue", "return"):
            if name == "return" and args:
                self.status = args[0] == "0"
            raise LeftError(name)
        variable, assigned, value = name.partition("=")
        if assigned:
            self.set(variable, value)
            return True
        if self.missing and self.missing[0][0] == 0:
            self.doubt(f"takes a command from ${self.missing[0][1]}, which nothing sets")
        self.set_unknown(name, args)
        return None

    def set_unknown(self, name: str, args: list[str]) -> None:
        """A command that asks the machine, and may set a variable to what it finds."""
        for number, arg in enumerate(args):
            option, _, value = arg.partition("=")
            if option in ("--set", "-s"):
                variable = value or "".join(args[number + 1 : number + 2])
                self.set(variable.rpartition(":")[2], unknown(name))
        if name == "read" and args:
            self.set(args[0], unknown(name))

    def _call(self, body: Block, args: list[str]) -> bool | None:
        before, self.params = self.params, args
        self.deeper()
        with contextlib.suppress(LeftError):
            self.block(body)
        self.depth -= 1
        self.params = before
        return self.status


def on_disc(path: str) -> str:
    """The path as GRUB writes it, with the disc as its device."""
    return "(cd0)" + path.rstrip("/")


def unknown(command: str) -> str:
    """The value of a variable that holds what a command finds on the machine."""
    return f"\0{UNKNOWN.sub('', command)}\0"


def shortened(text: str) -> str:
    """A text from the disc, for people."""
    return UNKNOWN.sub("?", text)[:MAX_TEXT]
