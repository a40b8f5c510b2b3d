"""A disc at the end of a slow line: an NBD server in which every READ takes its time.

A redirected CD (IDE-R, USB-R) carries one SCSI command at a time. The READ goes there, its data
comes back, and only then the drive asks for more. A READ therefore takes

    latency + size / rate

and READs never overlap. QEMU's own throttling cannot say that. Its limits on operations and on
bytes wait side by side, so the longer wait counts instead of the sum.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bootserver.bench.nbd import serve_nbd


@dataclass(frozen=True, slots=True)
class SlowLine:
    """How slow a line is; `bytes_per_s` 0 stands for no limit."""

    latency_s: float = 0.0
    bytes_per_s: int = 0

    def seconds(self, size_bytes: int, reads: int = 1) -> float:
        """How long that many READs take that bring `size_bytes` together."""
        carrying_s = size_bytes / self.bytes_per_s if self.bytes_per_s else 0.0
        return reads * self.latency_s + carrying_s


class _FarDisc:
    """A file whose bytes come when the line would have brought them."""

    block_bytes = 1

    def __init__(self, disc_fd: int, line: SlowLine) -> None:
        self._fd = disc_fd
        self._line = line

    async def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    async def read(self, offset: int, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        arrives_at = loop.time() + self._line.seconds(size)
        data = os.pread(self._fd, size, offset)
        await asyncio.sleep(arrives_at - loop.time())
        return data


@asynccontextmanager
async def serve_disc(disc: Path, line: SlowLine, socket: Path) -> AsyncIterator[None]:
    """The disc is served at the Unix socket `socket` for as long as the block lasts."""
    disc_fd = os.open(disc, os.O_RDONLY | os.O_CLOEXEC)
    try:
        async with serve_nbd(_FarDisc(disc_fd, line), socket):
            yield
    finally:
        os.close(disc_fd)
