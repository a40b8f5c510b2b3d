"""A remote machine's serial port: AMT's Serial over LAN, over a real connection.

async with serial_over_lan(host, user, password) as line:
    await line.send(b"\\r")
    async for data in line:
        ...
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bootserver.amt.redirection.link import Patience, RedirectionLink, session_error
from bootserver.amt.redirection.session import Closed, SessionEvent
from bootserver.amt.redirection.sol import SerialData, SerialReply, SerialSession
from bootserver.amt.tls import Tls

# Unread data up to this; then the device has to wait, and drops at last what the host writes.
UNREAD_BYTES_MAX = 64 << 10
SEND_BYTES = 4096


class SerialLine:
    """A machine's serial port: iterate for what the machine writes, send what it is to read."""

    def __init__(self, host: str, session: SerialSession, patience: Patience) -> None:
        self._session = session
        self._link = RedirectionLink(host, session, self._take, patience)
        self._link.ended.add_done_callback(lambda _: self._news.set())
        self._there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unread = bytearray()
        self._news = asyncio.Event()

    async def open(self, port: int | None, tls: Tls | None) -> None:
        """Returns when the line is there. Raises as `serial_over_lan` does."""
        await self._link.connect(port, tls)
        await self._link.answer(self._there)

    async def send(self, data: bytes) -> None:
        """Returns when the data is on its way. Raises RedirectionError if the line has ended."""
        for at in range(0, len(data), SEND_BYTES):
            await self._link.writable()
            if self._link.ended.done():
                raise session_error(self._link.ended.result())
            self._session.send(data[at : at + SEND_BYTES])
            self._link.flush()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """What has come. Ends when we have closed; raises RedirectionError if the device has."""
        while not self._unread:
            if self._link.ended.done():
                how = self._link.ended.result()
                if how == Closed(asked=True):
                    raise StopAsyncIteration
                raise session_error(how)
            self._news.clear()
            await self._news.wait()
        data = bytes(self._unread)
        self._unread.clear()
        self._link.hold_back(False)
        return data

    async def close(self) -> None:
        """Ends the session; a second call does nothing."""
        await self._link.close()

    def _take(self, event: SessionEvent) -> None:
        match event:
            case SerialReply():
                self._there.set_result(None)
            case SerialData(data=data):
                self._unread += data
                self._news.set()
                if len(self._unread) >= UNREAD_BYTES_MAX:
                    self._link.hold_back(True)


@asynccontextmanager
async def serial_over_lan(
    host: str,
    user: str,
    password: str,
    *,
    port: int | None = None,
    tls: Tls | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[SerialLine]:
    """The machine's serial port is ours while the block lasts.

    Raises AmtUnreachableError or one of its kinds, AmtCertificateError, or RedirectionError, whose
    `failure` says why there is no line. Leaving the block raises nothing.
    """
    session = SerialSession(user, password, cnonce=secrets.token_hex(16))
    line = SerialLine(host, session, patience or Patience())
    try:
        await line.open(port, tls)
        yield line
    finally:
        await line.close()
