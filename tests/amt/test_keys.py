"""What keys send to a machine."""

from __future__ import annotations

import pytest

from bootserver.amt.serial.keys import Keyboard, UnknownKeyError, key_bytes, text_bytes


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("a", b"a"),
        ("ä", b"\xc3\xa4"),
        (" ", b" "),
        ("+", b"+"),
        ("Enter", b"\r"),
        ("Backspace", b"\x7f"),
        ("Escape", b"\x1b"),
        ("Tab", b"\t"),
        ("Shift+Tab", b"\x1b[Z"),
        ("ArrowUp", b"\x1b[A"),
        ("ArrowDown", b"\x1b[B"),
        ("ArrowRight", b"\x1b[C"),
        ("ArrowLeft", b"\x1b[D"),
        ("Home", b"\x1b[H"),
        ("End", b"\x1b[F"),
        ("Insert", b"\x1b[2~"),
        ("Delete", b"\x1b[3~"),
        ("PageUp", b"\x1b[5~"),
        ("PageDown", b"\x1b[6~"),
        ("F1", b"\x1bOP"),
        ("F4", b"\x1bOS"),
        ("F5", b"\x1b[15~"),
        ("F6", b"\x1b[17~"),
        ("F10", b"\x1b[21~"),
        ("F11", b"\x1b[23~"),
        ("F12", b"\x1b[24~"),
        ("Ctrl+b", b"\x02"),
        ("Ctrl+C", b"\x03"),
        ("Ctrl+[", b"\x1b"),
        ("Ctrl+]", b"\x1d"),
        ("Ctrl+Space", b"\0"),
        ("Alt+x", b"\x1bx"),
        ("Alt+ArrowUp", b"\x1b\x1b[A"),
    ],
)
def test_keys_send_what_terminals_send(name: str, sent: bytes):
    assert key_bytes(name) == sent


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("F1", b"\x1b1"),
        ("F9", b"\x1b9"),
        ("F10", b"\x1b0"),
        ("F11", b"\x1b!"),
        ("F12", b"\x1b@"),
        ("Home", b"\x1bh"),
        ("Delete", b"\x1b-"),
        ("Backspace", b"\x08"),
        ("ArrowUp", b"\x1b[A"),
        ("Enter", b"\r"),
    ],
)
def test_firmware_may_want_other_sequences(name: str, sent: bytes):
    assert key_bytes(name, Keyboard.VT100_PLUS) == sent


def test_cursor_keys_send_what_was_asked_for():
    assert key_bytes("ArrowUp", application_keys=True) == b"\x1bOA"


@pytest.mark.parametrize(
    "name", ["", "Shift", "F13", "Ctrl+", "Ctrl+F1", "\x1b", "ab", "Alt+", "\n"]
)
def test_what_is_no_key_is_refused(name: str):
    with pytest.raises(UnknownKeyError):
        key_bytes(name)


def test_a_pasted_text_is_typed_line_by_line():
    assert text_bytes("dhcp\r\nchain x\n\x1b[31m\tä\x00") == b"dhcp\rchain x\r[31m\t\xc3\xa4"
