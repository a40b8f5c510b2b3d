"""What an image says about itself, read from its directories and a few small texts."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from bootserver.disc.volume import COPY_AGAIN, NoVolumeError, Volume, open_volume
from bootserver.errors import ImageError
from bootserver.files.open_version import open_regular, unreadable
from bootserver.images import menus
from bootserver.images.markers import MARKERS, TEXTS
from bootserver.images.menus.find import VolumeFiles, find_menus
from bootserver.images.plain_disk import holds_efi_boot, inspect_plain_disk
from bootserver.images.recipes.families import media_of
from bootserver.model import CD_SECTOR_BYTES, ByteRange, IsoFacts

__all__ = ["INSPECTION_REVISION", "MARKERS", "TEXTS", "inspect_iso"]

# Facts kept from an earlier run are good only while the tables and what reads them are the same.
_READER_REVISION = "4"
_MENU_READERS = sorted(Path(menus.__file__).parent.glob("*.py"))
INSPECTION_REVISION = hashlib.sha256(
    "\n".join((_READER_REVISION, *MARKERS, "", *TEXTS)).encode()
    + b"".join(path.read_bytes() for path in _MENU_READERS)
).hexdigest()[:16]

TEXT_LIMIT_BYTES = 16 * 1024
TEXTS_LIMIT_BYTES = 96 * 1024  # of one image
MARKERS_LIMIT = 1_000  # of one image; a hostile one may have any number that a `*` stands for


def inspect_iso(path: Path, *, name: str = "") -> IsoFacts:
    """The facts the recipes decide from; raises ImageError for what is no whole disc or disk.

    An ISO without a boot entry is no error here. `name` stands for the file in messages. An error
    of reading the file, and not of what is in it, has an OSError as its cause.
    """
    name = name or path.name
    try:
        with open_regular(path) as file:
            return _inspect(file, name)
    except OSError as err:
        raise unreadable(name, err) from err


def begins_an_image(file: BinaryIO) -> bool:
    """True if the beginning of a file is that of a disc, or of a disk that is no floppy."""
    try:
        open_volume(file.fileno(), os.fstat(file.fileno()).st_size, "")
    except NoVolumeError:
        return inspect_plain_disk(file) is not None
    except ImageError:
        pass  # a disc, and what it says of itself goes on behind this beginning
    return True


def _inspect(file: BinaryIO, name: str) -> IsoFacts:
    size_bytes = os.fstat(file.fileno()).st_size
    try:
        volume = open_volume(file.fileno(), size_bytes, name)
    except NoVolumeError:
        disk = inspect_plain_disk(file)
        if disk is None:
            raise
        return IsoFacts(size_bytes, plain_disk=disk)
    missing_bytes = max(volume.claimed_bytes - size_bytes, 0)
    if missing_bytes and volume.lacks_content():
        raise ImageError(
            f"{name} is truncated: its volume has {volume.claimed_bytes:,} bytes,"
            f" the file {size_bytes:,}",
            hint=COPY_AGAIN,
        )
    with volume.one_operation():
        found = find_menus(VolumeFiles(volume))
        entries = [entry for menu in found for entry in menu.entries]
        named = {path for e in entries for path in (e.kernel, *e.initrds, *media_of(e))}
        markers = _markers(volume) | _sizes(volume, named - {""})
        return IsoFacts(
            size_bytes=size_bytes,
            missing_bytes=missing_bytes,
            volume_id=volume.volume_id,
            system_id=volume.system_id,
            publisher=volume.publisher,
            application=volume.application,
            has_udf=volume.has_udf,
            el_torito=tuple(
                replace(
                    entry,
                    holds_efi=entry.lba > 0 and holds_efi_boot(file, entry.lba * CD_SECTOR_BYTES),
                )
                for entry in volume.el_torito
            ),
            has_compressed=volume.has_compressed,
            markers=markers,
            texts=_texts(volume),
            menus=found,
        )


def _markers(volume: Volume) -> dict[str, int]:
    """The size of each marker that is there and whole, as it would be served."""

    def wanted(path: str) -> bool:
        return _MARKER.fullmatch(path) is not None

    def enter(path: str) -> bool:
        return _MARKER_PARENT.fullmatch(path) is not None

    return _sizes(volume, volume.paths(wanted, enter))


def _sizes(volume: Volume, paths: Iterable[str]) -> dict[str, int]:
    """The sizes of those of the paths that are there."""
    sizes = {}
    for path in islice(sorted(paths), MARKERS_LIMIT):
        try:
            sizes[path] = volume.find(path).size_bytes
        except ImageError:  # a link that leads nowhere, or a file of which the end is missing
            continue
    return sizes


def _texts(volume: Volume) -> dict[str, str]:
    """The beginnings of the texts that are there, while there is room for them."""
    texts: dict[str, str] = {}
    left_bytes = TEXTS_LIMIT_BYTES
    for path in TEXTS:
        try:
            part = ByteRange(0, min(TEXT_LIMIT_BYTES, left_bytes))
            head = volume.content(volume.find(path), part)
        except ImageError:
            continue
        if head:
            left_bytes -= len(head)
            texts[path] = head.decode("utf-8", "replace").replace("\0", "")
    return texts


def _marker_pattern(markers: set[str]) -> re.Pattern[str]:
    """Matches any of the paths; `*` stands for characters that are safe in a script and a URL."""
    return re.compile("|".join(re.escape(m).replace(r"\*", "[a-z0-9._+~-]*") for m in markers))


_MARKER = _marker_pattern(set(MARKERS))
_MARKER_PARENT = _marker_pattern(
    {str(parent) for marker in MARKERS for parent in Path(marker).parents} - {"/"}
)
