"""What all redirection sessions have in common: bytes in, events and bytes out, and an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from bootserver.amt.redirection.console import end_session
from bootserver.amt.redirection.events import AWAITED, Authenticated, Closed, Event, Failed, State
from bootserver.amt.redirection.framing import (
    AuthReply,
    FirmwareMessages,
    Message,
    ServiceMessage,
    Shape,
    StartReply,
    Unintelligible,
)
from bootserver.amt.redirection.login import Login
from bootserver.amt.redirection.protocol import Failure, RedirectionError, Service


class Session(ABC):
    """One redirection session from its first byte to its last; no sockets, no clock.

    The caller writes what `data_to_send` returns after each call, in one write: sequence numbers
    are given in the order of the calls. It pings every few seconds, lest the firmware take it for
    dead, and takes the firmware for dead when nothing comes for three heartbeats. The `cnonce` is
    10 to 32 random hex digits.
    """

    awaited: ClassVar[Mapping[State, str]] = AWAITED

    def __init__(
        self,
        service: Service,
        shapes: Mapping[int, Shape],
        user: str,
        password: str,
        *,
        cnonce: str,
    ) -> None:
        self._login = Login(service, user, password, cnonce=cnonce)
        self._messages = FirmwareMessages(shapes)
        self._out: list[bytes] = []
        self._sent = 0  # messages of the service
        self.state = State.NEW

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state}>"

    @property
    def ended(self) -> bool:
        """True if nothing more will happen, well or not."""
        return self.state in (State.ENDED, State.FAILED)

    def data_to_send(self) -> bytes:
        """What is to be written now; each byte is returned once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def start(self) -> None:
        """Asks for a session; the login and the opening of the service follow by themselves."""
        self._require("start", State.NEW)
        self._out.append(self._login.start())
        self.state = State.STARTING

    def receive(self, data: bytes) -> list[Event]:
        """What has happened by these bytes; nothing happens after `Closed` or `Failed`."""
        events: list[Event] = []
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

    def connection_lost(self) -> list[Event]:
        """What it means that the firmware has ended the connection now."""
        if self.state is State.CLOSING:
            self.state = State.ENDED
            return [Closed(asked=True)]
        return self.give_up("the device ended the connection")

    def give_up(self, why: str) -> list[Event]:
        """What it means that, as `why` says, there is no firmware to talk to any more."""
        if self.ended:
            return []
        message = f"{why}; awaited: {self.awaited[self.state]}"
        return [self._fail(RedirectionError(message, failure=Failure.LOST))]

    def ping(self) -> None:
        """Shows the firmware that we live; does nothing while the service is not open."""
        if self.state in (State.OPENING, State.OPEN):
            self._out.append(self._ping())

    def close(self) -> None:
        """Ends the session in an orderly way; `Closed` tells when the service has ended."""
        if self.state in (State.OPENING, State.OPEN):
            self._out.append(self._close())
            self._clear()
            self.state = State.CLOSING
        else:
            self.end()

    def end(self) -> None:
        """Ends the session at once: nobody answers `close`, or there is nothing to close."""
        if self.ended:
            return
        if self.state is not State.NEW:
            self._out.append(end_session())
        self._clear()
        self._login.forget()
        self.state = State.ENDED

    # What the service has to say

    @abstractmethod
    def _open(self) -> bytes:
        """What opens the service, once the login is over."""

    @abstractmethod
    def _ping(self) -> bytes:
        """What shows that we live."""

    @abstractmethod
    def _close(self) -> bytes:
        """What asks for the service's end."""

    @abstractmethod
    def _served(self, message: ServiceMessage) -> Event | None:
        """What it means that the firmware says this, in the state OPENING, OPEN or CLOSING."""

    @abstractmethod
    def _clear(self) -> None:
        """Forgets what was under way: the session is about to end."""

    # What is left for all

    def _next(self) -> int:
        sequence = self._sent
        self._sent = (sequence + 1) & 0xFFFFFFFF
        return sequence

    def _require(self, what: str, state: State) -> None:
        if self.state is not state:
            raise RedirectionError(f"{what} is for a session that is {state}; it is {self.state}")

    def _fail(self, err: RedirectionError) -> Failed:
        self._clear()
        self._login.forget()
        self.state = State.FAILED
        return Failed(err.failure, err.message, err.hint)

    def _take(self, message: Message) -> Event | None:
        match self.state, message:
            case _, Unintelligible(reason=reason):
                port = "is this AMT's redirection port, 16994, or with TLS 16995?"
                raise RedirectionError(
                    f"the device does not speak the redirection protocol: {reason}",
                    hint=port if self.state is State.STARTING else "",
                )
            case State.STARTING, StartReply():
                self.state, answer = self._login.started(message)
                self._out.append(answer)
                return None
            case State.QUERYING | State.CHALLENGING | State.RESPONDING, AuthReply():
                self.state, answer = self._login.answered(self.state, message)
                if self.state is not State.OPENING:
                    self._out.append(answer)
                    return None
                self._out.append(self._open())
                return Authenticated()
            case State.OPENING | State.OPEN | State.CLOSING, ServiceMessage():
                return self._served(message)
        raise self._out_of_order(message)

    def _out_of_order(self, message: Message) -> RedirectionError:
        name = type(message).__name__
        return RedirectionError(f"the device sent {name}; awaited: {self.awaited[self.state]}")
