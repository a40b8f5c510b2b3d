"""Addresses in the data of our UEFI programs are relocated, and others' tools read the programs."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from bootserver.errors import StubError
from bootserver.stub.efi_file import embed
from bootserver.stub.pe_from_elf import pe_from_elf
from tests.efi.pe import in_memory, sections
from tests.fixtures.pure_c import efi_program_elf

BASE = 0x7654_3210_0000  # where the firmware puts the program in memory

# Tables of addresses, two addresses stored at once (which gcc 14 makes one constant of), data that
# are written, zeros at the end, and sections of a compiler's own invention.
SOURCE = r"""
static int one(void) { return 0x1111; }
static int two(void) { return 0x2222; }
typedef int function(void);

struct pair { function *first, *second; };
struct table { char mark[16]; function *functions[3]; const char *text; int *written; };

static int written = 77;
const struct table table __attribute__((used)) = {
    "ADDRESSES BEGIN", {one, two, one}, "a text in the program", &written};
const char own[] __attribute__((used, section(".own"))) = "OWN CONSTANT";
char own_data[] __attribute__((used, section(".own.data"))) = "OWN DATA";
char zeros[70000] __attribute__((used));

__attribute__((ms_abi)) int efi_main(struct pair *pair)
{
    pair->first = one;
    pair->second = two;
    return written++;
}
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return efi_program_elf(tmp_path_factory.mktemp("c"), SOURCE)


@pytest.fixture
def program(elf: bytes) -> bytes:
    return pe_from_elf(elf)


def relocated(program: bytes, path: Path) -> bytes:
    """The program in memory at BASE, by the relocations that objdump finds in it."""
    path.write_bytes(program)
    command = ["objdump", "-p", str(path)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    image = bytearray(in_memory(program))
    found = re.findall(r"offset +\w+ \[(\w+)\] (\w+)", listed)
    assert found
    for place, kind in found:
        if kind != "ABSOLUTE":
            assert kind == "DIR64"
            (value,) = struct.unpack_from("<Q", image, int(place, 16))
            struct.pack_into("<Q", image, int(place, 16), value + BASE)
    return bytes(image)


def text_at(image: bytes, address: int) -> bytes:
    return image[address - BASE :].partition(b"\0")[0]


def test_every_address_in_data_is_relocated(program: bytes, tmp_path: Path):
    image = relocated(program, tmp_path / "program.efi")

    table = image.index(b"ADDRESSES BEGIN") + 16
    one, two, again, text, written = struct.unpack_from("<5Q", image, table)
    assert one == again != two
    assert image[one - BASE :].startswith(b"\xb8\x11\x11\0\0")  # mov eax, 0x1111
    assert image[two - BASE :].startswith(b"\xb8\x22\x22\0\0")
    assert text_at(image, text) == b"a text in the program"
    assert struct.unpack_from("<I", image, written - BASE) == (77,)


def test_sections_of_any_name_are_loaded_and_zeros_take_no_bytes(program: bytes):
    image = in_memory(program)

    text, data, _ = sections(program)
    assert b"OWN CONSTANT" in image[text[2] : data[2]]
    assert b"OWN DATA" in image[data[2] :]
    assert data[1] > 70000
    assert len(program) < 4096


def test_one_more_section_can_be_embedded(program: bytes):
    image = in_memory(embed(program, {"SCRIPT": b"#!ipxe"}))

    assert b"SCRIPT" in image


def test_a_program_without_addresses_has_a_table_that_does_nothing(tmp_path: Path):
    elf = efi_program_elf(tmp_path, "__attribute__((ms_abi)) int efi_main(void) { return 1; }")

    program = pe_from_elf(elf)

    (path := tmp_path / "program.efi").write_bytes(program)
    listed = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True)
    assert re.findall(r"\] (\w+)", listed.stdout) == ["ABSOLUTE", "ABSOLUTE"]


def test_a_relocation_of_another_kind_is_refused(tmp_path: Path):
    elf = efi_program_elf(
        tmp_path,
        """
        static int one(void) { return 1; }
        static int (*resolve(void))(void) { return one; }
        int chosen_later(void) __attribute__((ifunc("resolve")));
        __attribute__((ms_abi)) int efi_main(void) { return chosen_later(); }
        """,
    )

    with pytest.raises(StubError, match="a relocation of type 37"):  # R_X86_64_IRELATIVE
        pe_from_elf(elf)


def test_what_is_no_whole_elf_program_for_x86_64_is_refused(elf: bytes):
    for_arm64 = elf[:18] + struct.pack("<H", 183) + elf[20:]

    for wrong in (b"", b"MZ" + bytes(100), elf[:63], elf[:200], elf[:-60], for_arm64):
        with pytest.raises(StubError):
            pe_from_elf(wrong)
