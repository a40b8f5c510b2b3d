"""Intel AMT's redirection protocol, as far as all its services share it.

Theory of operation. A console connects to port 16994 (16995 with TLS) and speaks first: it asks
for a service by its tag. The firmware admits it, or refuses with a status. The login follows, by
digest (`session` has it), and then the messages of the service (`ider`, `sol`).

There is no framing on the wire: the first byte of a message implies its length. So one unknown byte
ends the session. Integers are little-endian. After the login, each direction numbers its messages
from 0.

`FirmwareMessages` cuts what the firmware sends into messages. It keeps the bytes of one unfinished
message, never more than that message may have. It fails for good on an unknown first byte, and on
a length that no message has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

AUTH_DATA_BYTES_MAX = 1024  # a challenge is three fields of at most 255 bytes


class Service(StrEnum):
    """What is redirected; the value is the tag that asks for it."""

    STORAGE = "IDER"
    SERIAL = "SOL "

    @property
    def label(self) -> str:
        """For a sentence."""
        return "storage redirection" if self is Service.STORAGE else "Serial over LAN"

    @property
    def mebx_switch(self) -> str:
        """What the switch in the machine's own setup is called."""
        return "IDE-R" if self is Service.STORAGE else "SOL"


class AuthMethod(IntEnum):
    """The ways to log in that are used here."""

    QUERY = 0
    DIGEST = 4  # RFC 2617 with qop=auth


# ---- What the console says


# StartRedirectionSession: 0 0x10, 1 0 for storage and serial line, 4 tag
def start_session(service: Service) -> bytes:
    """Asks for a redirection session."""
    return b"\x10\0\0\0" + service.encode()


def end_session() -> bytes:
    """Says that nothing more will come."""
    return b"\x12\0\0\0"


# AuthenticateSession: 0 0x13, 4 method, 5 length (4) of the data, which follows
def authenticate(method: AuthMethod, fields: tuple[bytes, ...] = ()) -> bytes:
    """A step of the login; each field goes out after a byte with its length."""
    data = b"".join(bytes([len(value)]) + value for value in fields)
    return struct.pack("<B3xBI", 0x13, method, len(data)) + data


# After the login: 0 command, 1 zeros (3) of which the last are attributes, 4 sequence number (4)
def header(command: int, sequence: int) -> bytes:
    """The eight bytes that begin a message of a service; they are the whole of some."""
    return struct.pack("<B3xI", command, sequence)


# ---- What the firmware says


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


@dataclass(frozen=True, slots=True)
class Ping(ServiceMessage):
    """Asks for a pong."""


@dataclass(frozen=True, slots=True)
class SignOfLife(ServiceMessage):
    """The firmware is alive: a pong, a heartbeat, or news that nothing here depends on."""


@dataclass(frozen=True, slots=True)
class ServiceEnd(ServiceMessage):
    """The service has ended, whether we asked for it or not."""


Message = StartReply | AuthReply | Unintelligible | ServiceMessage


def sequence_of(raw: bytes) -> int:
    """The number of a message after the login."""
    return int.from_bytes(raw[4:8], "little")


class MessageShape(NamedTuple):
    """How long a message is, and what parses it: `fixed_bytes`, and a count in it of the rest."""

    fixed_bytes: int
    parse: Callable[[bytes], Message]
    count_at: int = 0
    count_bytes: int = 0
    count_max: int = 0


def bare(message: type[ServiceMessage], size_bytes: int = 8) -> MessageShape:
    """The shape of a message of which only the number is read."""
    return MessageShape(size_bytes, lambda raw: message(sequence_of(raw)))


# StartRedirectionSessionReply; of a refusal only the first four bytes are sure to come
#   0   0x11
#   1   status: 0 ok, 1 unknown type, 2 busy, 3 unsupported or disabled, 0xFF error
#   4   protocol major, minor      6  firmware major, minor
#   8   OEM number (4)             12 length of OEM data, which follows
# AuthenticateSessionReply
#   0   0x14
#   1   status: 0 ok, 1 refused or "here is your challenge", 2 not supported
#   4   authentication method
#   5   length (4) of the data, which follows
_START_REPLY = 0x11
_REFUSAL_BYTES = 4
_LOGIN_SHAPES = {
    _START_REPLY: MessageShape(
        13, lambda raw: StartReply(raw[1], (raw[4], raw[5]), (raw[6], raw[7])), 12, 1, 255
    ),
    0x14: MessageShape(
        9, lambda raw: AuthReply(raw[1], raw[4], raw[9:]), 5, 4, AUTH_DATA_BYTES_MAX
    ),
}


class FirmwareMessages:
    """Cuts the firmware's byte stream into messages, wherever the network has cut it.

    Garbage is the last message, `Unintelligible`, and all that comes after it is dropped. It is
    no exception, so that the messages before it count, however the bytes arrive.
    """

    def __init__(self, service_shapes: Mapping[int, MessageShape]) -> None:
        self._shapes = {**_LOGIN_SHAPES, **service_shapes}
        self._buffer = bytearray()
        self._ended = False

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
            self._ended = True  # how much of the refusal follows is not known
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
