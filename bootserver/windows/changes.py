"""What is to be different in a disc of Windows PE: wishes, made into a plan.

Paths in the image are those of the system that runs, from `/`, without its drive X:.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path, PurePosixPath

from bootserver.disc.volume import Volume
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.pci import PciId
from bootserver.units import duration, megabytes
from bootserver.windows.drivers import DriverLibrary, FoundDriver, NoDriverError
from bootserver.windows.inspect import (
    BOOT_WIM,
    BootImage,
    NetworkDriver,
    look_into,
    seconds_at,
)
from bootserver.windows.overlay import files_to_put_in
from bootserver.windows.wim import Wim, WimFile

SHOWN_LIMIT = 20  # of the files that a person is told
ON_DISC = "disc:"  # before a path of the disc, and not of its boot image

_ADDITION = re.compile(r"(?P<source>.+?):(?P<path>(?:[A-Za-z]:)?[\\/].*)", re.DOTALL)
_NO_NAME = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # of a file of Windows
_PATH_LIMIT = 1000
_CURL = "/windows/system32/curl.exe"
# Folders that are one driver's alone.
_OF_ONE_DRIVER = re.compile(
    r"(/windows/(?:system32/driverstore/filerepository|winsxs)/[^/]+)/", re.IGNORECASE
)


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


@dataclass(frozen=True, slots=True)
class WinPePlan:
    """What is done to a disc."""

    index: int  # of the image in the WIM that is booted
    alone: bool  # the other images go
    files: Mapping[str, bytes | Path]  # put into the image, by their paths
    dropped: tuple[str, ...]  # files and folders of the image
    dropped_on_disc: tuple[str, ...]
    content: Mapping[str, str]  # SHA-1 by lower-case path: what the image has afterwards
    difference: Difference
    saved_bytes: int  # about

    @property
    def changes_wim(self) -> bool:
        """True if boot.wim becomes another one."""
        return bool(self.files or self.dropped or self.alone)

    @property
    def is_empty(self) -> bool:
        """True if nothing is to be changed."""
        return not self.changes_wim and not self.dropped_on_disc


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


def plan_changes(
    wim: Wim, disc: Volume, wishes: OptimizeWishes, library: DriverLibrary
) -> WinPePlan:
    """What is to be done to the disc, which has that WIM; blocks.

    Raises WimError, DriverError, NoDriverError or ImageError for what cannot be done.
    """
    if wishes.arguments:
        raise ImageError(
            "Windows PE takes no kernel arguments", hint="leave them out, or take a Linux disc"
        )
    image = look_into(wim)
    index = image.info.booted.index
    drivers, notes = _drivers(image, wishes, library)
    leaving = _leaving(image, wishes)
    in_image, on_disc = _dropped_paths(image.files, disc, wishes.drop_paths)
    removed = {*image.files_of(leaving), *in_image}
    put_in: dict[str, bytes | Path] = {**added_files(wishes.added)}
    if drivers or wishes.lines or wishes.up_url:
        put_in |= files_to_put_in(
            wim, index, image.files, drivers, lines=wishes.lines, up_url=wishes.up_url
        )
    before = {f.path.lower(): _sha1(f) for f in image.files if f not in removed}
    hashes = {path: _hashed(data) for path, data in put_in.items()}
    files = {p: d for p, d in put_in.items() if before.get(p.lower()) != hashes[p]}
    content = before | {path.lower(): hashes[path] for path in files}
    if wishes.up_url and _CURL not in content:
        notes += ["the image has no curl.exe, by which it would call this server: add one"]
    others = [i for i in image.info.images if i.index != index and wishes.drop_unused_images]
    added = tuple(ChangedFile(path, _size(data)) for path, data in sorted(files.items()))
    gone = [ChangedFile(f.path, f.packed_bytes) for f in image.files if f in removed]
    gone_on_disc = [ChangedFile(ON_DISC + path, tree_bytes(disc, path)) for path in on_disc]
    return WinPePlan(
        index=index,
        alone=bool(others),
        files=files,
        dropped=tuple(_paths_to_drop(image.files, removed)),
        dropped_on_disc=tuple(on_disc),
        content=content,
        difference=Difference(
            drivers_added=tuple(
                f"{Path(driver.path).name} {driver.driver_version}"
                for driver in {driver.path: driver for driver in drivers}.values()
            ),
            drivers_removed=tuple(driver.name for driver in leaving),
            images_removed=tuple(other.name or f"image {other.index}" for other in others),
            added=added,
            removed=(*gone, *gone_on_disc),
            notes=tuple(notes),
        ),
        saved_bytes=image.packed_bytes(removed)
        + sum(file.size_bytes for file in gone_on_disc)
        - sum(file.size_bytes for file in added)
        + _alone_bytes(wim, image.files, [other.index for other in others]),
    )


def _drivers(
    image: BootImage, wishes: OptimizeWishes, library: DriverLibrary
) -> tuple[list[FoundDriver], list[str]]:
    """The drivers of the library that are put in, and what is to be said about it."""
    if not (wishes.nics or wishes.machine or wishes.vpro):
        return [], []
    windows = image.windows
    if windows is None:
        raise ImageError(
            "which Windows the image has is not known, so no driver can be chosen for it",
            hint="put the drivers in with --add, and load them with --run",
        )
    found = [library.find(pci, windows) for pci in wishes.nics]
    notes, refusal, served = [], None, 0
    for pci in wishes.machine:
        try:
            found.append(library.find(pci, windows))
            served += 1
        except NoDriverError as err:
            notes.append(err.message)
            refusal = err
            served += any(str(pci.without_board) in driver.pci_ids for driver in image.drivers)
    if refusal and not served:
        raise refusal
    if wishes.vpro:
        found += library.find_intel(windows)
    return found, notes


def _leaving(image: BootImage, wishes: OptimizeWishes) -> list[NetworkDriver]:
    """The drivers that go; none that a card has which is to be served."""
    ways = {
        *(["foreign_nics"] if wishes.drop_foreign_nics else []),
        *(["wifi"] if wishes.drop_wifi else []),
    }
    wanted = {str(pci.without_board) for pci in (*wishes.nics, *wishes.machine)}
    return [
        driver
        for driver in image.drivers
        if ways.intersection(driver.dropped_by) and not wanted.intersection(driver.pci_ids)
    ]


def _dropped_paths(
    files: Sequence[WimFile], disc: Volume, paths: Iterable[str]
) -> tuple[list[WimFile], list[str]]:
    """The files of the image that those paths name, and the paths that are on the disc."""
    in_image: list[WimFile] = []
    on_disc: list[str] = []
    for path in paths:
        plain = path.removeprefix(ON_DISC)
        here = [] if plain != path else [f for f in files if _is_below(f.path, plain)]
        in_image += here
        if here:
            continue
        if _is_below(BOOT_WIM, plain):
            raise ImageError(f"{plain} has the boot image in it", hint="name the files in it")
        try:
            disc.find(plain)
        except ImageNotFoundError as err:
            where = "on the disc" if plain != path else "in the boot image, nor on the disc"
            raise ImageNotFoundError(
                f"there is no {plain} {where}", hint="check its name, or leave it out"
            ) from err
        on_disc.append(plain)
    return in_image, on_disc


def _is_below(path: str, folder: str) -> bool:
    return f"{path.lower()}/".startswith(f"{folder.lower()}/")


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


def _paths_to_drop(files: Iterable[WimFile], removed: Collection[WimFile]) -> Iterator[str]:
    """The removed files; a driver's own folder goes as one when all that is in it does."""
    kept = {_own_folder(file) for file in files if file not in removed}
    yielded = set()
    for file in files:
        if file in removed:
            folder = _own_folder(file)
            path = file.path if not folder or folder in kept else file.path[: len(folder)]
            if path not in yielded:
                yielded.add(path)
                yield path


def _own_folder(file: WimFile) -> str:
    found = _OF_ONE_DRIVER.match(file.path)
    return found[1].lower() if found else ""


def _alone_bytes(wim: Wim, files: Iterable[WimFile], others: Iterable[int]) -> int:
    """What the WIM has less without the other images."""
    packed = {f.sha1: f.packed_bytes for other in others for f in wim.files(other)}
    return sum(packed[sha1] for sha1 in packed.keys() - {file.sha1 for file in files})


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


def _sha1(file: WimFile) -> str:
    return file.sha1 if file.size_bytes else ""  # wimlib lists none of an empty file


def _hashed(data: bytes | Path) -> str:
    try:
        with data.open("rb") if isinstance(data, Path) else BytesIO(data) as file:
            return hashlib.file_digest(file, "sha1").hexdigest() if _size(data) else ""
    except OSError as err:
        raise ImageError(
            f"{data!s} cannot be read: {err.strerror}", hint="check who may read it"
        ) from err


def _size(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def content_of(wim: Wim) -> dict[str, str]:
    """SHA-1 by lower-case path of all files of the image that is booted, as in a plan."""
    return {f.path.lower(): _sha1(f) for f in wim.files(wim.info().booted.index)}
