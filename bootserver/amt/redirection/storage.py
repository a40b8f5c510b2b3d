"""The console's side of Intel AMT storage redirection (IDE-R): bytes in, events and bytes out.

`RedirectionSession` knows what comes after what; `firmware` parses and `console` builds.
"""

from __future__ import annotations

from collections import deque

from bootserver.amt.redirection.console import (
    close_session,
    command_end,
    data_to_host,
    features,
    get_data_from_host,
    open_session,
    ping,
    pong,
    reset_response,
)
from bootserver.amt.redirection.events import Closed, Event, State, Switched
from bootserver.amt.redirection.framing import ServiceMessage
from bootserver.amt.redirection.ider import (
    IDER_SHAPES,
    CloseReply,
    CommandWritten,
    DataFromHost,
    ErrorOccurred,
    FeaturesReply,
    Heartbeat,
    OpenReply,
    Ping,
    Pong,
    ResetOccurred,
)
from bootserver.amt.redirection.protocol import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    Failure,
    FeatureKind,
    RedirectionError,
    Service,
    SwitchWhen,
    Timings,
)
from bootserver.amt.redirection.session import Session

# Firmware waits for the answer before it sends the next, so this is for a broken one.
COMMANDS_MAX = 16


class RedirectionSession(Session):
    """One IDE-R session; the words of `Session` hold."""

    def __init__(
        self, user: str, password: str, *, cnonce: str, timings: Timings | None = None
    ) -> None:
        super().__init__(Service.STORAGE, IDER_SHAPES, user, password, cnonce=cnonce)
        self._timings = timings or Timings()
        self._received = 0
        self._chunk_bytes = CHUNK_BYTES_MIN
        self._commands: deque[CommandWritten] = deque()  # not yet answered
        self._wanted_bytes = 0  # of the host, by `request_data`
        self._switching: bool | None = None

    def ask(self, kind: FeatureKind) -> None:
        """Asks whether drives can be switched, or are there; a FeaturesReply will tell."""
        self._require("ask", State.OPEN)
        if kind is FeatureKind.SET:
            raise RedirectionError("drives are switched by switch_on and switch_off")
        self._out.append(features(self._next(), kind))

    def switch_on(self, when: SwitchWhen) -> None:
        """Shows the drives to the host; `Switched` or `Failed` will tell."""
        self._switch(on=True, when=when)

    def switch_off(self, when: SwitchWhen) -> None:
        """Takes the drives away (inferred: the known consoles just close the session)."""
        self._switch(on=False, when=when)

    def send_data(
        self, command: CommandWritten, data: bytes | memoryview, *, last: bool = True
    ) -> bool:
        """Answers a command with data; False if a reset or the end has made it void.

        A long answer may come in parts, so that it need not be in memory at once.
        """
        if not data:
            raise RedirectionError("a command without data is answered by end_command")
        if not self._is_current(command):
            return False
        view = memoryview(data)
        for at in range(0, len(view), self._chunk_bytes):
            chunk = view[at : at + self._chunk_bytes]
            final = last and at + len(chunk) == len(view)
            self._out.append(
                data_to_host(self._next(), command.device, chunk, dma=command.dma, last=final)
            )
        if last:
            self._answered()
        return True

    def end_command(
        self, command: CommandWritten, sense: tuple[int, int, int] | None = None
    ) -> bool:
        """Ends a command: good, or with sense; False if a reset or the end has made it void."""
        if not self._is_current(command):
            return False
        self._out.append(command_end(self._next(), command.device, sense))
        self._answered()
        return True

    def request_data(self, command: CommandWritten, size_bytes: int) -> bool:
        """Asks for what a command writes: DataFromHost events until that much has come."""
        if not 0 < size_bytes <= 0xFFFF:
            raise RedirectionError("1 to 65,535 bytes can be asked of the host at a time")
        if not self._is_current(command):
            return False
        self._out.append(get_data_from_host(self._next(), command.device, size_bytes))
        self._wanted_bytes = size_bytes
        return True

    # What we have to say

    def _open(self) -> bytes:
        return open_session(self._next(), self._timings)

    def _ping(self) -> bytes:
        return ping(self._next())

    def _close(self) -> bytes:
        return close_session(self._next())

    def _switch(self, *, on: bool, when: SwitchWhen) -> None:
        self._require("switching drives", State.OPEN)
        if self._switching is not None:
            raise RedirectionError("the device has not yet answered the last switching of drives")
        self._switching = on
        self._out.append(features(self._next(), FeatureKind.SET, when | on))

    def _is_current(self, command: CommandWritten) -> bool:
        if command not in self._commands:
            return False
        if command != self._commands[0]:
            raise RedirectionError("commands are answered in the order in which they came")
        return True

    def _answered(self) -> None:
        self._commands.popleft()
        self._wanted_bytes = 0

    def _clear(self) -> None:
        self._commands.clear()
        self._wanted_bytes = 0

    # What the firmware has to say

    def _served(self, message: ServiceMessage) -> Event | None:
        match self.state, message:
            case State.OPENING, OpenReply():
                return self._opened(message)
            case State.OPENING, Ping() | Pong() | Heartbeat() | ResetOccurred():
                self._received += 1  # or they do not count, and 0x41 is number 0: both are taken
            case State.OPENING, _:
                raise self._out_of_order(message)
            case _:
                self._check_number(message)
        return self._redirected(message)

    def _opened(self, reply: OpenReply) -> OpenReply:
        if reply.sequence == 0:
            self._received = 0
        self._check_number(reply)
        if reply.status != 0 or reply.transfer_protocol != 0:
            raise RedirectionError(
                f"the device would not open storage redirection: status {reply.status}, "
                f"transfer protocol {reply.transfer_protocol}",
                failure=Failure.REJECTED,
            )
        if (
            not CHUNK_BYTES_MIN <= reply.read_buffer_bytes <= CHUNK_BYTES_MAX
            or reply.write_buffer_bytes > CHUNK_BYTES_MAX
        ):
            raise RedirectionError(
                f"the device claims buffers of {reply.read_buffer_bytes:,} and "
                f"{reply.write_buffer_bytes:,} bytes; it can have "
                f"{CHUNK_BYTES_MIN:,} to {CHUNK_BYTES_MAX:,}"
            )
        self._chunk_bytes = reply.read_buffer_bytes
        self.state = State.OPEN
        return reply

    def _check_number(self, message: ServiceMessage) -> None:
        if message.sequence != self._received:
            raise RedirectionError(
                f"the device's message has the number {message.sequence}, "
                f"where {self._received} was due"
            )
        self._received = (self._received + 1) & 0xFFFFFFFF

    def _redirected(self, message: ServiceMessage) -> Event | None:
        match message:
            case Ping() if self.state is not State.CLOSING:  # CLOSE was our last word
                self._out.append(pong(self._next()))
            case Pong() | Heartbeat():
                pass  # the firmware lives, as the caller knows by having bytes of it
            case ErrorOccurred():
                return message
            case CloseReply():
                asked = self.state is State.CLOSING
                self.end()
                return Closed(asked)
            case _ if self.state is State.CLOSING:
                pass  # sent before the firmware saw our CLOSE
            case ResetOccurred():
                self._clear()
                self._out.append(reset_response(self._next()))
                return message
            case FeaturesReply(kind=FeatureKind.SET):
                return self._switched(message)
            case FeaturesReply():
                return message
            case CommandWritten():
                return self._commanded(message)
            case DataFromHost():
                return self._written(message)
            case _:
                raise self._out_of_order(message)
        return None

    def _switched(self, reply: FeaturesReply) -> Switched:
        if self._switching is None:
            raise RedirectionError("the device answers a switching of drives that nobody asked for")
        if reply.value != 1:
            raise RedirectionError(
                f"the device refused to switch its redirected drives (answer {reply.value})",
                hint="let them appear at the next reset, and see to the user's consent",
                failure=Failure.REJECTED,
            )
        on, self._switching = self._switching, None
        return Switched(on)

    def _commanded(self, command: CommandWritten) -> CommandWritten:
        if len(self._commands) == COMMANDS_MAX:
            raise RedirectionError(f"the device sent {COMMANDS_MAX + 1} commands without waiting")
        self._commands.append(command)
        return command

    def _written(self, message: DataFromHost) -> DataFromHost | None:
        size = len(message.data)
        if size > self._wanted_bytes:
            raise RedirectionError(
                f"the device sent {size:,} bytes of the host; {self._wanted_bytes:,} were asked for"
            )
        self._wanted_bytes -= size
        return message
