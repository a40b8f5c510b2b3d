"""Changes to a UDF volume: every number that points to a sector, and the directories' identifiers.

`udf_blocks`, `udf_files` and `udf` have the tables of the descriptors. Each descriptor that is
changed or moved is signed anew.
"""

from __future__ import annotations

import binascii
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from bootserver.disc.edits import DiscFile, Edits, Moved, sectors_of
from bootserver.disc.source import Damage
from bootserver.disc.udf import UdfEntry, UdfTree
from bootserver.disc.udf_blocks import (
    ANCHOR_SECTOR,
    Address,
    is_tagged,
    metadata_files,
    read_anchors,
)
from bootserver.disc.udf_files import (
    EMBEDDED,
    RECORDED,
    SHORT,
    UNALLOCATED,
    UdfExtent,
    lengths_in,
    list_in,
    read_extents,
    read_file_entry,
)
from bootserver.errors import ImageError
from bootserver.model import CD_SECTOR_BYTES, ByteRange

_POINTER, _PARTITION, _LOGICAL_VOLUME, _TERMINATOR, _INTEGRITY = 3, 5, 6, 8, 9
_ATTRIBUTES = 262
_DELETED = 0x04  # of an identifier
_UNKNOWN = 2**32 - 1  # of a size
_EXTENT_MAX_BYTES = 2**30 - CD_SECTOR_BYTES


class UdfEdits:
    """The one tree of a UDF volume, to be changed; raises ImageError for what it cannot be."""

    def __init__(self, edits: Edits, tree: UdfTree) -> None:
        if max(len(tree.volume.partitions), tree.volume.map_count) > 1 or metadata_files(
            tree.volume, 0
        ):
            raise ImageError(
                "the disc's UDF keeps its directories in a partition of their own (revision 2.50): "
                "it is not rewritten here",
                hint="make the disc again with oscdimg -u2 -udfver102",
            )
        [partition] = tree.volume.partitions.values()
        self._edits = edits
        self._tree = tree
        self._first_sector = partition.first_sector
        self._moved: Moved = int  # nothing moves until `change` says so
        self._extents: dict[Address, tuple[UdfExtent, ...]] = {}  # of each file and directory
        self._directories: dict[Address, UdfEntry] = {}
        self._files: dict[Address, DiscFile] = {}
        self._identifiers: dict[str, list[tuple[Address, int]]] = defaultdict(list)
        self.structures = [ByteRange(0, (ANCHOR_SECTOR + 1) * CD_SECTOR_BYTES)]
        self._walk()

    @property
    def files(self) -> list[DiscFile]:
        """All files, each once, however many names it has."""
        return list(self._files.values())

    def _walk(self) -> None:
        pending = [("", self._tree.root())]
        while pending:
            above, directory = pending.pop()
            if directory.address in self._directories:
                continue
            self._directories[directory.address] = directory
            self.structures += self._read_extents(directory.address)
            for entry in directory.entries():
                path = f"{above}/{entry.name}"
                if entry.is_directory:
                    pending.append((path, entry))
                    continue
                if entry.address not in self._files:
                    extents = tuple(self._read_extents(entry.address))
                    self._files[entry.address] = DiscFile([], extents)
                self._files[entry.address].paths.append(path)
                self._identifiers[path].append((directory.address, entry.identifier_at))
        for address in self._extents:
            self.structures.append(ByteRange(self._at(address.block), self._at(address.block + 1)))

    def _read_extents(self, address: Address) -> Iterator[ByteRange]:
        """Where the content is that a file entry lists."""
        self._extents[address] = read_extents(self._tree, address)
        for extent in self._extents[address]:
            if extent.kind == RECORDED:
                yield from self._tree.ranges(extent.address, extent.size_bytes)

    def change(
        self, moved: Moved, contents: Mapping[DiscFile, ByteRange], dropped: Collection[str]
    ) -> None:
        """As FileSystem says; the partition's length is among the numbers."""
        if moved(ANCHOR_SECTOR) != ANCHOR_SECTOR:
            raise ImageError("a file in front of the disc's UDF cannot change its size")
        self._moved = moved
        gone: dict[Address, set[int]] = defaultdict(set)
        for path in dropped:
            for directory, at in self._identifiers[path]:
                gone[directory].add(at)
        for address in self._directories:
            self._move_identifiers(address, gone[address])
            if not gone[address]:
                self._move_extents(address)
            self._sign_entry(address)
        for address, file in self._files.items():
            if all(path in dropped for path in file.paths):
                self._blank_list(address)
                self._edits.write(self._at(address.block), bytes(CD_SECTOR_BYTES))
                continue
            if file in contents:
                self._assign(address, contents[file])
            else:
                self._move_extents(address)
            self._sign_entry(address)
        self._move_file_set()
        self._move_volume(names=sum(map(len, gone.values())))

    def _listed_at(self, address: Address) -> set[int]:
        """Where a file entry's list goes on."""
        listed_in = {extent.listed_in for extent in self._extents[address]} - {address}
        return {self._at(listed.block) for listed in listed_in}

    def _move_extents(self, address: Address) -> None:
        for extent in self._extents[address]:
            if extent.kind != UNALLOCATED:
                at = self._at(extent.listed_in.block) + extent.listed_at
                self._write_number(at + 4, self._moved_block(extent.address.block))
        for at in self._listed_at(address):
            self._sign(at)

    def _blank_list(self, address: Address) -> None:
        """Leave nothing of where a file entry's list goes on.

        7-Zip takes what is on a disc behind its last file for a fault.
        """
        for at in self._listed_at(address):
            self._edits.write(at, bytes(CD_SECTOR_BYTES))

    def _assign(self, address: Address, content: ByteRange) -> None:
        """Have the file entry list the new content."""
        block = content.start // CD_SECTOR_BYTES - self._moved(self._first_sector)
        if block < 0:
            raise Damage("one of its UDF files is outside of the partition")
        extents = [
            (block + at // CD_SECTOR_BYTES, min(len(content) - at, _EXTENT_MAX_BYTES))
            for at in range(0, len(content), _EXTENT_MAX_BYTES)
        ]
        self._describe(address, SHORT, _short_descriptors(extents), len(content))

    def _describe(self, address: Address, kind: int, listed: bytes, size_bytes: int) -> None:
        """Write into a file entry what it lists, or the content itself if it is embedded.

        offset  size  meaning (of the extended kind behind the slash)
            10     2  bytes that the entry's CRC is over
            56     8  size; the extended kind has it at 64 too, with all streams
         64/72     8  blocks
        """
        self._blank_list(address)
        at = self._at(address.block)
        data = bytearray(self._edits.read(at, CD_SECTOR_BYTES))
        lengths_at, (start, _) = lengths_in(data), list_in(data)
        if start + len(listed) > CD_SECTOR_BYTES:
            raise ImageError(
                f"a file of {size_bytes:,} bytes has no place on the disc", hint="add less to it"
            )
        data[34] = data[34] & ~7 | kind
        blocks = 0 if kind == EMBEDDED else sectors_of(size_bytes)
        sizes = (size_bytes, size_bytes, blocks) if lengths_at == 208 else (size_bytes, blocks)
        struct.pack_into(f"<{len(sizes)}Q", data, 56, *sizes)
        struct.pack_into("<L", data, lengths_at + 4, len(listed))
        data[start:] = listed.ljust(len(data) - start, b"\0")
        struct.pack_into("<H", data, 10, start + len(listed) - 16)
        self._edits.write(at, bytes(data))

    def _sign_entry(self, address: Address) -> None:
        """Sign a file entry, and the header of the extended attributes in it (4/14.10.1)."""
        at = self._at(address.block)
        data = self._edits.read(at, CD_SECTOR_BYTES)
        lengths_at, (start, _) = lengths_in(data), list_in(data)
        elsewhere = (112,) if lengths_at == 168 else (136, 152)
        if any(any(data[offset : offset + 4]) for offset in elsewhere):
            raise Damage("its files have attributes or streams outside of their entries")
        if _identifier(data[lengths_at + 8 : start]) == _ATTRIBUTES:
            self._sign(at + lengths_at + 8)
        self._sign(at)

    def _move_identifiers(self, address: Address, gone: set[int]) -> None:
        """Write a directory's content without some identifiers, and the others' pointers.

        An identifier's tag says in which block it begins (4/14.4.1).
        """
        entry = read_file_entry(self._tree, address)
        data = self._tree.content_of(entry)
        ranges = [piece for piece in entry.pieces if isinstance(piece, ByteRange)]

        def new_block(offset: int) -> int:
            """The block in which the byte at `offset` of the directory will be."""
            for part in ranges:
                if offset < len(part):
                    block = (part.start + offset) // CD_SECTOR_BYTES - self._first_sector
                    return self._moved_block(block)
                offset -= len(part)
            return self._moved_block(address.block)

        kept = bytearray()
        at = 0
        while at < len(data):
            name_bytes, use_bytes = struct.unpack_from("<19xB16xH", data, at)
            end = at + (38 + use_bytes + name_bytes + 3) // 4 * 4
            pointed = Address.of(data[at + 20 : at + 36])
            if at in gone:
                self._unlink(pointed)
            elif pointed not in self._extents and not data[at + 18] & _DELETED:
                raise Damage("one of its files has no usable name")
            else:
                identifier = bytearray(data[at:end])
                struct.pack_into("<L", identifier, 24, self._moved_block(pointed.block))
                kept += _signed(identifier, new_block(len(kept)))
            at = end
        if not ranges:
            self._describe(address, EMBEDDED, bytes(kept), len(kept))
            return
        extents = []
        rest = bytes(kept)
        for part in ranges:
            self._edits.write(part.start, rest[: len(part)].ljust(len(part), b"\0"))
            if rest:
                block = part.start // CD_SECTOR_BYTES - self._first_sector
                extents.append((self._moved_block(block), len(rest[: len(part)])))
            rest = rest[len(part) :]
        if gone:
            self._describe(address, SHORT, _short_descriptors(extents), len(kept))

    def _unlink(self, address: Address) -> None:
        """Offset 48 of a file entry: how many names it has."""
        at = self._at(address.block) + 48
        (links,) = struct.unpack("<H", self._edits.read(at, 2))
        self._edits.write(at, struct.pack("<H", max(links - 1, 0)))

    def _move_file_set(self) -> None:
        """The file set descriptor (4/14.1).

        offset  size  meaning
           400    16  where the root's file entry is
           448    16  where the next file set is
           464    16  where the system streams are (UDF 2.00)
        """
        at = self._at(self._tree.volume.file_set.block)
        data = self._edits.read(at, CD_SECTOR_BYTES)
        if any(data[448:452]) or any(data[464:468]):
            raise Damage("its UDF volume has several file sets, or system streams")
        self._write_number(at + 404, self._moved_block(Address.of(data[400:416]).block))
        self._sign(at)
        following = self._edits.read(at + CD_SECTOR_BYTES, CD_SECTOR_BYTES)
        if is_tagged(following) and _identifier(following) == _TERMINATOR:
            self._sign(at + CD_SECTOR_BYTES)

    def _move_volume(self, *, names: int) -> None:
        """Anchors and the descriptors they lead to; `names` of files are gone.

        offset  size  of an anchor (3/10.2): where the sequence, and where its reserve is
            16     8  length, first sector
            24     8  the same

        offset  size  of a pointer (3/10.3), a logical volume (3/10.6): length, first sector
            20     8  of more descriptors
           432     8                         of integrity descriptors
        """
        pending = []
        for lba, _ in read_anchors(self._edits.source):
            at = lba * CD_SECTOR_BYTES
            pending += [self._move_extent(at + offset) for offset in (16, 24)]
            self._sign(at, in_partition=False)
        signed = set()
        while pending:
            first, length = pending.pop()
            for lba in range(first, first + length // CD_SECTOR_BYTES):
                at = lba * CD_SECTOR_BYTES
                data = self._edits.source.sector(lba)
                kind = _identifier(data)
                if lba in signed or not kind or not is_tagged(data):
                    break
                signed.add(lba)
                if kind == _POINTER:
                    pending.append(self._move_extent(at + 20))
                elif kind == _LOGICAL_VOLUME:
                    pending.append(self._move_extent(at + 432))
                elif kind == _INTEGRITY:
                    self._move_integrity(at, data, names)
                    pending.append(self._move_extent(at + 32))
                elif kind == _PARTITION:
                    self._move_partition(at, data)
                self._sign(at, in_partition=False)
                if kind == _TERMINATOR:
                    break

    def _move_partition(self, at: int, data: bytes) -> None:
        """A partition descriptor (3/10.5).

        offset  size  meaning
            56    32  maps of the free blocks
           188     4  first sector
           192     4  sectors
        """
        if any(data[56:88]):
            raise Damage("its UDF volume has a map of free blocks, as for writing")
        start, count = struct.unpack_from("<LL", data, 188)
        self._write_number(at + 188, self._moved(start))
        self._write_number(at + 192, self._moved(start + count) - self._moved(start))

    def _move_integrity(self, at: int, data: bytes, names: int) -> None:
        """The logical volume integrity descriptor (3/10.10, UDF 1.02, 2.2.6).

        offset  size  meaning
            72     4  partitions
            80     -  of each the free blocks, then of each all blocks, then 32 bytes
             -     4  files
        """
        count, size, files = struct.unpack_from("<L8xL32xL", data, 72)
        if count != 1:
            raise Damage("its UDF volume has an integrity descriptor of another")
        if size != _UNKNOWN:
            self._write_number(at + 84, self._moved_block(size))
        self._write_number(at + 120, max(files - names, 0))

    def _move_extent(self, at: int) -> tuple[int, int]:
        """Write where an extent will be; returns its first sector as it was, and its length."""
        length, lba = struct.unpack("<LL", self._edits.source.read(at, 8))
        self._write_number(at + 4, self._moved(lba))
        return lba, length

    def _moved_block(self, block: int) -> int:
        return self._moved(self._first_sector + block) - self._moved(self._first_sector)

    def _sign(self, at: int, *, in_partition: bool = True) -> None:
        """Give the descriptor there, which ends in its sector, the tag that fits it now."""
        data = self._edits.read(at, CD_SECTOR_BYTES - at % CD_SECTOR_BYTES)
        lba = at // CD_SECTOR_BYTES
        block = self._moved_block(lba - self._first_sector) if in_partition else self._moved(lba)
        self._edits.write(at, _signed(data, block))

    def _at(self, block: int) -> int:
        """Where a block of the partition is in the image."""
        return (self._first_sector + block) * CD_SECTOR_BYTES

    def _write_number(self, at: int, number: int) -> None:
        self._edits.write(at, struct.pack("<L", number))


def _short_descriptors(extents: list[tuple[int, int]]) -> bytes:
    """The allocation descriptors of extents: their first blocks and lengths."""
    return b"".join(struct.pack("<LL", length, block) for block, length in extents)


def _identifier(descriptor: bytes) -> int:
    return int.from_bytes(descriptor[:2], "little")


def _signed(descriptor: bytes | bytearray, block: int) -> bytes:
    """The descriptor with a tag that fits it, and the block in which it will be.

    `udf_blocks` has the table; the block's number is at offset 12.
    """
    data = bytearray(descriptor)
    (length,) = struct.unpack_from("<H", data, 10)
    struct.pack_into("<L", data, 12, block)
    struct.pack_into("<H", data, 8, binascii.crc_hqx(bytes(data[16 : 16 + length]), 0))
    data[4] = 0
    data[4] = sum(data[:16]) % 256
    return bytes(data)
