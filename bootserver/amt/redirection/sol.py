"""The messages of Serial over LAN (SOL), both ways: plain functions and values, and shapes.

They have the header of storage redirection, and the login before them is the same. Layouts as two
consoles in the field have them on the wire, MeshCentral's and amtterm.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bootserver.amt.redirection.framing import ServiceMessage, Shape, sequence_of

DATA_BYTES_MAX = 0xFFFF  # what the length of a message can say

# ---- What the firmware says


@dataclass(frozen=True, slots=True)
class SerialReply(ServiceMessage):
    """The answer to our settings: the line is there, or is refused."""

    status: int


@dataclass(frozen=True, slots=True)
class SerialEnd(ServiceMessage):
    """The line is gone, whether we asked for it or not."""


@dataclass(frozen=True, slots=True)
class SerialPing(ServiceMessage):
    """Asks for a pong."""


@dataclass(frozen=True, slots=True)
class SerialLife(ServiceMessage):
    """The firmware lives (a pong or a heartbeat), or the host has set its control lines."""


@dataclass(frozen=True, slots=True)
class SerialData(ServiceMessage):
    """What the host has written to its serial port."""

    data: bytes


# All begin with
#   0   command      1  status or 0      4  sequence number (4)
# and then
#   0x21 settings reply, 23 bytes          0x29 control lines, 10 bytes
#   0x2A data: 8 length (2) of the data, which is at 10
SOL_SHAPES = {
    0x21: Shape(23, lambda raw: SerialReply(sequence_of(raw), raw[1])),
    0x23: Shape(8, lambda raw: SerialEnd(sequence_of(raw))),
    0x24: Shape(8, lambda raw: SerialPing(sequence_of(raw))),
    0x25: Shape(8, lambda raw: SerialLife(sequence_of(raw))),
    0x29: Shape(10, lambda raw: SerialLife(sequence_of(raw))),
    0x2A: Shape(10, lambda raw: SerialData(sequence_of(raw), raw[10:]), 8, 2, DATA_BYTES_MAX),
    0x2B: Shape(8, lambda raw: SerialLife(sequence_of(raw))),
}


# ---- What we say


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """How the firmware is to pass the line on; all times in ms."""

    buffer_bytes: int = 10_000
    buffering_ms: int = 100  # it waits so long for more before it sends
    overflow_ms: int = 0
    rx_timeout_ms: int = 10_000  # it ends the session if we are silent for longer
    flush_ms: int = 100
    heartbeat_ms: int = 5_000


# StartSOL: 8 buffer (2), 10 buffering (2), 12 overflow (2), 14 rx_timeout (2), 16 flush (2),
#   18 heartbeat (2), 20 zeros (4)
def open_line(sequence: int, settings: SerialSettings) -> bytes:
    """Asks for the line."""
    return struct.pack(
        "<B3xI6H4x",
        0x20,
        sequence,
        settings.buffer_bytes,
        settings.buffering_ms,
        settings.overflow_ms,
        settings.rx_timeout_ms,
        settings.flush_ms,
        settings.heartbeat_ms,
    )


def close_line(sequence: int) -> bytes:
    """Asks for the line's end."""
    return struct.pack("<B3xI", 0x22, sequence)


def pong(sequence: int) -> bytes:
    """Answers a ping."""
    return struct.pack("<B3xI", 0x25, sequence)


def heartbeat(sequence: int) -> bytes:
    """Shows that we live; consoles in the field send this, and no pings."""
    return struct.pack("<B3xI", 0x2B, sequence)


# 8 length (2) of the data, which follows
def data_to_host(sequence: int, data: bytes) -> bytes:
    """What the host is to read from its serial port."""
    return struct.pack("<B3xIH", 0x28, sequence, len(data)) + data
