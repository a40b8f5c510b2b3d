"""What AMT's firmware says once storage redirection (IDE-R) may be opened."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bootserver.amt.redirection.framing import ServiceMessage, Shape, sequence_of
from bootserver.amt.redirection.protocol import CHUNK_BYTES_MAX, Device


@dataclass(frozen=True, slots=True)
class OpenReply(ServiceMessage):
    """The answer to OPEN_SESSION: versions, and how much the firmware takes at a time."""

    status: int
    protocol: tuple[int, int]
    firmware: tuple[int, int]
    read_buffer_bytes: int  # at most so much data in one DATA_TO_HOST
    write_buffer_bytes: int
    transfer_protocol: int
    oem_iana: int


@dataclass(frozen=True, slots=True)
class CloseReply(ServiceMessage):
    """The IDE-R session is over, whether we asked for it or not."""


@dataclass(frozen=True, slots=True)
class Ping(ServiceMessage):
    """Asks for a pong."""


@dataclass(frozen=True, slots=True)
class Pong(ServiceMessage):
    """Answers our ping."""


@dataclass(frozen=True, slots=True)
class Heartbeat(ServiceMessage):
    """The firmware lives."""


@dataclass(frozen=True, slots=True)
class ResetOccurred(ServiceMessage):
    """The host was reset: commands that were under way are void."""

    mask: int


@dataclass(frozen=True, slots=True)
class FeaturesReply(ServiceMessage):
    """The answer to DISABLE_ENABLE_FEATURES."""

    kind: int
    value: int


@dataclass(frozen=True, slots=True)
class ErrorOccurred(ServiceMessage):
    """The firmware complains; worth a line in the log, and nothing else."""

    code: int


@dataclass(frozen=True, slots=True)
class CommandWritten(ServiceMessage):
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
class DataFromHost(ServiceMessage):
    """What the host writes, asked for by `RedirectionSession.request_data`."""

    data: bytes


# OPEN_SESSION_REPLY
#   1   not 0: refused             8  protocol major, minor     10 firmware major, minor
#   16  read buffer (2)            18 write buffer (2)          21 transfer protocol, 0
#   25  OEM number (4)             29 length of OEM data, which follows
def _open_reply(raw: bytes) -> OpenReply:
    read_buffer_bytes, write_buffer_bytes = struct.unpack_from("<HH", raw, 16)
    return OpenReply(
        sequence=sequence_of(raw),
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
    return ResetOccurred(sequence_of(raw), raw[8])


# FEATURES_REPLY: 8 kind, 9 value (4)
def _features_reply(raw: bytes) -> FeaturesReply:
    return FeaturesReply(sequence_of(raw), raw[8], int.from_bytes(raw[9:13], "little"))


# ERROR_OCCURRED, 11 bytes: 8 code
def _error_occurred(raw: bytes) -> ErrorOccurred:
    return ErrorOccurred(sequence_of(raw), raw[8])


# COMMAND_WRITTEN
#   8   device control        9  features, bit 0 DMA      10 sector count    11 sector number
#   12  byte count limit (2)  14 device, bit 4 CD         15 ATA command     16 CDB (12)
def _command_written(raw: bytes) -> CommandWritten:
    return CommandWritten(sequence_of(raw), *struct.unpack_from("<BBBHBB12s", raw, 9))


# DATA_FROM_HOST: 9 length (2) of the data, which is at 14
def _data_from_host(raw: bytes) -> DataFromHost:
    return DataFromHost(sequence_of(raw), raw[14:])


IDER_SHAPES = {
    0x41: Shape(30, _open_reply, 29, 1, 255),
    0x43: Shape(8, lambda raw: CloseReply(sequence_of(raw))),
    0x44: Shape(8, lambda raw: Ping(sequence_of(raw))),
    0x45: Shape(8, lambda raw: Pong(sequence_of(raw))),
    0x46: Shape(9, _reset_occurred),
    0x49: Shape(13, _features_reply),
    0x4A: Shape(11, _error_occurred),
    0x4B: Shape(8, lambda raw: Heartbeat(sequence_of(raw))),
    0x50: Shape(28, _command_written),
    0x53: Shape(14, _data_from_host, 9, 2, CHUNK_BYTES_MAX),
}
