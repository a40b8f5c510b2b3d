"""The loader's view of discs is pycdlib's and xorriso's; hostile discs get it nowhere."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pycdlib import PyCdlib

from tests.fixtures.isos import (
    EFI_LOADER,
    WINDOWS_FILES,
    hybrid_iso,
    make_iso,
    mislabelled_iso,
    windows_iso,
)
from tests.fixtures.linux_iso import fat_image
from tests.fixtures.packaged import MEMTEST, packaged

from .conftest import Library

pytestmark = pytest.mark.slow

SECTOR = 2048
BOOT_FILE = "EFI/BOOT/BOOTX64.EFI"
LOADER = b"MZ" + bytes(range(256)) * 20


def content(disc: bytes, extent: tuple[int, int] | None) -> bytes:
    assert extent is not None
    start, size = extent
    return disc[start : start + size]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EFI/BOOT/BOOTX64.EFI", {}),
        ("efi/boot/bootx64.efi", {"rock_ridge": False}),
        ("EFI/BOOT/BOOTX64.EFI", {"joliet": True, "udf": True}),
    ],
)
def test_boot_file_is_found_where_pycdlib_put_it(
    library: Library, tmp_path: Path, name: str, options: dict[str, Any]
):
    disc = make_iso(tmp_path / "x.iso", {name: LOADER}, bios=True, **options).read_bytes()

    assert library.has_volume(disc)
    assert content(disc, library.file(disc, BOOT_FILE)) == LOADER


def test_boot_file_is_found_in_a_directory_of_many_sectors(library: Library, tmp_path: Path):
    files = {f"EFI/BOOT/A{number:07}.TXT": b"x" for number in range(300)}
    disc = make_iso(tmp_path / "x.iso", files | {BOOT_FILE: LOADER}).read_bytes()

    assert content(disc, library.file(disc, BOOT_FILE)) == LOADER


@pytest.mark.parametrize(
    "path", ["EFI/BOOT/BOOTX64.EF", "EFI/BOOT/BOOTX64.EFIX", "EFI/BOOT", "EFI/BOOT/", "EFI", ""]
)
def test_only_the_whole_path_of_a_file_is_found(library: Library, tmp_path: Path, path: str):
    disc = make_iso(tmp_path / "x.iso", {BOOT_FILE: LOADER}).read_bytes()

    assert library.file(disc, path) is None


def test_efi_image_is_found_behind_the_bios_entry(library: Library, tmp_path: Path):
    path = make_iso(tmp_path / "x.iso", {"README": b"x"}, bios=True, uefi=True)
    disc = path.read_bytes()
    iso = PyCdlib()
    iso.open(str(path))
    expected = iso.get_record(iso_path="/BOOT/EFI.IMG").extent_location()
    iso.close()

    assert library.efi_image(disc) == (expected * SECTOR, len(EFI_LOADER))


def test_efi_image_of_an_xorriso_hybrid_is_found(library: Library, tmp_path: Path):
    disc = hybrid_iso(tmp_path / "x.iso", tmp_path / "work").read_bytes()

    assert content(disc, library.efi_image(disc))[: len(EFI_LOADER)] == EFI_LOADER


def test_windows_disc_with_a_load_count_of_one_has_its_whole_image(
    library: Library, tmp_path: Path
):
    disc = windows_iso(tmp_path / "x.iso", tmp_path / "work", udf_only=True).read_bytes()

    image = content(disc, library.efi_image(disc))
    assert image.startswith(WINDOWS_FILES["efi/microsoft/boot/efisys.bin"])
    assert library.file(disc, BOOT_FILE) is None  # UDF is the firmware's affair


@pytest.mark.interop
def test_image_with_a_load_count_of_one_ends_with_its_file_system(library: Library, tmp_path: Path):
    fat = fat_image(tmp_path / "fat.img", {}, size_bytes=1_474_560)
    iso = bytearray(make_iso(tmp_path / "x.iso", bios=True, uefi=True).read_bytes())
    start, _ = library.efi_image(bytes(iso))  # the last entry; what follows it is ours now
    iso[start:] = fat.read_bytes() + bytes(100 * SECTOR)
    catalog = int.from_bytes(iso[17 * SECTOR + 71 : 17 * SECTOR + 75], "little") * SECTOR
    iso[catalog + 96 + 6 : catalog + 96 + 8] = b"\1\0"

    assert library.efi_image(bytes(iso)) == (start, 1_474_560)


def test_efi_image_of_memtest_is_found_outside_its_volume(library: Library):
    disc = packaged(MEMTEST).read_bytes()
    volume_size = int.from_bytes(disc[16 * SECTOR + 80 : 16 * SECTOR + 84], "little") * SECTOR

    start, _ = library.efi_image(disc)
    assert start >= volume_size
    assert disc[start + 510 : start + 512] == b"\x55\xaa"


@pytest.mark.parametrize("tool", ["xorriso", "genisoimage"])
@pytest.mark.parametrize("fat", ["12", "32"])
@pytest.mark.parametrize("bios", [True, False])
def test_efi_image_that_is_said_to_be_for_a_bios_is_found(
    library: Library, tmp_path: Path, tool: str, fat: str, bios: bool
):
    path = mislabelled_iso(tmp_path / "x.iso", tmp_path / "w", tool=tool, fat=fat, bios=bios)
    expected = (tmp_path / "w" / "tree" / "boot" / "efi.img").read_bytes()

    assert content(path.read_bytes(), library.efi_image(path.read_bytes())) == expected


def test_image_for_efi_comes_before_one_that_is_said_to_be_for_a_bios(
    library: Library, tmp_path: Path
):
    disc = bytearray(mislabelled_iso(tmp_path / "x.iso", tmp_path / "w").read_bytes())
    catalog = int.from_bytes(disc[17 * SECTOR + 71 : 17 * SECTOR + 75], "little") * SECTOR
    mislabelled = bytes(disc[catalog + 96 : catalog + 128])
    disc[catalog + 64] = 0x90
    disc[catalog + 128 : catalog + 160] = b"\x91\xef\1\0".ljust(32, b"\0")
    disc[catalog + 160 : catalog + 192] = mislabelled[:8] + b"\x20\0\0\0".ljust(24, b"\0")

    assert library.efi_image(bytes(disc))[0] == 0x20 * SECTOR


@pytest.mark.parametrize("name", [b"EFI     ", b"BOOT    "])
def test_volume_without_efi_boot_is_no_efi_image(library: Library, tmp_path: Path, name: bytes):
    disc = mislabelled_iso(tmp_path / "x.iso", tmp_path / "w").read_bytes()

    assert library.efi_image(disc.replace(name + b"   \x10", b"ANOTHER    \x10")) is None


def test_disc_for_bios_only_has_no_efi_image(library: Library, tmp_path: Path):
    disc = make_iso(tmp_path / "x.iso", {"README": b"x"}, bios=True).read_bytes()

    assert library.efi_image(disc) is None


@pytest.mark.parametrize("size", [0, 1, 16 * SECTOR, 17 * SECTOR, 17 * SECTOR + 1, 30 * SECTOR])
def test_noise_is_no_disc(library: Library, size: int):
    noise = os.urandom(size)

    assert not library.has_volume(noise)
    assert library.efi_image(noise) is None
    assert library.file(noise, BOOT_FILE) is None


def test_truncated_disc_has_only_what_is_still_there(library: Library, tmp_path: Path):
    disc = make_iso(tmp_path / "x.iso", {BOOT_FILE: LOADER}).read_bytes()
    start, size = library.file(disc, BOOT_FILE)

    assert library.file(disc[: start + size], BOOT_FILE) == (start, size)
    assert library.file(disc[: start + size - 1], BOOT_FILE) is None


def test_directory_that_contains_itself_is_walked_no_further_than_the_path(
    library: Library, tmp_path: Path
):
    disc = bytearray(make_iso(tmp_path / "x.iso", {BOOT_FILE: LOADER}).read_bytes())
    root = int.from_bytes(disc[16 * SECTOR + 158 : 16 * SECTOR + 162], "little")
    efi = disc.index(b"\3EFI", root * SECTOR) - 32
    disc[efi + 2 : efi + 6] = struct.pack("<I", root)

    assert library.file(bytes(disc), "EFI/EFI/EFI/EFI/NOTHING") is None


@pytest.fixture
def seeds(tmp_path: Path) -> list[Path]:
    """Small discs of all shapes."""
    files = {BOOT_FILE: LOADER, "README.TXT": b"x"}
    return [
        make_iso(tmp_path / "both.iso", files, bios=True, uefi=True),
        make_iso(tmp_path / "plain.iso", files, rock_ridge=False),
        make_iso(tmp_path / "udf.iso", files, udf=True, joliet=True, uefi=True),
        windows_iso(tmp_path / "windows.iso", tmp_path / "work", udf_only=False),
        mislabelled_iso(tmp_path / "mislabelled.iso", tmp_path / "other", mib=1),
        name_beyond_the_end(tmp_path / "name.iso"),
    ]


def name_beyond_the_end(path: Path) -> Path:
    """A disc that ends with a directory, the last name of which is longer than what is left."""
    files = {f"EFI/BOOT/A{number:07}.TXT": b"" for number in range(87)}  # two full sectors
    make_iso(path, files, rock_ridge=False)
    iso = PyCdlib()
    iso.open(str(path))
    directory = iso.get_record(iso_path="/EFI/BOOT")
    end = directory.extent_location() * SECTOR + directory.get_data_length()
    iso.close()
    disc = bytearray(path.read_bytes()[:end])
    name = disc.rindex(b"A0000086.TXT")
    disc[name - 1] = 255
    disc[name:] = b"x" * (end - name)
    path.write_bytes(disc)
    return path


def run_fuzz(fuzz: Path, kind: str, iterations: int, seeds: list[Path]) -> int:
    """Run the fuzzer; returns how often something was found."""
    done = subprocess.run(
        [fuzz, kind, str(iterations), "2718281828", *seeds],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


def test_no_mutation_of_a_disc_leads_out_of_it(fuzz: Path, seeds: list[Path]):
    found = run_fuzz(fuzz, "iso", 1500, seeds)

    assert found > 3000  # most mutations leave something to find: the walk goes deep


def test_no_mutation_of_a_command_line_leads_out_of_it(fuzz: Path, tmp_path: Path):
    seed = tmp_path / "line"
    digest = "0123456789abcdef" * 4
    seed.write_text(
        f"ramdisk.efi url=/b/KEY/image.iso sha256={digest} size=123456789 mode=own notify=/b/x",
        encoding="utf-16-le",
    )

    assert run_fuzz(fuzz, "options", 50_000, [seed]) > 5000


def test_no_mutation_of_an_nfit_leads_out_of_it(fuzz: Path, tmp_path: Path, library: Library):
    seed = tmp_path / "nfit"
    table = library.nfit(0x1_0000_0000, 0x20_0000, bytes(16))
    seed.write_bytes(table[:40] + table[40:] * 3)

    assert run_fuzz(fuzz, "nfit", 50_000, [seed]) > 5000
