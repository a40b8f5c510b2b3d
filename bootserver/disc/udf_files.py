"""The content of files on a UDF volume: file entries and their allocation descriptors.

A file entry (ECMA-167 4/14.9), with the offsets of the extended kind (4/14.17) behind the slash:

offset   size  meaning
    20      2  strategy; 4 = this entry is the only one
    27      1  kind of file: 4 = directory, 5 = file, 250 and 251 = metadata file and its mirror
    34      2  flags; the low three bits say what the allocation descriptors are
    56      8  size in bytes
168/208     4  bytes of extended attributes
172/212     4  bytes of allocation descriptors
176/216     -  extended attributes, then allocation descriptors
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from bootserver.disc.source import Damage
from bootserver.disc.udf_blocks import Address, tagged
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

_FILE_ENTRY, _EXTENDED_FILE_ENTRY, _ALLOCATION_EXTENT = 261, 266, 258
_SHORT, _LONG, _EMBEDDED = 0, 1, 3
_RECORDED, _CONTINUED = 0, 3
# An extent has up to 1 GiB; only a file written in many steps has more than a few dozen.
_EXTENT_LIMIT = 20_000
_HOLE_LIMIT_BYTES = 16 * 1024**2
_ZEROS = bytes(1024**2)  # shared by all holes


class UdfBlocks(Protocol):
    """The partitions of a volume."""

    def read(self, address: Address, count: int) -> bytes:
        """Bytes from the beginning of that block."""

    def ranges(self, address: Address, count: int) -> tuple[ByteRange, ...]:
        """Where those bytes are in the image file."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file entry says."""

    kind: int
    size_bytes: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Extent:
    kind: int
    size_bytes: int
    address: Address


def read_file_entry(blocks: UdfBlocks, address: Address) -> FileEntry:
    """The file entry at that block."""
    data = tagged(blocks.read(address, CD_SECTOR_BYTES), _FILE_ENTRY, _EXTENDED_FILE_ENTRY)
    strategy, kind, flags, size_bytes = struct.unpack_from("<20xH5xB6xH20xQ", data)
    if strategy != 4:
        raise Damage(f"a UDF file entry has strategy {strategy}, which is not on pressed discs")
    lengths_at = 168 if data[0] == _FILE_ENTRY % 256 else 208
    attribute_bytes, descriptor_bytes = struct.unpack_from("<LL", data, lengths_at)
    start = lengths_at + 8 + attribute_bytes
    descriptors = data[start : start + descriptor_bytes]
    if len(descriptors) != descriptor_bytes:
        raise Damage("a UDF file entry is too long")
    if flags & 7 == _EMBEDDED:
        content: tuple[Piece, ...] = (descriptors,)
    else:
        content = tuple(_content(blocks, descriptors, flags & 7, address.partition))
    return FileEntry(kind, size_bytes, _cut(content, size_bytes))


def _content(blocks: UdfBlocks, descriptors: bytes, kind: int, partition: int) -> Iterator[Piece]:
    """Where the content is; zeros of our own for what was never written."""
    hole_bytes = 0
    for extent in _extents(blocks, descriptors, kind, partition):
        if extent.kind == _RECORDED:
            yield from blocks.ranges(extent.address, extent.size_bytes)
            continue
        hole_bytes += extent.size_bytes
        if hole_bytes > _HOLE_LIMIT_BYTES:
            raise Damage(f"one of its files has a hole of {hole_bytes:,} bytes or more")
        for at in range(0, extent.size_bytes, len(_ZEROS)):
            yield _ZEROS[: extent.size_bytes - at]


def _extents(blocks: UdfBlocks, descriptors: bytes, kind: int, partition: int) -> Iterator[_Extent]:
    """Each extent that the descriptors list, here and where they are continued (4/12.1)."""
    pending = _listed(descriptors, kind, partition)
    for _ in range(_EXTENT_LIMIT):
        extent = next(pending, None)
        if extent is None:
            return
        if extent.kind == _CONTINUED:
            # Offset 20 of an allocation extent descriptor: its length (4/14.5).
            data = tagged(blocks.read(extent.address, CD_SECTOR_BYTES), _ALLOCATION_EXTENT)
            length = int.from_bytes(data[20:24], "little")
            pending = _listed(data[24 : 24 + length], kind, extent.address.partition)
        else:
            yield extent
    raise Damage(f"one of its files has over {_EXTENT_LIMIT:,} extents")


def _listed(descriptors: bytes, kind: int, partition: int) -> Iterator[_Extent]:
    """Short descriptors are length and block, long ones have a partition too (4/14.14).

    The two highest bits of the length are the extent's kind.
    """
    if kind not in (_SHORT, _LONG):
        raise Damage("a UDF file entry has extended allocation descriptors")
    width = 8 if kind == _SHORT else 16
    for at in range(0, len(descriptors) - width + 1, width):
        length, block = struct.unpack_from("<LL", descriptors, at)
        if not length & 0x3FFFFFFF:
            return
        if kind == _LONG:
            (partition,) = struct.unpack_from("<H", descriptors, at + 8)
        yield _Extent(length >> 30, length & 0x3FFFFFFF, Address(block, partition))


def _cut(pieces: tuple[Piece, ...], size_bytes: int) -> tuple[Piece, ...]:
    """The first `size_bytes`: the last extent may be rounded up to whole blocks."""
    result: list[Piece] = []
    for piece in pieces:
        taken = min(len(piece), size_bytes)
        size_bytes -= taken
        if not taken:
            continue
        if isinstance(piece, ByteRange):
            result.append(ByteRange(piece.start, piece.start + taken))
        else:
            result.append(piece[:taken])
    if size_bytes:
        raise Damage("one of its files has less content than it should")
    return tuple(result)
