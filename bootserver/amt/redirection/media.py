"""What lies in a redirected drive: an image in memory, or a file of any size."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from bootserver.amt.redirection.scsi import BLOCK_BYTES, FLOPPY_BLOCKS, DriveKind
from bootserver.errors import ImageError, ImageNotFoundError

# A stub is in memory, and so is a small disc: nothing on the way to it can be slow.
IN_MEMORY_BYTES_MAX = 32 << 20
READ_AHEAD_BYTES = 1 << 20

Data: TypeAlias = bytes | memoryview


class Medium(Protocol):
    """Whole blocks, numbered from 0; the last one is filled up with zeros."""

    @property
    def size_blocks(self) -> int:
        """How many there are."""

    def read_at_once(self, lba: int, count: int) -> Data | None:
        """The blocks, if that takes no time; None if it could. Raises OSError."""

    def read(self, lba: int, count: int) -> Data:
        """The blocks; may block. Raises OSError, also if the image has become shorter."""


class MemoryMedium:
    """A medium with this image."""

    def __init__(self, kind: DriveKind, image: bytes | memoryview) -> None:
        self._view = memoryview(image)
        self._block_bytes = BLOCK_BYTES[kind]
        self.size_blocks = -(-len(self._view) // self._block_bytes)

    def read_at_once(self, lba: int, count: int) -> Data | None:
        return self.read(lba, count)

    def read(self, lba: int, count: int) -> Data:
        wanted = self._view[lba * self._block_bytes : (lba + count) * self._block_bytes]
        missing = count * self._block_bytes - len(wanted)
        return bytes(wanted) + bytes(missing) if missing else wanted


class FileMedium:
    """A medium with the image in an open file, which stays the caller's.

    What the kernel has in memory is read at once. The rest is for a thread: the file's disk may
    sleep, or its server may be far. mmap would not do: a page fault stops all threads.
    """

    def __init__(self, kind: DriveKind, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._block_bytes = BLOCK_BYTES[kind]
        self.size_blocks = -(-size_bytes // self._block_bytes)

    def read_at_once(self, lba: int, count: int) -> Data | None:
        start, size = self._place(lba, count)
        data = bytearray(size)
        try:
            # Linux's; neither other systems nor all of its file systems have it.
            got = os.preadv(self._fd, [data], start, os.RWF_NOWAIT)
        except (OSError, AttributeError):
            return None
        return self._filled(data, count) if got == size else None

    def read(self, lba: int, count: int) -> Data:
        start, size = self._place(lba, count)
        with suppress(OSError, AttributeError):  # advice
            os.posix_fadvise(self._fd, start, size + READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        data = os.pread(self._fd, size, start)
        if len(data) != size:
            raise OSError(f"the image ends {size - len(data):,} bytes too early")
        return self._filled(data, count)

    def _place(self, lba: int, count: int) -> tuple[int, int]:
        start = lba * self._block_bytes
        return start, min(count * self._block_bytes, self._size_bytes - start)

    def _filled(self, data: bytes | bytearray, count: int) -> Data:
        missing = count * self._block_bytes - len(data)
        return memoryview(data + bytes(missing)) if missing else memoryview(data)


@asynccontextmanager
async def open_cd(path: Path) -> AsyncIterator[Medium]:
    """The image as a CD, held open for as long as the block lasts; a small one is in memory.

    Raises ImageNotFoundError, or ImageError if the file is empty or cannot be read.
    """
    try:
        fd = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as err:
        raise ImageNotFoundError(f"{path} is gone", hint="give the file of an image") from err
    except OSError as err:
        raise _unreadable(path, err) from err
    try:
        yield await asyncio.to_thread(_medium_of, path, fd)
    finally:
        os.close(fd)


def blank_floppy() -> Medium:
    """A 1.44 MB floppy full of zeros: some USB-R hosts do not boot the CD beside an empty drive."""
    return MemoryMedium(DriveKind.FLOPPY, bytes(FLOPPY_BLOCKS * BLOCK_BYTES[DriveKind.FLOPPY]))


def _medium_of(path: Path, fd: int) -> Medium:
    try:
        size_bytes = os.fstat(fd).st_size
        if size_bytes == 0:
            raise ImageError(f"{path} is empty", hint="give the file of an image")
        if size_bytes > IN_MEMORY_BYTES_MAX:
            return FileMedium(DriveKind.CD, fd, size_bytes)
        image = os.pread(fd, size_bytes, 0)
    except OSError as err:
        raise _unreadable(path, err) from err
    return MemoryMedium(DriveKind.CD, image)


def _unreadable(path: Path, err: OSError) -> ImageError:
    return ImageError(f"{path} cannot be read: {err.strerror}", hint="check who may read it")
