"""GRUB's script as data: commands, conditions, loops and functions, and the pieces of words.

The rules are those of the GNU GRUB manual 2.06, section 6.3 "Writing full configuration files
directly" (shell-like scripting). Where the manual is silent, they are what GRUB itself does:

- A file is read unit by unit. A unit is the statements of a line, with all lines into which their
  blocks and compound commands go on. A unit that is not understood is left out, as a whole.
- A line that begins with `#` is no part of the script, not even within quotes.
- Words are expanded when their command runs. So they are kept as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 24  # of blocks and conditions in each other

_VARIABLE = r"\$(?:\{(?:[A-Za-z_]\w*|\d+|[?#*@])\}|[A-Za-z_]\w*|\d+|[?#*@])"
_DOUBLE = r'\$?"(?:\\.|[^\\"])*"'
_SINGLE = r"'[^']*'"
_WORD = re.compile(
    rf"(?:[^{{}}|&$;<> \t\n'\"\\]+|{_DOUBLE}|{_SINGLE}|\\.|{_VARIABLE})+", re.DOTALL | re.ASCII
)
_BLANK = re.compile(r"[ \t]+|#[^\n]*")  # a comment begins where a word would
_SYMBOL = re.compile(r"\|\||&&|;;|[\n{}|&;<>]")
_UNENDING = re.compile(r"\$?\"|'|\Z")  # a quote that no word has: it never ends

_PIECE = re.compile(
    rf"(?P<single>{_SINGLE})|(?P<double>{_DOUBLE})|\\(?P<escaped>x[0-9A-Fa-f]{{2}}|.)"
    rf"|(?P<variable>{_VARIABLE})|(?P<text>[^'\"\\$]+)",
    re.DOTALL | re.ASCII,
)
_QUOTED_PIECE = re.compile(
    rf"\\(?P<escaped>[$\\\"\n])|(?P<variable>{_VARIABLE})|(?P<text>[^\\$]+|.)", re.DOTALL | re.ASCII
)

_RESERVED = (
    *("case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in"),
    *("select", "then", "until", "while"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its words as they are written, and its block where it has one."""

    words: tuple[str, ...]
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with what each one leads to; the last one of `else` is empty, so it is true."""

    arms: tuple[tuple[Block, Block], ...]


@dataclass(frozen=True, slots=True)
class For:
    """A loop over words."""

    name: str
    words: tuple[str, ...]
    body: Block


@dataclass(frozen=True, slots=True)
class While:
    """A loop for as long as its condition is true, or with `until` is not."""

    condition: Block
    until: bool
    body: Block


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition."""

    name: str
    body: Block


Statement = Command | If | For | While | Function
Block = tuple[Statement, ...]


def parse(text: str) -> Iterator[Block | None]:
    """The units of a script, each when it is asked for; None for one that GRUB refuses."""
    lines = (line for line in text.replace("\r", "").split("\n") if not line.startswith("#"))
    return _Parser("\n".join(lines) + "\n").units()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a word; its value is what it is, or names a variable."""

    value: str
    variable: bool = False
    quoted: bool = False


def pieces(word: str) -> Iterator[Piece]:
    """The parts of a word, in order; line joins are none."""
    for part in _PIECE.finditer(word):
        if part["single"] is not None:
            yield Piece(part["single"][1:-1], quoted=True)
        elif part["double"] is not None:
            yield Piece("", quoted=True)  # "" is a word too
            for inner in _QUOTED_PIECE.finditer(part["double"].removeprefix("$")[1:-1]):
                if inner["variable"]:
                    yield Piece(inner["variable"].strip("${}"), variable=True, quoted=True)
                elif inner[0] != "\\\n":
                    yield Piece(inner["escaped"] or inner["text"], quoted=True)
        elif part["variable"]:
            yield Piece(part["variable"].strip("${}"), variable=True)
        elif part["text"]:
            yield Piece(part["text"])
        elif len(part["escaped"]) > 1:
            yield Piece(part[0], quoted=True)  # for the kernel: a blank in a label is \x20
        elif part["escaped"] != "\n":
            yield Piece(part["escaped"], quoted=True)


class _SyntaxError(Exception):
    pass


@dataclass(slots=True)
class _Token:
    """A symbol, or a word: as it is written."""

    text: str
    is_word: bool = False
    end: int = 1  # where it ends in the script, or what was wrong with it


@dataclass(slots=True)
class _Parser:
    text: str
    at: int = 0
    depth: int = 0
    token: _Token = field(default_factory=lambda: _Token(""))

    def units(self) -> Iterator[Block | None]:
        while self.at < len(self.text):
            self.depth = 0
            try:
                yield self._unit()
            except _SyntaxError:
                self.at = self.text.index("\n", self.token.end - 1) + 1
                yield None

    def _unit(self) -> Block:
        self._next()
        statements = list[Statement]()
        while self.token.text != "\n":
            statements.append(self._function() if self._is("function") else self._command())
            if self.token.text == ";":
                self._next()
            elif self.token.text != "\n":
                raise _SyntaxError
        return tuple(statements)

    def _next(self) -> None:
        """Go on to the next symbol or word."""
        text, at = self.text, self.at
        while blank := _BLANK.match(text, at):
            at = blank.end()
        word = _WORD.match(text, at)
        symbol = None if word else _SYMBOL.match(text, at)
        end = word.end() if word else at
        if not symbol and _UNENDING.match(text, end):
            end = len(text)
        found = word or symbol
        self.at = found.end() if found else end
        # What is neither is behind its first character: reading goes on behind the next newline.
        wrong_end = end if found or end == len(text) else end + 1
        self.token = _Token(found[0] if found else "", word is not None, max(self.at, wrong_end))
        if end == len(text) or not found or self.token.text in ("[[", "]]"):
            raise _SyntaxError
        if '"' in self.token.text and _has_lone_dollar(self.token.text):
            raise _SyntaxError

    def _is(self, reserved: str) -> bool:
        return self.token.is_word and self.token.text == reserved

    def _expect(self, text: str) -> None:
        if self.token.text != text:
            raise _SyntaxError
        self._next()

    def _newlines(self) -> None:
        while self.token.text == "\n":
            self._next()

    def _delimiters(self) -> None:
        """One `;` or newline, and more newlines."""
        if self.token.text not in (";", "\n"):
            raise _SyntaxError
        self._next()
        self._newlines()

    def _commands(self, *ends: str, braces: bool = False) -> Block:
        """Commands up to one of the words that may end them; a `}` needs no delimiter before it."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _SyntaxError
        self._newlines()
        commands = [self._command()]
        while not (braces and self.token.text == "}"):
            self._delimiters()
            if self.token.text in ends:
                break
            commands.append(self._command())
        self.depth -= 1
        return tuple(commands)

    def _command(self) -> Statement:
        if self._is("if"):
            return self._if()
        if self._is("for"):
            return self._for()
        if self._is("while") or self._is("until"):
            return self._while(until=self._is("until"))
        if not self.token.is_word or self.token.text in _RESERVED:
            raise _SyntaxError
        words = self._words()
        if self.token.text != "{":
            return Command(words)
        self._next()
        block = self._commands("}", braces=True)
        self._next()
        return Command(words, block)

    def _words(self) -> tuple[str, ...]:
        words = list[str]()
        while self.token.is_word:
            words.append(self.token.text)
            self._next()
        return tuple(words)

    def _if(self) -> If:
        arms = list[tuple[Block, Block]]()
        while not self._is("fi"):
            if self._is("else"):
                self._next()
                arms.append(((), self._commands("fi")))
                break
            self._next()  # if, elif
            condition = self._commands("then")
            self._next()
            arms.append((condition, self._commands("elif", "else", "fi")))
        self._next()
        return If(tuple(arms))

    def _for(self) -> For:
        self._next()
        name = self._name()
        self._expect("in")
        words = self._words()
        self._delimiters()
        return For(name, words, self._do())

    def _while(self, *, until: bool) -> While:
        self._next()
        condition = self._commands("do")
        return While(condition, until, self._do())

    def _do(self) -> Block:
        self._expect("do")
        body = self._commands("done")
        self._next()
        return body

    def _function(self) -> Function:
        self._next()
        name = self._name()
        self._newlines()
        self._expect("{")
        body = self._commands("}")
        self._next()
        return Function(name, body)

    def _name(self) -> str:
        name = self.token.text
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name in _RESERVED:
            raise _SyntaxError
        self._next()
        return name


def _has_lone_dollar(word: str) -> bool:
    """True if a `$` within double quotes begins no variable: GRUB takes that for a mistake."""
    quoted = (part["double"] for part in _PIECE.finditer(word) if part["double"])
    return any(
        "$" in re.sub(rf"\\.|{_VARIABLE}", "", text, flags=re.DOTALL | re.ASCII)
        for text in quoted
        if not text.startswith("$")
    )
