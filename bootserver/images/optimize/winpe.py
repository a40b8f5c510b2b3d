"""What is done to a disc of Windows PE for a person's wishes, as a plan."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from bootserver.disc.volume import Volume
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.images.optimize.wishes import (
    ON_DISC,
    ChangedFile,
    Difference,
    OptimizeWishes,
    added_files,
    tree_bytes,
)
from bootserver.windows.drivers import DriverLibrary, FoundDriver, NoDriverError
from bootserver.windows.inspect import (
    BOOT_WIM,
    BootImage,
    NetworkDriver,
    look_into,
)
from bootserver.windows.overlay import files_to_put_in
from bootserver.windows.wim import Wim
from bootserver.windows.wim_listing import WimFile

_CURL = "/windows/system32/curl.exe"
# Folders that are one driver's alone.
_OF_ONE_DRIVER = re.compile(
    r"(/windows/(?:system32/driverstore/filerepository|winsxs)/[^/]+)/", re.IGNORECASE
)


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
