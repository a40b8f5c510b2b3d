"""Small files that are there whole or not at all, whoever else is writing them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def make_once(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Make the file, its owner's only, unless somebody was quicker; raises OSError.

    Of two processes that start at once, both find the same afterwards.
    """
    with NamedTemporaryFile(dir=path.parent) as file:
        Path(file.name).chmod(mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # else a power cut leaves the name, and no bytes
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(file.name)


def put(path: Path, data: bytes, *, mode: int) -> None:
    """Write the file anew; who reads it meanwhile gets the old or the new one. Raises OSError."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        written = Path(file.name)
        try:
            file.write(data)
            written.chmod(mode)
            file.flush()
            os.fsync(file.fileno())
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
