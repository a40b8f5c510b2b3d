"""A single-file stub: the UEFI loader with iPXE and its script inside it.

For UEFI HTTP boot and AMT One-Click Recovery: the firmware fetches one .efi, and there is no volume
beside it. The parts go into their own section: firmware loads sections, and nothing that is merely
appended to the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from bootserver.errors import StubError

SECTION_NAME = b".stub"
PART_NAME_BYTES = 12

# Names of the parts, as stub/efi/loader.c asks for them.
FULL_IPXE, SMALL_IPXE, SCRIPT = "IPXE.BIN", "SNP.BIN", "SCRIPT"

SECTION_HEADER_BYTES = 40
SECTION_FLAGS = 0x40000040  # initialised data, readable

# Offsets from the PE signature (Microsoft PE format, "COFF File Header", "Optional Header").
SECTION_COUNT, OPTIONAL_HEADER_BYTES, OPTIONAL_HEADER = 6, 20, 24
DATA_BYTES, ALIGNMENTS, IMAGE_BYTES, CHECKSUM = 32, 56, 80, 88
PE32_PLUS = 0x20B


@dataclass(frozen=True, slots=True)
class _Headers:
    """Where a PE32+ file can take one more section."""

    pe: int  # offset of the signature
    sections: int  # how many there are
    free: int  # where the next section's header goes
    data_bytes: int
    section_alignment: int
    file_alignment: int
    image_bytes: int


def embed(loader: bytes, parts: Mapping[str, bytes]) -> bytes:
    """`loader` with `parts` (name -> bytes) in a section `.stub`; raises StubError if it cannot be.

    An existing signature would not cover the section, so sign the result.
    """
    headers = _headers(loader)
    content = b"".join(_part(name, data) for name, data in parts.items())
    content += bytes(PART_NAME_BYTES)  # a part without a name ends them
    file = loader + bytes(-len(loader) % headers.file_alignment)
    raw = content + bytes(-len(content) % headers.file_alignment)
    section = struct.pack(
        "<8sIIIIIIHHI",
        *(SECTION_NAME, len(content), headers.image_bytes, len(raw), len(file)),
        *(0, 0, 0, 0, SECTION_FLAGS),
    )
    image_bytes = headers.image_bytes + len(content)
    image_bytes += -image_bytes % headers.section_alignment

    result = bytearray(file + raw)
    result[headers.free : headers.free + len(section)] = section
    struct.pack_into("<H", result, headers.pe + SECTION_COUNT, headers.sections + 1)
    struct.pack_into("<I", result, headers.pe + DATA_BYTES, headers.data_bytes + len(raw))
    struct.pack_into("<I", result, headers.pe + IMAGE_BYTES, image_bytes)
    struct.pack_into("<I", result, headers.pe + CHECKSUM, 0)  # firmware does not look at it
    return bytes(result)


def _part(name: str, data: bytes) -> bytes:
    """One part, as stub/efi/carried.h describes it."""
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= PART_NAME_BYTES:
        raise ValueError(f"{name!r} is no name for a part")
    return struct.pack(f"<{PART_NAME_BYTES}sI", encoded, len(data)) + data


def _headers(loader: bytes) -> _Headers:
    try:
        (pe,) = struct.unpack_from("<I", loader, 0x3C)
        signature, sections = struct.unpack_from("<4s2xH", loader, pe)
        (optional_bytes,) = struct.unpack_from("<H", loader, pe + OPTIONAL_HEADER_BYTES)
        magic, data_bytes = struct.unpack_from("<H6xI", loader, pe + OPTIONAL_HEADER)
        section_alignment, file_alignment = struct.unpack_from("<II", loader, pe + ALIGNMENTS)
        image_bytes, headers_bytes = struct.unpack_from("<II", loader, pe + IMAGE_BYTES)
    except struct.error as err:
        raise StubError("the UEFI loader is cut short", hint="run: make setup") from err
    if signature != b"PE\0\0" or magic != PE32_PLUS:
        raise StubError("the UEFI loader is no 64-bit PE program", hint="run: make setup")
    free = pe + OPTIONAL_HEADER + optional_bytes + sections * SECTION_HEADER_BYTES
    if free + SECTION_HEADER_BYTES > headers_bytes or any(loader[free:][:SECTION_HEADER_BYTES]):
        raise StubError("the UEFI loader's header has no room for one more section")
    return _Headers(pe, sections, free, data_bytes, section_alignment, file_alignment, image_bytes)
