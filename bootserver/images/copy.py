"""Copies a local image into a part file, or unpacks it there."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.files.open_version import open_regular
from bootserver.files.threads import cancellable
from bootserver.images.iso import inspect_iso
from bootserver.images.part import Part, Progress
from bootserver.images.unpack import HEAD_BYTES, ZIP_END_BYTES

READ_BYTES = 1024**2
PACKED_READ_BYTES = 64 * 1024  # small, for it may become a thousand times as much
KERNEL_COPY_BYTES = 64 * 1024**2  # small enough to be cancelled within a second


async def copy(source: Path, part: Part, progress: Progress) -> None:
    """Fills the part file; raises ImageError for what is no whole ISO or does not fit."""
    loop = asyncio.get_running_loop()

    def report(done_bytes: int) -> None:
        loop.call_soon_threadsafe(progress, done_bytes, part.total_bytes)

    await cancellable(_copy, source, part, report)


def _copy(
    source: Path, part: Part, report: Callable[[int], None], cancelled: threading.Event
) -> None:
    try:
        file = open_regular(source)
    except OSError as err:
        raise ImageError(f"{source} cannot be read: {err.strerror or err}") from err
    with file:
        total_bytes = os.fstat(file.fileno()).st_size
        part.restart()
        part.expect(total_bytes)
        part.begin(os.pread(file.fileno(), HEAD_BYTES, 0))
        if part.is_packed:
            end = os.pread(file.fileno(), ZIP_END_BYTES, max(total_bytes - ZIP_END_BYTES, 0))
            part.check_end(end if source.suffix.lower() == ".zip" else b"")
        else:
            inspect_iso(source)  # before gigabytes are copied
        done_bytes = 0
        for count in _pieces(file.fileno(), part):
            done_bytes += count
            report(done_bytes)
            if cancelled.is_set():
                raise ImageNotReadyError("the copy was cancelled")
    if done_bytes != total_bytes:
        raise ImageError(f"{source} changed while it was copied", hint="run the command again")
    part.finish()


def _pieces(fd: int, part: Part) -> Iterator[int]:
    """Copies piece by piece: in the kernel, which shares the blocks where the file system can."""
    while part.is_packed and (data := os.read(fd, PACKED_READ_BYTES)):
        part.append(data)
        yield len(data)
    try:
        while count := os.copy_file_range(fd, part.fd, KERNEL_COPY_BYTES):
            yield count
    except OSError as err:
        if err.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise part.disk_error(err) from err
    # Whatever the kernel would not copy; both files stand where it stopped.
    while data := os.read(fd, READ_BYTES):
        part.append(data)
        yield len(data)
