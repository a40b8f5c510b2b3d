"""Every file on discs of every kind is what 7-Zip and xorriso extract, byte by byte."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.discs import (
    all_files,
    content,
    large_file_iso,
    large_file_udf,
    mastered,
    opened,
    tree_of,
)
from tests.fixtures.isos import make_iso, windows_iso
from tests.fixtures.udf import EMBEDDED, LONG, SHORT, udf_volume

pytestmark = pytest.mark.interop

FILES = {
    "README.TXT": b"read me\n" * 40,
    "EMPTY": b"",
    "BOOT/KERNEL.": os.urandom(300_001),
    "BOOT/ONE.SEC": os.urandom(2048),
    "A/B/C/D/E/F/DEEP.BIN": os.urandom(5000),
    **{f"MANY/F{number:05}.DAT": bytes([number % 256]) * number for number in range(300)},
}
LONG_FILES = {
    **{name.lower().rstrip("."): data for name, data in FILES.items()},
    "long name with spaces and no end in sight, of sixty characters.tar.gz": b"long",
    "Ünïcödé/Żółć.txt": b"unicode",
}
POSIX_FILES = {
    **LONG_FILES,
    "n" * 250: b"longest name",
    "1/2/3/4/5/6/7/8/9/10/11/12/deepest": os.urandom(4000),
    "1/2/3/4/5/6/7/8/second": b"8 levels",
    "live/vmlinuz-6.1.0": os.urandom(9000),
}
POSIX_LINKS = {
    "live/vmlinuz": "vmlinuz-6.1.0",
    "boot/linux": "../live/../live/vmlinuz",
    "absolute": "/live/vmlinuz-6.1.0",
    "seven": "1/2/3/4/5/6/7",
    "far": "./" + "x/../" * 60 + "readme.txt",
    "x/keep": "../readme.txt",
}


def _seven_zip(image: Path, kind: str, out: Path) -> dict[str, bytes]:
    """All files that 7-Zip extracts from the file system of that kind."""
    subprocess.run(
        ["7z", "x", f"-t{kind}", "-y", f"-o{out}", image],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return _regular_files(out)


def _xorriso(image: Path, out: Path) -> dict[str, bytes]:
    """All files that xorriso extracts by their Rock Ridge names."""
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", out],
        check=True,
        capture_output=True,
        timeout=120,
    )
    subprocess.run(["chmod", "-R", "u+rwX", out], check=True)
    return _regular_files(out)


def _regular_files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and "[BOOT]" not in path.parts
    }


def _check_equal(image: Path, extracted: dict[str, bytes]) -> None:
    """Every extracted file is found, whole, and in random ranges."""
    chance = random.Random(4)
    assert extracted
    with opened(image) as (volume, fd):
        for path, data in extracted.items():
            node = volume.find(f"/{path}")
            assert (node.size_bytes, content(fd, node)) == (len(data), data), path
            start, stop = sorted(chance.choices(range(len(data) + 1), k=2))
            assert content(fd, node, start, stop) == data[start:stop], path


@pytest.mark.parametrize("level", ["1", "2", "3", "4"])
def test_plain_iso9660_of_every_level(tmp_path: Path, level: str) -> None:
    tree = tree_of(tmp_path / "tree", FILES)
    image = mastered(tmp_path / "a.iso", tree, "-iso-level", level)

    extracted = _seven_zip(image, "iso", tmp_path / "out")

    # Level 1 makes 8.3 of every name; those of FILES are that already.
    assert {name.rstrip("."): data for name, data in extracted.items()} == {
        name.rstrip("."): data for name, data in FILES.items()
    }
    _check_equal(image, extracted)
    with opened(image) as (volume, _):
        assert set(all_files(volume)) == {name.rstrip(".") for name in FILES}


@pytest.mark.parametrize("tool", ["genisoimage", "xorriso"])
def test_joliet(tmp_path: Path, tool: str) -> None:
    tree = tree_of(tmp_path / "tree", LONG_FILES)
    options = (
        ("-J", "-joliet-long") if tool == "genisoimage" else ("-J", "-joliet-long", "--norock")
    )
    charset = ("-input-charset", "utf-8")
    image = mastered(tmp_path / "a.iso", tree, *options, *charset, tool=tool)

    extracted = _seven_zip(image, "iso", tmp_path / "out")

    assert extracted == LONG_FILES
    _check_equal(image, extracted)


@pytest.mark.parametrize("tool", ["genisoimage", "xorriso"])
def test_rock_ridge_with_deep_directories_long_names_and_links(tmp_path: Path, tool: str) -> None:
    tree = tree_of(tmp_path / "tree", POSIX_FILES, POSIX_LINKS)
    image = mastered(tmp_path / "a.iso", tree, "-R", tool=tool)

    extracted = _xorriso(image, tmp_path / "out")

    assert extracted == POSIX_FILES
    _check_equal(image, extracted)
    with opened(image) as (volume, fd):
        for link in POSIX_LINKS:
            if (tree / link).is_file():
                assert content(fd, volume.find(link)) == (tree / link).read_bytes(), link
        assert {node.name for node in volume.children("seven")} == {"8"}
        names = {node.name for node in volume.children("/")} - {"rr_moved"}
        assert names == {path.name for path in tree.iterdir()}
        assert not [name for name in all_files(volume) if name.startswith("rr_moved/")]


def test_udf_bridge_from_genisoimage(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", LONG_FILES)
    image = mastered(tmp_path / "a.iso", tree, "-udf", "-input-charset", "utf-8")

    extracted = _seven_zip(image, "udf", tmp_path / "out")

    assert extracted == LONG_FILES
    _check_equal(image, extracted)
    with opened(image) as (volume, _):
        assert set(all_files(volume)) == set(LONG_FILES)


def test_udf_2_60_from_pycdlib(tmp_path: Path) -> None:
    image = make_iso(
        tmp_path / "a.iso", {k: v for k, v in FILES.items() if v}, udf=True, iso9660_names=False
    )

    extracted = _seven_zip(image, "udf", tmp_path / "out")

    assert extracted == {k: v for k, v in FILES.items() if v}
    _check_equal(image, extracted)


@pytest.mark.parametrize("udf_only", [False, True])
def test_windows_media(tmp_path: Path, udf_only: bool) -> None:
    image = windows_iso(tmp_path / "a.iso", tmp_path, udf_only=udf_only)

    extracted = _seven_zip(image, "udf", tmp_path / "out")

    assert "sources/boot.wim" in extracted
    _check_equal(image, extracted)


@pytest.mark.parametrize("allocation", [SHORT, LONG, EMBEDDED], ids=["short", "long", "embedded"])
@pytest.mark.parametrize("extended", [False, True], ids=["1.02", "2.01"])
def test_udf_without_any_iso9660(tmp_path: Path, allocation: int, extended: bool) -> None:
    files = {"deleted.txt": b"gone", **LONG_FILES}
    image = udf_volume(tmp_path / "a.iso", files, allocation=allocation, extended=extended)

    extracted = _seven_zip(image, "udf", tmp_path / "out")

    assert extracted == LONG_FILES
    _check_equal(image, extracted)
    with opened(image) as (volume, _):
        assert set(all_files(volume)) == set(LONG_FILES)


SIZE_BYTES = 4500 * 1024**2 + 77


@pytest.mark.slow
def test_ranges_of_a_large_file_are_those_that_xorriso_cuts(tmp_path: Path) -> None:
    image = tmp_path / "a.iso"
    large_file_iso(image, SIZE_BYTES)

    with opened(image) as (volume, fd):
        node = volume.find("BIG.BIN")
        for start in (2**32 - 2048 - 500, SIZE_BYTES - 1000):
            ours = content(fd, node, start, start + 1000)
            assert any(ours)
            assert ours == _cut_by_xorriso(image, tmp_path / f"{start}", start)


def _cut_by_xorriso(image: Path, out: Path, start: int) -> bytes:
    """1,000 bytes of BIG.BIN."""
    command = ["xorriso", "-osirrox", "on", "-indev", str(image)]
    cut = ["-extract_cut", "/BIG.BIN", str(start), "1000", str(out)]
    subprocess.run([*command, *cut], check=True, capture_output=True, timeout=60)
    return out.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name"), [(large_file_iso, "BIG.BIN"), (large_file_udf, "big.bin")], ids=["iso", "udf"]
)
def test_all_of_a_large_file(tmp_path: Path, make: Callable[[Path, int], None], name: str) -> None:
    image = tmp_path / "a.iso"
    make(image, SIZE_BYTES)

    with (
        opened(image) as (volume, fd),
        subprocess.Popen(["7z", "e", "-so", image, name], stdout=subprocess.PIPE) as process,
    ):
        node = volume.find(name)
        assert process.stdout
        at = 0
        while data := process.stdout.read(16 * 1024**2):
            assert data == content(fd, node, at, at + len(data))
            at += len(data)

    assert (at, process.returncode) == (SIZE_BYTES, 0)
