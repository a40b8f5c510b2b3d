"""A single-file stub is a sound PE program that carries its parts in a section of its own."""

from __future__ import annotations

import struct

import pytest

from bootserver.errors import StubError
from bootserver.stub.efi_file import embed
from tests.efi.pe import PE, in_memory, sections, small_pe

PARTS = {"IPXE.BIN": b"packed" * 700, "SCRIPT": b"#!ipxe\n"}
CONTENT = (
    b"IPXE.BIN\0\0\0\0" + struct.pack("<I", 4200) + b"packed" * 700
    + b"SCRIPT\0\0\0\0\0\0" + b"\x07\0\0\0" + b"#!ipxe\n"
    + bytes(12)
)  # fmt: skip


def test_the_section_is_loaded_with_all_parts_in_it():
    file = embed(small_pe(), PARTS)

    text, stub = sections(file)
    assert text == sections(small_pe())[0]
    assert stub == (".stub", len(CONTENT), 0x2000, 0x1200, 0x800)
    assert in_memory(file)[0x2000 : 0x2000 + len(CONTENT)] == CONTENT


def test_the_headers_count_the_section():
    file = embed(small_pe(), PARTS)

    assert struct.unpack_from("<H", file, PE + 6) == (2,)
    assert struct.unpack_from("<I", file, PE + 32) == (1024 + 0x1200,)  # initialised data
    assert struct.unpack_from("<I", file, PE + 80) == (0x4000,)  # in memory: whole pages
    assert struct.unpack_from("<I", file, PE + 88) == (0,)  # no checksum is better than a wrong one
    assert len(file) == 0x800 + 0x1200


def test_nothing_else_changes():
    file = embed(small_pe(), PARTS)

    before = small_pe()
    changed = {n for n in range(len(before)) if before[n] != file[n]}
    section_header = PE + 24 + 240 + 40
    allowed = {PE + 6, *range(PE + 32, PE + 36), *range(PE + 80, PE + 92)}
    assert changed <= allowed | set(range(section_header, section_header + 40))


def test_a_file_that_does_not_end_on_its_alignment_is_filled_up():
    file = embed(small_pe()[:-100], PARTS)

    assert file == embed(small_pe(), PARTS)


@pytest.mark.parametrize("loader", [b"", b"MZ", b"\x7fELF" + bytes(400), small_pe(magic=0x10B)])
def test_what_is_no_64_bit_pe_program_is_refused(loader: bytes):
    with pytest.raises(StubError):
        embed(loader, PARTS)


def test_a_header_without_room_is_refused():
    with pytest.raises(StubError, match="no room"):
        embed(small_pe(headers_bytes=PE + 24 + 240 + 79), PARTS)


def test_room_that_something_lies_in_is_none():
    taken = bytearray(small_pe())
    taken[PE + 24 + 240 + 60] = 1

    with pytest.raises(StubError, match="no room"):
        embed(bytes(taken), PARTS)
