"""A FAT image with a few files in it: what UEFI firmware reads a stub's loaders from.

Written by ourselves and not by mkfs so that equal files give equal bytes, and so that firmware
reads little: directories first, every file in one piece and in the order given, all of it on the
boundaries of CD sectors. The format is in Microsoft's "FAT: General Overview of On-Disk Format",
1.03, which UEFI 2.10 §13.3 refers to.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from bootserver.errors import StubError
from bootserver.model import CD_SECTOR_BYTES

SECTOR_BYTES = 512
MAX_BYTES = 32 * 1024 * 1024 - SECTOR_BYTES  # an El Torito entry counts sectors in 16 bits
CLUSTER_BYTES = 2048  # a CD sector: smaller ones cost commands, larger ones cost bytes

LABEL = b"BOOTSERVER "
MEDIA = 0xF8  # not a floppy
DATE = (2010 - 1980) << 9 | 1 << 5 | 1  # 2010-01-01; the time of day is 0

ENTRY_BYTES = 32
DIRECTORY, VOLUME_LABEL, ARCHIVE, LONG_NAME = 0x10, 0x08, 0x20, 0x0F
LONG_NAME_CHARACTERS = 13  # of a long name, per directory entry
LONG_NAME_LAST = 0x40

# The number of clusters alone says which kind of FAT it is; drivers that count one too many or
# one too few are why the specification warns of coming near this limit.
FAT12_CLUSTERS_MAX = 4084
SAFE_DISTANCE = 16

PLAIN_NAME = re.compile(r"[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?")
FORBIDDEN = re.compile(r'[\x00-\x1f"*:<>?\\|\x7f]')


@dataclass
class _Node:
    """A directory (`children`) or a file (`data`), and where it has been put."""

    name: str
    children: dict[str, _Node] | None = None  # by lower-case name
    data: bytes = field(default=b"", repr=False)
    short_name: bytes = b""  # 11 characters, padded with blanks
    cluster: int = 0  # the first; 0 for the root and for empty files

    @property
    def entries(self) -> int:
        """How many directory entries its name takes."""
        if _short(self.name) == self.short_name:
            return 1
        return 1 + -(-_utf16_length(self.name) // LONG_NAME_CHARACTERS)


def fat_image(files: Mapping[str, bytes], *, cluster_bytes: int = CLUSTER_BYTES) -> bytes:
    """A FAT12 or FAT16 image with `files` (path with `/` -> content), no larger than they need.

    Raises StubError for a name that FAT cannot hold, or when they are too large together.
    """
    root = _tree(files)
    nodes = list(_walk(root))
    directories = [node for node in nodes if node.children is not None]
    in_order = [*directories, *(_find(root, path) for path in files)]

    next_cluster = 2  # the first two are not there
    chains: list[range] = []
    for node in in_order:
        size_bytes = _directory_bytes(node) if node.children is not None else len(node.data)
        clusters = -(-size_bytes // cluster_bytes)
        if clusters:
            node.cluster = next_cluster
            chains.append(range(next_cluster, next_cluster + clusters))
            next_cluster += clusters

    used = next_cluster - 2
    if abs(used - FAT12_CLUSTERS_MAX) <= SAFE_DISTANCE:
        used = FAT12_CLUSTERS_MAX + SAFE_DISTANCE + 1
    root_bytes = -(-(1 + _entries(root)) * ENTRY_BYTES // SECTOR_BYTES) * SECTOR_BYTES
    table = _allocation_table(chains, used)
    reserved_bytes = SECTOR_BYTES
    reserved_bytes += -(reserved_bytes + 2 * len(table) + root_bytes) % CD_SECTOR_BYTES
    data_start = reserved_bytes + 2 * len(table) + root_bytes
    size_bytes = data_start + used * cluster_bytes
    size_bytes += -size_bytes % CD_SECTOR_BYTES
    if size_bytes > MAX_BYTES:
        raise StubError(
            f"the stub's UEFI files take {size_bytes:,} bytes; El Torito allows {MAX_BYTES:,}",
            hint="take smaller loaders",
        )

    image = bytearray(size_bytes)
    boot_sector = _boot_sector(
        cluster_bytes, reserved_bytes, root_bytes, size_bytes, len(table), used, _serial(files)
    )
    image[: len(boot_sector)] = boot_sector
    image[reserved_bytes : reserved_bytes + 2 * len(table)] = table * 2
    label = _entry(LABEL, VOLUME_LABEL, 0, 0)
    root_entries = label + _child_entries(root)
    image[data_start - root_bytes :][: len(root_entries)] = b""
    _put(image, data_start - root_bytes, root_entries)
    for parent, node in _with_parents(root):
        if node.cluster:
            content = node.data if node.children is None else _directory(node, parent)
            _put(image, data_start + (node.cluster - 2) * cluster_bytes, content)
    return bytes(image)
