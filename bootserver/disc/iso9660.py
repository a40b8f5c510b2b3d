"""The directories of ISO 9660, with Rock Ridge or Joliet names (ECMA-119, Joliet 1).

A directory record (ECMA-119 §9.1), numbers little-endian (each is there big-endian too):

offset  size  meaning
     0     1  length of the record; 0 = no more in this sector
     1     1  blocks of the extended attribute record, which lies before the content
     2     4  first block
    10     4  size in bytes
    25     1  flags: 2 = directory, 4 = associated file, 128 = more extents follow
    26     2  interleaving; 0 for all but CD-i
    32     1  length of the name
    33     -  name; then, from the next even offset, the system use area
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bootserver.disc.entry import Node, is_usable
from bootserver.disc.rock_ridge import RockRidge, read_rock_ridge, susp_skip
from bootserver.disc.source import (
    DIRECTORY_LIMIT_BYTES,
    DIRECTORY_LIMIT_ENTRIES,
    Compressed,
    Damage,
    Source,
)
from bootserver.model import CD_SECTOR_BYTES, ByteRange

_DIRECTORY, _ASSOCIATED, _MORE_EXTENTS = 0x02, 0x04, 0x80
_ROOT_RECORD = slice(156, 190)  # in a volume descriptor (ECMA-119 §8.4.18)


@dataclass(frozen=True, slots=True)
class _Record:
    at: int  # where it is in its directory
    name: bytes
    flags: int
    extent: ByteRange
    system_use: bytes


@dataclass(frozen=True, slots=True, eq=False)
class IsoEntry:
    """A file or directory of an ISO 9660 tree; a file of 4 GiB and more has several extents."""

    tree: IsoTree = field(repr=False)
    name: str
    other_name: str = ""
    is_directory: bool = False
    target: str = ""
    extents: tuple[ByteRange, ...] = ()
    is_compressed: bool = False
    records: tuple[int, ...] = ()  # where in the image the record of each extent is

    def entries(self) -> list[IsoEntry]:
        """What is in this directory."""
        return list(self.tree.entries(self.extents[0]))

    def node(self) -> Node:
        """The node; raises Damage for a file that the image has not got whole, or plain."""
        if self.is_directory:
            return Node(self.name, is_directory=True)
        if self.is_compressed:
            raise Compressed(f"has {self.name} compressed by zisofs, which is not undone here")
        pieces = tuple(filter(None, self.extents))
        if any(piece.stop > self.tree.source.size_bytes for piece in pieces):
            raise Damage(f"{self.name} ends past the end of the image")
        return Node(self.name, False, sum(map(len, pieces)), pieces)


class IsoTree:
    """The tree below one volume descriptor."""

    def __init__(self, source: Source, descriptor: bytes, *, is_joliet: bool = False) -> None:
        self.source = source
        self.has_compressed = False  # among what was read so far
        (self.block_bytes,) = struct.unpack_from("<H", descriptor, 128)
        if self.block_bytes not in (512, 1024, 2048):
            raise Damage(f"its volume has blocks of {self.block_bytes:,} bytes")
        self._decode = _joliet_name if is_joliet else _plain_name
        self.skip: int | None = None  # in a record's system use area; None without Rock Ridge
        root = _record(descriptor[_ROOT_RECORD], self.block_bytes)
        if not is_joliet and len(root.extent):
            self.skip = susp_skip(self._first_record(root.extent.start).system_use)
        self._root = IsoEntry(self, "", is_directory=True, extents=(root.extent,))

    @property
    def has_rock_ridge(self) -> bool:
        """True if files have the names, links and depths of POSIX."""
        return self.skip is not None

    def root(self) -> IsoEntry:
        """The root directory."""
        return self._root

    def entries(self, extent: ByteRange) -> Iterator[IsoEntry]:
        """What is in the directory that begins there."""
        extent = self.directory_extent(extent)
        if len(extent) > DIRECTORY_LIMIT_BYTES:
            raise Damage(f"one of its directories has {len(extent):,} bytes")
        data = self.source.read(extent.start, len(extent))
        parts: list[_Record] = []
        for number, record in enumerate(_records(data, self.block_bytes)):
            if number > DIRECTORY_LIMIT_ENTRIES:
                raise Damage(f"one of its directories has over {DIRECTORY_LIMIT_ENTRIES:,} files")
            if record.name in (b"\0", b"\1") or record.flags & _ASSOCIATED:
                continue
            parts.append(record)
            if record.flags & _MORE_EXTENTS and not record.flags & _DIRECTORY:
                continue
            entry = self._entry(
                record,
                tuple(part.extent for part in parts),
                tuple(extent.start + part.at for part in parts),
            )
            parts.clear()
            if entry is not None:
                yield entry

    def directory_extent(self, extent: ByteRange) -> ByteRange:
        """Where a directory is: Rock Ridge's record of one that it moved has only the beginning."""
        return extent if extent else self._first_record(extent.start).extent

    def _entry(
        self, record: _Record, extents: tuple[ByteRange, ...], records: tuple[int, ...]
    ) -> IsoEntry | None:
        """The entry that a file's last record completes; None for what has no place here."""
        plain = self._decode(record.name)
        ridge = RockRidge()
        if self.skip is not None:
            ridge = read_rock_ridge(record.system_use[self.skip :], self.read_area)
        names = list(filter(is_usable, dict.fromkeys((_text(ridge.name), plain))))
        if ridge.is_relocated or not names:
            return None
        entry = IsoEntry(
            self,
            names[0],
            "".join(names[1:]),
            bool(record.flags & _DIRECTORY),
            _text(ridge.target),
            extents,
            ridge.is_compressed,
            records,
        )
        self.has_compressed = self.has_compressed or ridge.is_compressed
        if ridge.child_block is None:
            return entry
        start = ridge.child_block * self.block_bytes
        return replace(entry, is_directory=True, extents=(ByteRange(start, start),))

    def _first_record(self, start: int) -> _Record:
        """A directory's record of itself."""
        return _record(self.source.read(start, CD_SECTOR_BYTES), self.block_bytes)

    def read_area(self, block: int, offset: int, count: int) -> bytes:
        """What Rock Ridge keeps outside of directories."""
        return self.source.read(block * self.block_bytes + offset, count)


def records_in(directory: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each record of a directory begins, and the record."""
    at = 0
    while at < len(directory):
        if length := directory[at]:
            yield at, directory[at : at + length]
            at += length
        else:
            at += CD_SECTOR_BYTES - at % CD_SECTOR_BYTES


def _records(directory: bytes, block_bytes: int) -> Iterator[_Record]:
    for at, data in records_in(directory):
        # Linux leaves interleaved files out as well: their extents cannot be read in one run.
        if not any(data[26:28]):
            yield _record(data, block_bytes, at)


def _record(data: bytes, block_bytes: int, at: int = 0) -> _Record:
    """The record at the beginning of `data`."""
    if len(data) < 34 or not 33 + data[32] <= data[0] <= len(data):
        raise Damage("one of its directories has a broken record")
    attribute_blocks, first_block, size_bytes = struct.unpack_from("<xBL4xL", data)
    start = (first_block + attribute_blocks) * block_bytes
    name_end = 33 + data[32]
    return _Record(
        at=at,
        name=data[33:name_end],
        flags=data[25],
        extent=ByteRange(start, start + size_bytes),
        system_use=data[name_end + (name_end & 1) : data[0]],
    )


def _plain_name(raw: bytes) -> str:
    """VMLINUZ.;1 is VMLINUZ: ISO 9660 gives every file an extension and a version."""
    return re.sub(r"\.?(;\d+)?\Z", "", _text(raw), count=1)


def _joliet_name(raw: bytes) -> str:
    return re.sub(r"\.?;\d+\Z", "", raw.decode("utf-16-be", "replace"))


def _text(raw: bytes) -> str:
    """A name without a declared character set: UTF-8, or what came before it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
