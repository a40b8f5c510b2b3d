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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from bootserver.disc.source import Damage
from bootserver.disc.udf_blocks import Address, tagged
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

_FILE_ENTRY, _EXTENDED_FILE_ENTRY, _ALLOCATION_EXTENT = 261, 266, 258
SHORT, _LONG, EMBEDDED = 0, 1, 3  # what the descriptors are, or that they are the content itself
RECORDED, UNALLOCATED, CONTINUED = 0, 2, 3  # kinds of extents
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
class UdfExtent:
    """An allocation descriptor: where a part of a file is, or where more of its list is."""

    kind: int  # RECORDED and the like
    size_bytes: int
    address: Address
    listed_in: Address  # the file entry, or the allocation extent descriptor
    listed_at: int  # and the byte of it


def read_file_entry(blocks: UdfBlocks, address: Address) -> FileEntry:
    """The file entry at that block."""
    data = _read_entry(blocks, address)
    kind, flags, size_bytes = struct.unpack_from("<27xB6xH20xQ", data)
    if flags & 7 == EMBEDDED:
        start, stop = list_in(data)
        content: tuple[Piece, ...] = (data[start:stop],)
    else:
        content = tuple(_content(blocks, _listed(blocks, address, data)))
    return FileEntry(kind, size_bytes, _cut(content, size_bytes))


def read_extents(blocks: UdfBlocks, address: Address) -> tuple[UdfExtent, ...]:
    """All that the file entry at that block lists; nothing where the content is embedded."""
    data = _read_entry(blocks, address)
    return () if data[34] & 7 == EMBEDDED else tuple(_listed(blocks, address, data))


def lengths_in(entry: bytes | bytearray) -> int:
    """Where a file entry says how long its attributes and its list are."""
    return 168 if entry[0] == _FILE_ENTRY % 256 else 208


def list_in(entry: bytes | bytearray) -> tuple[int, int]:
    """Where the allocation descriptors of a file entry begin and end, or its embedded content."""
    lengths_at = lengths_in(entry)
    attribute_bytes, descriptor_bytes = struct.unpack_from("<LL", entry, lengths_at)
    start = lengths_at + 8 + attribute_bytes
    return start, start + descriptor_bytes


def _read_entry(blocks: UdfBlocks, address: Address) -> bytes:
    data = tagged(blocks.read(address, CD_SECTOR_BYTES), _FILE_ENTRY, _EXTENDED_FILE_ENTRY)
    (strategy,) = struct.unpack_from("<H", data, 20)
    if strategy != 4:
        raise Damage(f"a UDF file entry has strategy {strategy}, which is not on pressed discs")
    if list_in(data)[1] > len(data):
        raise Damage("a UDF file entry is too long")
    return data


def _content(blocks: UdfBlocks, extents: Iterable[UdfExtent]) -> Iterator[Piece]:
    """Where the content is; zeros of our own for what was never written."""
    hole_bytes = 0
    for extent in extents:
        if extent.kind == RECORDED:
            yield from blocks.ranges(extent.address, extent.size_bytes)
        if extent.kind in (RECORDED, CONTINUED):
            continue
        hole_bytes += extent.size_bytes
        if hole_bytes > _HOLE_LIMIT_BYTES:
            raise Damage(f"one of its files has a hole of {hole_bytes:,} bytes or more")
        for at in range(0, extent.size_bytes, len(_ZEROS)):
            yield _ZEROS[: extent.size_bytes - at]


def _listed(blocks: UdfBlocks, address: Address, data: bytes) -> Iterator[UdfExtent]:
    """Each extent that a file entry lists, in it and where its list is continued (4/12.1).

    Short descriptors are length and block, long ones have a partition too (4/14.14). The two
    highest bits of the length are the extent's kind.
    """
    kind = data[34] & 7
    if kind not in (SHORT, _LONG):
        raise Damage("a UDF file entry has extended allocation descriptors")
    width = 8 if kind == SHORT else 16
    at, stop = list_in(data)
    for _ in range(_EXTENT_LIMIT):
        if at + width > min(stop, len(data)):
            return
        length, block = struct.unpack_from("<LL", data, at)
        if not length & 0x3FFFFFFF:
            return
        partition = address.partition
        if kind == _LONG:
            (partition,) = struct.unpack_from("<H", data, at + 8)
        extent = UdfExtent(
            length >> 30, length & 0x3FFFFFFF, Address(block, partition), address, at
        )
        yield extent
        at += width
        if extent.kind == CONTINUED:
            # Offset 20 of an allocation extent descriptor: its length (4/14.5).
            address = extent.address
            data = tagged(blocks.read(address, CD_SECTOR_BYTES), _ALLOCATION_EXTENT)
            at, stop = 24, 24 + int.from_bytes(data[20:24], "little")
    raise Damage(f"one of its files has over {_EXTENT_LIMIT:,} extents")


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
