"""What wimlib-imagex prints of a WIM, made into values."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootserver.model import ByteRange
from bootserver.windows.target import WindowsArch, WindowsTarget

_SOLID_VERSION = 0xE00
_DIRECTORY = 0x10  # FILE_ATTRIBUTE_DIRECTORY
_ARCHITECTURES = {
    "x86": WindowsArch.X86,
    "x86_64": WindowsArch.AMD64,
    "ARM64": WindowsArch.ARM64,
}  # as wimlib prints them
# What it prints of a file, as far as it is wanted.
_RULER = "-" * 76 + "\n"
_NAMED = re.compile(r'Full Path += "(.*)"\nShort Name.*\nAttributes += 0x([0-9a-f]+)\n')
_STREAM = re.compile(
    r"\tUnnamed data stream:\nHash += 0x(?P<sha1>[0-9a-f]{40})\n"
    r"Uncompressed size += (?P<size>\d+) bytes\n"
    r"(?:Compressed size += (?P<packed>\d+) bytes\nOffset in WIM += (?P<offset>\d+) "
    r"|Solid resource += (?P<solid>\d+) => (?P<solid_packed>\d+) bytes"
    r" @ offset (?P<solid_offset>\d+))"
)


@dataclass(frozen=True, slots=True)
class WimImage:
    """One of the images in a WIM: a tree of files."""

    index: int  # from 1
    name: str
    windows: WindowsTarget | None  # as the WIM describes it; None if it does not


@dataclass(frozen=True, slots=True)
class WimInfo:
    """What a WIM says of itself."""

    compression: str  # LZX, XPRESS, LZMS or None
    chunk_bytes: int
    is_solid: bool  # many files are packed as one
    boot_index: int  # 0 for none
    images: tuple[WimImage, ...]

    @property
    def booted(self) -> WimImage:
        """The image that is started: the one of the boot index, else the last."""
        of_index = [image for image in self.images if image.index == self.boot_index]
        return (of_index or self.images)[-1]


@dataclass(frozen=True, slots=True)
class WimFile:
    """A file in an image; several with one SHA-1 share their content."""

    path: str  # from the image's root: /Windows/INF/net.inf
    sha1: str  # in hex
    size_bytes: int
    packed_bytes: int  # what its content takes in the WIM; of a solid resource its share
    stored: ByteRange  # where in the WIM it lies; all of a solid resource


def read_info(text: str) -> WimInfo:
    """What `info` prints."""
    head, *images = text.split("\nIndex:")
    fields = _fields(head)
    return WimInfo(
        compression=fields.get("Compression", ""),
        chunk_bytes=int(fields.get("Chunk Size", "0").partition(" ")[0]),
        is_solid=int(fields.get("Version", "0")) == _SOLID_VERSION,
        boot_index=int(fields.get("Boot Index", "0")),
        images=tuple(_image(index, text) for index, text in enumerate(images, 1)),
    )


def read_files(text: str) -> list[WimFile]:
    """What `dir --detailed` prints: no directories, and nothing that is a link.

    Raises ValueError with what cannot be read.
    """
    files = []
    for block in text.split(_RULER)[1:]:
        named, stream = _NAMED.match(block), _STREAM.search(block)
        if named is None:
            raise ValueError("a file with a line break in its name")
        if stream and not int(named[2], 16) & _DIRECTORY:
            files.append(_file(named[1], stream))
    return files


def _image(index: int, text: str) -> WimImage:
    fields = _fields(text)
    windows = None
    version = [fields.get(name, "") for name in ("Major Version", "Minor Version", "Build")]
    if fields.get("Architecture") in _ARCHITECTURES and all(part.isdigit() for part in version):
        major, minor, build = map(int, version)
        windows = WindowsTarget(_ARCHITECTURES[fields["Architecture"]], (major, minor, build))
    return WimImage(index, fields.get("Name", ""), windows)


def _fields(text: str) -> dict[str, str]:
    """Lines such as `Boot Index: 1`; of several with one name the first."""
    pairs = (line.partition(":") for line in reversed(text.splitlines()))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _file(path: str, stream: re.Match[str]) -> WimFile:
    size_bytes = int(stream["size"])
    if stream["solid"] is None:
        packed_bytes, start = int(stream["packed"]), int(stream["offset"])
        return WimFile(
            path, stream["sha1"], size_bytes, packed_bytes, ByteRange(start, start + packed_bytes)
        )
    start, stored_bytes = int(stream["solid_offset"]), int(stream["solid_packed"])
    share = size_bytes * stored_bytes // max(1, int(stream["solid"]))
    return WimFile(path, stream["sha1"], size_bytes, share, ByteRange(start, start + stored_bytes))
