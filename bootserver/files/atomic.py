"""The one writer of small files: they are there whole or not at all, also with several writers.

A file gets its bytes under its own hidden name, is forced to the disk, and then takes its place.
What a killed writer has left is told from what is being written by its lock.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bootserver.files.locks import is_at, lock

PRIVATE = 0o600

_HIDDEN = re.compile(r"\.[0-9a-f]{16}\.bootserver")


def write_atomically(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Replace the file; a reader meanwhile gets the old or the new one. Raises OSError.

    Only its owner can read it; if `shared` the umask decides.
    """
    with _written(path.parent, data, shared=shared) as written:
        written.replace(path)
        sync_directory(path.parent)


def create_once(path: Path, data: bytes) -> None:
    """Make the file, readable by its owner only, unless it is there already; raises OSError.

    Two processes that start at once both find the same file afterwards.
    """
    with _written(path.parent, data) as written, suppress(FileExistsError):
        path.hardlink_to(written)
        sync_directory(path.parent)


def sweep_leftovers(files: Iterable[Path]) -> list[Path]:
    """Remove, of these, what killed writers have left; returns what that was."""
    gone = []
    for path in files:
        if _HIDDEN.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:  # it is locked while it is written
                if lock(file.fileno()) is None:
                    path.unlink()
                    gone.append(path)
    return gone


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, in however many pieces the kernel takes it; raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_directory(directory: Path) -> None:
    """Force the directory's names to the disk, where its file system can do so."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems sync no directories
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _written(directory: Path, data: bytes, *, shared: bool = False) -> Iterator[Path]:
    """A file with these bytes, on the disk, that is gone at the end unless it has been renamed."""
    path, fd = _open(directory, 0o666 if shared else PRIVATE)
    try:
        if not shared:
            os.fchmod(fd, PRIVATE)  # whatever the umask
        write_all(fd, data)
        os.fsync(fd)  # else a power cut leaves the name, and no bytes
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _open(directory: Path, mode: int) -> tuple[Path, int]:
    """A new hidden file, open and locked."""
    while True:
        path = directory / f".{secrets.token_hex(8)}.bootserver"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with suppress(BlockingIOError):  # a sweep takes it for a leftover: it came in between
            if lock(fd) or is_at(path, fd):  # without locks nothing is swept either
                return path, fd
        os.close(fd)
