"""The loader finds what bootserver.stub.efi_file embeds, and nothing in hostile images."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from bootserver.stub.efi_file import embed
from tests.efi.pe import in_memory, small_pe

from .conftest import Library

PARTS = {"IPXE.BIN": b"packed" * 700, "EMPTY": b"", "SCRIPT": b"#!ipxe\n", "TWELVE.CHARS": b"12"}


def test_every_part_is_found_in_the_loaded_image(library: Library):
    image = in_memory(embed(small_pe(), PARTS))

    section = library.section(image, ".stub")

    assert section is not None
    assert {name: library.part(section, name) for name in PARTS} == PARTS


@pytest.mark.parametrize("name", ["", "S", "SCRIPTS", "script", "TWELVE.CHARS2"])
def test_other_names_are_not_found(library: Library, name: str):
    section = library.section(in_memory(embed(small_pe(), PARTS)), ".stub")

    assert section is not None
    assert library.part(section, name) is None


def test_an_image_that_carries_nothing_has_no_such_section(library: Library):
    image = in_memory(small_pe())

    assert library.section(image, ".stub") is None
    assert library.section(image, ".text") is not None


@pytest.mark.parametrize("size", [0, 0x3C, 0x40, 0x80, 0x150])
def test_a_header_cut_short_has_no_sections(library: Library, size: int):
    assert library.section(in_memory(embed(small_pe(), PARTS))[:size], ".stub") is None


def test_a_part_that_is_longer_than_its_section_is_not_found(library: Library):
    section = struct.pack("<12sI", b"SCRIPT", 100) + bytes(99)

    assert library.part(section, "SCRIPT") is None
    assert library.part(section + b"x", "SCRIPT") is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "parts"])
def test_no_mutation_leads_out_of_memory(fuzz: Path, library: Library, tmp_path: Path, kind: str):
    image = in_memory(embed(small_pe(), PARTS))
    seed = tmp_path / "seed"
    seed.write_bytes(image if kind == "image" else library.section(image, ".stub") or b"")

    done = subprocess.run(
        [fuzz, kind, "20000", "2718281828", seed], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1000  # some are still good: the search goes all the way
