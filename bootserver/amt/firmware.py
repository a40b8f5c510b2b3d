"""What AMT's firmware says over redirection: a byte stream cut into messages.

There is no framing on the wire: the first byte of a message implies its length, so one unknown byte
ends the session. Integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bootserver.amt.protocol import (
    AUTH_DATA_BYTES_MAX,
    CHUNK_BYTES_MAX,
    Device,
)


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
class IderMessage:
    """Any IDE-R message; each direction numbers its own, from 0."""

    sequence: int


@dataclass(frozen=True, slots=True)
class OpenReply(IderMessage):
    """The answer to OPEN_SESSION: versions, and how much the firmware takes at a time."""

    status: int
    protocol: tuple[int, int]
    firmware: tuple[int, int]
    read_buffer_bytes: int  # at most so much data in one DATA_TO_HOST
    write_buffer_bytes: int
    transfer_protocol: int
    oem_iana: int


@dataclass(frozen=True, slots=True)
class CloseReply(IderMessage):
    """The IDE-R session is over, whether we asked for it or not."""


@dataclass(frozen=True, slots=True)
class Ping(IderMessage):
    """Asks for a pong."""


@dataclass(frozen=True, slots=True)
class Pong(IderMessage):
    """Answers our ping."""


@dataclass(frozen=True, slots=True)
class Heartbeat(IderMessage):
    """The firmware lives."""


@dataclass(frozen=True, slots=True)
class ResetOccurred(IderMessage):
    """The host was reset: commands that were under way are void."""

    mask: int


@dataclass(frozen=True, slots=True)
class FeaturesReply(IderMessage):
    """The answer to DISABLE_ENABLE_FEATURES."""

    kind: int
    value: int


@dataclass(frozen=True, slots=True)
class ErrorOccurred(IderMessage):
    """The firmware complains; worth a line in the log, and nothing else."""

    code: int


@dataclass(frozen=True, slots=True)
class CommandWritten(IderMessage):
    """The host gave a drive a command: the task file and the packet."""

    features: int
    sector_count: int
    sector_number: int
    byte_count_limit: int
    device_register: int
    ata_command: int  # 0xA0 PACKET; the firmware keeps all others to itself
    cdb: bytes

    @property
    def device(self) -> Device:
        """Which drive is meant: bit 4 of the device register."""
        return Device.CD if self.device_register & 0x10 else Device.FLOPPY

    @property
    def dma(self) -> bool:
        """True if the host wants the data by DMA."""
        return bool(self.features & 1)


@dataclass(frozen=True, slots=True)
class DataFromHost(IderMessage):
    """What the host writes, asked for by `RedirectionSession.request_data`."""

    data: bytes


Message = StartReply | AuthReply | Unintelligible | IderMessage


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


# All IDE-R messages begin with
#   0   command      1  0, 0      3  attributes      4  sequence number (4)
def _sequence(raw: bytes) -> int:
    return int.from_bytes(raw[4:8], "little")


# OPEN_SESSION_REPLY
#   1   not 0: refused             8  protocol major, minor     10 firmware major, minor
#   16  read buffer (2)            18 write buffer (2)          21 transfer protocol, 0
#   25  OEM number (4)             29 length of OEM data, which follows
def _open_reply(raw: bytes) -> OpenReply:
    read_buffer_bytes, write_buffer_bytes = struct.unpack_from("<HH", raw, 16)
    return OpenReply(
        sequence=_sequence(raw),
        status=raw[1],
        protocol=(raw[8], raw[9]),
        firmware=(raw[10], raw[11]),
        read_buffer_bytes=read_buffer_bytes,
        write_buffer_bytes=write_buffer_bytes,
        transfer_protocol=raw[21],
        oem_iana=int.from_bytes(raw[25:29], "little"),
    )


# RESET_OCCURRED: 8 mask
def _reset_occurred(raw: bytes) -> ResetOccurred:
    return ResetOccurred(_sequence(raw), raw[8])


# FEATURES_REPLY: 8 kind, 9 value (4)
def _features_reply(raw: bytes) -> FeaturesReply:
    return FeaturesReply(_sequence(raw), raw[8], int.from_bytes(raw[9:13], "little"))


# ERROR_OCCURRED, 11 bytes: 8 code
def _error_occurred(raw: bytes) -> ErrorOccurred:
    return ErrorOccurred(_sequence(raw), raw[8])


# COMMAND_WRITTEN
#   8   device control        9  features, bit 0 DMA      10 sector count    11 sector number
#   12  byte count limit (2)  14 device, bit 4 CD         15 ATA command     16 CDB (12)
def _command_written(raw: bytes) -> CommandWritten:
    return CommandWritten(_sequence(raw), *struct.unpack_from("<BBBHBB12s", raw, 9))


# DATA_FROM_HOST: 9 length (2) of the data, which is at 14
def _data_from_host(raw: bytes) -> DataFromHost:
    return DataFromHost(_sequence(raw), raw[14:])


class _Shape(NamedTuple):
    """How long a message is, and who reads it: `fixed_bytes`, and a count in it of what follows."""

    fixed_bytes: int
    parse: Callable[[bytes], Message]
    count_at: int = 0
    count_bytes: int = 0
    count_max: int = 0


_START_REPLY = 0x11
_REFUSAL_BYTES = 4
_SHAPES = {
    _START_REPLY: _Shape(13, _start_reply, 12, 1, 255),
    0x14: _Shape(9, _auth_reply, 5, 4, AUTH_DATA_BYTES_MAX),
    0x41: _Shape(30, _open_reply, 29, 1, 255),
    0x43: _Shape(8, lambda raw: CloseReply(_sequence(raw))),
    0x44: _Shape(8, lambda raw: Ping(_sequence(raw))),
    0x45: _Shape(8, lambda raw: Pong(_sequence(raw))),
    0x46: _Shape(9, _reset_occurred),
    0x49: _Shape(13, _features_reply),
    0x4A: _Shape(11, _error_occurred),
    0x4B: _Shape(8, lambda raw: Heartbeat(_sequence(raw))),
    0x50: _Shape(28, _command_written),
    0x53: _Shape(14, _data_from_host, 9, 2, CHUNK_BYTES_MAX),
}


class FirmwareMessages:
    """Cuts the firmware's byte stream into messages, wherever the network has cut it.

    Garbage is the last message, `Unintelligible`, and all that comes after it is dropped. It is
    no exception, so that the messages before it count, however the bytes arrive.
    """

    def __init__(self) -> None:
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
        shape = _SHAPES.get(command)
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
