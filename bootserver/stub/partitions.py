"""Partition tables for a stub on a stick: an MBR beside the ISO, or a GPT for an image.

pycdlib's add_isohybrid writes broken ones, so these are ours. The boot code is isohybrid's
(isohdpfx.bin), which loads isolinux.bin from where the field at 432 says.

| offset | size | master boot record                                      |
|--------|------|---------------------------------------------------------|
| 0      | 432  | isohdpfx.bin                                            |
| 432    | 8    | where isolinux.bin lies, in 512-byte blocks             |
| 440    | 4    | disk signature, from the stub's digest                  |
| 446    | 4*16 | partitions                                              |
| 510    | 2    | 55 AA                                                   |
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

BLOCK_BYTES = 512

# A BIOS that guesses a stick's geometry from the partition table wants whole cylinders.
HEADS, SECTORS_PER_TRACK = 16, 32
CYLINDER_BYTES = HEADS * SECTORS_PER_TRACK * BLOCK_BYTES  # 256 KiB

ACTIVE = 0x80
HIDDEN, EFI_SYSTEM, PROTECTIVE = 0x17, 0xEF, 0xEE  # 0x17: no OS mounts or repairs it

GPT_ENTRIES, GPT_ENTRY_BYTES = 128, 128
GPT_ENTRY_BLOCKS = GPT_ENTRIES * GPT_ENTRY_BYTES // BLOCK_BYTES
GPT_BLOCKS = 1 + GPT_ENTRY_BLOCKS  # header and entries, at the beginning and again at the end
EFI_SYSTEM_GUID = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")  # UEFI 2.10, table 5-7


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """Where things lie in the image, in 512-byte blocks; 0 for what is not on it."""

    blocks: int
    isolinux: int
    esp: int
    esp_blocks: int
    signature: bytes  # 4 bytes that tell this image from others


def mbr(layout: DiskLayout, boot_code: bytes) -> bytes:
    """The master boot record beside an ISO: all of the stick active, and in it the ESP."""
    partitions = [_partition(ACTIVE, HIDDEN, 0, layout.blocks)]
    if layout.esp:
        partitions.append(_partition(0, EFI_SYSTEM, layout.esp, layout.esp_blocks))
    return _boot_record(layout, boot_code, partitions)


def gpt(layout: DiskLayout, boot_code: bytes) -> tuple[bytes, bytes]:
    """What stands in the first 34 blocks and in the last 33 (UEFI 2.10, section 5.3).

    Its protective entry must not be active, which a few old BIOSes ask for: those take the ISO.
    """
    partitions = [_partition(0, PROTECTIVE, 1, layout.blocks - 1)]
    record = _boot_record(layout, boot_code, partitions)
    entry = struct.pack(
        "<16s16sQQQ72s",
        EFI_SYSTEM_GUID.bytes_le,
        _guid(layout, "esp").bytes_le,
        layout.esp,
        layout.esp + layout.esp_blocks - 1,
        0,
        "bootserver".encode("utf-16-le"),
    )
    entries = entry.ljust(GPT_ENTRIES * GPT_ENTRY_BYTES, b"\0")
    last = layout.blocks - 1
    first_header = _gpt_header(layout, entries, own=1, other=last, entries_at=2)
    last_header = _gpt_header(
        layout, entries, own=last, other=1, entries_at=last - GPT_ENTRY_BLOCKS
    )
    return record + first_header + entries, entries + last_header


def _boot_record(layout: DiskLayout, boot_code: bytes, partitions: list[bytes]) -> bytes:
    return struct.pack(
        "<432sQ4s2x64s2s",
        boot_code if layout.isolinux else b"",
        layout.isolinux,
        layout.signature,
        b"".join(partitions),
        b"\x55\xaa",
    )


def _partition(status: int, kind: int, start: int, blocks: int) -> bytes:
    return struct.pack(
        "<B3sB3sII", status, _chs(start), kind, _chs(start + blocks - 1), start, blocks
    )


def _chs(block: int) -> bytes:
    """Cylinder, head and sector of a block; a stub is too small to leave their range."""
    cylinder, rest = divmod(block, HEADS * SECTORS_PER_TRACK)
    head, sector = divmod(rest, SECTORS_PER_TRACK)
    return bytes((head, sector + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def _gpt_header(
    layout: DiskLayout, entries: bytes, *, own: int, other: int, entries_at: int
) -> bytes:
    """A GPT header (UEFI 2.10, section 5.3.2) in a block of its own."""

    def header(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x00010000,
            92,
            crc,
            0,
            own,
            other,
            1 + GPT_BLOCKS,
            layout.blocks - GPT_BLOCKS - 1,
            _guid(layout, "disk").bytes_le,
            entries_at,
            GPT_ENTRIES,
            GPT_ENTRY_BYTES,
            zlib.crc32(entries),
        )

    return header(zlib.crc32(header(0))).ljust(BLOCK_BYTES, b"\0")


def _guid(layout: DiskLayout, name: str) -> uuid.UUID:
    """A GUID that follows from the stub: equal stubs are equal to the byte."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"bootserver {layout.signature.hex()} {name}")
