"""A disc's files as the menu readers see them: few of them, and little of each."""

from __future__ import annotations

import posixpath
from typing import Protocol


class TooMuchToReadError(Exception):
    """A menu asks for more than is read of one disc; what was read until then is good."""


class MenuFiles(Protocol):
    """Paths are absolute; whatever their case, they find what is there.

    Each method raises TooMuchToReadError once more than is allowed was asked for: reading ends.
    """

    def text(self, path: str) -> str | None:
        """A small text file without NUL bytes; None if there is none."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory in lower case, sorted; none if it is not there."""

    def size(self, path: str) -> int | None:
        """How many bytes a file has; None if there is none."""

    def piece(self, path: str, offset: int, size_bytes: int) -> bytes:
        """Some bytes of a file, fewer at its end; none if there is no such file."""


def disc_path(folder: str, written: str) -> str:
    """The lower-case path from `/` of what a menu calls `written` while it is in `folder`."""
    path = posixpath.normpath(posixpath.join("/", folder, written.lower()))
    return "/" + path.lstrip("/")
