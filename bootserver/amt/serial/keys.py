"""What a key sends over a serial line. Pure: names of keys as browsers have them, bytes out."""

from __future__ import annotations

from enum import StrEnum


class Keyboard(StrEnum):
    """Which sequences the keys beside the letters send."""

    XTERM = "xterm"  # Linux, GRUB, iPXE
    VT100_PLUS = "vt100+"  # firmware that is set to VT100+, and Windows' emergency console


ESC = b"\x1b"
_EVERYWHERE = {
    "Enter": b"\r",
    "Tab": b"\t",
    "Shift+Tab": b"\x1b[Z",
    "Escape": ESC,
}
_ARROWS = {"ArrowUp": b"A", "ArrowDown": b"B", "ArrowRight": b"C", "ArrowLeft": b"D"}
_XTERM = {
    "Backspace": b"\x7f",
    "Home": b"\x1b[H",
    "End": b"\x1b[F",
    "Insert": b"\x1b[2~",
    "Delete": b"\x1b[3~",
    "PageUp": b"\x1b[5~",
    "PageDown": b"\x1b[6~",
    **{f"F{n}": b"\x1bO" + final for n, final in enumerate((b"P", b"Q", b"R", b"S"), 1)},
    **{
        f"F{n}": b"\x1b[%d~" % number
        for n, number in enumerate((15, 17, 18, 19, 20, 21, 23, 24), 5)
    },
}
# UEFI 2.10, appendix B, and edk2's terminal driver: an escape, and one more character.
_VT100_PLUS = {
    "Backspace": b"\x08",
    "Home": b"\x1bh",
    "End": b"\x1bk",
    "Insert": b"\x1b+",
    "Delete": b"\x1b-",
    "PageUp": b"\x1b?",
    "PageDown": b"\x1b/",
    **{f"F{n}": ESC + key.encode() for n, key in enumerate("1234567890!@", 1)},
}
_KEYS = {
    Keyboard.XTERM: _EVERYWHERE | _XTERM,
    Keyboard.VT100_PLUS: _EVERYWHERE | _VT100_PLUS,
}


class UnknownKeyError(ValueError):
    """No terminal has that key."""


def key_bytes(
    name: str, keyboard: Keyboard = Keyboard.XTERM, *, application_keys: bool = False
) -> bytes:
    """The bytes of a key: a character, `Enter`, `ArrowUp`, `F5`, `Ctrl+c`, `Alt+x`.

    With `application_keys` the cursor keys send what programs ask for by DECCKM.
    Raises UnknownKeyError for a name that is none.
    """
    if len(name) == 1 and name.isprintable():
        return name.encode()
    if name in _ARROWS:
        return (b"\x1bO" if application_keys else b"\x1b[") + _ARROWS[name]
    if name in _KEYS[keyboard]:
        return _KEYS[keyboard][name]
    modifier, _, key = name.partition("+")
    if modifier == "Ctrl" and (code := _control(key)) is not None:
        return code
    if modifier == "Alt" and key:
        return ESC + key_bytes(key, keyboard, application_keys=application_keys)
    raise UnknownKeyError(f"there is no key {name[:20]!r}")


def text_bytes(text: str) -> bytes:
    """A pasted text as if it were typed: its lines end with Enter, other control codes go."""
    lines = text.replace("\r\n", "\r").replace("\n", "\r")
    return "".join(c for c in lines if c.isprintable() or c in "\r\t").encode(errors="ignore")


def _control(key: str) -> bytes | None:
    """ECMA-48's control codes by the keys that have always sent them."""
    if key in ("Space", " "):
        return b"\0"
    if key == "?":
        return b"\x7f"
    if len(key) == 1 and "@" <= (upper := key.upper()) <= "_":
        return bytes([ord(upper) & 0x1F])
    return None
