"""The one writer of small files: they are there whole or not at all, also with several writers.

A file gets its bytes under a hidden name of its own, is forced to the disk, and then takes its
place. What a killed writer has left is told from what is being written by its lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while it is written
                path.unlink()
                gone.append(path)
    return gone


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
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
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
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                return path, fd
        except BlockingIOError:
            pass  # a sweep takes it for a leftover: it came between the two calls
        except OSError:
            return path, fd  # no locks on this file system: nothing is swept there either
        os.close(fd)
