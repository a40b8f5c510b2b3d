"""A redirection session of any service: bytes in, events and bytes out, and an end.

Theory of operation. The console speaks first in every state up to OPEN:

| state         | we have sent                   | the firmware answers                        |
|---------------|--------------------------------|---------------------------------------------|
| NEW           | nothing                        | nothing                                     |
| STARTING      | StartRedirectionSession        | StartReply: admitted, or why not            |
| QUERYING      | a query for the ways to log in | AuthReply: the list of them                 |
| CHALLENGING   | an empty digest                | AuthReply with status 1: realm, nonce, qop  |
| RESPONDING    | the digest's response          | AuthReply: 0 if the password is right       |
| OPENING       | what opens the service         | that it is open, after signs of life or not |
| OPEN          | what the service has to say    | what the service has to say                 |
| CLOSING       | what ends the service          | that it has ended; the rest is dropped      |
| ENDED, FAILED | EndRedirectionSession at ENDED | nothing that is read                        |

A session keeps its state, the number of messages sent, and one unfinished message. It keeps the
password until the proof of it is out. A message that its state does not have, a refusal, and a lost
connection end it in FAILED. `Failed` has the reason for programs, and a sentence for people. It has
no socket and no clock. `link` carries it, pings for it, and finds out when the firmware is silent.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.protocol import (
    AuthMethod,
    AuthReply,
    FirmwareMessages,
    Message,
    MessageShape,
    Ping,
    Service,
    ServiceEnd,
    ServiceMessage,
    SignOfLife,
    StartReply,
    Unintelligible,
    authenticate,
    end_session,
    header,
    start_session,
)

AUTH_URI = b"/RedirectionService"
NONCE_COUNT = b"00000002"  # the empty digest that asks for the challenge was request number one


class SessionState(StrEnum):
    """How far a session is."""

    NEW = "new"
    STARTING = "starting"
    QUERYING = "querying"
    CHALLENGING = "challenging"
    RESPONDING = "responding"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    ENDED = "ended"
    FAILED = "failed"


AWAITED = {
    SessionState.NEW: "nothing, for nothing was sent yet",
    SessionState.STARTING: "the answer to our request for a session",
    SessionState.QUERYING: "the list of ways to log in",
    SessionState.CHALLENGING: "the challenge to log in with",
    SessionState.RESPONDING: "the verdict on the password",
    SessionState.OPENING: "the answer to OPEN_SESSION",
    SessionState.OPEN: "commands of the host",
    SessionState.CLOSING: "the answer to CLOSE",
}


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over: we asked for it, or the firmware did it by itself."""

    asked: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is over: why, in words, and what to do about it."""

    failure: Failure
    message: str
    hint: str = ""


SessionEvent = ServiceMessage | Closed | Failed


class Login:
    """The console's part from StartRedirectionSession to the verdict on the password.

    It knows no order of its own: the session says how far it is. The password is forgotten as soon
    as the proof of it is out.
    """

    def __init__(self, service: Service, user: str, password: str, *, cnonce: str) -> None:
        self._service = service
        self._user = user.encode()
        self._password = password.encode()
        self._cnonce = cnonce.encode()
        if len(self._user) > 255:
            raise RedirectionError("a user name for AMT cannot be longer than 255 bytes")

    def forget(self) -> None:
        """Forgets the password: it will not be needed."""
        self._password = b""

    def started(self, reply: StartReply) -> tuple[SessionState, bytes]:
        """The state that follows on the answer to our request, and what to send."""
        match reply.status:
            case 0:
                return SessionState.QUERYING, authenticate(AuthMethod.QUERY)
            case 2:
                raise RedirectionError(
                    f"another console holds the device's {self._service.label}",
                    hint="end it there, or wait until the device gives it up",
                    failure=Failure.BUSY,
                )
            case 1 | 3:
                raise RedirectionError(
                    f"{self._service.label} is switched off on the device, or it has none",
                    hint=f"enable redirection over WS-MAN; {self._service.mebx_switch} must be on "
                    "in MEBx, too",
                    failure=Failure.DISABLED,
                )
            case status:
                raise RedirectionError(
                    f"the device refused the session with status {status}",
                    failure=Failure.REJECTED,
                )

    def answered(self, state: SessionState, reply: AuthReply) -> tuple[SessionState, bytes]:
        """The state that follows on a reply to the login, and what to send; OPENING is the end."""
        if state is SessionState.RESPONDING and reply.status != 0:
            raise RedirectionError(
                "the device refused user name or password", failure=Failure.WRONG_PASSWORD
            )
        is_query = state is SessionState.QUERYING
        due = AuthMethod.QUERY if is_query else AuthMethod.DIGEST
        if reply.status == 2 or (is_query and AuthMethod.DIGEST not in reply.data):
            raise RedirectionError(
                "the device does not offer to log in by digest",
                hint="other ways would show the password; set up a digest user in AMT",
                failure=Failure.NO_DIGEST,
            )
        if reply.method != due:
            raise RedirectionError(
                f"the device answers login method {reply.method}; asked was {int(due)}"
            )
        match state, reply.status:
            case SessionState.QUERYING, 0:
                empty = (self._user, b"", b"", AUTH_URI, b"", b"", b"", b"")
                return SessionState.CHALLENGING, authenticate(AuthMethod.DIGEST, empty)
            case SessionState.CHALLENGING, 1:
                proof = authenticate(AuthMethod.DIGEST, self._proof(reply.data))
                self.forget()
                return SessionState.RESPONDING, proof
            case SessionState.RESPONDING, 0:
                return SessionState.OPENING, b""
        raise RedirectionError(
            f"the device answers with login status {reply.status}; awaited: {AWAITED[state]}"
        )

    def _proof(self, challenge: bytes) -> tuple[bytes, ...]:
        """The fields of the login, by the challenge's realm, nonce and qop.

        A challenge is values that each come after a byte with their length.
        """
        values: list[bytes] = []
        at = 0
        while at < len(challenge):
            stop = at + 1 + challenge[at]
            values.append(challenge[at + 1 : stop])
            at = stop
        if len(values) != 3 or at != len(challenge):
            raise RedirectionError("the device's challenge is not realm, nonce and qop")
        realm, nonce, qop = values
        if b"auth" not in (offered.strip() for offered in qop.split(b",")):
            raise RedirectionError(
                "the device's challenge does not offer qop=auth", failure=Failure.NO_DIGEST
            )
        response = digest_response(self._user, self._password, realm, nonce, self._cnonce)
        identity = (self._user, realm, nonce, AUTH_URI)
        return (*identity, self._cnonce, NONCE_COUNT, response, b"auth")


def digest_response(
    user: bytes, password: bytes, realm: bytes, nonce: bytes, cnonce: bytes
) -> bytes:
    """The proof of knowing the password: RFC 2617 §3.2.2.1, qop=auth, method POST."""

    def md5_hex(*parts: bytes) -> bytes:
        return hashlib.md5(b":".join(parts), usedforsecurity=False).hexdigest().encode()

    secret = md5_hex(user, realm, password)
    return md5_hex(secret, nonce, NONCE_COUNT, cnonce, b"auth", md5_hex(b"POST", AUTH_URI))


class Session(ABC):
    """One redirection session from its first byte to its last; no sockets, no clock.

    After each call the caller writes what `data_to_send` returns, in one write. Sequence numbers
    are given in the order of the calls. It pings every few seconds, or the firmware gives it up. It
    gives the firmware up when nothing comes for three heartbeats. The `cnonce` is 10 to 32 random
    hex digits.

    A service gives its commands, the shapes of its messages, and what they mean.
    """

    service: ClassVar[Service]
    shapes: ClassVar[Mapping[int, MessageShape]]
    awaited: ClassVar[Mapping[SessionState, str]] = AWAITED
    alive_command: ClassVar[int]  # shows the firmware that we live
    pong_command: ClassVar[int]
    close_command: ClassVar[int]

    def __init__(self, user: str, password: str, *, cnonce: str) -> None:
        self._login = Login(self.service, user, password, cnonce=cnonce)
        self._messages = FirmwareMessages(self.shapes)
        self._out: list[bytes] = []
        self._sent = 0  # messages of the service
        self.state = SessionState.NEW

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state}>"

    @property
    def ended(self) -> bool:
        """True if nothing more will happen, well or not."""
        return self.state in (SessionState.ENDED, SessionState.FAILED)

    def data_to_send(self) -> bytes:
        """What is to be written now; each byte is returned once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def start(self) -> None:
        """Asks for a session; the login and the opening of the service follow by themselves."""
        self._require("start", SessionState.NEW)
        self._out.append(start_session(self.service))
        self.state = SessionState.STARTING

    def receive(self, data: bytes) -> list[SessionEvent]:
        """What has happened by these bytes; nothing happens after `Closed` or `Failed`."""
        events: list[SessionEvent] = []
        if self.ended:
            return events
        for message in self._messages.feed(data):
            try:
                event = self._take(message)
            except RedirectionError as err:
                event = self._fail(err)
            if event is not None:
                events.append(event)
            if self.ended:
                break
        return events

    def connection_lost(self) -> list[SessionEvent]:
        """What it means that the firmware has ended the connection now."""
        if self.state is SessionState.CLOSING:
            self.state = SessionState.ENDED
            return [Closed(asked=True)]
        return self.give_up("the device ended the connection")

    def give_up(self, why: str) -> list[SessionEvent]:
        """What it means that, as `why` says, there is no firmware to talk to any more."""
        if self.ended:
            return []
        message = f"{why}; awaited: {self.awaited[self.state]}"
        return [self._fail(RedirectionError(message, failure=Failure.LOST))]

    def ping(self) -> None:
        """Shows the firmware that we live; does nothing while the service is not open."""
        if self.state in (SessionState.OPENING, SessionState.OPEN):
            self._send(self.alive_command)

    def close(self) -> None:
        """Ends the session in an orderly way; `Closed` tells when the service has ended."""
        if self.state in (SessionState.OPENING, SessionState.OPEN):
            self._send(self.close_command)
            self._clear()
            self.state = SessionState.CLOSING
        else:
            self.end()

    def end(self) -> None:
        """Ends the session at once: `close` gets no answer, or there is nothing to close."""
        if self.ended:
            return
        if self.state is not SessionState.NEW:
            self._out.append(end_session())
        self._clear()
        self._login.forget()
        self.state = SessionState.ENDED

    # ---- What a service has to say

    @abstractmethod
    def _open(self) -> bytes:
        """What opens the service, once the login is over."""

    @abstractmethod
    def _served(self, message: ServiceMessage) -> SessionEvent | None:
        """What the service's own message means, in the state OPENING, OPEN or CLOSING."""

    def _check(self, message: ServiceMessage) -> None:  # noqa: B027 - SOL has no such check
        """Raises RedirectionError if the message's number is wrong; a service may not care."""

    def _clear(self) -> None:  # noqa: B027 - nothing of SOL is ever under way
        """Forgets what is under way, if the service has such things: the session will end."""

    # ---- What is left for all

    def _next(self) -> int:
        sequence = self._sent
        self._sent = (sequence + 1) & 0xFFFFFFFF
        return sequence

    def _send(self, command: int) -> None:
        self._out.append(header(command, self._next()))

    def _require(self, what: str, state: SessionState) -> None:
        if self.state is not state:
            raise RedirectionError(f"{what} is for a session that is {state}; it is {self.state}")

    def _fail(self, err: RedirectionError) -> Failed:
        self._clear()
        self._login.forget()
        self.state = SessionState.FAILED
        return Failed(err.failure, err.message, err.hint)

    def _take(self, message: Message) -> SessionEvent | None:
        match self.state, message:
            case _, Unintelligible(reason=reason):
                port = "is this AMT's redirection port, 16994, or with TLS 16995?"
                raise RedirectionError(
                    f"the device does not speak the redirection protocol: {reason}",
                    hint=port if self.state is SessionState.STARTING else "",
                )
            case SessionState.STARTING, StartReply():
                self.state, answer = self._login.started(message)
                self._out.append(answer)
            case (
                SessionState.QUERYING | SessionState.CHALLENGING | SessionState.RESPONDING,
                AuthReply(),
            ):
                self.state, answer = self._login.answered(self.state, message)
                self._out.append(self._open() if self.state is SessionState.OPENING else answer)
            case SessionState.OPENING | SessionState.OPEN | SessionState.CLOSING, ServiceMessage():
                self._check(message)
                return self._take_service(message)
            case _:
                raise self._out_of_order(message)
        return None

    def _take_service(self, message: ServiceMessage) -> SessionEvent | None:
        is_closing = self.state is SessionState.CLOSING
        match message:
            case Ping():
                if not is_closing:  # what ends the service was our last word
                    self._send(self.pong_command)
            case SignOfLife():
                pass  # the caller has seen its bytes
            case ServiceEnd():
                self.end()
                return Closed(is_closing)
            case _:
                return self._served(message)
        return None

    def _out_of_order(self, message: Message) -> RedirectionError:
        name = type(message).__name__
        return RedirectionError(f"the device sent {name}; awaited: {self.awaited[self.state]}")
