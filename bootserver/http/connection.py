"""A client's connection, from accept() to its end: aiohttp's protocol, with limits and a fast lane.

The pool (connections.py) says whether it may stay. It keeps its own times: for a header, between
two requests, and for a client that takes nothing. Each whole header is first the fast lane's.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from bootserver.files.open_version import OpenFile
from bootserver.http.connections import Connections
from bootserver.http.fast_lane import FastLane
from bootserver.http.tcp_info import tcp_facts
from bootserver.sessions.live import AskTcp

END_OF_HEADER = b"\r\n\r\n"
# A request that has a body, or after which the connection speaks something else.
_HAS_MORE = re.compile(
    rb"\n(?:content-length|transfer-encoding|upgrade|expect)[ \t]*:", re.IGNORECASE
)

log = structlog.get_logger(__name__)


class Connection(web.RequestHandler):
    """A client's connection, from accept() on: over TLS, its handshake counts as waiting.

    Each request is first the `lane`'s, if there is one, and else aiohttp's (fast_lane.py).
    """

    __slots__ = (
        *("_accepting", "_header_by", "_held", "_idle_by", "_in_aiohttp", "_lane", "_pool"),
        *("_sending", "_unsent", "_using", "_wire", "address", "ask_tcp"),
        *("socket_fd", "was_answered"),
    )

    def __init__(
        self,
        pool: Connections,
        server: web.Server,
        address: str,
        lane: FastLane | None = None,
    ) -> None:
        self._pool = pool
        config = pool.config
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=config.idle_s,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # or any client has us unpack what nothing reads
        )
        self.address = address
        self._accepting: asyncio.Task[Any] | None = None
        self._wire: asyncio.Transport | None = None
        self._header_by: float | None = loop.time() + config.header_s
        self._unsent = (0, 0.0)  # bytes, and since when it has been so many
        self._lane = lane
        self._in_aiohttp = 0  # requests
        self._sending: asyncio.Task[None] | None = None  # an answer of the lane's
        self._using = ExitStack()  # what that needs
        self._held = b""  # requests that came before that was sent
        self._idle_by: float | None = None  # after an answer of the lane's; else aiohttp sees to it
        self.was_answered = False  # by the lane, since the pool has looked
        self.ask_tcp: AskTcp = _knows_nothing
        self.socket_fd = -1
        self._pool.enter(self)

    def accept(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve what has been accepted."""
        accepting = self._loop.connect_accepted_socket(
            lambda: self,
            connection,
            ssl=tls,
            ssl_handshake_timeout=self._pool.config.header_s if tls else None,
        )
        self._accepting = self._loop.create_task(accepting)
        self._accepting.add_done_callback(self._accepted)

    def _accepted(self, accepting: asyncio.Task[Any]) -> None:
        self._accepting = None
        if accepting.cancelled() or accepting.exception() is not None:  # no TLS, or gone
            self._pool.leave(self)

    @property
    def has_gone(self) -> bool:
        """True once it is neither there nor on its way."""
        return self._wire is None and self._accepting is None

    def drop(self) -> None:
        """End the connection now, whatever is unsent."""
        self._pool.leave(self)
        if self._wire is not None:
            self._wire.abort()
        elif self._accepting is not None:
            self._loop.call_soon(self._accepting.cancel)  # once it has begun, it closes the socket

    def look(self) -> None:
        """End the connection if it takes too long."""
        now = self._loop.time()
        if (self._header_by is not None and now >= self._header_by) or (
            self._idle_by is not None and now >= self._idle_by
        ):
            self.drop()
        elif self._wire is not None:
            size_bytes, since = self._unsent
            now_bytes = _unsent_bytes(self._wire)
            if not now_bytes or now_bytes != size_bytes:
                self._unsent = (now_bytes, now)
            elif now - since >= 1.5 * self._pool.config.stalled_s:  # files.py notices first
                self.drop()

    # ---- What asyncio and aiohttp call ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there, its TLS handshake done."""
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._header_by = self._loop.time() + self._pool.config.header_s
        self.ask_tcp = tcp_facts(transport)
        self.socket_fd = transport.get_extra_info("socket").fileno()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """A request, or a part of one."""
        if self._lane is not None:
            if not self._in_aiohttp:
                data = self._answer_fast(self._lane, data)
                if not data:
                    return
            self._idle_by = None
            self._in_aiohttp += data.count(END_OF_HEADER)
            if not data.endswith(END_OF_HEADER) or _HAS_MORE.search(data):
                self._lane = None  # where its next request begins is for aiohttp to know
        if self._header_by is None and self._pool.is_waiting(self):
            self._header_by = self._loop.time() + self._pool.config.header_s
        super().data_received(data)

    def _answer_fast(self, lane: FastLane, data: bytes) -> bytes:
        """Have the lane answer what it can; returns what is left for aiohttp."""
        while data:
            end = data.find(END_OF_HEADER) + len(END_OF_HEADER)
            header, rest = data[:end], data[end:]
            if not lane.answer(self, header):
                break
            data = rest
            if self._sending is not None:
                self._held = data
                return b""
            self._rest()
        return data

    def _rest(self) -> None:
        """An answer of the lane's is sent; aiohttp has no part in how long the next may take."""
        self._header_by = None
        self._idle_by = self._loop.time() + self._pool.config.idle_s
        self.was_answered = True
        self.keep_alive(True)  # ends aiohttp's own timer

    @property
    def wire(self) -> asyncio.Transport:
        """What it sends on."""
        assert self._wire is not None
        return self._wire

    @property
    def writer(self) -> AbstractStreamWriter:
        """aiohttp's writer on the same."""
        return StreamWriter(self, self._loop)

    def go_on(self, sending: Coroutine[Any, Any, None], file: OpenFile) -> None:
        """Read nothing more, count as busy and have the file in use until that has ended."""
        self._using.enter_context(file.in_use())
        self._header_by = self._idle_by = None
        self.keep_alive(True)
        self.wire.pause_reading()
        self._sending = self._loop.create_task(self._busy_with(sending))
        self._sending.add_done_callback(self._sent)

    async def _busy_with(self, sending: Coroutine[Any, Any, None]) -> None:
        with self._pool.answering(self, self.address):
            await sending

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending = None
        self._using.close()
        if not sending.cancelled() and (err := sending.exception()):
            log.error("http.failed", method="GET", exc_info=err)
        if self._wire is None or self._wire.is_closing():
            return
        if sending.cancelled() or sending.exception():
            self.drop()
            return
        self._rest()
        held, self._held = self._held, b""
        self.wire.resume_reading()
        if held:
            self.data_received(held)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's end of an answer, after which the next request is the lane's again."""
        try:
            response, is_reset = await super().finish_response(request, resp, start_time)
        finally:
            self._in_aiohttp -= 1
        if not response.keep_alive:
            self._lane = None
        return response, is_reset

    def close(self) -> None:
        """Answer no further request."""
        self._lane = None
        super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's
        """End the connection, once an answer under way is sent or so much time is over."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=timeout)
        if self._sending is not None:
            self._sending.cancel()
        await super().shutdown(timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        self._wire, self.socket_fd = None, -1
        self._pool.leave(self)
        super().connection_lost(exc)

    @contextmanager
    def answering(self, request: web.BaseRequest) -> Iterator[None]:
        """The connection is busy until the end of the block."""
        self._header_by = None
        with self._pool.answering(self, request.remote or self.address):
            yield

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to what a handler did not foresee."""
        if isinstance(exc, ConnectionError):
            self._pool.client_left(method=request.method, client=self.address)
            raise exc
        if status >= 500:
            log.error("http.failed", method=request.method, exc_info=exc)
            text = "the server failed; its log says how\n"
        else:
            self._pool.bad_request(client=self.address, reason=type(exc).__name__)
            text = "this is no HTTP request that can be answered here\n"
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun already")
        response = web.Response(status=status, text=text)
        response.force_close()
        return response


def _knows_nothing() -> None:
    """A connection that is not there yet."""


def _unsent_bytes(transport: asyncio.Transport) -> int:
    if transport.is_closing() and transport.get_extra_info("sslcontext"):
        return 0  # asyncio's TLS ends by itself, and can't be asked any more
    return transport.get_write_buffer_size()
