"""What is in a directory and in a file, as the assertions compare it."""

from __future__ import annotations

import hashlib
from pathlib import Path


def names(directory: Path) -> list[str]:
    """Everything in the directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())


def sha256(data: bytes) -> str:
    """The digest as a publisher prints it."""
    return hashlib.sha256(data).hexdigest()
