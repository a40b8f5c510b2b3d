"""Reads from an image file, at a position and within bounds: a hostile disc costs little."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bootserver.model import CD_SECTOR_BYTES

# What one operation may cost. Listing a UDF directory of 50,000 files reads 100 MB.
READ_BUDGET_BYTES = 128 * 1024**2
CPU_BUDGET_S = 5.0
# What one directory may have. The fullest on distributors' discs have some 10,000 entries.
DIRECTORY_LIMIT_BYTES = 8 * 1024**2
DIRECTORY_LIMIT_ENTRIES = 50_000


class Damage(Exception):
    """What is wrong with a disc: the end of a sentence that its name begins."""


class Compressed(Damage):
    """A file that the disc has compressed: the rest of its sentence is about that file."""


class Source:
    """An image file that is read in small parts, each whole or not at all."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._fd = fd
        self._left_bytes = 0
        self._deadline_s = 0.0
        self._depth = 0

    @contextmanager
    def operation(self) -> Iterator[None]:
        """The reads of the block share one budget; an operation inside another has the outer's."""
        if not self._depth:
            self._left_bytes = READ_BUDGET_BYTES
            self._deadline_s = time.thread_time() + CPU_BUDGET_S
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; raises Damage if the file has not got them."""
        if count > DIRECTORY_LIMIT_BYTES:
            raise Damage(f"its directories ask for {count:,} bytes in one piece")
        if offset + count > self.size_bytes:
            raise Damage(f"its directories point to byte {offset + count:,}, past its end")
        self.spend(count)
        data = os.pread(self._fd, count, offset)
        if len(data) != count:
            raise Damage("it has become shorter")
        return data

    def sector(self, lba: int) -> bytes:
        """One sector; empty where the file has ended."""
        offset = lba * CD_SECTOR_BYTES
        return b"" if offset + CD_SECTOR_BYTES > self.size_bytes else self.read(offset, 2048)

    def spend(self, count: int = CD_SECTOR_BYTES) -> None:
        """Take from the budget; work that reads nothing is charged as a sector."""
        self._left_bytes -= count
        if self._left_bytes < 0 or time.thread_time() > self._deadline_s:
            raise Damage("its directories have no end")
