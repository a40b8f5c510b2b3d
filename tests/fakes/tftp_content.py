"""Content for a TFTP server under test: files in memory that remember what was done to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bootserver.tftp.server import TftpRefusal, TftpRequest, TftpServer


class MemoryFile:
    """A file in memory; `closed` is None until it is closed, then what close() was told."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size_bytes = len(content)
        self.sent_bytes = 0
        self.closed: bool | None = None
        self.closing = asyncio.Event()

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    def progress(self, sent_bytes: int) -> None:
        self.sent_bytes += sent_bytes

    def close(self, complete: bool) -> None:
        assert self.closed is None, "closed twice"
        self.closed = complete
        self.closing.set()


class Shelf:
    """`open_file` for a server: content by name. What was asked and opened can be looked up."""

    def __init__(self, **content: bytes) -> None:
        self.content = content
        self.requests: list[TftpRequest] = []
        self.opened: list[MemoryFile] = []
        self._opening = asyncio.Event()

    async def open_file(self, request: TftpRequest) -> MemoryFile:
        self.requests.append(request)
        try:
            content = self.content[request.name.lstrip("/")]
        except KeyError:
            raise TftpRefusal(1, "file not found") from None
        self.opened.append(MemoryFile(content))
        self._opening.set()
        return self.opened[-1]

    async def opened_one(self) -> None:
        await self._opening.wait()


@asynccontextmanager
async def serving(open_file, *, host: str = "127.0.0.1", **settings) -> AsyncIterator[TftpServer]:
    """A server on a free port of the loopback interface."""
    server = TftpServer(open_file, hosts=[host], port=0, **settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
