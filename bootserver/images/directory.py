"""What is in the image directory: its image files and their side-cars, as one look sees them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from bootserver.errors import ImageError
from bootserver.images.sidecar import SideCar, read_sidecar
from bootserver.model import FileVersion

IMAGE_SUFFIXES = (".iso", ".img")  # discs; and disks, of which the first sector is a boot sector


@dataclass(frozen=True, slots=True)
class Seen:
    """An image file at one look."""

    path: Path
    version: FileVersion
    sidecar: SideCar
    sidecar_error: ImageError | None


def look(directory: Path) -> tuple[dict[str, Seen], dict[str, str]]:
    """The image files by id, and the files that cannot be listed with the reason; blocks.

    Raises ImageError if the directory cannot be read.
    """
    seen: dict[str, Seen] = {}
    ignored: dict[str, str] = {}
    for path in image_paths(directory):
        try:
            status = path.stat()
        except OSError:  # it has just gone, or is a link to nothing
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        if path.stem in seen:
            ignored[path.name] = f"{seen[path.stem].path.name} has the same id"
        elif not path.stem.isprintable():
            ignored[ascii(path.name)] = "its name is not printable UTF-8 text"
        else:
            seen[path.stem] = Seen(path, FileVersion.of(status), *_sidecar(path))
    return seen, ignored


def image_paths(directory: Path) -> list[Path]:
    """Everything named `ID.iso` or `ID.img`, in upper or lower case, and not hidden.

    Raises ImageError if the directory cannot be read.
    """
    try:
        paths = sorted(directory.iterdir())
    except OSError as err:
        raise ImageError(
            f"the image directory {directory} cannot be read: {err.strerror or err}",
            hint="check [images] path in config.toml, and that the disk or share is mounted",
        ) from err
    return [
        path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]


def _sidecar(path: Path) -> tuple[SideCar, ImageError | None]:
    try:
        return read_sidecar(path), None
    except ImageError as err:
        return SideCar(), err
