"""Where a console's messages end, and what is refused at once."""

from __future__ import annotations

import pytest

from bootserver.bench.fake_amt.redirection import Splitter, ViolationError, fields_of

MESSAGES = [
    b"\x10\0\0\0IDER",
    b"\x13\0\0\0\0\0\0\0\0",
    b"\x13\0\0\0\x04\x03\0\0\0\x02ab",
    b"\x40\0\0\0\0\0\0\0\x30\x75\0\0\x20\x4e\x01\0\0\0",
    b"\x48\0\0\0\x01\0\0\0\x01",
    b"\x48\0\0\0\x02\0\0\0\x03\x19\0\0\0",
    b"\x44\0\0\0\x03\0\0\0",
    b"\x45\0\0\0\x04\0\0\0",
    b"\x4b\0\0\0\x05\0\0\0",
    b"\x47\0\0\0\x06\0\0\0",
    b"\x51\0\0\x02\x07\0\0\0" + bytes(23),
    b"\x52\0\0\0\x08\0\0\0" + bytes(23),
    b"\x54\0\0\x02\x09\0\0\0\0\x03\0" + bytes(23) + b"abc",
    b"\x42\0\0\0\x0a\0\0\0",
    b"\x20\0\0\0\0\0\0\0" + bytes(16),
    b"\x27\0\0\0\x01\0\0\0" + bytes(6),
    b"\x28\0\0\0\x02\0\0\0\x02\0ls",
    b"\x2b\0\0\0\x03\0\0\0",
    b"\x24\0\0\0\x04\0\0\0",
    b"\x25\0\0\0\x05\0\0\0",
    b"\x22\0\0\0\x06\0\0\0",
    b"\x12\0\0\0",
]
STREAM = b"".join(MESSAGES)


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_messages_are_the_same_wherever_the_stream_is_split(at: int):
    splitter = Splitter()

    assert splitter.feed(STREAM[:at]) + splitter.feed(STREAM[at:]) == MESSAGES


def test_messages_come_whole_byte_by_byte():
    splitter = Splitter()

    assert [message for byte in STREAM for message in splitter.feed(bytes([byte]))] == MESSAGES


@pytest.mark.parametrize(
    "message",
    [b"\x00", b"\x41", b"\x50", b"\x16\x03\x01", b"\x13\0\0\0\x04\x01\x10\0\0"],
    ids=["0", "a device's", "a command", "TLS", "a login without end"],
)
def test_what_no_console_says_is_a_violation(message: bytes):
    with pytest.raises(ViolationError):
        Splitter().feed(message)


def test_login_fields_come_by_their_lengths():
    assert fields_of(b"\x05admin\x00\x01x") == [b"admin", b"", b"x"]


@pytest.mark.parametrize("data", [b"\x01", b"\x05admi", b"\x01a\x02b"])
def test_a_login_field_that_is_cut_off_is_a_violation(data: bytes):
    with pytest.raises(ViolationError):
        fields_of(data)
