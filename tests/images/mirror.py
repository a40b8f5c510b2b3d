"""A web server that holds one image, and has the bad habits a test gives it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

ETAG = '"v1"'


@dataclass
class Mirror:
    """A web server with one file and the bad habits a test gives it."""

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": ETAG})
    cuts: list[int] = field(default_factory=list)  # bytes to send of each answer, then cut
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)  # their Range headers
    before: Callable[[int], None] = lambda number: None  # called with the request's number
    url: str = ""
    part: Path | None = None  # cut only when so much has come here

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.before(len(self.requests))
        self.requests.append(request.headers.get("Range"))
        start, status = 0, 200
        validators = (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if self.ranges and "Range" in request.headers:
            start = request.http_range.start or 0
            start = max(start + len(self.content), 0) if start < 0 else start
            status = 206
            if request.headers.get("If-Range", validators[0]) not in validators:
                start, status = 0, 200
            elif start >= len(self.content):
                total = {"Content-Range": f"bytes */{len(self.content)}"}
                return web.Response(status=416, headers=total)
        body = self.content[start:]
        response = web.StreamResponse(status=status, headers=self.headers)
        if status == 206:
            size = len(self.content)
            response.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        response.content_length = len(body)
        await response.prepare(request)
        if self.cuts:
            cut = self.cuts.pop(0)
            await response.write(body[:cut])
            assert self.part is not None
            async with asyncio.timeout(20):
                while cut and self.part.stat().st_size != start + cut:
                    await asyncio.sleep(0.001)
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        return response


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """The handler's address; it answers every path."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
