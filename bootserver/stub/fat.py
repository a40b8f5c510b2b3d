"""A FAT image with a few files in it: what UEFI firmware reads a stub's loaders from.

Written here and not by mkfs so that equal files give equal bytes, and firmware reads little.
Directories come first, then each file in one piece, in the order given. All of it lies on the
boundaries of CD sectors. The format is Microsoft's "FAT: General Overview of On-Disk Format" 1.03,
which UEFI 2.10 §13.3 refers to.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from bootserver.errors import StubError
from bootserver.model import CD_SECTOR_BYTES

SECTOR_BYTES = 512
MAX_BYTES = 65535 * SECTOR_BYTES  # El Torito and the boot sector count sectors in 16 bits
CLUSTER_BYTES = 2048  # a CD sector: smaller ones cost commands, larger ones cost bytes

LABEL = b"BOOTSERVER "
MEDIA = 0xF8  # not a floppy
DATE = (2010 - 1980) << 9 | 1 << 5 | 1  # 2010-01-01; the time of day is 0

ENTRY_BYTES = 32
VOLUME_LABEL, DIRECTORY, ARCHIVE, LONG_NAME = 0x08, 0x10, 0x20, 0x0F
LONG_NAME_UNITS = 13  # UTF-16 units of a long name in each directory entry
LONG_NAME_LAST = 0x40
LONG_NAME_MAX_UNITS = 255

FIRST_CLUSTER = 2  # the table's first two entries stand for no cluster

# The number of clusters alone tells FAT12 from FAT16. Some drivers count one more or less, which
# is why the specification wants volumes to keep away from the limit.
FAT12_MAX_CLUSTERS = 4084
LIMIT_DISTANCE = 16

PLAIN_NAME = re.compile(r"([A-Z0-9!#$%&'()@^_`{}~-]{1,8})(?:\.([A-Z0-9!#$%&'()@^_`{}~-]{1,3}))?")
NOT_PLAIN = re.compile(r"[^A-Z0-9!#$%&'()@^_`{}~-]")
FORBIDDEN = re.compile(r'[\x00-\x1f"*:<>?\\|\x7f]')


@dataclass(eq=False)
class _Node:
    """A file, or a directory with its children by upper-case name; and where it has been put."""

    name: str
    data: bytes = field(default=b"", repr=False)
    children: dict[str, _Node] | None = None
    parent: _Node | None = field(default=None, repr=False)
    short_name: bytes = b""  # 8 + 3 characters, padded with blanks
    cluster: int = 0  # the first one; 0 for the root and for empty files


def fat_image(files: Mapping[str, bytes], *, cluster_bytes: int = CLUSTER_BYTES) -> bytes:
    """A FAT12 or FAT16 image with `files` (path with `/` -> content), no larger than they need.

    Raises StubError for a path that FAT cannot hold, or when the files are too large together.
    """
    root, directories, leaves = _tree(files)
    for directory in (root, *directories):
        _give_short_names(directory)
    for directory in directories:
        directory.data = bytes(len(_directory(directory)))  # to be filled when all have their place
    table, clusters = _allocate((*directories, *leaves), cluster_bytes)
    for directory in directories:
        directory.data = _directory(directory)
    root_entries = _entry(LABEL, VOLUME_LABEL) + _child_entries(root)
    # EDK2's driver reads pages that are counted from the root directory. So that begins on a CD
    # sector, too, or each page costs two sectors more.
    root_entries += bytes(-len(root_entries) % CD_SECTOR_BYTES)
    reserved_bytes = SECTOR_BYTES + -(SECTOR_BYTES + 2 * len(table)) % CD_SECTOR_BYTES
    data_start = reserved_bytes + 2 * len(table) + len(root_entries)
    size_bytes = data_start + clusters * cluster_bytes
    size_bytes += -size_bytes % CD_SECTOR_BYTES
    if size_bytes > MAX_BYTES:
        raise StubError(
            f"the stub's UEFI files make an image of {size_bytes:,} bytes, "
            f"and firmware takes {MAX_BYTES:,}",
            hint="use smaller loaders",
        )

    image = bytearray(size_bytes)
    image[:SECTOR_BYTES] = _boot_sector(
        cluster_bytes=cluster_bytes,
        reserved_bytes=reserved_bytes,
        table_bytes=len(table),
        root_entries=len(root_entries) // ENTRY_BYTES,
        size_bytes=size_bytes,
        kind=b"FAT12   " if clusters <= FAT12_MAX_CLUSTERS else b"FAT16   ",
        serial=_serial(files),
    )
    image[reserved_bytes:data_start] = table + table + root_entries
    for node in (*directories, *leaves):
        start = data_start + (node.cluster - FIRST_CLUSTER) * cluster_bytes
        if node.cluster:
            image[start : start + len(node.data)] = node.data
    return bytes(image)


def _tree(files: Mapping[str, bytes]) -> tuple[_Node, list[_Node], list[_Node]]:
    """The root, the other directories and the files, both in order of their first appearance."""
    root = _Node("", children={})
    directories: list[_Node] = []
    leaves: list[_Node] = []
    for path, data in files.items():
        *parents, name = path.split("/")
        here = root
        for parent in parents:
            if _children(here).get(parent.upper()) is None:
                directories.append(_add(here, _Node(parent, children={}), path))
            here = _children(here)[parent.upper()]
            if here.children is None:
                raise StubError(f"{path} lies below a file")
        leaves.append(_add(here, _Node(name, data), path))
    return root, directories, leaves


def _add(parent: _Node, node: _Node, path: str) -> _Node:
    name = node.name
    if not name or name != name.strip(" .") or FORBIDDEN.search(name):
        raise StubError(f"FAT cannot hold a file of the name {path!r}")
    if len(_utf16(name)) // 2 > LONG_NAME_MAX_UNITS:
        raise StubError(f"the name {path!r} is too long for FAT")
    if name.upper() in _children(parent):
        raise StubError(f"there are two files {path!r}: FAT knows no upper and lower case")
    node.parent = parent
    _children(parent)[name.upper()] = node
    return node


def _children(directory: _Node) -> dict[str, _Node]:
    assert directory.children is not None
    return directory.children


def _give_short_names(directory: _Node) -> None:
    """Every child its 8.3 name: its own where it is one, else an alias like AUTOEX~1.IPX."""
    children = _children(directory).values()
    plain = {node.name: match for node in children if (match := PLAIN_NAME.fullmatch(node.name))}
    taken = {_short_name(match[1], match[2] or "") for match in plain.values()}
    for node in children:
        if match := plain.get(node.name):
            node.short_name = _short_name(match[1], match[2] or "")
        else:
            node.short_name = _alias(node.name, taken)
            taken.add(node.short_name)


def _alias(name: str, taken: set[bytes]) -> bytes:
    stem, dot, extension = name.upper().rpartition(".")
    if not dot:
        stem, extension = extension, ""
    stem, extension = (NOT_PLAIN.sub("_", part.replace(".", "")) for part in (stem, extension))
    tails = (f"~{number}" for number in count(1))
    aliases = (_short_name(stem[: 8 - len(tail)] + tail, extension[:3]) for tail in tails)
    return next(alias for alias in aliases if alias not in taken)


def _short_name(stem: str, extension: str) -> bytes:
    return f"{stem:8}{extension:3}".encode("ascii")


def _allocate(nodes: Iterable[_Node], cluster_bytes: int) -> tuple[bytes, int]:
    """Give every node its clusters; returns the allocation table and how many there are."""
    links = [0xFF00 | MEDIA, 0xFFFF]
    for node in nodes:
        clusters = -(-len(node.data) // cluster_bytes)
        if clusters:
            node.cluster = len(links)
            links += range(node.cluster + 1, node.cluster + clusters)
            links.append(0xFFFF)  # the end of the chain
    used = len(links) - FIRST_CLUSTER
    if abs(used - FAT12_MAX_CLUSTERS) <= LIMIT_DISTANCE:
        used = FAT12_MAX_CLUSTERS + LIMIT_DISTANCE + 1
        links += [0] * (used + FIRST_CLUSTER - len(links))
    table = _fat12(links) if used <= FAT12_MAX_CLUSTERS else struct.pack(f"<{len(links)}H", *links)
    return table + bytes(-len(table) % SECTOR_BYTES), max(used, 1)


def _fat12(links: list[int]) -> bytes:
    """The table with 12 bits for each entry: two entries are three bytes, little-endian."""
    table = bytearray()
    for index in range(0, len(links), 2):
        low, high = (*links[index : index + 2], 0)[:2]
        table += (low & 0xFFF | (high & 0xFFF) << 12).to_bytes(3, "little")
    return bytes(table)


def _directory(directory: _Node) -> bytes:
    """The content of a directory that is not the root."""
    assert directory.parent is not None
    dot = _entry(b".          ", DIRECTORY, directory.cluster)
    dot_dot = _entry(b"..         ", DIRECTORY, directory.parent.cluster)
    return dot + dot_dot + _child_entries(directory)


def _child_entries(directory: _Node) -> bytes:
    entries = []
    for node in _children(directory).values():
        if not PLAIN_NAME.fullmatch(node.name):
            entries.append(_long_name_entries(node.name, node.short_name))
        if node.children is None:
            entries.append(_entry(node.short_name, ARCHIVE, node.cluster, len(node.data)))
        else:
            entries.append(_entry(node.short_name, DIRECTORY, node.cluster))
    return b"".join(entries)


def _entry(short_name: bytes, attributes: int, cluster: int = 0, size_bytes: int = 0) -> bytes:
    """A directory entry.

    | offset | size | meaning                                                            |
    |--------|------|--------------------------------------------------------------------|
    | 0      | 11   | name, 8 + 3                                                        |
    | 11     | 1    | attributes                                                         |
    | 14     | 4    | time and date of creation                                          |
    | 18     | 2    | date of the last access                                            |
    | 22     | 4    | time and date of the last change                                   |
    | 26     | 2    | first cluster                                                      |
    | 28     | 4    | size in bytes; 0 for directories                                   |
    """
    return struct.pack(
        "<11sB2xHHH2xHHHI",
        *(short_name, attributes, 0, DATE, DATE, 0, DATE, cluster, size_bytes),
    )


def _long_name_entries(name: str, short_name: bytes) -> bytes:
    """The entries before a short one that hold the name as it is, its last part first.

    | offset | size | meaning                                            |
    |--------|------|----------------------------------------------------|
    | 0      | 1    | number of the part, from 1; 0x40 marks the last    |
    | 1      | 10   | UTF-16 units 1 to 5                                |
    | 11     | 1    | attributes 0x0F, which older drivers skip          |
    | 13     | 1    | checksum of the short name                         |
    | 14     | 12   | UTF-16 units 6 to 11                               |
    | 28     | 4    | UTF-16 units 12 and 13                             |
    """
    part_bytes = 2 * LONG_NAME_UNITS
    text = _utf16(name)
    if len(text) % part_bytes:  # a name that fills its last entry has no end mark
        text += bytes(2)
        text += b"\xff" * (-len(text) % part_bytes)
    parts = [text[start : start + part_bytes] for start in range(0, len(text), part_bytes)]
    checksum = _checksum(short_name)
    entries = [
        struct.pack(
            "<B10sBxB12s2x4s", number, part[:10], LONG_NAME, checksum, part[10:22], part[22:]
        )
        for number, part in enumerate(parts, 1)
    ]
    entries[-1] = bytes([entries[-1][0] | LONG_NAME_LAST]) + entries[-1][1:]
    return b"".join(reversed(entries))


def _checksum(short_name: bytes) -> int:
    value = 0
    for character in short_name:
        value = ((value & 1) << 7 | value >> 1) + character & 0xFF
    return value


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-le")


def _serial(files: Mapping[str, bytes]) -> int:
    """The volume's serial number, from what is in it."""
    digest = hashlib.sha256()
    for path, data in files.items():
        digest.update(f"{path}\0{len(data)}\0".encode())
        digest.update(data)
    return int.from_bytes(digest.digest()[:4], "little")


def _boot_sector(
    *,
    cluster_bytes: int,
    reserved_bytes: int,
    table_bytes: int,
    root_entries: int,
    size_bytes: int,
    kind: bytes,
    serial: int,
) -> bytes:
    """The first sector.

    | offset | size | meaning                                                               |
    |--------|------|-----------------------------------------------------------------------|
    | 0      | 3    | a jump over what follows, to an endless loop: no machine boots by it  |
    | 3      | 8    | who made it; drivers know this one                                    |
    | 11     | 3    | bytes of a sector, sectors of a cluster                               |
    | 14     | 3    | sectors before the tables, number of tables                           |
    | 17     | 5    | entries of the root, sectors in all, media                            |
    | 22     | 2    | sectors of a table                                                    |
    | 24     | 4    | sectors of a track, heads: of no use here                             |
    | 28     | 8    | sectors before the volume; sectors in all, if over 65,535             |
    | 36     | 3    | BIOS drive, reserved, 0x29: the next three are there                  |
    | 39     | 23   | serial number, label, kind (for people: the cluster count decides)    |
    | 510    | 2    | 55 AA                                                                 |
    """
    return struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s2s446x2s",
        *(b"\xeb\x3c\x90", b"MSWIN4.1"),
        *(SECTOR_BYTES, cluster_bytes // SECTOR_BYTES),
        *(reserved_bytes // SECTOR_BYTES, 2),
        *(root_entries, size_bytes // SECTOR_BYTES, MEDIA),
        table_bytes // SECTOR_BYTES,
        *(32, 16),
        *(0, 0),
        *(0x80, 0, 0x29),
        *(serial, LABEL, kind),
        b"\xeb\xfe",
        b"\x55\xaa",
    )
