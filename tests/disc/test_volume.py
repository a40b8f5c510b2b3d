"""Volume: which file a path leads to, and how little is read for it."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootserver.disc import listings as listings_module
from bootserver.disc import source as source_module
from bootserver.disc.volume import NoVolumeError, open_volume
from bootserver.errors import ImageError, ImageNotFoundError
from tests.fixtures.discs import (
    SECTOR,
    LargeFile,
    content,
    large_file_iso,
    large_file_udf,
    opened,
    patched,
    record_at,
)
from tests.fixtures.isos import make_iso

FILES = {
    "live/vmlinuz-6.1": b"kernel",
    "live/INITRD.IMG": b"initrd",
    "sources/boot.wim": b"wim" * 1000,
}


@pytest.mark.parametrize(
    "trees",
    [
        {"iso9660_names": True, "rock_ridge": False},
        {"iso9660_names": False, "rock_ridge": True},
        {"iso9660_names": False, "rock_ridge": False, "joliet": True},
        {"iso9660_names": False, "rock_ridge": False, "udf": True},
    ],
    ids=["iso9660", "rock-ridge", "joliet", "udf"],
)
def test_names_are_found_in_any_case_in_every_kind_of_tree(
    tmp_path: Path, trees: dict[str, Any]
) -> None:
    with opened(make_iso(tmp_path / "a.iso", FILES, **trees)) as (volume, fd):
        for path in ("/live/vmlinuz-6.1", "LIVE/VMLINUZ-6.1", "Live//./VmLinuz-6.1/"):
            assert content(fd, volume.find(path)) == b"kernel"
        assert content(fd, volume.find("sources/BOOT.wim")) == b"wim" * 1000


def test_exact_name_in_a_later_tree_comes_before_another_case_in_an_earlier(tmp_path: Path) -> None:
    path = make_iso(
        tmp_path / "a.iso",
        {"ABC": b"upper", "abd": b"lower"},
        iso9660_names=False,
        joliet=True,
    )
    # Joliet's `abd` becomes `abc`, which Rock Ridge has only in capitals.
    patched(path, path.read_bytes().index("abd".encode("utf-16-be")), "abc".encode("utf-16-be"))

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("/abc")) == b"lower"
        assert content(fd, volume.find("/ABC")) == b"upper"
        assert content(fd, volume.find("/aBc")) == b"upper"


def test_directories_that_differ_only_in_case_are_both_searched(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"Boot/one": b"1", "boot/two": b"2"}, iso9660_names=False)

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("/BOOT/ONE")) == b"1"
        assert content(fd, volume.find("/BOOT/TWO")) == b"2"


def test_iso9660_name_finds_a_file_that_has_a_rock_ridge_name_too(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"long name.txt": b"text"}, iso9660_names=False)

    with opened(path) as (volume, fd):
        assert [node.name for node in volume.children("/")] == ["long name.txt"]
        assert content(fd, volume.find("/0")) == b"text"


@pytest.mark.parametrize(
    "path", ["/nothing", "/live/nothing", "/live/vmlinuz-6.1/below", "/li\0ve", "/live\n", "live;1"]
)
def test_what_is_not_there_is_not_found(tmp_path: Path, path: str) -> None:
    with (
        opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, _),
        pytest.raises(ImageNotFoundError, match=r"a\.iso has no '") as caught,
    ):
        volume.find(path)

    assert caught.value.hint


@pytest.mark.parametrize("path", ["", "/", "//", ".", "/..", "/../..", "live/..", "/live/../"])
def test_root_is_a_directory_and_nothing_is_above_it(tmp_path: Path, path: str) -> None:
    with opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, _):
        assert volume.find(path).is_directory
        assert [node.name for node in volume.children(path)] == ["live", "sources"]


def test_dots_lead_no_further_up_than_the_root(tmp_path: Path) -> None:
    with opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, fd):
        node = volume.find("/../../live/../../live/vmlinuz-6.1")

        assert content(fd, node) == b"kernel"


def test_listing_has_sizes_and_directories(tmp_path: Path) -> None:
    with opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, _):
        found = {node.name: (node.is_directory, node.size_bytes) for node in volume.children("/")}
        assert found == {"live": (True, 0), "sources": (True, 0)}
        [node] = volume.children("/SOURCES")
        assert (node.name, node.is_directory, node.size_bytes) == ("boot.wim", False, 3000)


def test_listing_of_a_file_is_not_found(tmp_path: Path) -> None:
    with (
        opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, _),
        pytest.raises(ImageNotFoundError),
    ):
        volume.children("/live/vmlinuz-6.1")


def test_empty_file_has_no_pieces(tmp_path: Path) -> None:
    with opened(make_iso(tmp_path / "a.iso", {"empty": b""})) as (volume, _):
        node = volume.find("empty")

    assert (node.size_bytes, node.pieces) == (0, ())


def test_file_whose_end_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"a": b"whole", "b.bin": bytes(50_000)}, rock_ridge=False)
    os.truncate(path, path.stat().st_size - 4096)

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("A")) == b"whole"
        assert [node.name for node in volume.children("/")] == ["A"]
        with pytest.raises(ImageError, match=r"a\.iso is damaged: B\.BIN ends past the end") as err:
            volume.find("/b.bin")

    assert "copy it again" in err.value.hint


@pytest.mark.parametrize(
    ("make", "name"), [(large_file_iso, "BIG.BIN"), (large_file_udf, "big.bin")], ids=["iso", "udf"]
)
def test_file_of_several_extents_is_one_file(
    tmp_path: Path, make: Callable[[Path, int], LargeFile], name: str
) -> None:
    size_bytes = 4500 * 1024**2 + 77
    expected = make(tmp_path / "a.iso", size_bytes)

    with opened(tmp_path / "a.iso") as (volume, fd):
        node = volume.find(name)
        assert node.size_bytes == size_bytes
        assert [other.name for other in volume.children("/")] == [name]
        for start in (0, 2**30 - 2500, 2**32 - 2500, 2**32 - 500, size_bytes - 1000):
            assert content(fd, node, start, start + 1000) == expected.part(start, start + 1000)


def test_other_file_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100_000))

    with (
        pytest.raises(NoVolumeError, match="a is not an ISO 9660 or UDF image"),
        opened(tmp_path / "a"),
    ):
        pass


def test_damaged_tree_is_made_up_for_by_the_others(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", FILES, udf=True)
    patched(path, 256 * SECTOR, bytes(SECTOR))  # the anchors of UDF
    patched(path, path.stat().st_size - SECTOR, bytes(SECTOR))

    with opened(path) as (volume, fd):
        assert not volume.has_udf
        assert content(fd, volume.find("/live/vmlinuz-6.1")) == b"kernel"
        with pytest.raises(ImageError, match="its UDF volume has no descriptors"):
            volume.find("/nothing")


def test_directory_in_itself_ends_with_the_path(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"dir/file": b"x", "other/file": b"y"}, rock_ridge=False)
    root = path.read_bytes()[16 * SECTOR + 156 + 2 :][:8]
    patched(path, record_at(path, b"DIR") + 2, root)

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("/dir" * 50 + "/other/file")) == b"y"
        with pytest.raises(ImageNotFoundError):
            volume.find("/dir" * 5000 + "/other/file")
        with pytest.raises(ImageNotFoundError):
            volume.find("/dir" * 50 + "/nothing")


@pytest.mark.parametrize("step", ["/Dir", "/Dir/.."])
def test_names_that_lead_in_circles_cost_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Directories DIR and dir, both of them the root: 2 to the power of 50 ways to go."""
    monkeypatch.setattr(source_module, "READ_BUDGET_BYTES", 10_000 * SECTOR)
    monkeypatch.setattr(source_module, "CPU_BUDGET_S", 60.0)
    path = make_iso(tmp_path / "a.iso", {"DIR/file": b"x", "DIS/file": b"y"}, rock_ridge=False)
    root = path.read_bytes()[16 * SECTOR + 156 + 2 :][:8]
    second = record_at(path, b"DIS")
    patched(path, record_at(path, b"DIR") + 2, root)
    patched(path, second + 2, root)
    patched(path, second + 33, b"dir")

    with opened(path) as (volume, _), pytest.raises(ImageError, match="have no end"):
        volume.find(step * 50 + "/nothing")


def test_directory_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"dir/file": b"x"}, rock_ridge=False)
    patched(path, record_at(path, b"DIR") + 10, struct.pack("<L", 9 * 1024**2))
    os.truncate(path, 20 * 1024**2)

    with opened(path) as (volume, _), pytest.raises(ImageError, match="has 9,437,184 bytes"):
        volume.find("/dir/file")


def test_directory_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootserver.disc.iso9660.DIRECTORY_LIMIT_ENTRIES", 50)
    path = make_iso(tmp_path / "a.iso", {f"file{n}": b"" for n in range(60)})

    with opened(path) as (volume, _), pytest.raises(ImageError, match="over 50 files"):
        volume.find("/file1")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each read of an image from here on."""
    counts: list[int] = []
    pread: Callable[[int, int, int], bytes] = os.pread

    def counted(fd: int, count: int, offset: int) -> bytes:
        counts.append(count)
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", counted)
    return counts


@pytest.mark.parametrize("udf", [False, True], ids=["rock-ridge", "udf"])
def test_only_the_directories_on_the_way_are_read(
    tmp_path: Path, reads: list[int], udf: bool
) -> None:
    """An image of 40 GB with 3,000 files in 30 directories, of which two are on the way."""
    files = {f"pool/{n // 100:02}/package-{n:05}.deb": b"" for n in range(3000)}
    path = make_iso(tmp_path / "a.iso", {**files, "live/kernel": b"kernel"}, udf=udf)
    os.truncate(path, 40 * 1024**3)

    with opened(path) as (volume, _):
        node = volume.find("/live/kernel")
        cold_bytes = sum(reads)
        reads.clear()
        assert volume.find("/live/kernel") == node

    assert node.size_bytes == 6
    assert cold_bytes < 64 * 1024
    assert sum(reads) <= SECTOR * udf  # the file entry, which is not kept


def test_kept_directories_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings_module, "_KEPT_ENTRIES", 25)
    files = {f"dir{n}/file{k}": bytes([n]) for n in range(10) for k in range(5)}

    with opened(make_iso(tmp_path / "a.iso", files)) as (volume, fd):
        for path in random.Random(1).choices(sorted(files), k=100):
            assert content(fd, volume.find(path)) == files[path]
        kept = volume._listings._kept.values()
        assert sum(1 + len(listing.entries) for listing in kept) <= 25


def test_file_that_becomes_shorter_is_an_image_error(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", FILES)

    with opened(path) as (volume, _):
        os.truncate(path, 17 * SECTOR)
        with pytest.raises(ImageError, match="become shorter"):
            volume.find("/live/vmlinuz-6.1")


def test_damage_past_a_negative_or_huge_size_is_an_error(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", FILES, rock_ridge=False)
    patched(path, record_at(path, b"LIVE") + 2, b"\xff\xff\xff\xff")

    with opened(path) as (volume, _), pytest.raises(ImageError, match="past its end"):
        volume.find("/live/vmlinuz-6.1")


def test_descriptors_without_an_end_are_read_up_to_a_bound(
    tmp_path: Path, reads: list[int]
) -> None:
    descriptor = make_iso(tmp_path / "b.iso").read_bytes()[16 * SECTOR : 17 * SECTOR]
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(16 * SECTOR) + descriptor * 2000)
    fd = os.open(path, os.O_RDONLY)
    reads.clear()

    open_volume(fd, path.stat().st_size, "a.iso")

    os.close(fd)
    assert len(reads) < 100


def test_work_without_reading_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(make_iso(tmp_path / "a.iso", FILES)) as (volume, _):
        volume.find("/live/vmlinuz-6.1")
        monkeypatch.setattr(source_module, "CPU_BUDGET_S", -1.0)
        with pytest.raises(ImageError, match="have no end"):
            volume.find("/live/vmlinuz-6.1")
