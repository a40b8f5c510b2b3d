"""What every kind of file system on a disc consists of: entries of directories, and nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bootserver.model import Piece


@dataclass(frozen=True, slots=True)
class Node:
    """A file or directory on a disc.

    `pieces` is where a file's content lies: ranges of the image file. It is bytes where the disc
    keeps the content inside its directories, or not at all. They add up to `size_bytes`.
    """

    name: str
    is_directory: bool
    size_bytes: int = 0  # 0 for a directory
    pieces: tuple[Piece, ...] = ()


class Entry(Protocol):
    """What a directory says about one of its files; the rest is read when it is asked for."""

    @property
    def name(self) -> str:
        """Its best name: what a listing shows."""

    @property
    def other_name(self) -> str:
        """A second name that finds it, "" without one: the ISO 9660 name under Rock Ridge."""

    @property
    def is_directory(self) -> bool:
        """True for a directory, false for files and symbolic links."""

    @property
    def target(self) -> str:
        """Where a symbolic link points to, "" for anything else."""

    def entries(self) -> Sequence[Entry]:
        """What is in this directory."""

    def node(self) -> Node | None:
        """The node itself, None for what is neither file nor directory."""


class Tree(Protocol):
    """One file system of a disc."""

    def root(self) -> Entry:
        """Its root directory, always the same object."""


def is_usable(name: str) -> bool:
    """True for a name that can be a part of a path."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
