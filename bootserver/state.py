"""The state directory: its owner's only, and one server's at a time.

| name             | what it is                                        |
|------------------|---------------------------------------------------|
| `bootserver.db*` | the database, with SQLite's files beside it       |
| `secret`         | what stub tokens are made with                    |
| `lock`           | the process id of the server that has it, locked  |
| `ca/`            | our own CA, and this server's certificate and key |
| `shelf/`         | stubs; in `stubs/` those of an older bootserver   |
| `packed/`        | loaders packed, and in `signed/` those signed     |
| `amt-armed/`     | machines that are told to boot otherwise          |
| `drivers/`       | the index of drivers, and their archives unpacked |
| `optimize/`      | the image that is being optimised                 |

All of it lets who reads it boot images, or be this server: so no other user may read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from bootserver.errors import ServiceError
from bootserver.files.atomic import PRIVATE, sweep_leftovers
from bootserver.files.locks import lock

LOCK = "lock"
_FOLDERS = ("ca", "shelf", "stubs", "packed", "signed", "amt-armed")
_FILES = ("bootserver.db*", "secret", LOCK, ".*.bootserver")

log = structlog.get_logger(__name__)


def make_state(directory: Path) -> None:
    """Make the directory, its owner's only, if there is none; raises ServiceError."""
    try:
        directory.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise ServiceError(
            f"{directory} cannot be made: {err.strerror}", hint="check [state] path in config.toml"
        ) from err


@contextmanager
def held_state(directory: Path) -> Iterator[None]:
    """The directory is this server's until the end of the block, and in good order.

    Raises ServiceError if another server has it. The kernel lets go of the lock with the process,
    however that ends.
    """
    make_state(directory)
    path = directory / LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as err:
        raise ServiceError(
            f"{path} cannot be opened: {err.strerror}",
            hint="check [state] path in config.toml, and who may write there",
        ) from err
    try:
        _lock(fd, directory)
        _put_in_order(directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: Path) -> None:
    try:
        without_locks = lock(fd)
    except BlockingIOError as err:
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
        raise ServiceError(
            f"another server has the state in {directory}: process {holder or 'unknown'}",
            hint="end that one first; or give this one another [state] path, and other ports",
        ) from err
    if without_locks:
        log.warning("state.not_locked", path=str(directory), reason=without_locks.strerror)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _put_in_order(directory: Path) -> None:
    """Take from other users what they could read, and sweep what a killed server has left."""
    files = [path for pattern in _FILES for path in directory.glob(pattern)]
    for folder in map(directory.joinpath, _FOLDERS):
        files += [folder, *folder.rglob("*")]
    tightened = [path for path in (directory.resolve(), *files) if _tighten(path)]
    if tightened:
        log.warning("state.was_readable_by_others", path=str(directory), files=len(tightened))
    swept = sweep_leftovers(files)
    if swept:
        log.info("state.swept", path=str(directory), files=len(swept))


def _tighten(path: Path) -> bool:
    """True if other users could read the file or the folder; they can no longer."""
    try:
        mode = path.lstat().st_mode
        if path.is_symlink() or not mode & 0o077:
            return False
        path.chmod(mode & 0o700)
    except FileNotFoundError:
        return False
    except OSError as err:
        log.warning("state.readable_by_others", path=str(path), reason=err.strerror)
        return False
    return True
