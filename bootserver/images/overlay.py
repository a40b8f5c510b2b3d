"""What is served of an image: its own bytes, with a site's files in place of some, or added.

Everything is known by exact offsets (`Layout`). So each range of the result is right, and its ETag
is the result's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import structlog

from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.files.cpio import appendix, newc_archive
from bootserver.files.layout import Layout
from bootserver.files.open_version import open_file
from bootserver.images.esxi import rewrite_boot_cfg
from bootserver.images.tree import ImageTrees
from bootserver.model import ByteRange, Content, FileVersion, Image, Piece, Way

log = structlog.get_logger(__name__)

ESXI = "/b.b00"  # its kernel; no other disc has one
ESXI_CONFIGS = {"/boot.cfg", "/efi/boot/boot.cfg"}
ESXI_CONFIG_LIMIT_BYTES = 64 * 1024  # a real one has 3 KB
OWN_FILES_KEPT = 16  # in memory: what is injected or replaced is small, and asked for often


@dataclass(frozen=True, slots=True)
class Served:
    """A file as it goes out: which file on disk, and which parts of it with what between them."""

    content: Content
    layout: Layout

    @property
    def size_bytes(self) -> int:
        """The size of what goes out."""
        return self.layout.size_bytes

    @property
    def is_whole(self) -> bool:
        """True if it is the file on disk as it lies there."""
        return self.layout == Layout.whole(self.content.version.size_bytes)


async def served_image(trees: ImageTrees, image: Image, layout: Layout | None = None) -> Served:
    """The whole image, or the `layout` of a disc that was made of it.

    Files that the side-car replaces are changed where they lie on it.

    A replacement is padded with line ends to the size of what it replaces. It finds no place if it
    is longer, or if the disc's file has no own sectors (UDF: small or sparse). Then the disc keeps
    its file, and only the tree has the replacement.
    """
    layout = disc = layout or Layout.whole(image.size_bytes)
    for path, own in image.settings.replace.items():
        try:
            node = await trees.find(image.content, path)
        except ImageNotFoundError:
            continue  # a file that only the tree has
        data = await asyncio.to_thread(_read_own, own)
        if len(data) > node.size_bytes:
            log.warning("image.replacement_too_long", image=image.id, path=path)
            continue
        places = [_place(disc, piece) for piece in node.pieces]
        if None in places:
            log.warning("image.replacement_has_no_place", image=image.id, path=path)
            continue
        data = data.ljust(node.size_bytes, b"\n")
        layout = _written_over(layout, filter(None, places), data)
    return Served(image.content, layout)


async def served_file(
    trees: ImageTrees,
    image: Image,
    path: str,
    *,
    way: Way | None,
    tree_url: str,
    hooks: Mapping[str, bytes],
) -> Served | None:
    """A file of the image's tree, None for a directory.

    `way` tells which file is the initramfs: `hooks`, and the side-car's files, are added to it.
    Raises ImageNotFoundError, ImageNotReadyError, or ImageError for a damaged disc.
    """
    served = await _plain_file(trees, image, path, tree_url)
    if served is None or way is None or path.lower() not in way.initrds[-1:]:
        return served
    if not image.settings.inject and not hooks:
        return served
    archive = await asyncio.to_thread(_archive, image, hooks)
    return Served(served.content, served.layout.appended(appendix(served.size_bytes, archive)))


async def _plain_file(trees: ImageTrees, image: Image, path: str, tree_url: str) -> Served | None:
    served = await _kept_file(trees, image, path)
    if served is None or path.lower() not in ESXI_CONFIGS:
        return served
    if image.facts is None or ESXI not in image.facts.markers:
        return served
    with await open_file(served.content, served.layout) as file:
        text = file.read(ByteRange(0, min(file.size_bytes, ESXI_CONFIG_LIMIT_BYTES)))
    rewritten = rewrite_boot_cfg(text.decode("utf-8", "replace"), tree_url)
    return Served(served.content, Layout((rewritten.encode(),)))


async def _kept_file(trees: ImageTrees, image: Image, path: str) -> Served | None:
    """The file that the side-car puts there, else the disc's; None for a directory."""
    for replaced, own in image.settings.replace.items():
        if replaced.lower() == path.lower():
            return await asyncio.to_thread(_own_file, own)
    node = await trees.find(image.content, path)
    return None if node.is_directory else Served(image.content, Layout(node.pieces))


def _own_file(path: str) -> Served:
    """A file of the site's, told from its next version by size, time and inode."""
    try:
        version = FileVersion.of(Path(path).stat())
    except OSError as err:
        raise _missing(path, err) from err
    tag = f"{version.size_bytes:x}-{version.mtime_ns:x}-{version.inode:x}"
    return Served(Content(path, version, tag), Layout.whole(version.size_bytes))


def _archive(image: Image, hooks: Mapping[str, bytes]) -> bytes:
    """What is added to the initramfs, as a cpio archive; the side-car has the last word."""
    files = {name: _read_own(path) for name, path in image.settings.inject.items()}
    try:
        return newc_archive({**hooks, **files})
    except ValueError as err:
        raise ImageError(
            f"{image.id}: the files to inject make no archive: {err}",
            hint="correct [inject] in the side-car",
        ) from err


def _read_own(path: str) -> bytes:
    try:
        return _read_version(path, FileVersion.of(Path(path).stat()))
    except OSError as err:
        raise _missing(path, err) from err


@lru_cache(OWN_FILES_KEPT)
def _read_version(path: str, version: FileVersion) -> bytes:
    return Path(path).read_bytes()


def _missing(path: str, err: OSError) -> ImageError:
    return ImageError(
        f"{path}, which a side-car names, cannot be read: {err.strerror}",
        hint="put it back, or take it out of the side-car",
    )


def _place(layout: Layout, extent: Piece) -> ByteRange | None:
    """Where an extent of the file lies in the layout, which may move it and does not tear it."""
    start = layout.place_of(extent.start) if isinstance(extent, ByteRange) else None
    return None if start is None else ByteRange(start, start + len(extent))


def _written_over(layout: Layout, places: Iterable[ByteRange], data: bytes) -> Layout:
    """The layout with `data` in these places."""
    done = 0
    for place in places:
        layout = layout.replaced(place.start, data[done : done + len(place)])
        done += len(place)
    return layout
