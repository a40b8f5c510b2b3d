"""One version of a file held open: what is read from it is never of another version unnoticed."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from bootserver.errors import ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.files.layout import Layout
from bootserver.model import ByteRange, Content, FileVersion

OPEN_FILES = 32  # images, and files in them: a site boots from a handful
LOOK_S = 2.0
PROBE_BYTES = 512 << 10  # between two bytes that are asked for
_PROBED = bytearray(1)
_CAN_TELL = hasattr(os, "RWF_NOWAIT")  # whether bytes of a file are in memory: on Linux
IDLE_LOOKS = 30  # after so many without an answer a file is closed


class OpenFile:
    """What is served of one version of a file, held open for any number of answers.

    Positions are those of what is served; `layout` says where on disk it lies, and what is ours.
    `close()` may come at any time: the descriptor goes when the last answer has ended.
    """

    def __init__(self, fd: int, content: Content, layout: Layout) -> None:
        self.fd = fd
        self.path = content.path
        self.version = content.version
        self.layout = layout
        self.size_bytes = layout.size_bytes
        self.etag = layout.etag(content)
        self.last_modified_s: int | None = None  # bytes of ours change without a date
        if not layout.has_own_bytes:
            # RFC 9110 §8.8.2.1: never later than the Date of the answer.
            self.last_modified_s = min(content.version.mtime_ns // 10**9, int(time.time()))
        self.uses = 0  # answers so far
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
            fd, self.fd = self.fd, -1  # the number may soon be another file's
            os.close(fd)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The descriptor stays open until the end of the block."""
        if self._closing:
            raise ImageNotReadyError(f"{self.path} is no longer open", hint="try again")
        self.uses += 1
        with self._held():
            yield

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            if self._closing:
                self.close()

    def is_current(self) -> bool:
        """True if the path still leads to this version, and this is not being closed."""
        if self._closing:
            return False
        try:
            status = os.stat(self.path)  # noqa: PTH116 - thousands of times a second
        except OSError:
            return False
        version = self.version
        return (
            status.st_mtime_ns == version.mtime_ns
            and status.st_ino == version.inode
            and status.st_size == version.size_bytes
        )

    def check_unchanged(self) -> None:
        """Raise ImageNotReadyError if the file was overwritten since it was opened."""
        if FileVersion.of(os.fstat(self.fd)) != self.version:
            raise self.changed()

    def changed(self) -> ImageNotReadyError:
        """The error for a file that is no longer the version that was opened."""
        return _changed(self.path)

    def read(self, part: ByteRange) -> bytes:
        """A copy of `part`, or less if the file has become shorter. Blocks: small parts only."""
        copy = []
        for piece in self.layout.cut(part):
            data = piece if isinstance(piece, bytes) else os.pread(self.fd, len(piece), piece.start)
            copy.append(data)
            if len(data) < len(piece):
                break  # what follows would stand in the wrong place
        return b"".join(copy)

    def read_at_hand(self, part: ByteRange, into: memoryview) -> bool:
        """Copy `part` there if it is one piece on disk, and in memory; else False (preadv2(2))."""
        piece = self.layout.pieces[0]
        if not _CAN_TELL or len(self.layout.pieces) > 1 or isinstance(piece, bytes):
            return False
        try:
            copied = os.preadv(self.fd, (into,), piece.start + part.start, os.RWF_NOWAIT)
        except OSError:  # it is not in memory, or this file system cannot tell, or it is closed
            return False
        return copied == part.stop - part.start

    def is_at_hand(self, part: ByteRange) -> bool:
        """True if `part` can be read without the disk; False too where that cannot be told.

        A byte here and there is asked for: the kernel reads what lies between in one go.
        """
        try:
            for piece in self.layout.cut(part):
                if isinstance(piece, ByteRange):
                    for place in (*range(piece.start, piece.stop - 1, PROBE_BYTES), piece.stop - 1):
                        os.preadv(self.fd, (_PROBED,), place, os.RWF_NOWAIT)
        except (OSError, AttributeError):  # or this platform has no such flag
            return False
        return True

    async def fetch(self, part: ByteRange) -> None:
        """Return once `part` is in memory; for an answer that has the file in use."""
        if self.is_at_hand(part):
            return
        holding = ExitStack()
        holding.enter_context(self._held())  # until the thread has ended, which can't be stopped

        def release(reading: asyncio.Future[None]) -> None:
            holding.close()
            if not reading.cancelled():
                reading.exception()  # seen, even if nothing waits for it any more

        reading = asyncio.ensure_future(asyncio.to_thread(self._read_through, part))
        reading.add_done_callback(release)
        await asyncio.shield(reading)

    def _read_through(self, part: ByteRange) -> None:
        self.read_ahead(ByteRange(part.start, part.stop + len(part)))
        for step in part.steps(PROBE_BYTES):
            self.read(step)

    def read_ahead(self, part: ByteRange) -> None:
        """Ask the kernel to have these bytes in memory soon, so that sending them won't block."""
        if not hasattr(os, "posix_fadvise"):
            return
        for piece in self.layout.cut(part):
            if isinstance(piece, ByteRange):
                with suppress(OSError):  # advice
                    os.posix_fadvise(self.fd, piece.start, len(piece), os.POSIX_FADV_WILLNEED)


class OpenFiles:
    """The files that were asked for last, which stay open for the next answer.

    Bounded in number. One whose path leads to another version, or that nothing has asked for in a
    while, is closed: a deleted image is to give its disk space back.
    """

    def __init__(self, most: int = OPEN_FILES) -> None:
        self._most = most
        self._files: OrderedDict[tuple[Content, Layout], OpenFile] = OrderedDict()

    async def open(self, content: Content, layout: Layout | None = None) -> OpenFile:
        """As `open_file` opens it; to be used `in_use`, and not closed by the caller."""
        key = (content, layout or Layout.whole(content.version.size_bytes))
        file = self._files.get(key)
        if file is None or not file.is_current():
            file = await open_file(*key)
            self._drop(key)  # another answer may have opened it meanwhile
            self._files[key] = file
            if len(self._files) > self._most:
                self._drop(next(iter(self._files)))
        self._files.move_to_end(key)
        return file

    async def keep_current(self) -> None:
        """Close what is no longer to stay open, for ever."""
        uses: dict[OpenFile, int] = {}  # at the last look of those that were idle
        while True:
            for _ in range(IDLE_LOOKS):
                await asyncio.sleep(LOOK_S)
                await self._drop_replaced()
            for key, file in list(self._files.items()):
                if uses.get(file) == file.uses:
                    self._drop(key)
            uses = {file: file.uses for file in self._files.values()}

    def close(self) -> None:
        """Close all; what is in use is closed when its answers have ended."""
        for key in list(self._files):
            self._drop(key)

    async def _drop_replaced(self) -> None:
        files = list(self._files.items())
        current = await asyncio.to_thread(lambda: [file.is_current() for _, file in files])
        for (key, file), is_current in zip(files, current, strict=True):
            if not is_current and self._files.get(key) is file:
                self._drop(key)

    def _drop(self, key: tuple[Content, Layout]) -> None:
        if file := self._files.pop(key, None):
            file.close()


async def open_file(content: Content, layout: Layout | None = None) -> OpenFile:
    """The file opened for reading, whole or as `layout` has it.

    Raises ImageNotFoundError if it is gone, ImageNotReadyError if it is not that version.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(open_version, content, layout))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unclaimed)  # the thread cannot be stopped
        raise


def open_version(content: Content, layout: Layout | None = None) -> OpenFile:
    """As open_file; blocks."""
    path = content.path
    if layout is None:
        layout = Layout.whole(content.version.size_bytes)
    if any(
        isinstance(piece, ByteRange) and piece.stop > content.version.size_bytes
        for piece in layout.pieces
    ):
        raise ImageError(
            f"{path} ends before what is to be read from it",
            hint="it may be cut short: add the image again",
        )
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
    return OpenFile(fd, content, layout)


def open_regular(path: Path) -> BinaryIO:
    """The file, opened for unbuffered reading; OSError for a FIFO or device, without blocking."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path.name} is not a regular file")
        return os.fdopen(fd, "rb", buffering=0)
    except BaseException:
        os.close(fd)
        raise


def unreadable(name: str, err: OSError) -> ImageError:
    """The error for an image that cannot be read."""
    return ImageError(
        f"{name} cannot be read: {err.strerror or err}",
        hint="check the file's permissions and the disk or share it is on",
    )


def _close_unclaimed(opening: asyncio.Future[OpenFile]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _changed(path: str) -> ImageNotReadyError:
    return ImageNotReadyError(
        f"{path} has changed since it was read",
        hint="wait until the library has read it again; replace images by rename, not in place",
    )
