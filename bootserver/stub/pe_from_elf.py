"""UEFI programs out of the ELF files that stub/Makefile links.

gcc and clang put addresses into initialised data as they see fit: a table of functions, or two
stored at once. In a position-independent ELF file the linker notes each of them as an
R_X86_64_RELATIVE, or gives up. Here it becomes a base relocation, by which the firmware puts the
address right wherever it loads the program.

What is read is in the ELF-64 specification and its x86-64 supplement. What is written is in
Microsoft's PE format, under "COFF File Header" to "Section Table" and "The .reloc Section".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from bootserver.errors import StubError

X86_64 = 62
PT_LOAD, EXECUTABLE, WRITABLE = 1, 1, 2
SHT_RELA, R_X86_64_RELATIVE = 4, 8

PE_OFFSET = 0x40  # right behind the DOS header: there is no program for DOS
HEADERS_BYTES, OPTIONAL_HEADER_BYTES = 0x200, 240
PAGE_BYTES, FILE_ALIGNMENT = 0x1000, 0x200
DIRECTORIES, RELOC_DIRECTORY = 16, 5
ABSOLUTE, DIR64 = 0 << 12, 10 << 12  # kinds of base relocation: none, and all eight bytes

# Section flags: what is in it, and that it is executed, read, written, or dropped once loaded.
CODE, DATA, RELOC = 0x60000020, 0xC0000040, 0x42000040


@dataclass(frozen=True, slots=True)
class _Section:
    """`memory_bytes` at `address`, counted from the program's start; they begin with `data`."""

    name: bytes
    flags: int
    address: int
    memory_bytes: int
    data: bytearray


def pe_from_elf(elf: bytes) -> bytes:
    """The ELF program as a UEFI application; raises StubError where it cannot be one."""
    try:
        machine, entry, segments_at, sections_at = struct.unpack_from("<18xH4xQQQ", elf)
        if elf[:6] != b"\x7fELF\x02\x01" or machine != X86_64:
            raise StubError("this is no ELF program for x86-64", hint="look at CC in stub/Makefile")
        sections = list(_loaded(elf, segments_at))
        addresses = dict(_addresses(elf, sections_at))
    except struct.error as err:
        raise StubError("the ELF program is cut short", hint="run: make setup") from err
    for place, value in addresses.items():
        _write_address(sections, place, value)
    end = _aligned(max(x.address + x.memory_bytes for x in sections), PAGE_BYTES)
    table = _relocation_table(addresses)
    sections.append(_Section(b".reloc", RELOC, end, len(table), table))
    return _file(entry, sections)


def _loaded(elf: bytes, start: int) -> Iterator[_Section]:
    """The segments that are executed or written; efi.lds puts all else that counts into these."""
    size, count = struct.unpack_from("<54xHH", elf)
    for number in range(count):
        kind, flags, offset, address, file_bytes, memory_bytes = struct.unpack_from(
            "<IIQQ8xQQ", elf, start + number * size
        )
        data = bytearray(elf[offset : offset + file_bytes])
        if kind == PT_LOAD and flags & EXECUTABLE:
            yield _Section(b".text", CODE, address, memory_bytes, data)
        elif kind == PT_LOAD and flags & WRITABLE:
            yield _Section(b".data", DATA, address, memory_bytes, data)


def _addresses(elf: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where an address is to be written, and which, both counted from the program's start."""
    size, count = struct.unpack_from("<58xHH", elf)
    for number in range(count):
        kind, offset, length = struct.unpack_from("<4xI16xQQ", elf, start + number * size)
        if kind != SHT_RELA:
            continue
        for place, info, value in struct.iter_unpack("<QQq", elf[offset : offset + length]):
            if info != R_X86_64_RELATIVE:
                raise StubError(f"the linker leaves a relocation of type {info & 0xFFFFFFFF}")
            yield place, value


def _write_address(sections: Iterable[_Section], place: int, value: int) -> None:
    for section in sections:
        offset = place - section.address
        if 0 <= offset <= len(section.data) - 8:
            return struct.pack_into("<q", section.data, offset, value)
    raise StubError(f"an address at {place:#x} is outside of what the firmware loads")


def _relocation_table(places: Iterable[int]) -> bytearray:
    """A block for each page; shim takes a program without any for one that cannot be moved."""
    table = bytearray()
    for page, group in groupby(sorted(places) or [0], lambda place: place // PAGE_BYTES):
        entries = [DIR64 | place % PAGE_BYTES for place in group] if places else [ABSOLUTE]
        entries += [ABSOLUTE] * (len(entries) % 2)  # blocks are multiples of four bytes
        size = 8 + 2 * len(entries)
        table += struct.pack(f"<II{len(entries)}H", page * PAGE_BYTES, size, *entries)
    return table


def _file(entry: int, sections: list[_Section]) -> bytes:
    code, *others = sections
    reloc = others[-1]
    headers = bytearray(struct.pack("<2s58xI", b"MZ", PE_OFFSET))
    headers += struct.pack(
        "<4sHHIIIHH",
        *(b"PE\0\0", 0x8664, len(sections), 0, 0, 0, OPTIONAL_HEADER_BYTES),
        0x22,  # it can be executed, and takes addresses beyond 2 GiB
    )
    headers += struct.pack(
        "<HBBIIIII",
        *(0x20B, 0, 0),  # PE32+
        _aligned(len(code.data), FILE_ALIGNMENT),
        sum(_aligned(len(x.data), FILE_ALIGNMENT) for x in others),
        *(0, entry, code.address),
    )
    headers += struct.pack(
        "<QIIHHHHHHIIIIHHQQQQII",
        *(0, PAGE_BYTES, FILE_ALIGNMENT, 0, 0, 0, 0, 0, 0, 0),
        _aligned(reloc.address + reloc.memory_bytes, PAGE_BYTES),
        *(HEADERS_BYTES, 0),
        10,  # an EFI application
        0x100,  # no page is both written and executed
        *(0, 0, 0, 0, 0, DIRECTORIES),
    )
    directories = [(0, 0)] * DIRECTORIES
    directories[RELOC_DIRECTORY] = reloc.address, reloc.memory_bytes
    headers += b"".join(struct.pack("<II", *directory) for directory in directories)
    content = bytearray()
    for section in sections:
        raw = section.data + bytes(-len(section.data) % FILE_ALIGNMENT)
        headers += struct.pack(
            "<8sIIIIIIHHI",
            *(section.name, section.memory_bytes, section.address, len(raw)),
            *(HEADERS_BYTES + len(content), 0, 0, 0, 0, section.flags),
        )
        content += raw
    return bytes(headers + bytes(HEADERS_BYTES - len(headers)) + content)


def _aligned(size: int, alignment: int) -> int:
    return size + -size % alignment
