"""One console's connection to the redirection port: messages in, bytes out as the device likes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bootserver.bench.fake_amt.redirection import Splitter
from bootserver.bench.fake_amt.spec import Segments

_READ_BYTES = 1 << 18
_SLOW_READ_BYTES = 1 << 13
_SLOW_BYTES_PER_S = 10_000_000 // 8


class ConsoleLink:
    """A connection; `next` is for one reader, `send` for many writers.

    While `is_slow` the console's bytes come at 10 Mb/s.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        segments: Segments,
        is_slow: Callable[[], bool],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._segments = segments
        self._is_slow = is_slow
        self._splitter = Splitter()
        self._messages: deque[bytes] = deque()
        self._sending = asyncio.Lock()

    async def next(self, timeout_s: float | None) -> bytes | None:
        """The console's next message; None once it has left.

        Raises TimeoutError when nothing at all comes for so long, ViolationError for nonsense.
        """
        while not self._messages:
            is_slow = self._is_slow()
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(_SLOW_READ_BYTES if is_slow else _READ_BYTES)
            if is_slow:
                await asyncio.sleep(len(data) / _SLOW_BYTES_PER_S)
            if not data:
                return None
            self._messages.extend(self._splitter.feed(data))
        return self._messages.popleft()

    async def send(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError when the console has left."""
        async with self._sending:
            if self._segments is not Segments.BYTES:
                self._writer.write(data)
                await self._writer.drain()
                return
            for byte in data:
                self._writer.write(bytes([byte]))
                await self._writer.drain()
                await asyncio.sleep(0)  # the console gets to see each by itself

    def cut(self) -> None:
        """Break the connection without a word."""
        self._writer.transport.abort()
