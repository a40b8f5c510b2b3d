"""A connection with AMT's redirection port, and the session on it, from first byte to last.

Theory of operation. The session decides and the link carries. The link connects, compares the
certificate, and starts the session. What the session wants to say goes out in one write after each
call. A timer pings. It gives the device up when for `silence_s` nothing comes from it, or it takes
nothing of ours.

What is unsent is bounded twice. Long answers wait while 256 KiB are unsent. Past 1 MiB nothing more
is read, so that no further question needs an answer. `ended` holds how the session ended. It is set
exactly once: by the session, the connection's end, or `close`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from bootserver.amt.errors import AmtError, AmtUnreachableError, Failure, RedirectionError
from bootserver.amt.redirection.session import Closed, Failed, Session, SessionEvent
from bootserver.amt.tls import (
    Tls,
    changed_certificate,
    client_context,
    fingerprint,
    handshake_error,
    reason,
    wrong_transport,
)

PLAIN_PORT = 16994
TLS_PORT = 16995

# A long answer waits while so much is unsent.
UNSENT_BYTES_MAX = 256 << 10
# Answers to what the device asks go out without waiting; past this we hear no more questions.
UNSENT_BYTES_DEAF = 1 << 20

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a console waits for a device, and how often it says that it lives."""

    connect_s: float = 10.0
    answer_s: float = 20.0  # for all from the first byte until the service is there
    ping_every_s: float = 5.0  # well within the 10 s after which firmware may give us up
    silence_s: float = 60.0  # three heartbeats; also how long the device may take nothing of ours
    close_s: float = 3.0  # for the answer to our CLOSE, and again for the connection's end


class RedirectionLink(asyncio.Protocol):
    """One session's connection; `ended` has how it ended, an AmtError's worth or not."""

    def __init__(
        self, host: str, session: Session, take: Callable[[SessionEvent], None], patience: Patience
    ) -> None:
        self.host = host
        self.session = session
        self.certificate_sha256: str | None = None
        self.ended: asyncio.Future[Closed | Failed] = asyncio.get_running_loop().create_future()
        self._take = take
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._held_back = False
        self._heard = True
        self._silent_s = self._stuck_s = 0.0
        self._written_bytes = self._taken_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    # ---- for the owner of the session

    async def connect(self, port: int | None, tls: Tls | None) -> None:
        """Connects, makes sure of the certificate and starts the session. Raises AmtError."""
        port = port if port is not None else TLS_PORT if tls else PLAIN_PORT
        context = await asyncio.to_thread(client_context, tls) if tls else None
        try:
            async with asyncio.timeout(self._patience.connect_s):
                transport, _ = await self._loop.create_connection(
                    lambda: self, self.host, port, ssl=context
                )
        except (OSError, TimeoutError) as err:
            raise await self._not_connected(err, port, tls, context) from err
        if tls:
            self.certificate_sha256 = fingerprint(transport.get_extra_info("ssl_object"))
            if tls.pin_sha256 not in (None, self.certificate_sha256):
                transport.abort()
                raise changed_certificate(self.host)
        self.session.start()
        self.flush()
        self._tick()

    async def answer(self, awaited: asyncio.Future[Result]) -> Result:
        """The future's result, if it comes in time and before the end. Raises RedirectionError."""
        either: set[asyncio.Future[object]] = {
            cast("asyncio.Future[object]", awaited),
            cast("asyncio.Future[object]", self.ended),
        }
        await asyncio.wait(
            either, timeout=self._patience.answer_s, return_when=asyncio.FIRST_COMPLETED
        )
        if awaited.done():
            return awaited.result()
        self.give_up(f"the device has not answered for {self._patience.answer_s:g} s")
        raise session_error(self.ended.result())

    async def writable(self) -> None:
        """Returns when little enough is unsent, or at the end."""
        await self._writable.wait()

    def flush(self) -> None:
        """Writes what the session has to say, in one write."""
        data = self.session.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._written_bytes += len(data)
            self._transport.write(data)

    def give_up(self, why: str) -> None:
        """Ends the session without the device."""
        self._tell(self.session.give_up(why))
        if self._transport is not None:
            self._transport.abort()

    def hold_back(self, hold: bool) -> None:
        """Reads no more, or reads again: what has come is not taken fast enough."""
        self._held_back = hold
        self._set_reading()

    async def close(self) -> None:
        """Ends session and connection, in an orderly way if the device plays its part."""
        self.session.close()
        self.flush()
        if not self.session.ended:
            await asyncio.wait({self.ended}, timeout=self._patience.close_s)
            self.session.end()
            self.flush()
        self._finish(Closed(asked=True))
        if self._transport is not None:
            try:
                async with asyncio.timeout(self._patience.close_s):
                    await self._gone.wait()
            except TimeoutError:
                pass
            finally:
                self._transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop has set TCP_NODELAY. Without it the last part of a READ would wait until the
        # first is acknowledged. The other side delays that by 40 ms.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX, low=UNSENT_BYTES_MAX // 4)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        events = self.session.receive(data)
        self.flush()
        self._tell(events)
        self._set_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            events = self.session.connection_lost()
        else:
            events = self.session.give_up(f"the connection with the device broke: {reason(exc)}")
        self._tell(events)
        self._finish(Closed(asked=True))  # unless an event has said so
        self._gone.set()

    def pause_writing(self) -> None:
        if not self.ended.done():
            self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._set_reading()

    # ---- what is left

    def _tell(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, Closed | Failed):
                self._finish(event)
            else:
                self._take(event)

    def _finish(self, how: Closed | Failed) -> None:
        if self.ended.done():
            return
        self.ended.set_result(how)
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def _set_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        deaf = self._transport.get_write_buffer_size() > UNSENT_BYTES_DEAF
        if deaf or self._held_back:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _tick(self) -> None:
        """Pings, and gives a device up that has been silent, or has taken nothing, for too long."""
        if self.ended.done() or self._transport is None:
            return
        limit_s = self._patience.silence_s
        delay_s = min(self._patience.ping_every_s, limit_s / 4)
        # By ticks and not by the clock: when we stood still, the device is not to blame.
        unsent_bytes = self._transport.get_write_buffer_size()
        taken_bytes = self._written_bytes - unsent_bytes
        stuck = unsent_bytes > 0 and taken_bytes <= self._taken_bytes
        self._taken_bytes = taken_bytes
        self._stuck_s = self._stuck_s + delay_s if stuck else 0.0
        silent = self._transport.is_reading() and not self._heard
        self._heard = False
        self._silent_s = self._silent_s + delay_s if silent else 0.0
        if self._stuck_s >= limit_s:
            self.give_up(f"the device has taken nothing for {limit_s:g} s")
            return
        if self._silent_s >= limit_s:
            self.give_up(f"nothing has come from the device for {limit_s:g} s")
            return
        if self._writable.is_set():
            self.session.ping()
            self.flush()
        self._timer = self._loop.call_later(delay_s, self._tick)

    async def _not_connected(
        self, err: Exception, port: int, tls: Tls | None, context: ssl.SSLContext | None
    ) -> AmtError:
        if tls and (failed := await handshake_error(self.host, port, context, err)):
            return failed
        if port == (TLS_PORT if tls else PLAIN_PORT):
            other_port = PLAIN_PORT if tls else TLS_PORT
            wrong = await wrong_transport(
                self.host, other_port, tls=tls is not None, timeout_s=self._patience.connect_s
            )
            if wrong:
                return wrong
        return AmtUnreachableError(
            f"redirection of AMT on {self.host} cannot be reached on port {port}: {reason(err)}",
            hint="if AMT answers over WS-MAN, redirection is switched off there: enable it",
        )


def session_error(how: Closed | Failed) -> RedirectionError:
    """The error for a session that ended while something was still wanted of it."""
    match how:
        case Failed(failure, message, hint):
            return RedirectionError(message, hint=hint, failure=failure)
        case Closed(asked=True):
            return RedirectionError("the session was ended from here", failure=Failure.ENDED)
        case _:
            return RedirectionError(
                "the device has ended the session",
                hint="another console may have taken over, or redirection was switched off",
                failure=Failure.ENDED,
            )
