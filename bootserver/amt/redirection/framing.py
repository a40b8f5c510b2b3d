"""What AMT's firmware says over redirection: a byte stream cut into messages.

There is no framing on the wire: the first byte of a message implies its length, so one unknown byte
ends the session. Integers are little-endian. The login is the same for every service; the messages
that follow it are the service's, as a table of their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bootserver.amt.redirection.protocol import AUTH_DATA_BYTES_MAX


@dataclass(frozen=True, slots=True)
class StartReply:
    """The answer to StartRedirectionSession; the versions are (0, 0) when it is a refusal."""

    status: int
    protocol: tuple[int, int] = (0, 0)
    firmware: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class AuthReply:
    """What the firmware says to an AuthenticateSession: list of methods, challenge, or verdict."""

    status: int
    method: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unintelligible:
    """Bytes that are no message; nothing after them can be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServiceMessage:
    """Any message after the login; each direction numbers its own, from 0."""

    sequence: int


Message = StartReply | AuthReply | Unintelligible | ServiceMessage


# StartRedirectionSessionReply
#   0   0x11
#   1   status: 0 ok, 1 unknown type, 2 busy, 3 unsupported or disabled, 0xFF error
#   4   protocol major, minor      6  firmware major, minor
#   8   OEM number (4)             12 length of OEM data, which follows
# Of a refusal only the first four bytes are sure to come.
def _start_reply(raw: bytes) -> StartReply:
    return StartReply(raw[1], (raw[4], raw[5]), (raw[6], raw[7]))


# AuthenticateSessionReply
#   0   0x14
#   1   status: 0 ok, 1 refused or "here is your challenge", 2 not supported
#   4   authentication method
#   5   length (4) of the data, which follows
def _auth_reply(raw: bytes) -> AuthReply:
    return AuthReply(raw[1], raw[4], raw[9:])


# All messages after the login begin with
#   0   command      1  0, 0      3  attributes      4  sequence number (4)
def sequence_of(raw: bytes) -> int:
    """The number of a message after the login."""
    return int.from_bytes(raw[4:8], "little")


class Shape(NamedTuple):
    """How long a message is, and who reads it: `fixed_bytes`, and a count in it of what follows."""

    fixed_bytes: int
    parse: Callable[[bytes], Message]
    count_at: int = 0
    count_bytes: int = 0
    count_max: int = 0


_START_REPLY = 0x11
_REFUSAL_BYTES = 4
_LOGIN_SHAPES = {
    _START_REPLY: Shape(13, _start_reply, 12, 1, 255),
    0x14: Shape(9, _auth_reply, 5, 4, AUTH_DATA_BYTES_MAX),
}


class FirmwareMessages:
    """Cuts the firmware's byte stream into messages, wherever the network has cut it.

    Garbage is the last message, `Unintelligible`, and all that comes after it is dropped. It is
    no exception, so that the messages before it count, however the bytes arrive.
    """

    def __init__(self, service_shapes: Mapping[int, Shape]) -> None:
        self._shapes = {**_LOGIN_SHAPES, **service_shapes}
        self._buffer = bytearray()
        self._ended = False

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished message is held: always less than the longest message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        if self._ended:
            return []
        self._buffer += data
        messages: list[Message] = []
        at = 0
        while not self._ended and at < len(self._buffer):
            length, message = self._read(at)
            if message is None:
                break
            messages.append(message)
            at += length
        del self._buffer[: len(self._buffer) if self._ended else at]
        return messages

    def _read(self, at: int) -> tuple[int, Message | None]:
        """The message at an offset and its length; None until it is there as a whole."""
        buffer = self._buffer
        held = len(buffer) - at
        command = buffer[at]
        shape = self._shapes.get(command)
        if shape is None:
            return self._garbage(f"no message begins with 0x{command:02x}")
        if command == _START_REPLY and held >= _REFUSAL_BYTES and buffer[at + 1] != 0:
            self._ended = True  # how much of the refusal follows, nobody knows
            return _REFUSAL_BYTES, StartReply(buffer[at + 1])
        if held < shape.fixed_bytes:
            return 0, None
        count_at = at + shape.count_at
        count = int.from_bytes(buffer[count_at : count_at + shape.count_bytes], "little")
        if count > shape.count_max:
            return self._garbage(
                f"message 0x{command:02x} claims {count:,} bytes of data; "
                f"it can have {shape.count_max:,}"
            )
        length = shape.fixed_bytes + count
        if held < length:
            return 0, None
        return length, shape.parse(bytes(buffer[at : at + length]))

    def _garbage(self, reason: str) -> tuple[int, Message]:
        self._ended = True
        return 0, Unintelligible(reason)
