"""One version of a file held open: what is read from it is never of another version unnoticed."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from bootserver.errors import ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.model import ByteRange, Content, FileVersion


class OpenFile:
    """The bytes [start, stop) of one version of a file, held open for any number of answers.

    `close()` may come at any time: the descriptor goes when the last answer has ended.
    """

    def __init__(self, fd: int, content: Content, extent: ByteRange) -> None:
        version, sha256 = content.version, content.sha256
        whole = extent == ByteRange(0, version.size_bytes)
        self.fd = fd
        self.path = content.path
        self.version = version
        self.start = extent.start
        self.size_bytes = len(extent)
        self.etag = f'"{sha256}"' if whole else f'"{sha256}-{extent.start}-{extent.stop}"'
        # RFC 9110 §8.8.2.1: never later than the Date of the answer.
        self.last_modified_s = min(version.mtime_ns // 10**9, int(time.time()))
        self._answers = 0
        self._closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back once no answer needs it; a second call does nothing."""
        self._closing = True
        if not self._answers and self.fd >= 0:
            fd, self.fd = self.fd, -1  # never the number of somebody else's file
            os.close(fd)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The descriptor stays open until the end of the block."""
        if self._closing:
            raise ImageNotReadyError(f"{self.path} is no longer open", hint="try again")
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            if self._closing:
                self.close()

    def check_unchanged(self) -> None:
        """Raise ImageNotReadyError if somebody has overwritten the file since it was opened."""
        if FileVersion.of(os.fstat(self.fd)) != self.version:
            raise self.changed()

    def changed(self) -> ImageNotReadyError:
        """The error for a file that is no longer the version that was opened."""
        return _changed(self.path)

    def read(self, part: ByteRange) -> bytes:
        """A copy of `part`, or less if the file has become shorter. Blocks: small parts only."""
        return os.pread(self.fd, len(part), self.start + part.start)

    def read_ahead(self, offset: int, count: int) -> None:
        """Ask the kernel to have these bytes in memory soon, so that sending them won't block."""
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # advice
                os.posix_fadvise(self.fd, self.start + offset, count, os.POSIX_FADV_WILLNEED)


async def open_file(content: Content, extent: ByteRange | None = None) -> OpenFile:
    """The file opened for reading, whole or only `extent` of it.

    Raises ImageNotFoundError if it is gone, ImageNotReadyError if it is not that version.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(_open_version, content))
    try:
        fd = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unclaimed)  # the thread cannot be stopped
        raise
    return OpenFile(fd, content, extent or ByteRange(0, content.version.size_bytes))


def _open_version(content: Content) -> int:
    path = content.path
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would block
    except FileNotFoundError as err:
        raise ImageNotFoundError(f"{path} is gone", hint="run: bootserver images list") from err
    except OSError as err:
        raise ImageError(
            f"{path} cannot be opened: {err.strerror}", hint="check who may read it"
        ) from err
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or FileVersion.of(status) != content.version:
        os.close(fd)
        raise _changed(path)
    return fd


def _close_unclaimed(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _changed(path: str) -> ImageNotReadyError:
    return ImageNotReadyError(
        f"{path} has changed since it was read",
        hint="wait until the library has read it again; replace images by rename, not in place",
    )
