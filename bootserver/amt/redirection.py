"""The console's side of Intel AMT storage redirection (IDE-R): bytes in, events and bytes out.

`RedirectionSession` knows what comes after what; `firmware` parses and `console` builds.
"""

from __future__ import annotations

from collections import deque

from bootserver.amt.console import (
    authenticate,
    close_session,
    command_end,
    data_to_host,
    digest_response,
    end_session,
    features,
    get_data_from_host,
    open_session,
    ping,
    pong,
    reset_response,
    start_session,
)
from bootserver.amt.events import AWAITED, Authenticated, Closed, Event, Failed, State, Switched
from bootserver.amt.firmware import (
    AuthReply,
    CloseReply,
    CommandWritten,
    DataFromHost,
    ErrorOccurred,
    FeaturesReply,
    FirmwareMessages,
    Heartbeat,
    IderMessage,
    Message,
    OpenReply,
    Ping,
    Pong,
    ResetOccurred,
    StartReply,
    Unintelligible,
)
from bootserver.amt.protocol import (
    AUTH_URI,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    NONCE_COUNT,
    AuthMethod,
    Failure,
    FeatureKind,
    RedirectionError,
    SwitchWhen,
    Timings,
)

# Firmware waits for the answer before it sends the next, so this is for a broken one.
COMMANDS_MAX = 16


class RedirectionSession:
    """One IDE-R session from its first byte to its last; no sockets, no clock.

    The caller writes what `data_to_send` returns after each call, in one write: sequence numbers
    are given in the order of the calls. It pings every few seconds, lest the firmware take it for
    dead, and takes the firmware for dead when nothing comes for three heartbeats. The `cnonce` is
    10 to 32 random hex digits.
    """

    def __init__(
        self, user: str, password: str, *, cnonce: str, timings: Timings | None = None
    ) -> None:
        self._user = user.encode()
        self._password = password.encode()
        self._cnonce = cnonce.encode()
        if len(self._user) > 255:
            raise RedirectionError("a user name for AMT cannot be longer than 255 bytes")
        self._timings = timings or Timings()
        self._messages = FirmwareMessages()
        self._out: list[bytes] = []
        self._sent = 0  # IDE-R messages, each way
        self._received = 0
        self._chunk_bytes = CHUNK_BYTES_MIN
        self._commands: deque[CommandWritten] = deque()  # not yet answered
        self._wanted_bytes = 0  # of the host, by `request_data`
        self._switching: bool | None = None
        self.state = State.NEW

    def __repr__(self) -> str:
        return f"<RedirectionSession {self.state}>"

    def data_to_send(self) -> bytes:
        """What is to be written now; each byte is returned once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def start(self) -> None:
        """Asks for a session; the login and OPEN_SESSION follow by themselves."""
        self._require("start", State.NEW)
        self._out.append(start_session())
        self.state = State.STARTING

    def receive(self, data: bytes) -> list[Event]:
        """What has happened by these bytes; nothing happens after `Closed` or `Failed`."""
        events: list[Event] = []
        if self.state in (State.ENDED, State.FAILED):
            return events
        for message in self._messages.feed(data):
            try:
                event = self._take(message)
            except RedirectionError as err:
                event = self._fail(err)
            if event is not None:
                events.append(event)
            if self.state in (State.ENDED, State.FAILED):
                break
        return events

    def connection_lost(self) -> list[Event]:
        """What it means that the firmware has ended the connection now."""
        if self.state in (State.ENDED, State.FAILED):
            return []
        if self.state is State.CLOSING:
            self.state = State.ENDED
            return [Closed(asked=True)]
        awaited = AWAITED[self.state]
        message = f"the device ended the connection; awaited: {awaited}"
        return [self._fail(RedirectionError(message, failure=Failure.LOST))]

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

    def ping(self) -> None:
        """Shows the firmware that we live; does nothing before and after IDE-R."""
        if self.state in (State.OPENING, State.OPEN):
            self._out.append(ping(self._next()))

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

    def close(self) -> None:
        """Ends the session in an orderly way; `Closed` tells when IDE-R has ended."""
        if self.state in (State.OPENING, State.OPEN):
            self._out.append(close_session(self._next()))
            self._void_commands()
            self.state = State.CLOSING
        else:
            self.end()

    def end(self) -> None:
        """Ends the session at once: nobody answers `close`, or there is nothing to close."""
        if self.state in (State.ENDED, State.FAILED):
            return
        if self.state is not State.NEW:
            self._out.append(end_session())
        self._void_commands()
        self._password = b""
        self.state = State.ENDED

    # What we have to say

    def _next(self) -> int:
        sequence = self._sent
        self._sent = (sequence + 1) & 0xFFFFFFFF
        return sequence

    def _require(self, what: str, state: State) -> None:
        if self.state is not state:
            raise RedirectionError(f"{what} is for a session that is {state}; it is {self.state}")

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

    def _void_commands(self) -> None:
        self._commands.clear()
        self._wanted_bytes = 0

    def _fail(self, err: RedirectionError) -> Failed:
        self._void_commands()
        self._password = b""
        self.state = State.FAILED
        return Failed(err.failure, err.message, err.hint)

    # What the firmware has to say

    def _take(self, message: Message) -> Event | None:
        match self.state, message:
            case _, Unintelligible(reason=reason):
                port = "is this AMT's redirection port, 16994, or with TLS 16995?"
                raise RedirectionError(
                    f"the device does not speak the redirection protocol: {reason}",
                    hint=port if self.state is State.STARTING else "",
                )
            case State.STARTING, StartReply() as reply:
                self._started(reply)
                return None
            case State.QUERYING | State.CHALLENGING | State.RESPONDING, AuthReply() as reply:
                return self._log_in(reply)
            case State.OPENING, OpenReply() as reply:
                return self._opened(reply)
            case State.OPENING, Ping() | Pong() | Heartbeat() | ResetOccurred() as early:
                return self._redirected(early)  # 0x41 is number 0, so these have none that counts
            case State.OPEN | State.CLOSING, IderMessage() as numbered:
                self._check_number(numbered)
                return self._redirected(numbered)
        raise self._out_of_order(message)

    def _out_of_order(self, message: Message) -> RedirectionError:
        name = type(message).__name__
        return RedirectionError(f"the device sent {name}; awaited: {AWAITED[self.state]}")

    def _started(self, reply: StartReply) -> None:
        match reply.status:
            case 0:
                self._out.append(authenticate(AuthMethod.QUERY))
                self.state = State.QUERYING
            case 2:
                raise RedirectionError(
                    "another console holds the device's storage redirection",
                    hint="end it there, or wait until the device gives it up",
                    failure=Failure.BUSY,
                )
            case 1 | 3:
                raise RedirectionError(
                    "storage redirection is switched off on the device, or it has none",
                    hint="enable redirection over WS-MAN; IDE-R must be on in MEBx, too",
                    failure=Failure.DISABLED,
                )
            case status:
                raise RedirectionError(
                    f"the device refused the session with status {status}",
                    failure=Failure.REJECTED,
                )

    def _log_in(self, reply: AuthReply) -> Authenticated | None:
        if self.state is State.RESPONDING and reply.status != 0:
            raise RedirectionError(
                "the device refused user name or password", failure=Failure.WRONG_PASSWORD
            )
        due = AuthMethod.QUERY if self.state is State.QUERYING else AuthMethod.DIGEST
        if reply.status == 2 or (
            self.state is State.QUERYING and AuthMethod.DIGEST not in reply.data
        ):
            raise RedirectionError(
                "the device does not offer to log in by digest",
                hint="other ways would show the password; set up a digest user in AMT",
                failure=Failure.NO_DIGEST,
            )
        if reply.method != due:
            raise RedirectionError(
                f"the device answers login method {reply.method}; asked was {int(due)}"
            )
        match self.state, reply.status:
            case State.QUERYING, 0:
                empty = (self._user, b"", b"", AUTH_URI, b"", b"", b"", b"")
                self._out.append(authenticate(AuthMethod.DIGEST, empty))
                self.state = State.CHALLENGING
            case State.CHALLENGING, 1:
                self._out.append(authenticate(AuthMethod.DIGEST, self._proof(reply.data)))
                self._password = b""
                self.state = State.RESPONDING
            case State.RESPONDING, 0:
                self._out.append(open_session(self._next(), self._timings))
                self.state = State.OPENING
                return Authenticated()
            case _, status:
                raise RedirectionError(
                    f"the device answers with login status {status}; awaited: {AWAITED[self.state]}"
                )
        return None

    def _proof(self, challenge: bytes) -> tuple[bytes, ...]:
        """The fields of the login, by the challenge's realm, nonce and qop."""
        values = _fields(challenge)
        if len(values) != 3:
            raise RedirectionError("the device's challenge is not realm, nonce and qop")
        realm, nonce, qop = values
        if b"auth" not in (word.strip() for word in qop.split(b",")):
            raise RedirectionError(
                "the device's challenge does not offer qop=auth", failure=Failure.NO_DIGEST
            )
        response = digest_response(self._user, self._password, realm, nonce, self._cnonce)
        head = (self._user, realm, nonce, AUTH_URI)
        return (*head, self._cnonce, NONCE_COUNT, response, b"auth")

    def _opened(self, reply: OpenReply) -> OpenReply:
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

    def _check_number(self, message: IderMessage) -> None:
        if message.sequence != self._received:
            raise RedirectionError(
                f"the device's message has the number {message.sequence}, "
                f"where {self._received} was due"
            )
        self._received = (self._received + 1) & 0xFFFFFFFF

    def _redirected(self, message: IderMessage) -> Event | None:
        match message:
            case Ping():
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
                self._void_commands()
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


def _fields(data: bytes) -> list[bytes]:
    """Values that each come after a byte with their length; empty if the data is cut short."""
    values = []
    at = 0
    while at < len(data):
        stop = at + 1 + data[at]
        if stop > len(data):
            return []
        values.append(data[at + 1 : stop])
        at = stop
    return values
