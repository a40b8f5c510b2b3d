"""The directories of a UDF volume, of any revision from 1.02 to 2.60 (ECMA-167, OSTA UDF)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from bootserver.disc.entry import Node, is_usable
from bootserver.disc.source import (
    DIRECTORY_LIMIT_BYTES,
    DIRECTORY_LIMIT_ENTRIES,
    Damage,
    Source,
)
from bootserver.disc.udf_blocks import (
    Address,
    MetadataPartition,
    Partition,
    UdfVolume,
    metadata_files,
    plain_partition,
    read_volume,
    tagged,
    unicode,
)
from bootserver.disc.udf_files import FileEntry, read_file_entry
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

_FILE_SET, _FILE_IDENTIFIER = 256, 257
_DIRECTORY, _DELETED, _PARENT = 0x02, 0x04, 0x08
_DIRECTORY_KIND = 4
_FILE_KINDS = (0, 5, 249)  # 0 = not said, 249 = real-time: both are read like files
_METADATA_KINDS = (250, 251)


@dataclass(frozen=True, slots=True, eq=False)
class UdfEntry:
    """A file or directory by its name; its file entry is read only when it is asked for."""

    tree: UdfTree = field(repr=False)
    name: str
    address: Address
    is_directory: bool = False
    identifier_at: int = 0  # where in its directory's content its identifier is
    other_name: str = ""
    target: str = ""

    def entries(self) -> list[UdfEntry]:
        """What is in this directory."""
        return list(self.tree.entries(self.address))

    def node(self) -> Node | None:
        """The node; raises Damage for a file that the image has not got whole."""
        if self.is_directory:
            return Node(self.name, is_directory=True)
        entry = read_file_entry(self.tree, self.address)
        if entry.kind not in _FILE_KINDS:
            return None  # a symbolic link or device: only Unix writes them, and Rock Ridge as well
        ranges = [piece for piece in entry.pieces if isinstance(piece, ByteRange)]
        if any(piece.stop > self.tree.source.size_bytes for piece in ranges):
            raise Damage(f"{self.name} ends past the end of the image")
        return Node(self.name, False, entry.size_bytes, entry.pieces)


class UdfTree:
    """The tree of the volume's file set, and the blocks it is read from."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.volume: UdfVolume = read_volume(source)
        self._partitions: dict[int, Partition] = {}

    def root(self) -> UdfEntry:
        """The root directory."""
        return self._root

    @cached_property
    def _root(self) -> UdfEntry:
        """By the file set descriptor, whose offset 400 tells the root's file entry (4/14.1)."""
        data = tagged(self.read(self.volume.file_set, CD_SECTOR_BYTES), _FILE_SET)
        return UdfEntry(self, "", Address.of(data[400:416]), is_directory=True)

    def entries(self, address: Address) -> Iterator[UdfEntry]:
        """What is in the directory with that file entry.

        A file identifier descriptor (ECMA-167 4/14.4), padded to a multiple of four bytes:

        offset  size  meaning
            18     1  characteristics: 2 = directory, 4 = deleted, 8 = the parent
            19     1  length of the name
            20    16  where the file entry is
            36     2  bytes of implementation use, which come before the name
            38     -  implementation use, then the name
        """
        entry = read_file_entry(self, address)
        if entry.kind != _DIRECTORY_KIND:
            raise Damage("one of its UDF directories is none")
        data = self.content_of(entry)
        at = number = 0
        while at < len(data):
            head = data[at : at + 38]
            if len(head) < 38 or number > DIRECTORY_LIMIT_ENTRIES:
                raise Damage("one of its UDF directories is broken")
            flags, name_bytes, use_bytes = struct.unpack_from("<18xBB16xH", head)
            name_at = 38 + use_bytes
            end = at + (name_at + name_bytes + 3) // 4 * 4
            identifier = tagged(data[at:end], _FILE_IDENTIFIER)
            name = unicode(identifier[name_at : name_at + name_bytes])
            if not flags & (_DELETED | _PARENT) and is_usable(name):
                yield UdfEntry(self, name, Address.of(head[20:36]), bool(flags & _DIRECTORY), at)
            at = end
            number += 1

    def read(self, address: Address, count: int) -> bytes:
        """Bytes from the beginning of that block."""
        ranges = self.ranges(address, count)
        return b"".join(self.source.read(part.start, len(part)) for part in ranges)

    def ranges(self, address: Address, count: int) -> tuple[ByteRange, ...]:
        """Where those bytes are in the image file."""
        self.source.spend(0)  # both the file and the metadata may be in very many extents
        partition = self._partitions.get(address.partition)
        if partition is None:
            partition = self._partition(address.partition)
            self._partitions[address.partition] = partition
        return tuple(partition.ranges(address.block, count))

    def _partition(self, number: int) -> Partition:
        """The partition; a metadata partition by its file, or by the mirror of it."""
        plain = plain_partition(self.volume, number)
        files = metadata_files(self.volume, number)
        if not files:
            return plain
        # The metadata file's own entry and descriptors count blocks of the partition beneath.
        self._partitions[number] = plain
        try:
            return MetadataPartition(self._first_whole(files))
        finally:
            del self._partitions[number]

    def _first_whole(self, files: tuple[Address, ...]) -> tuple[Piece, ...]:
        damage = Damage("its UDF metadata is missing")
        for address in files:
            try:
                entry = read_file_entry(self, address)
            except Damage as err:
                damage = err
                continue
            if entry.kind in _METADATA_KINDS:
                return entry.pieces
        raise damage

    def content_of(self, entry: FileEntry) -> bytes:
        """The whole content, of a directory."""
        if entry.size_bytes > DIRECTORY_LIMIT_BYTES:
            raise Damage(f"one of its directories has {entry.size_bytes:,} bytes")
        return b"".join(
            self.source.read(piece.start, len(piece)) if isinstance(piece, ByteRange) else piece
            for piece in entry.pieces
        )
