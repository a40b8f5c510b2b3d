"""Which file systems a disc has, by the descriptors from sector 16 on, and its boot catalog.

offset  size  meaning (ECMA-119 §8, ECMA-167 2/9)
     0     1  type: 0 = boot record, 1 = primary, 2 = supplementary, 255 = the last
     1     5  "CD001"; "BEA01", "NSR02", "NSR03", "TEA01" and others where the disc has UDF
     6     1  version; 2 makes a supplementary descriptor an enhanced one
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bootserver.disc.source import Source
from bootserver.model import CD_SECTOR_BYTES, ElToritoEntry

FIRST_SECTOR = 16
LAST_SECTOR = 79  # 64 descriptors; real discs have three to eight

_VOLUME_STRUCTURES = (b"CD001", b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2", b"CDW02")
_JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")
_BOOT_SYSTEM = b"EL TORITO SPECIFICATION"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The first descriptor of each kind, whole; empty where there is none."""

    primary: bytes = b""
    joliet: bytes = b""
    enhanced: bytes = b""  # ISO 9660:1999: the tree once more, with long names
    boot_record: bytes = b""
    has_udf: bool = False


def read_descriptors(source: Source) -> Descriptors:
    """What the descriptors up to the first sector without one say."""
    found: dict[str, bytes] = {}
    has_udf = False
    for _, data in all_descriptors(source):
        has_udf = has_udf or data[1:6] in (b"NSR02", b"NSR03")
        found.setdefault(kind_of(data), data)
    found.pop("", None)
    return Descriptors(**found, has_udf=has_udf)


def all_descriptors(source: Source) -> Iterator[tuple[int, bytes]]:
    """The sector and the content of each."""
    for lba in range(FIRST_SECTOR, LAST_SECTOR + 1):
        data = source.sector(lba)
        if data[1:6] not in _VOLUME_STRUCTURES:
            return
        yield lba, data


def kind_of(data: bytes) -> str:
    """The field of Descriptors that this descriptor belongs in, "" for none."""
    if data[1:6] != b"CD001":
        return ""
    if data[0] == 0 and data[7:].startswith(_BOOT_SYSTEM):
        return "boot_record"
    if data[0] == 1:
        return "primary"
    if data[0] == 2 and data[88:91] in _JOLIET_ESCAPES:
        return "joliet"
    return "enhanced" if data[0] == 2 and data[6] == 2 else ""


def read_boot_catalog(source: Source, boot_record: bytes) -> tuple[ElToritoEntry, ...]:
    """The El Torito entries in order (El Torito 1.0, section 2); none of a broken catalog."""
    return tuple(read_boot_entries(source, boot_record).values())


def read_boot_entries(source: Source, boot_record: bytes) -> dict[int, ElToritoEntry]:
    """The El Torito entries, each by where it is in the image.

    offset  size  meaning of a boot record
        71     4  first sector of the catalog
    """
    if not boot_record:
        return {}
    lba = catalog_of(boot_record)
    catalog = source.sector(lba)
    # The validation entry: 1, platform, ..., 0x55, 0xAA; its 16-bit words add up to 0.
    words = (int.from_bytes(catalog[at : at + 2], "little") for at in range(0, 32, 2))
    if not catalog or catalog[0] != 1 or catalog[30:32] != b"\x55\xaa" or sum(words) & 0xFFFF:
        return {}
    return {lba * CD_SECTOR_BYTES + at: entry for at, entry in _entries(catalog)}


def catalog_of(boot_record: bytes) -> int:
    """The sector of its boot catalog."""
    return int.from_bytes(boot_record[71:75], "little")


def _entries(catalog: bytes) -> Iterator[tuple[int, ElToritoEntry]]:
    """The initial entry and those of the sections, each with its section's platform.

    offset  size  section header                  entry
         0     1  0x90, or 0x91 if it is the last  0x88 = bootable, 0 = not
         1     1  platform                        media, in the low four bits
         2     2  entries in the section          load segment
         6     2                                  512-byte sectors to load
         8     4                                  first sector
    """
    default_platform = platform = catalog[1]
    left = 1  # entries still to come in this section
    for at in range(32, CD_SECTOR_BYTES, 32):
        entry = catalog[at : at + 32]
        if entry[0] == 0x44:  # more about the entry before
            continue
        if not left and entry[0] in (0x90, 0x91):
            platform, left = entry[1], int.from_bytes(entry[2:4], "little")
            continue
        if not left:
            if entry[0] != 0x88:
                return
            platform = default_platform  # some old tools write entries without a section
        left = max(left - 1, 0)
        boot_entry = ElToritoEntry(
            platform_id=platform,
            bootable=entry[0] == 0x88,
            media=entry[1] & 0x0F,
            load_sectors=int.from_bytes(entry[6:8], "little"),
            lba=int.from_bytes(entry[8:12], "little"),
        )
        yield at, boot_entry
