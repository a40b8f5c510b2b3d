"""What a PC in VGA text mode shows, decoded from its video memory.

| offset | size | meaning                                                    |
|--------|------|------------------------------------------------------------|
| 2n     | 1    | character n in code page 437; 80 to a row, 25 rows          |
| 2n + 1 | 1    | its attribute: foreground, background, blink (IBM VGA)      |
"""

from __future__ import annotations

import re

TEXT_MEMORY_ADDRESS = 0xB8000
COLUMNS = 80
ROWS = 25
TEXT_MEMORY_BYTES = COLUMNS * ROWS * 2

# Python's cp437 decodes these codes as control characters; video memory means the glyphs.
_GLYPHS = dict(enumerate(" ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼")) | {0x7F: "⌂", 0xA0: " "}

# ECMA-48 §5.4, control sequences: CSI, parameters, intermediates, one final byte; and the short
# escapes that terminals know beside them.
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Z]|[=>78cDEHMNOZ])")


def decode_text_memory(memory: bytes) -> str:
    """The 25 lines of a text screen, without trailing blanks and without blank last lines."""
    if len(memory) != TEXT_MEMORY_BYTES:
        raise ValueError(f"a text screen is {TEXT_MEMORY_BYTES} bytes, not {len(memory)}")
    characters = memory[::2].decode("cp437").translate(_GLYPHS)
    rows = (characters[start : start + COLUMNS] for start in range(0, len(characters), COLUMNS))
    return "\n".join(row.rstrip() for row in rows).rstrip("\n")


def strip_escapes(text: str) -> str:
    """A serial console's text without the colours and cursor moves that firmware sends."""
    return _ESCAPE_SEQUENCE.sub("", text)
