"""Small PE images, and how firmware lays them out in memory: by hand, from Microsoft's format."""

from __future__ import annotations

import struct

PE = 0x80
OPTIONAL_BYTES = 240
HEADERS_BYTES = 0x400
TEXT = b"\xc3" * 700


def small_pe(*, magic: int = 0x20B, headers_bytes: int = HEADERS_BYTES) -> bytes:
    """A PE32+ program with one section, `.text`."""
    image = bytearray(HEADERS_BYTES)
    struct.pack_into("<2s58xI", image, 0, b"MZ", PE)
    struct.pack_into("<4sHHIIIHH", image, PE, b"PE\0\0", 0x8664, 1, 0, 0, 0, OPTIONAL_BYTES, 0x22E)
    optional = PE + 24
    struct.pack_into("<H6xI", image, optional, magic, 1024)
    struct.pack_into("<II", image, optional + 32, 0x1000, 0x200)
    struct.pack_into("<III", image, optional + 56, 0x2000, headers_bytes, 0x1234)
    section = optional + OPTIONAL_BYTES
    struct.pack_into("<8sIIII", image, section, b".text", len(TEXT), 0x1000, 0x400, HEADERS_BYTES)
    return bytes(image) + TEXT + bytes(0x400 - len(TEXT))


def sections(file: bytes) -> list[tuple[str, int, int, int, int]]:
    """Name, size and address in memory, size and offset in the file of each section."""
    (pe,) = struct.unpack_from("<I", file, 0x3C)
    (count,) = struct.unpack_from("<H", file, pe + 6)
    table = pe + 24 + OPTIONAL_BYTES
    entries = [struct.unpack_from("<8sIIII", file, table + 40 * n) for n in range(count)]
    return [(name.rstrip(b"\0").decode(), *numbers) for name, *numbers in entries]


def in_memory(file: bytes) -> bytes:
    """The image as firmware loads it: the headers, and every section at its address."""
    (pe,) = struct.unpack_from("<I", file, 0x3C)
    size, headers = struct.unpack_from("<II", file, pe + 24 + 56)
    image = bytearray(size)
    image[:headers] = file[:headers]
    for _, memory_size, address, file_size, offset in sections(file):
        content = file[offset : offset + file_size][:memory_size]
        image[address : address + len(content)] = content
    return bytes(image)
