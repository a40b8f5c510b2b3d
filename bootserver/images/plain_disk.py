"""What a floppy or hard disk image holds: images that are no discs, or boot images on a disc."""

from __future__ import annotations

import os
import struct
import uuid
from dataclasses import dataclass
from typing import BinaryIO

from bootserver.model import PlainDisk

SECTOR_BYTES = 512
FLOPPY_SIZES_KIB = (160, 180, 320, 360, 640, 720, 1200, 1440, 1680, 1722, 2880)

_EFI_SYSTEM_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").bytes_le  # UEFI 2.10, 5.3.3
_MBR_EFI_SYSTEM, _MBR_PROTECTIVE = 0xEF, 0xEE
_GPT_LIMIT_BYTES = 64 * 1024  # four times what partitioning tools write
_DIRECTORY_LIMIT_BYTES = 64 * 1024  # of a FAT directory: EFI stands among the first in it


def inspect_plain_disk(file: BinaryIO) -> PlainDisk | None:
    """What kind of disk the image is and what boots it; None if it looks like no disk.

    A superfloppy is FAT from its first sector on. It counts as an EFI system partition if the
    beginning of its root directory has a directory EFI.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    first = _read(file, 0, SECTOR_BYTES)
    is_floppy = size_bytes in [kib * 1024 for kib in FLOPPY_SIZES_KIB]
    signed = first[510:] == b"\x55\xaa"
    fat = _fat(first)
    if fat is not None and (signed or is_floppy):
        return PlainDisk(
            kind="floppy" if is_floppy else "harddisk",
            boot_code=_is_code(first[fat.code_at : 510]),
            efi_partition=_efi_directory(file, fat) >= 2,
        )
    if is_floppy and signed:  # a kernel or a tester that needs no file system
        return PlainDisk("floppy", boot_code=_is_code(first[:510]), efi_partition=False)
    kinds = _partition_kinds(first) if signed else []
    if not kinds:
        return None
    return PlainDisk(
        kind="harddisk",
        boot_code=_is_code(first[:440]),
        efi_partition=_MBR_EFI_SYSTEM in kinds
        or (_MBR_PROTECTIVE in kinds and _EFI_SYSTEM_TYPE in _gpt_types(file)),
    )


def holds_efi_boot(file: BinaryIO, start: int) -> bool:
    """True if a FAT volume with a directory EFI/BOOT begins at that byte of the file."""
    first = os.pread(file.fileno(), SECTOR_BYTES, start)
    fat = _fat(first) if first[510:] == b"\x55\xaa" else None
    efi = _efi_directory(file, fat, start) if fat else 0
    if fat is None or efi < 2:
        return False
    at = start + fat.clusters_at + (efi - 2) * fat.cluster_bytes
    return _cluster_of(file, b"BOOT", at, fat.cluster_bytes) >= 2


def _is_code(area: bytes) -> bool:
    """True unless it is empty or only says, as mkfs.fat has it, that there is nothing to boot."""
    return any(area) and b"not a bootable disk" not in area


def _partition_kinds(first: bytes) -> list[int]:
    """The types of the partitions in an MBR; none if it is no MBR.

    offset  size  meaning, in each of the four entries from 446 on
         0     1  0x80 = active, 0 = not
         4     1  type; 0 = no partition
         8     4  first sector
        12     4  sectors
    """
    entries = [struct.unpack_from("<B3xB3xLL", first, 446 + 16 * n) for n in range(4)]
    if any(status not in (0x00, 0x80) for status, *_ in entries):
        return []
    return [kind for _, kind, start, sectors in entries if kind and start and sectors]


def _gpt_types(file: BinaryIO) -> set[bytes]:
    """The type GUIDs of the partitions in a GPT (UEFI 2.10, 5.3.2): 16 bytes begin each entry.

    offset  size  meaning, in the header in sector 1
         0     8  "EFI PART"
        72     8  first sector of the entries
        80     4  entries
        84     4  bytes of each
    """
    header = _read(file, SECTOR_BYTES, SECTOR_BYTES)
    if not header.startswith(b"EFI PART"):
        return set()
    first_sector, count, entry_bytes = struct.unpack_from("<QLL", header, 72)
    if entry_bytes < 128 or first_sector >= 2**40:
        return set()
    table = _read(
        file, first_sector * SECTOR_BYTES, min(int(count) * entry_bytes, _GPT_LIMIT_BYTES)
    )
    return {table[at : at + 16] for at in range(0, len(table), entry_bytes)}


@dataclass(frozen=True, slots=True)
class _Fat:
    root_at: int
    root_bytes: int
    code_at: int
    clusters_at: int  # where cluster 2 is
    cluster_bytes: int


def _fat(first: bytes) -> _Fat | None:
    """Where the root directory of a FAT volume is; None if this is no FAT boot sector.

    offset  size  meaning (Microsoft FAT specification 1.03)
         0     1  0xEB or 0xE9: jump to the code
        11     2  bytes in a sector
        13     1  sectors in a cluster
        14     2  sectors before the first FAT
        16     1  FATs
        17     2  entries in the root directory; 0 for FAT32
        21     1  media, 0xF0 and above
        22     2  sectors in a FAT; 0 for FAT32, which has them at 36, and the root's cluster at 44
    """
    sector_bytes, cluster_sectors, reserved, fats, root_entries, media, fat_sectors = (
        struct.unpack_from("<HBHBH2xBH", first, 11)
    )
    large_fat_sectors, root_cluster = struct.unpack_from("<L4xL", first, 36)
    if (
        first[0] not in (0xEB, 0xE9)
        or sector_bytes not in (512, 1024, 2048, 4096)
        or cluster_sectors.bit_count() != 1
        or not reserved
        or fats not in (1, 2)
        or media < 0xF0
    ):
        return None
    start = (reserved + fats * (fat_sectors or large_fat_sectors)) * sector_bytes
    cluster_bytes = cluster_sectors * sector_bytes
    if fat_sectors:
        root_bytes = root_entries * 32
        return _Fat(start, root_bytes, 62, start + root_bytes, cluster_bytes)
    if root_entries or root_cluster < 2:
        return None
    root_at = start + (root_cluster - 2) * cluster_bytes
    return _Fat(root_at, cluster_bytes, 90, start, cluster_bytes)


def _efi_directory(file: BinaryIO, fat: _Fat, start: int = 0) -> int:
    """The first cluster of the directory EFI in the root of the volume at `start`; 0 for none."""
    return _cluster_of(file, b"EFI", start + fat.root_at, fat.root_bytes)


def _cluster_of(file: BinaryIO, name: bytes, at: int, count: int) -> int:
    """The first cluster of the directory of that name in the directory there; 0 for none.

    offset  size  meaning of an entry
         0    11  name
        11     1  attributes: 0x10 = directory
        20     2  first cluster, its high half; the low one is at 26
    """
    data = os.pread(file.fileno(), min(count, _DIRECTORY_LIMIT_BYTES), at)
    for entry in range(0, len(data) - 31, 32):
        if data[entry : entry + 11] == name.ljust(11) and data[entry + 11] & 0x10:
            high, low = struct.unpack_from("<H4xH", data, entry + 20)
            return int(high << 16 | low)
    return 0


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    """What the file has there; the first sectors are filled up with zeros."""
    data = os.pread(file.fileno(), count, offset)
    return data.ljust(count, b"\0") if count == SECTOR_BYTES else data
