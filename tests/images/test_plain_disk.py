"""inspect_plain_disk: floppies and hard disks by other people's tools, and what is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bootserver.images.plain_disk import inspect_plain_disk
from bootserver.model import PlainDisk

CODE = b"\xfa\xf4"  # cli; hlt
MBR = CODE.ljust(446, b"\0")


def inspect(path: Path) -> PlainDisk | None:
    with path.open("rb") as file:
        return inspect_plain_disk(file)


def disk(path: Path, first_sector: bytes, size_bytes: int = 8 * 1024**2) -> Path:
    path.write_bytes(first_sector)
    with path.open("r+b") as file:
        file.truncate(size_bytes)
    return path


def partition(kind: int, *, status: int = 0x80) -> bytes:
    return bytes([status, 0, 2, 0, kind, 0, 0, 0]) + b"\0\x08\0\0" + b"\0\x10\0\0"


def mbr(*entries: bytes, code: bytes = MBR) -> bytes:
    return code + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


@pytest.mark.interop
@pytest.mark.parametrize("kib", [160, 360, 720, 1200, 1440, 2880])
def test_fat_of_a_floppys_size_is_a_floppy(tmp_path: Path, kib: int) -> None:
    path = disk(tmp_path / "a.img", b"", kib * 1024)
    run("mkfs.fat", path)

    # The code that mkfs.fat puts there only says that this is not a bootable disk.
    assert inspect(path) == PlainDisk("floppy", boot_code=False, efi_partition=False)


@pytest.mark.interop
@pytest.mark.parametrize(("fat", "mib"), [("12", 4), ("16", 40), ("32", 80)])
def test_fat_without_partitions_is_a_hard_disk(tmp_path: Path, fat: str, mib: int) -> None:
    path = disk(tmp_path / "a.img", b"", mib * 1024**2)
    run("mkfs.fat", "-F", fat, path)
    assert inspect(path) == PlainDisk("harddisk", boot_code=False, efi_partition=False)

    run("mmd", "-i", path, "::other", "::EFI", "::EFI/BOOT")

    assert inspect(path) == PlainDisk("harddisk", boot_code=False, efi_partition=True)


@pytest.mark.interop
def test_code_in_a_fat_boot_sector_boots(tmp_path: Path) -> None:
    path = disk(tmp_path / "a.img", b"", 1440 * 1024)
    run("mkfs.fat", path)
    with path.open("r+b") as file:
        file.seek(62)
        file.write(CODE.ljust(448, b"\0"))

    assert inspect(path) == PlainDisk("floppy", boot_code=True, efi_partition=False)


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize(("kind", "efi"), [("ef00", True), ("8300", False)])
def test_gpt_has_an_efi_system_partition_by_its_type(tmp_path: Path, kind: str, efi: bool) -> None:
    path = disk(tmp_path / "a.img", b"", 64 * 1024**2)
    run("sgdisk", "-n", "1:0:+8M", "-t", "1:8300", "-n", "2:0:+8M", "-t", f"2:{kind}", path)

    assert inspect(path) == PlainDisk("harddisk", boot_code=False, efi_partition=efi)


@pytest.mark.parametrize(("kind", "efi"), [(0x0C, False), (0x83, False), (0xEF, True)])
def test_mbr_has_an_efi_system_partition_by_its_type(tmp_path: Path, kind: int, efi: bool) -> None:
    path = disk(tmp_path / "a.img", mbr(partition(kind)))

    assert inspect(path) == PlainDisk("harddisk", boot_code=True, efi_partition=efi)


def test_mbr_without_code_does_not_boot(tmp_path: Path) -> None:
    path = disk(tmp_path / "a.img", mbr(partition(0x83), code=bytes(446)))

    assert inspect(path) == PlainDisk("harddisk", boot_code=False, efi_partition=False)


def test_signed_floppy_without_a_file_system_is_a_floppy(tmp_path: Path) -> None:
    path = disk(tmp_path / "a.img", mbr(), 1440 * 1024)

    assert inspect(path) == PlainDisk("floppy", boot_code=True, efi_partition=False)


@pytest.mark.parametrize(
    "first_sector",
    [
        b"",
        b"<html>not found</html>",
        mbr(),
        mbr(partition(0x83, status=0x17)),
        mbr(partition(0)),
        mbr(partition(0x83))[:510],
        b"\xeb\x3c\x90".ljust(510, b"\xff") + b"\x55\xaa",
    ],
    ids=["zeros", "text", "no partitions", "status", "type 0", "no signature", "jump and no FAT"],
)
def test_other_files_are_no_disk(tmp_path: Path, first_sector: bytes) -> None:
    assert inspect(disk(tmp_path / "a.img", first_sector)) is None


@pytest.mark.parametrize("size_bytes", [0, 1, 511, 512])
def test_short_files_are_no_disk(tmp_path: Path, size_bytes: int) -> None:
    assert inspect(disk(tmp_path / "a.img", b"\xeb"[:size_bytes], size_bytes)) is None


def test_gpt_of_absurd_numbers_is_read_within_bounds(tmp_path: Path) -> None:
    header = b"EFI PART".ljust(72, b"\0") + b"\2" + bytes(7) + b"\xff" * 8
    path = disk(tmp_path / "a.img", mbr(partition(0xEE)) + header)

    assert inspect(path) == PlainDisk("harddisk", boot_code=True, efi_partition=False)
