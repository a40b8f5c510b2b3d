"""Our FAT images, judged by fsck.fat, mtools and 7-Zip."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bootserver.stub.fat import fat_image

pytestmark = pytest.mark.interop

FILES = {
    "EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(range(256)) * 30,
    "autoexec.ipxe": b"#!ipxe\necho here\n",
    "SNP.IPX": b"",
    "a name that takes several entries.text": b"long\n",
    "IPXE.BIN": bytes(range(251)) * 1700,
}
SMALL = FILES | {"EFI/BOOT/a second long name.txt": b"x" * 2049}
LARGE = FILES | {"BIG.BIN": bytes(range(253)) * 40_000}  # FAT16
CROWDED = {f"EFI/BOOT/file number {number}.config": b"%d" % number for number in range(150)}


def run(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(params=[SMALL, LARGE, CROWDED], ids=["fat12", "fat16", "crowded"])
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return request.param


@pytest.fixture(params=[512, 2048, 8192])
def image(request: pytest.FixtureRequest, files: dict[str, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "efi.img"
    path.write_bytes(fat_image(files, cluster_bytes=request.param))
    return path


def test_fsck_has_nothing_to_say(image: Path):
    greeting, *others, count = run("fsck.fat", "-n", image).decode().splitlines()

    assert greeting.startswith("fsck.fat 4")
    assert others == []
    assert re.fullmatch(r".*: [0-9]+ files, [0-9]+/[0-9]+ clusters", count)


def test_mtools_reads_every_file(image: Path, files: dict[str, bytes]):
    for path, data in files.items():
        assert run("mtype", "-i", image, f"::/{path}") == data


def test_mtools_lists_label_date_and_names(image: Path, files: dict[str, bytes]):
    details = run("mdir", "-i", image, "-/", "::/").decode()
    paths = run("mdir", "-i", image, "-/", "-b", "::/").decode().split("\n")

    assert "Volume in drive : is BOOTSERVER" in details
    assert details.count("2010-01-01   0:00") >= len(files)
    assert {path for path in paths if path and not path.endswith("/")} == {
        f"::/{path}" for path in files
    }


def test_seven_zip_unpacks_the_same_files(image: Path, files: dict[str, bytes], tmp_path: Path):
    target = tmp_path / "unpacked"
    run("7z", "x", "-tfat", f"-o{target}", image)

    unpacked = {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }
    assert unpacked == files
