"""What is in the image directory: its image files and their side-cars, as one look sees them."""

from __future__ import annotations

import os
import shlex
import stat
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

from bootserver.errors import ImageError
from bootserver.images.sidecar import SideCar, read_sidecar, remove_sidecar
from bootserver.model import FileVersion
from bootserver.quoting import printable

IMAGE_SUFFIXES = (".iso", ".img")  # discs; and disks, of which the first sector is a boot sector
COMPRESSED_SUFFIXES = (".xz", ".gz", ".bz2", ".zip")  # `images add` unpacks these

# A look comes every two seconds: a library that is the root of a share must not cost a disk.
ENTRIES_LIMIT = 20_000
IGNORED_LIMIT = 100  # for people to read; an unpacked disc has hundreds

# Folders in which systems and network storage keep what was deleted, and older versions.
_NOT_ENTERED = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "lost+found",
    "recycler",
    "system volume information",
}

# What people put here that is no image, and what to do with it.
_STRAYS = {
    (".zst", ".lzma", ".lz4", ".7z", ".rar", ".tar", ".tgz", ".txz", ".cab"): (
        "is packed in a way that is not undone here: unpack it, and add its .iso or .img file"
    ),
    (".wim", ".esd", ".swm"): (
        "is a Windows image, which nothing boots alone: put the disc here that it belongs to"
    ),
    (".efi",): "is a UEFI program: put a disc or a disk image here that has it as its boot file",
    (".vhd", ".vhdx", ".vmdk", ".vdi", ".qcow2", ".dmg"): (
        "is a virtual disk: make a plain one of it with qemu-img convert -O raw, named .img"
    ),
    (".ima", ".flp", ".vfd", ".dsk", ".raw", ".dd", ".usb", ".hdd"): (
        "may be a disk image: rename it to end in .img"
    ),
    (".bin", ".cue", ".nrg", ".mdf", ".mds", ".ccd", ".cdi", ".b6t", ".toast", ".udf", ".cdr"): (
        "may be a disc in a burning program's form: convert it to .iso"
    ),
    (".part", ".crdownload", ".download", ".partial", ".aria2", ".!ut", ".opdownload"): (
        "is a download that has not ended: wait for it, or run bootserver images add with its URL"
    ),
    (".torrent", ".meta4", ".metalink", ".jigdo", ".zsync"): (
        "is no image but says where one is: download that"
    ),
}


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image file at one look."""

    path: Path
    version: FileVersion
    sidecar: SideCar
    sidecar_error: ImageError | None


def look(directory: Path) -> tuple[dict[str, FoundImage], dict[str, str]]:
    """The image files by id; and by path what may be meant as an image, with why it is none.

    Folders, and what links lead to, are looked into as well. Blocks. Raises ImageError if the
    directory cannot be read.
    """
    found: dict[str, FoundImage] = {}
    ignored: dict[Path, str] = {}
    for path in files(directory, ignored):
        if not is_image(path):
            if reason := advice_on(path):
                ignored[path] = reason
            continue
        try:
            status = path.stat()
        except OSError:  # it has just gone, or is a link to nothing
            continue
        image_id = image_id_of(path, directory)
        if not stat.S_ISREG(status.st_mode):
            continue
        if image_id in found:
            ignored[path] = f"{found[image_id].path.name} has the same id"
        elif not image_id.isprintable():
            ignored[path] = "its name is not printable UTF-8 text"
        else:
            found[image_id] = FoundImage(path, FileVersion.of(status), *_sidecar(path))
    own = {file for image in found.values() for file in image.sidecar.settings.own_files}
    unused = (
        (path, why)
        for path, why in ignored.items()
        if os.path.realpath(path) not in own and not _is_unpacked(path, found, directory)
    )
    return found, {
        printable(path.relative_to(directory).as_posix()): why
        for path, why in islice(unused, IGNORED_LIMIT)
    }


def image_id_of(path: Path, directory: Path) -> str:
    """The id of an image file in `directory` or in a folder there: `windows/setup`."""
    return path.relative_to(directory).with_suffix("").as_posix()


def is_image(path: PurePath) -> bool:
    """True for `ID.iso` or `ID.img`, in upper or lower case, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def image_paths(directory: Path) -> list[Path]:
    """The image files in this very directory, by name; ImageError if it cannot be read."""
    try:
        return sorted(filter(is_image, directory.iterdir()))
    except OSError as err:
        raise _unreadable(directory, err) from err


def remove_image(path: Path) -> None:
    """Delete an image's file, and its side-car unless another image has the same one.

    Raises ImageError. Blocks.
    """
    try:
        path.unlink(missing_ok=True)
        if path.stem not in {other.stem for other in image_paths(path.parent)}:
            remove_sidecar(path)
    except OSError as err:
        raise ImageError(
            f"{path.name} cannot be deleted: {err.strerror}",
            hint=f"check who may write to {path.parent}",
        ) from err


def files(directory: Path, ignored: dict[Path, str]) -> Iterator[Path]:
    """All that is no folder, by name, the upper levels first; notes in `ignored` what is not read.

    A folder is entered once, by its own name if it has one here; so links in a circle end.
    """
    folders, linked = deque([directory]), deque[Path]()
    entered: set[tuple[int, int]] = set()
    left = ENTRIES_LIMIT
    while folders or linked:
        folder = folders.popleft() if folders else linked.popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as err:
            if folder == directory:
                raise _unreadable(directory, err) from err
            ignored[folder] = f"cannot be read: {err.strerror or err}"
            continue
        left -= len(listed)
        if left < 0:
            ignored[folder] = (
                f"not looked into: the library has over {ENTRIES_LIMIT:,} files; let [images] path "
                "name a folder of images alone"
            )
            continue
        for entry in listed:
            if not _is_folder(entry):
                yield folder / entry.name
            elif not entry.name.startswith(".") and entry.name.lower() not in _NOT_ENTERED:
                (linked if entry.is_symlink() else folders).append(folder / entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unreadable(directory: Path, err: OSError) -> ImageError:
    return ImageError(
        f"the image directory {directory} cannot be read: {err.strerror or err}",
        hint="check [images] path in config.toml, and that the disk or share is mounted",
    )


def advice_on(path: PurePath) -> str:
    """`what it is: what to do`, of a file that may be meant as an image; "" for any other."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return ""
    if suffix in COMPRESSED_SUFFIXES:
        return f"is compressed: run bootserver images add {shlex.quote(str(path))}"
    return next((advice for suffixes, advice in _STRAYS.items() if suffix in suffixes), "")


def _is_unpacked(path: Path, found: Container[str], directory: Path) -> bool:
    """True for a compressed file whose image is in the library already."""
    if path.suffix.lower() not in COMPRESSED_SUFFIXES:
        return False
    image = path.with_suffix("")
    return image_id_of(image if is_image(image) else path, directory) in found


def _sidecar(path: Path) -> tuple[SideCar, ImageError | None]:
    try:
        return read_sidecar(path), None
    except ImageError as err:
        return SideCar(), err
