"""The console's side of Serial over LAN: bytes in, events and bytes out."""

from __future__ import annotations

from bootserver.amt.redirection.events import AWAITED, Closed, Event, State
from bootserver.amt.redirection.framing import ServiceMessage
from bootserver.amt.redirection.protocol import Failure, RedirectionError, Service
from bootserver.amt.redirection.session import Session
from bootserver.amt.redirection.sol import (
    SOL_SHAPES,
    SerialData,
    SerialEnd,
    SerialLife,
    SerialPing,
    SerialReply,
    SerialSettings,
    close_line,
    data_to_host,
    heartbeat,
    open_line,
    pong,
)

# What hosts read by the byte need not come in large pieces; amtterm and terminals send less.
PIECE_BYTES = 1000


class SerialSession(Session):
    """One SOL session; the words of `Session` hold. The firmware's numbers are not checked.

    No console in the field does, so nobody knows whether all firmware has them right.
    """

    awaited = AWAITED | {
        State.OPENING: "the answer to the serial line's settings",
        State.OPEN: "what the host writes",
    }

    def __init__(
        self, user: str, password: str, *, cnonce: str, settings: SerialSettings | None = None
    ) -> None:
        super().__init__(Service.SERIAL, SOL_SHAPES, user, password, cnonce=cnonce)
        self._settings = settings or SerialSettings()

    def send(self, data: bytes) -> None:
        """Has the host read this from its serial port."""
        self._require("sending", State.OPEN)
        for at in range(0, len(data), PIECE_BYTES):
            self._out.append(data_to_host(self._next(), data[at : at + PIECE_BYTES]))

    def _open(self) -> bytes:
        return open_line(self._next(), self._settings)

    def _ping(self) -> bytes:
        return heartbeat(self._next())

    def _close(self) -> bytes:
        return close_line(self._next())

    def _clear(self) -> None:
        pass  # nothing is ever under way

    def _served(self, message: ServiceMessage) -> Event | None:
        match self.state, message:
            case State.OPENING, SerialReply(status=status):
                if status != 0:
                    raise RedirectionError(
                        f"the device would not open the serial line: status {status}",
                        failure=Failure.REJECTED,
                    )
                self.state = State.OPEN
                return message
            case State.OPENING | State.OPEN, SerialPing():
                self._out.append(pong(self._next()))
                return None
            case _, SerialPing() | SerialLife():
                return None
            case State.OPEN | State.CLOSING, SerialData():
                return message
            case _, SerialEnd():
                asked = self.state is State.CLOSING
                self.end()
                return Closed(asked)
        raise self._out_of_order(message)
