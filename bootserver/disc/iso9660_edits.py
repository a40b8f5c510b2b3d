"""Changes to an ISO 9660 tree: every number that points to a sector, and the directories' records.

`iso9660` has the table of a directory record. A path table's entry (ECMA-119 §9.4):

offset  size  meaning
     0     1  length of the name
     1     1  blocks of the extended attribute record
     2     4  first block of the directory
     8     -  the name, padded to an even length
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping

from bootserver.disc.edits import DiscFile, Edits, Moved
from bootserver.disc.iso9660 import IsoEntry, IsoTree, records_in
from bootserver.disc.rock_ridge import susp_entries
from bootserver.disc.source import Compressed, Damage
from bootserver.model import CD_SECTOR_BYTES, ByteRange

_DIRECTORY, _MORE_EXTENTS = 0x02, 0x80
_ROOT_RECORD_AT = 156

Packed = Callable[[int], bytes]  # a 32-bit number in one of ISO 9660's byte orders


def both_endian(number: int) -> bytes:
    """A 32-bit number as ISO 9660 has most of them (ECMA-119 §7.3.3)."""
    return struct.pack("<L", number) + struct.pack(">L", number)


class IsoEdits:
    """The tree below the volume descriptor in that sector, to be changed.

    Of directories that are in `walked`, another descriptor's, only the descriptor is changed.
    """

    def __init__(self, edits: Edits, lba: int, *, is_joliet: bool, walked: set[int]) -> None:
        descriptor = edits.source.sector(lba)
        self._tree = IsoTree(edits.source, descriptor, is_joliet=is_joliet)
        if self._tree.block_bytes != CD_SECTOR_BYTES:
            raise Damage(f"its volume has blocks of {self._tree.block_bytes:,} bytes")
        self._edits = edits
        self._walked = walked
        self._directories: list[ByteRange] = []
        self._pointers: list[tuple[int, int, Packed]] = []  # where it is, the sector, how written
        self._linked: set[int] = set()  # where the directories are that have records
        self._entries: dict[DiscFile, IsoEntry] = {}
        self.structures: list[ByteRange] = []
        self._read_descriptor(lba * CD_SECTOR_BYTES, descriptor)
        self._walk()

    @property
    def files(self) -> list[DiscFile]:
        """All files; one with several names is one for each."""
        return list(self._entries)

    def change(
        self, moved: Moved, contents: Mapping[DiscFile, ByteRange], dropped: Collection[str]
    ) -> None:
        """As FileSystem says; the descriptor's size of the volume is among the numbers."""
        for at, lba, packed in self._pointers:
            if moved(lba) != lba:
                self._edits.write(at, packed(moved(lba)))
        gone: set[int] = set()
        for file, entry in self._entries.items():
            if file in contents:
                gone.update(self._assign(entry, contents[file]))
            if file.paths[0] in dropped:
                gone.update(entry.records)
        for directory in self._directories if gone else ():
            self._pack(directory, gone)

    def _read_descriptor(self, at: int, descriptor: bytes) -> None:
        """The pointers of a volume descriptor (ECMA-119 §8.4).

        offset  size  meaning
            80     8  blocks of the volume, in both byte orders
           132     8  bytes of a path table, likewise
           140     4  first block of the path table, little-endian; at 144 of its copy, or 0
           148     4  the same of the big-endian one, and at 152
           156    34  the root's directory record
        """
        blocks, table_bytes = struct.unpack_from("<L48xL", descriptor, 80)
        self._pointers.append((at + 80, blocks, both_endian))
        self._pointers.append((at + _ROOT_RECORD_AT + 2, _block(descriptor, 158), both_endian))
        for order, offsets in (("<L", (140, 144)), (">L", (148, 152))):
            packed = struct.Struct(order).pack
            for offset in offsets:
                (lba,) = struct.unpack_from(order, descriptor, offset)
                self._pointers.append((at + offset, lba, packed))
                table = ByteRange(lba * CD_SECTOR_BYTES, lba * CD_SECTOR_BYTES + table_bytes)
                if lba and table.start not in self._walked:
                    self._walked.add(table.start)
                    self.structures.append(table)
                    self._read_path_table(table, order, packed)

    def _read_path_table(self, table: ByteRange, order: str, packed: Packed) -> None:
        data = self._edits.source.read(table.start, len(table))
        at = 0
        while at + 8 <= len(data):
            (lba,) = struct.unpack_from(order, data, at + 2)
            self._pointers.append((table.start + at + 2, lba, packed))
            at += 8 + data[at] + data[at] % 2

    def _walk(self) -> None:
        pending = [("", self._tree.root())]
        while pending:
            above, directory = pending.pop()
            extent = self._tree.directory_extent(directory.extents[0])
            if extent.start in self._walked:
                continue
            self._walked.add(extent.start)
            self._directories.append(extent)
            self.structures.append(extent)
            self._read_records(extent)
            for entry in directory.entries():
                path = f"{above}/{entry.name}"
                if entry.is_directory:
                    pending.append((path, entry))
                else:
                    extents = tuple(filter(len, entry.extents))
                    self._entries[DiscFile([path], extents)] = entry
        if not self._linked <= self._walked:
            raise Damage("one of its directories has no usable name")

    def _read_records(self, directory: ByteRange) -> None:
        """The pointers of all records, also of those that are no file's name."""
        data = self._edits.source.read(directory.start, len(directory))
        for offset, record in records_in(data):
            if len(record) < 34 or record[1] or any(record[26:28]):
                raise Damage(
                    "one of its files has attributes before its content, or is interleaved"
                )
            at = directory.start + offset
            if record[25] & _DIRECTORY:
                self._linked.add(_block(record, 2) * CD_SECTOR_BYTES)
            self._pointers.append((at + 2, _block(record, 2), both_endian))
            if self._tree.skip is not None:
                self._read_system_use(at, record, self._tree.skip)

    def _read_system_use(self, at: int, record: bytes, skip: int) -> None:
        """The pointers of Rock Ridge: to where it goes on, and to directories that it moved."""
        start = 33 + record[32] + (record[32] + 1) % 2
        if record[start : start + 2] != b"SP":  # the root's record of itself, which says the skip
            start += skip
        for data_at, signature, data in susp_entries(
            record[start:], self._tree.read_area, at + start
        ):
            if signature in (b"CE", b"CL", b"PL") and len(data) >= 8:
                self._pointers.append((data_at, _block(data, 0), both_endian))
            if signature == b"CE" and len(data) >= 24:
                area = _block(data, 0) * CD_SECTOR_BYTES + _block(data, 8)
                self.structures.append(ByteRange(area, area + _block(data, 16)))

    def _assign(self, entry: IsoEntry, content: ByteRange) -> tuple[int, ...]:
        """Have the entry's first record point to the content; the others, which are to go."""
        if entry.is_compressed:
            raise Compressed(f"has {entry.name} compressed by zisofs, which is not done here")
        first, *others = entry.records
        lba = content.start // CD_SECTOR_BYTES
        self._edits.write(first + 2, both_endian(lba) + both_endian(len(content)))
        (flags,) = self._edits.read(first + 25, 1)
        self._edits.write(first + 25, bytes([flags & ~_MORE_EXTENTS]))
        return tuple(others)

    def _pack(self, directory: ByteRange, gone: set[int]) -> None:
        """Write the directory without those records; it stays as long as it is."""
        data = self._edits.read(directory.start, len(directory))
        kept = bytearray()
        has_gap = False
        for at, record in records_in(data):
            if directory.start + at in gone:
                has_gap = True
                continue
            if len(kept) % CD_SECTOR_BYTES + len(record) > CD_SECTOR_BYTES:
                kept += bytes(-len(kept) % CD_SECTOR_BYTES)  # no record crosses sectors
            kept += record
        if has_gap:
            self._edits.write(directory.start, bytes(kept).ljust(len(data), b"\0"))


def _block(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
