"""What a person wants of a new image, and the report of what is different in it.

Paths in the image are those of the system that runs, from `/`, without Windows' drive X:.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from bootserver.disc.volume import Volume
from bootserver.errors import ImageError
from bootserver.pci import PciId
from bootserver.units import duration, megabytes
from bootserver.windows.inspect import seconds_at

SHOWN_LIMIT = 20  # of the files that a person is told
ON_DISC = "disc:"  # before a path of the disc, and not of its boot image

_ADDITION = re.compile(r"(?P<source>.+?):(?P<path>(?:[A-Za-z]:)?[\\/].*)", re.DOTALL)
_NO_NAME = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # of a file of Windows
_PATH_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class OptimizeWishes:
    """What a person wants of the new image; a Linux disc takes paths, files and arguments alone."""

    nics: tuple[PciId, ...] = ()  # each gets its driver of the library, or it is an error
    machine: tuple[PciId, ...] = ()  # the cards of a machine; some may have no driver
    vpro: bool = False  # all of Intel's wired cards that the library knows
    drop_foreign_nics: bool = False
    drop_wifi: bool = False
    drop_unused_images: bool = False
    drop_paths: tuple[str, ...] = ()  # in the image, or else on the disc; with ON_DISC only there
    added: tuple[tuple[Path, str], ...] = ()  # a file or folder, and its path in the image
    lines: tuple[str, ...] = ()  # to run when the network is up
    up_url: str = ""  # to ask for then
    arguments: str = ""  # for the kernels of a Linux disc


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that comes or goes."""

    path: str  # in the image, or with ON_DISC before it on the disc
    size_bytes: int  # of one that goes out of the image, as it is packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a new image has and lacks."""

    drivers_added: tuple[str, ...] = ()
    drivers_removed: tuple[str, ...] = ()
    images_removed: tuple[str, ...] = ()
    added: tuple[ChangedFile, ...] = ()
    removed: tuple[ChangedFile, ...] = ()
    notes: tuple[str, ...] = ()

    def report(self, image: str, result: str, size_bytes: int, saved_bytes: int) -> OptimizeReport:
        """The same for people and programs, for a new image of that size."""
        return OptimizeReport(
            **{field.name: getattr(self, field.name) for field in fields(self)},
            image=image,
            result=result,
            size_bytes=size_bytes,
            saved_bytes=saved_bytes,
            seconds_at_100_mbit=seconds_at(100, saved_bytes),
            seconds_at_1_gbit=seconds_at(1000, saved_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeReport(Difference):
    """What is different in the new image."""

    image: str  # the id of the original
    result: str  # the id of the new one; "" where there is nothing to change
    size_bytes: int  # of the new image; before it is written an estimate, as what follows
    saved_bytes: int  # below 0 for an image that is larger
    seconds_at_100_mbit: float
    seconds_at_1_gbit: float

    def lines(self) -> list[str]:
        """The same for a person."""
        if not self.result:
            return [f"{self.image} has all of that already: nothing is to be changed"]
        lines = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("Drivers put in", self.drivers_added),
                ("Drivers left out", self.drivers_removed),
                ("Images left out of boot.wim", self.images_removed),
            )
            if names
        ]
        for what, files in (("put in", self.added), ("left out", self.removed)):
            if files:
                size = megabytes(sum(file.size_bytes for file in files))
                lines.append(f"Files {what}: {len(files)}, {size}")
                lines += [f"  {file.path}" for file in files[:SHOWN_LIMIT]]
                lines += ["  and more"] if len(files) > SHOWN_LIMIT else []
        saved, more = abs(self.saved_bytes), "less" if self.saved_bytes > 0 else "more"
        lines.append(
            f"{self.result}: {megabytes(self.size_bytes)}, {megabytes(saved)} {more} than "
            f"{self.image}: {duration(abs(self.seconds_at_100_mbit))} at 100 Mb/s, "
            f"{duration(abs(self.seconds_at_1_gbit))} at 1 Gb/s"
        )
        return [*lines, *(f"Note: {note}." for note in self.notes)]


def image_path(text: str) -> str:
    r"""The path in an image that a text such as X:\\tools\\vnc or /tools/vnc stands for.

    ValueError for what is none.
    """
    names = [name for name in re.split(r"[\\/]", re.sub("^[A-Za-z]:", "", text)) if name]
    if len(text) > _PATH_LIMIT or any(n in (".", "..") or _NO_NAME.search(n) for n in names):
        raise ValueError(f"{text[:80]!r} is not a path in Windows such as X:\\tools\\vnc")
    return "/" + "/".join(names)


def dropped_path(text: str) -> str:
    """A path to drop, which may have ON_DISC before it; ValueError for what is none."""
    place = ON_DISC if text.startswith(ON_DISC) else ""
    path = image_path(text.removeprefix(place))
    if path == "/":
        raise ValueError("all that there is cannot be dropped")
    return place + path


def parse_addition(text: str) -> tuple[Path, str]:
    r"""A file or folder and its path in the image, of a text such as vnc:X:\\tools\\vnc.

    A file whose path ends in a slash keeps its name. ValueError for what makes no sense.
    """
    found = _ADDITION.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:80]!r} is not SOURCE:PATH such as vnc:X:\\tools\\vnc")
    return addition(Path(found["source"]), found["path"])


def addition(source: Path, path: str) -> tuple[Path, str]:
    """The same of its two parts."""
    keeps_name = path.endswith(("/", "\\")) and not source.is_dir()
    return source, image_path(f"{path}{source.name}" if keeps_name else path)


def added_files(wanted: Iterable[tuple[Path, str]]) -> dict[str, Path]:
    """The site's files by their paths in the image."""
    return {path: file for source, target in wanted for file, path in _files_below(source, target)}


def _files_below(source: Path, target: str) -> Iterator[tuple[Path, str]]:
    if source.is_symlink():
        raise ImageError(f"{source} is a link", hint="add what it leads to")
    if source.is_dir():
        for file in sorted(source.iterdir()):
            if _NO_NAME.search(file.name):
                raise ImageError(f"Windows knows no name such as {file}", hint="rename it")
            yield from _files_below(file, f"{target.rstrip('/')}/{file.name}")
    elif source.is_file():
        yield source, target
    else:
        raise ImageError(f"{source} is neither a file nor a folder", hint="check its path")


def tree_bytes(disc: Volume, path: str) -> int:
    """The bytes of a file on the disc, or of all files below a directory."""
    node = disc.find(path)
    if not node.is_directory:
        return node.size_bytes
    return sum(
        tree_bytes(disc, str(PurePosixPath(path, child.name)))
        if child.is_directory
        else child.size_bytes
        for child in disc.children(path)
    )
