"""The ACPI tables: exact bytes, and reading an NFIT that others wrote."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from .conftest import Library

VIRTUAL_CD = bytes.fromhex("30bd5a3d 7541 ce87 6d64 d2ade523c4bb")
START, SIZE = 0x1_6600_0000, 0x1_19A0_1000

NFIT_BYTES = bytes.fromhex(
    "4e464954 60000000 01 61 424f4f545356 52414d4449534b20 01000000 42535244 01000000"
    "00000000"
    "0000 3800 0100 0000 00000000 00000000"
    "30bd5a3d7541ce876d64d2ade523c4bb"
    "0000006601000000 0010a01901000000 0800000000000000"
)

# What iasl makes of  Scope (\_SB) { Device (BSRD) { Name (_HID, "ACPI0012") Name (_STA, 0x0F) } }
AML_BYTES = bytes.fromhex(
    "10 23 5c5f53425f 5b82 1b 42535244 08 5f484944 0d 4143504930303132 00 08 5f535441 0a 0f"
)


def test_nfit_has_one_range_of_that_kind(library: Library):
    table = library.nfit(START, SIZE, VIRTUAL_CD)

    assert table == NFIT_BYTES
    assert sum(table) % 256 == 0


def test_ssdt_has_the_device_that_drivers_look_for(library: Library):
    table = library.ssdt()

    assert table[:9] == b"SSDT" + struct.pack("<IB", len(table), 2)
    assert table[36:] == AML_BYTES
    assert sum(table) % 256 == 0


def nfit(*structures: bytes) -> bytes:
    """An NFIT as firmware has it, without its checksum."""
    body = bytes(4) + b"".join(structures)
    return b"NFIT" + struct.pack("<I", 36 + len(body)) + bytes(28) + body


def test_a_range_is_found_among_others(library: Library):
    control_region = struct.pack("<HH", 4, 80) + bytes(76)
    longer = struct.pack("<HH12x16sQQQQ", 0, 64, VIRTUAL_CD, START, SIZE, 8, 0)  # ACPI 6.4
    table = nfit(control_region, longer)

    assert library.nfit_has(table, START, SIZE)
    assert not library.nfit_has(table, START, SIZE + 1)
    assert not library.nfit_has(table, START + 1, SIZE)


def test_a_structure_without_length_ends_the_search(library: Library):
    assert not library.nfit_has(nfit(bytes(4), NFIT_BYTES[40:]), START, SIZE)


@given(body=st.binary(max_size=300))
def test_any_nfit_is_read_to_an_end(library: Library, body: bytes):
    assert not library.nfit_has(nfit(body), 2**63 + 1, 2**63 + 1)
