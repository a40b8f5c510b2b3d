"""An application on one port: connections are accepted here, and requests read as they are meant.

aiohttp speaks HTTP. asyncio's own loop around accept() is not used. It logs a traceback for each
connection without a descriptor, and cannot wait while the server is full.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from asyncio import sslproto
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from yarl import URL

from bootserver.database import is_awaited
from bootserver.errors import ServerFullError
from bootserver.http.connection import Connection
from bootserver.http.connections import Connections
from bootserver.http.fast_lane import LANE
from bootserver.http.incoming import (
    forwarded,
    is_among,
    is_host,
    merged_slashes,
    plain_address,
    readable,
)
from bootserver.quoting import url_host

BACKLOG = 1024  # a whole site that powers on at once
TLS_READ_BYTES = 16 << 10  # at a time; a record has no more (RFC 8446 §5.1)
READING = (hdrs.METH_GET, hdrs.METH_HEAD)
ACCEPTS_AT_ONCE = 16  # others are to have their turn


class HttpPort:
    """An application that is served on one port."""

    def __init__(
        self,
        app: web.Application,
        connections: Connections,
        *,
        grace_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.connections = connections
        self._tls = tls
        self._lane = None if tls else app.get(LANE)  # its bytes do not pass TLS
        if tls:  # asyncio would have 256 KiB for each connection, a gigabyte for all of them
            sslproto.SSLProtocol.max_size = TLS_READ_BYTES
        # aiohttp takes 0 for no limit
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=max(grace_s, 0.01))
        self._listeners: list[socket.socket] = []
        self._is_listening = False

    @property
    def server(self) -> web.Server:
        """What aiohttp's connections belong to."""
        assert self._runner.server is not None
        return self._runner.server

    async def start(self, address: str, port: int) -> int:
        """Serve on that address, or on all of them if it is `*`; returns the port.

        Raises OSError if the port cannot be had.
        """
        self._listeners = _listeners(address, port)
        try:
            await self._runner.setup()
        except BaseException:
            self._close_listeners()
            raise
        await asyncio.sleep(0)  # what the application does in the background has begun
        server = self.server
        server.request_factory = partial(self._request, server.request_factory)
        server.request_handler = partial(self._answer, server.request_handler)
        self.connections.begin(self)
        name: tuple[Any, ...] = self._listeners[0].getsockname()
        return int(name[1])

    async def stop(self) -> None:
        """Accept nothing more, and wait up to `grace_s` for running answers."""
        self.pause()
        self._close_listeners()
        try:
            await self._runner.cleanup()
        finally:
            await self.connections.end(self)

    def listen(self) -> None:
        """Accept connections."""
        if not self._is_listening:
            self._is_listening = True
            loop = asyncio.get_running_loop()
            for listener in self._listeners:
                loop.add_reader(listener, self._accept, listener)

    def pause(self) -> None:
        """Accept none for now: they wait in the kernel."""
        if self._is_listening:
            self._is_listening = False
            loop = asyncio.get_running_loop()
            for listener in self._listeners:
                loop.remove_reader(listener)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            if not self.connections.has_room():
                return
            try:
                connection, name = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as err:
                self.connections.no_descriptor(err)
                return
            address = plain_address(name[0])
            if self.connections.admit(address):
                connection.setblocking(False)
                lane = None if is_among(address, self.connections.trusted) else self._lane
                one = Connection(self.connections, self.server, address, lane)
                one.accept(connection, self._tls)
            else:
                connection.close()

    def _request(self, make: Any, message: Any, *of_connection: Any) -> web.BaseRequest:
        """The request as the client meant it."""
        changes: dict[str, Any] = {}
        if message.url.absolute:  # as proxies get it; its host is the one meant (RFC 9112 §3.2.2)
            if is_host(authority := message.url.authority):
                changes["host"] = authority
            message = message._replace(url=message.url.relative())
        request: web.BaseRequest = make(message, *of_connection)
        if isinstance(request.headers, dict):
            return request  # aiohttp's own, in place of what is no HTTP
        if not all(value.isascii() for _, value in message.raw_headers):
            changes["headers"] = readable(request.headers)
        named = "host" in changes or hdrs.HOST in request.headers
        if not named and request.transport:  # or aiohttp asks the DNS
            address, number = request.transport.get_extra_info("sockname")[:2]
            changes["host"] = f"{url_host(address)}:{number}"
        path = request.rel_url.raw_path
        if "//" in path:
            query = request.rel_url.raw_query_string
            changes["rel_url"] = URL.build(
                path=merged_slashes(path), query_string=query, encoded=True
            )
        connection = request.protocol
        if isinstance(connection, Connection) and is_among(
            connection.address, self.connections.trusted
        ):
            client = forwarded(request.headers, self.connections.trusted)
            values = {"remote": client.address, "scheme": client.scheme, "host": client.host}
            changes |= {key: value for key, value in values.items() if value}
        return request.clone(**changes) if changes else request

    async def _answer(self, handle: Any, request: web.BaseRequest) -> web.StreamResponse:
        """The application's answer, while the connection counts as busy."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        if request.method in READING:
            is_awaited.set(lambda: request.transport is not None)
        try:
            with connection.answering(request):
                if not all(map(is_host, request.headers.getall(hdrs.HOST, ()))):
                    raise web.HTTPBadRequest(text="the Host header names no host\n")
                answer: web.StreamResponse = await handle(request)
                return answer
        except ServerFullError as err:
            raise web.HTTPServiceUnavailable(
                text=f"{err.message}\n", headers={"Retry-After": "5"}
            ) from err


def _listeners(address: str, port: int) -> list[socket.socket]:
    """Sockets that listen there: on `*` one for IPv4, and one for IPv6 where there is any."""
    if address != "*":
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [_listener(family, address, port)]
    listeners = [_listener(socket.AF_INET, "", port)]
    try:
        listeners.append(_listener(socket.AF_INET6, "", listeners[0].getsockname()[1]))
    except OSError as err:
        if err.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            listeners[0].close()
            raise
    return listeners


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
