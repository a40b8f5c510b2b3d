"""Files that one process has at a time; the kernel lets go of them with it, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def lock(fd: int) -> OSError | None:
    """Lock an open file until it is closed; the error where the file system has no locks.

    Raises BlockingIOError where another process has the lock. The file may have lost its name
    between opening and locking it: see `is_at`.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as err:
        return err
    return None


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """One process at a time in the block, also one thread; the others wait. `path` is made.

    Where the file system has no locks, all go on.
    """
    with path.open("ab") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_at(path: Path, fd: int) -> bool:
    """True while the path leads to this open file, and not through a link."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False
