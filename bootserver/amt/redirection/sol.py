"""Intel AMT's Serial over LAN (SOL): its messages, and the console's session.

Theory of operation. After the login the console sends the settings of the line. The firmware
answers that the line is there, or refuses. From then on both sides speak when they have something.
The console sends what the host is to read, the firmware what the host has written. Neither
acknowledges anything. Each shows by heartbeats that it lives, and the firmware may ping as well.
Either side ends the line.

The session keeps nothing but its state. The firmware's numbers are not checked. No console in the
field does, so it is unknown whether all firmware has them right. The session fails if the line is
refused (`Failure.REJECTED`), or at a message that its state does not have.

The messages have the header of IDE-R. Layouts as two consoles in the field have them on the wire,
MeshCentral's and amtterm.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.protocol import (
    MessageShape,
    Ping,
    Service,
    ServiceEnd,
    ServiceMessage,
    SignOfLife,
    bare,
    header,
    sequence_of,
)
from bootserver.amt.redirection.session import AWAITED, Session, SessionEvent, SessionState

DATA_BYTES_MAX = 0xFFFF  # what the length of a message can say
# What hosts read by the byte need not come in large pieces; amtterm and terminals send less.
PIECE_BYTES = 1000

# How the firmware is to pass the line on
BUFFER_BYTES = 10_000
BUFFERING_MS = 100  # it waits so long for more before it sends
OVERFLOW_MS = 0
RX_TIMEOUT_MS = 10_000  # it ends the session if we are silent for longer
FLUSH_MS = 100
HEARTBEAT_MS = 5_000


@dataclass(frozen=True, slots=True)
class SerialReply(ServiceMessage):
    """The answer to our settings: the line is there, or is refused."""

    status: int


@dataclass(frozen=True, slots=True)
class SerialData(ServiceMessage):
    """What the host has written to its serial port."""

    data: bytes


# 0x21 settings reply, 23 bytes: 1 status          0x29 control lines, 10 bytes
# 0x2A data: 8 length (2) of the data, which is at 10
_SHAPES = {
    0x21: MessageShape(23, lambda raw: SerialReply(sequence_of(raw), raw[1])),
    0x23: bare(ServiceEnd),
    0x24: bare(Ping),
    0x25: bare(SignOfLife),  # a pong
    0x29: bare(SignOfLife, 10),  # the host has set its control lines
    0x2A: MessageShape(
        10, lambda raw: SerialData(sequence_of(raw), raw[10:]), 8, 2, DATA_BYTES_MAX
    ),
    0x2B: bare(SignOfLife),  # a heartbeat
}


class SerialSession(Session):
    """One SOL session. Its events are SerialReply (the line is there), SerialData, and the end."""

    service = Service.SERIAL
    shapes = _SHAPES
    awaited = AWAITED | {
        SessionState.OPENING: "the answer to the serial line's settings",
        SessionState.OPEN: "what the host writes",
    }
    alive_command = 0x2B  # consoles in the field send heartbeats, and no pings
    pong_command, close_command = 0x25, 0x22

    # 8 length (2) of the data, which follows
    def send(self, data: bytes) -> None:
        """Has the host read this from its serial port."""
        self._require("sending", SessionState.OPEN)
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            self._out.append(header(0x28, self._next()) + struct.pack("<H", len(piece)) + piece)

    # StartSOL: 8 buffer (2), 10 buffering (2), 12 overflow (2), 14 rx_timeout (2), 16 flush (2),
    #   18 heartbeat (2), 20 zeros (4)
    def _open(self) -> bytes:
        settings = (BUFFER_BYTES, BUFFERING_MS, OVERFLOW_MS, RX_TIMEOUT_MS, FLUSH_MS, HEARTBEAT_MS)
        return header(0x20, self._next()) + struct.pack("<6H4x", *settings)

    def _served(self, message: ServiceMessage) -> SessionEvent | None:
        match self.state, message:
            case SessionState.OPENING, SerialReply(status=status):
                if status != 0:
                    raise RedirectionError(
                        f"the device would not open the serial line: status {status}",
                        failure=Failure.REJECTED,
                    )
                self.state = SessionState.OPEN
            case SessionState.OPEN | SessionState.CLOSING, SerialData():
                pass
            case _:
                raise self._out_of_order(message)
        return message
