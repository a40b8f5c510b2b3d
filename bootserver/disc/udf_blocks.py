"""Where the blocks of a UDF volume lie: its anchor, its partitions, checked descriptors.

Every descriptor begins with a tag (ECMA-167 3/7.2), numbers little-endian:

offset  size  meaning
     0     2  identifier: what kind of descriptor it is
     4     1  sum of the tag's other bytes
     8     2  CRC of what follows the tag
    10     2  bytes that the CRC is over
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from bootserver.disc.source import Damage, Source
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

ANCHOR_SECTOR = 256  # the first of an anchor's three places
_ANCHOR, _POINTER, _PARTITION, _LOGICAL_VOLUME, _TERMINATOR = 2, 3, 5, 6, 8
# Descriptors in a volume's sequence; real ones have five to twenty.
_SEQUENCE_LIMIT = 128
_PARTITION_LIMIT = 16


@dataclass(frozen=True, slots=True)
class Address:
    """A block of a partition, numbered as in the volume's partition maps."""

    block: int
    partition: int

    @classmethod
    def of(cls, long_ad: bytes) -> Address:
        """Where a long allocation descriptor points to (ECMA-167 4/14.14.2)."""
        return cls(*struct.unpack_from("<4xLH", long_ad))


class Partition(Protocol):
    """A run of blocks that the volume counts from 0."""

    def ranges(self, block: int, count: int) -> Iterable[ByteRange]:
        """Where `count` bytes from the beginning of that block are in the image file."""


@dataclass(frozen=True, slots=True)
class PlainPartition:
    """One piece of the disc (ECMA-167 3/10.5)."""

    first_sector: int

    def ranges(self, block: int, count: int) -> Iterable[ByteRange]:
        """Where those bytes are."""
        start = (self.first_sector + block) * CD_SECTOR_BYTES
        return (ByteRange(start, start + count),)


@dataclass(frozen=True, slots=True)
class MetadataPartition:
    """The content of a file that holds all directories (UDF 2.50, 2.2.10)."""

    extents: tuple[Piece, ...]

    def ranges(self, block: int, count: int) -> Iterator[ByteRange]:
        """Where those bytes are."""
        skip = block * CD_SECTOR_BYTES
        for extent in self.extents:
            taken = min(max(len(extent) - skip, 0), count)
            if taken and isinstance(extent, bytes):
                raise Damage("its UDF metadata has a hole")
            if taken and isinstance(extent, ByteRange):
                yield ByteRange(extent.start + skip, extent.start + skip + taken)
            skip = max(skip - len(extent), 0)
            count -= taken
        if count:
            raise Damage("its UDF metadata ends early")


@dataclass(frozen=True, slots=True)
class UdfVolume:
    """What the volume descriptor sequence says, not yet followed any further."""

    volume_id: str
    file_set: Address
    partition_maps: bytes
    map_count: int
    partitions: dict[int, PlainPartition]  # by partition number
    end_bytes: int  # where the last partition ends


def tagged(data: bytes, *identifiers: int) -> bytes:
    """`data`, if it begins with an undamaged descriptor of one of these kinds."""
    if not is_tagged(data) or int.from_bytes(data[:2], "little") not in identifiers:
        raise Damage("a UDF descriptor is not where it should be")
    return data


def is_tagged(data: bytes) -> bool:
    """True for an undamaged descriptor of any kind."""
    if len(data) < 16 or (sum(data[:16]) - data[4]) % 256 != data[4]:
        return False
    crc, length = struct.unpack_from("<HH", data, 8)
    body = data[16 : 16 + length]
    return len(body) == length and bool(binascii.crc_hqx(body, 0) == crc)


def unicode(raw: bytes) -> str:
    """A name in OSTA compressed unicode (UDF 2.60, 2.1.1): a byte says how wide it is."""
    if raw[:1] == b"\x08":
        return raw[1:].decode("latin-1")
    return raw[1:].decode("utf-16-be", "replace") if raw[:1] == b"\x10" else ""


def read_volume(source: Source) -> UdfVolume:
    """The volume, by the first anchor and sequence that are whole (ECMA-167 3/8.4)."""
    for _, anchor in read_anchors(source):
        for at in (16, 24):  # the main sequence and the reserve one
            length, first = struct.unpack_from("<LL", anchor, at)
            volume = _read_sequence(source, first, length)
            if volume is not None:
                return volume
    raise Damage("its UDF volume has no descriptors")


def read_anchors(source: Source) -> Iterator[tuple[int, bytes]]:
    """The sector and the content of each anchor, in the order of their worth.

    After the three places of the standard come more: genisoimage fills a disc's end with anchors.
    """
    last = source.size_bytes // CD_SECTOR_BYTES - 1
    places = (ANCHOR_SECTOR, last, last - 256)
    for lba in (*dict.fromkeys(places), *range(last - 1, ANCHOR_SECTOR, -1)):
        anchor = source.sector(lba) if lba > 0 else b""
        if is_tagged(anchor) and anchor[0] == _ANCHOR:
            yield lba, anchor
        elif lba not in places:
            return


def _read_sequence(source: Source, first: int, length: int) -> UdfVolume | None:
    """What the descriptors from there on say; None unless they are whole.

    offset  size  of a partition descriptor (3/10.5)   of a logical volume descriptor (3/10.6)
        16     4  sequence number: the highest counts  the same
        20     4                                       length of the next extent (of a pointer)
        22     2  partition number
        84   128                                       the volume's name
       188     4  first sector
       192     4  sectors
       212     4                                       bytes in a block
       248    16                                       where the file set is
       264     4                                       bytes of partition maps
       268     4                                       partition maps
       440     -                                       the maps
    """
    found: dict[tuple[int, int], tuple[int, bytes]] = {}
    lba, end = first, first + length // CD_SECTOR_BYTES
    for _ in range(_SEQUENCE_LIMIT):
        data = source.sector(lba) if lba < end else b""
        lba += 1
        if not data:
            break
        if not is_tagged(data):
            continue
        kind, number = struct.unpack_from("<H14xL", data)
        if kind == _TERMINATOR:
            break
        if kind == _POINTER:
            count, lba = struct.unpack_from("<LL", data, 20)
            end = lba + count // CD_SECTOR_BYTES
        elif kind in (_PARTITION, _LOGICAL_VOLUME):
            key = (kind, struct.unpack_from("<H", data, 22)[0] if kind == _PARTITION else 0)
            found[key] = max(found.get(key, (0, data)), (number, data))
    _, logical = found.pop((_LOGICAL_VOLUME, 0), (0, b""))
    if not logical or not found:
        return None
    block_bytes, maps_bytes, map_count = struct.unpack_from("<L48xLL", logical, 212)
    if block_bytes != CD_SECTOR_BYTES:
        raise Damage(f"its UDF volume has blocks of {block_bytes:,} bytes, which is no disc's")
    extents = {
        number: struct.unpack_from("<LL", data, 188) for (_, number), (_, data) in found.items()
    }
    return UdfVolume(
        volume_id=unicode(logical[84 : 84 + min(logical[211], 127)]),
        file_set=Address.of(logical[248:264]),
        partition_maps=logical[440 : 440 + maps_bytes],
        map_count=min(map_count, _PARTITION_LIMIT),
        partitions={number: PlainPartition(start) for number, (start, _) in extents.items()},
        end_bytes=max(map(sum, extents.values())) * CD_SECTOR_BYTES,
    )


def metadata_files(volume: UdfVolume, number: int) -> tuple[Address, ...]:
    """Where map `number` says that the metadata file and its mirror are; () for other maps.

    offset  size  meaning
         0     1  1 = a partition, 2 = something made of one
         1     1  length of the map
         4     2  of kind 1: the partition's number
         5    23  of kind 2: what it is
        38     2  the partition's number
        40     4  block of the metadata file, then that of its mirror
    """
    data = _map(volume, number)
    if data[0] == 1:
        return ()
    if data[5:28].rstrip(b"\0") != b"*UDF Metadata Partition" or len(data) < 48:
        raise Damage("its UDF volume has a kind of partition that is not on pressed discs")
    blocks = struct.unpack_from("<LL", data, 40)
    return tuple(Address(block, number) for block in blocks)


def plain_partition(volume: UdfVolume, number: int) -> PlainPartition:
    """The partition that map `number` is about."""
    data = _map(volume, number)
    (partition,) = struct.unpack_from("<H", data, 4 if data[0] == 1 else 38)
    if partition not in volume.partitions:
        raise Damage("its UDF volume lacks a partition")
    return volume.partitions[partition]


def _map(volume: UdfVolume, number: int) -> bytes:
    maps = volume.partition_maps
    for index in range(volume.map_count):
        length = maps[1] if len(maps) > 5 else 0
        if length < 6 or maps[0] not in (1, 2) or (maps[0] == 2 and len(maps[:length]) < 40):
            break
        if index == number:
            return maps[:length]
        maps = maps[length:]
    raise Damage("its UDF volume lacks a partition map")
