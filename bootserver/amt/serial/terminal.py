"""What a terminal at a serial line shows: bytes in, rows of text with their colours out. Pure.

pyte (a VT102 and more) does the emulation, here rather than in browsers. So all viewers see the
same screen, and a late one sees what was there before. What a machine writes may be anything: no
bytes raise, and what is kept is bounded.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyte
from pyte.screens import Char, Margins

COLUMNS, ROWS = 80, 25
SCROLLED_MAX = 1000
# An escape sequence longer than this is none; without a bound a title could fill the memory.
SEQUENCE_MAX = 4096
PIECE = 512

# All but those that terminals obey, C1 too: pyte leaves out the rest of a text after one of them.
_OBEYED = set(b"\a\b\t\n\v\f\r\x0e\x0f\x1b")
_NO_CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - _OBEYED)
# The right end of a frame's line in the PC's own characters is UTF-8, too, for some letters. Hardly
# any firmware writes those.
_ENDS_OF_LINES = {
    ord(pair.decode()): pair.decode("cp437")
    for pair in (
        b"\xc4\xb3",
        b"\xc4\xb4",
        b"\xc4\xbf",
        *(b"\xcd%c" % c for c in b"\xb9\xba\xbb\xbc"),
    )
}
_DECCKM = 1 << 5  # as pyte keeps private modes: cursor keys send application sequences
_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
_COLOURS = {name: number for number, name in enumerate(_NAMES)}
_COLOURS |= {f"bright{name}": 8 + number for name, number in _COLOURS.items()}
_COLOURS["bfightmagenta"] = 13  # pyte 0.8.2 spells it so, for backgrounds
_PALETTE = (  # to find the nearest of; static/console.css draws its own
    *((0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0)),
    *((0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170)),
    *((85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85)),
    *((85, 85, 255), (255, 85, 255), (85, 255, 255), (255, 255, 255)),
)


@dataclass(frozen=True, slots=True)
class StyledRun:
    """A text in one style: words such as `f1` (red), `b4` (on blue), `bold`, `under`, `italic`.

    `f0` to `f15` and `b0` to `b15` are the colours of ANSI. `fb` and `bi` are reverse video of a
    terminal's own two: its background as ink, its ink as background.
    """

    text: str
    style: str = ""


Row = tuple[StyledRun, ...]  # without the blanks at its end


class SerialTerminal:
    """The screen, what has scrolled off its top, and what the terminal answers by itself."""

    def __init__(self) -> None:
        self.scrolled: deque[Row] = deque(maxlen=SCROLLED_MAX)
        self.scrolled_count = 0  # since the beginning
        self._screen = _Screen(self._scroll_off)
        self._decoder = codecs.getincrementaldecoder("utf-8")("bootserver.cp437")
        self._stream = self._new_stream()
        self._unheard = 0  # characters since the screen was last told anything
        self._rows: list[Row] = [()] * ROWS

    def feed(self, data: bytes) -> bytes:
        """Shows what the machine wrote; returns what the terminal tells the machine in reply."""
        text = self._decoder.decode(data).translate(_NO_CONTROLS)
        if not text.isascii():  # combining marks would pile up on one place without end
            text = text.translate(_ENDS_OF_LINES)
            text = "".join(
                char for char in text if char.isascii() or unicodedata.category(char)[0] not in "MC"
            )
        for at in range(0, len(text), PIECE):
            self._unheard += PIECE
            self._stream.feed(text[at : at + PIECE])
            if self._unheard > SEQUENCE_MAX:
                self._stream = self._new_stream()
        return self._screen.replies()

    @property
    def rows(self) -> tuple[Row, ...]:
        """The screen, from its top."""
        dirty = self._screen.dirty
        for y in dirty:
            self._rows[y] = self._row(y)
        dirty.clear()
        return tuple(self._rows)

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and row of the cursor, from 0; None while it is hidden."""
        cursor = self._screen.cursor
        return None if cursor.hidden else (min(cursor.x, COLUMNS - 1), cursor.y)

    @property
    def sends_application_keys(self) -> bool:
        """True if the machine has asked for the other sequences of the cursor keys (DECCKM)."""
        return _DECCKM in self._screen.mode

    def _new_stream(self) -> pyte.Stream:
        self._unheard = 0
        stream = pyte.Stream(strict=False)
        stream.use_utf8 = False  # or it ignores the line-drawing characters of VT100
        stream.attach(_Unoffended(self._screen, self._heard))  # type: ignore[arg-type]
        return stream

    def _heard(self) -> None:
        self._unheard = 0

    def _scroll_off(self) -> None:
        self.scrolled.append(self._row(0))
        self.scrolled_count += 1

    def _row(self, y: int) -> Row:
        line = self._screen.buffer[y]
        runs: list[StyledRun] = []
        text, style = "", ""
        for x in range(COLUMNS):
            char = line[x]
            its = _style(char)
            if its != style:
                if text:
                    runs.append(StyledRun(text, style))
                text, style = "", its
            text += char.data
        if not style:
            text = text.rstrip()
        if text:
            runs.append(StyledRun(text, style))
        return tuple(runs)


class _Screen(pyte.Screen):
    """pyte's screen; it tells when its top line is about to go, and keeps what it would answer."""

    def __init__(self, scroll_off: Callable[[], None]) -> None:
        self._scroll_off = scroll_off
        self._replies = ""
        super().__init__(COLUMNS, ROWS)

    def index(self) -> None:
        """Scrolls if the cursor is on the last line."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self._scroll_off()
        super().index()

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        """Sets modes, save for that of 132 columns: this screen has 80."""
        super().set_mode(*(mode for mode in modes if not _resizes(mode, kwargs)), **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        """Resets modes, save for that of 132 columns."""
        super().reset_mode(*(mode for mode in modes if not _resizes(mode, kwargs)), **kwargs)

    def keep_cursor_inside(self) -> None:
        """Undoes what a line number beyond the screen does in origin mode."""
        self.cursor.y = min(max(0, self.cursor.y), self.lines - 1)
        self.cursor.x = min(max(0, self.cursor.x), self.columns)

    def write_process_input(self, data: str) -> None:
        """Takes what the terminal answers: where its cursor is, or what it is."""
        self._replies += data

    def replies(self) -> bytes:
        """What is to be sent, once."""
        replies, self._replies = self._replies, ""
        return replies.encode()


class _Unoffended:
    """Hands pyte's calls on to the screen, and ignores those that a malformed sequence makes."""

    def __init__(self, screen: _Screen, heard: Callable[[], None]) -> None:
        self._screen = screen
        self._heard = heard

    def __getattr__(self, name: str) -> Callable[..., None]:
        method = getattr(self._screen, name)

        def call(*args: Any, **kwargs: Any) -> None:
            self._heard()
            with suppress(Exception):  # too many parameters, numbers without sense: many kinds
                method(*args, **kwargs)
            self._screen.keep_cursor_inside()

        return call


def _style(char: Char) -> str:
    labels: list[str] = []
    ink, ground = _number(char.fg), _number(char.bg)
    if char.bold and ink is not None and ink < 8:  # as the PC's own screen has it
        ink += 8
    if char.reverse:
        labels.append("fb" if ground is None else f"f{ground}")
        labels.append("bi" if ink is None else f"b{ink}")
    else:
        labels += [] if ink is None else [f"f{ink}"]
        labels += [] if ground is None else [f"b{ground}"]
    flags = {"bold": char.bold, "under": char.underscore, "italic": char.italics}
    return " ".join([*labels, *(word for word, is_set in flags.items() if is_set)])


@cache
def _number(colour: str) -> int | None:
    """The colour's number, 0 to 15; the nearest one for those of larger palettes."""
    if colour == "default":
        return None
    if colour in _COLOURS:
        return _COLOURS[colour]
    try:
        red, green, blue = bytes.fromhex(colour)
    except ValueError:
        return None
    return min(
        range(len(_PALETTE)),
        key=lambda n: sum(
            (a - b) ** 2 for a, b in zip(_PALETTE[n], (red, green, blue), strict=True)
        ),
    )


def _resizes(mode: int, kwargs: dict[str, Any]) -> bool:
    return mode == 3 and bool(kwargs.get("private"))  # DECCOLM


def _as_cp437(error: UnicodeError) -> tuple[str, int]:
    """What is no UTF-8 is of a PC's own character set: how most BIOSes draw their frames."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp437"), error.end


codecs.register_error("bootserver.cp437", _as_cp437)
