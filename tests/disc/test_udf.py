"""UDF volumes in all the shapes the standard allows, and the ways in which they are damaged."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path

import pytest

from bootserver.errors import ImageError, ImageNotFoundError
from tests.fixtures.discs import SECTOR, all_files, content, opened, patched
from tests.fixtures.udf import (
    EMBEDDED,
    FILE,
    LONG,
    PARTITION_START,
    SHORT,
    tagged,
    udf_volume,
)

FILES = {
    "a.txt": b"hello",
    "empty": b"",
    "sources/boot.wim": os.urandom(30_000),
    "sources/deep/x/y/Żółć.txt": b"z" * 5000,
    "deleted.txt": b"gone",
    "latin/é": b"e",
    **{f"many/file{n:03}.bin": bytes([n]) * n for n in range(200)},
}
LISTED = {name: data for name, data in FILES.items() if not name.startswith("deleted")}


@pytest.mark.parametrize(
    ("metadata", "extended", "chained", "allocation"),
    list(itertools.product((False, True), (False, True), (False, True), (SHORT, LONG, EMBEDDED))),
)
def test_every_shape_has_the_same_files(
    tmp_path: Path, metadata: bool, extended: bool, chained: bool, allocation: int
) -> None:
    path = udf_volume(
        tmp_path / "a.iso",
        FILES,
        metadata=metadata,
        extended=extended,
        chained=chained,
        allocation=allocation,
    )

    with opened(path) as (volume, fd):
        found = {name: content(fd, node) for name, node in all_files(volume).items()}

    assert found == LISTED


def test_volume_is_named_by_its_logical_volume(tmp_path: Path) -> None:
    with opened(udf_volume(tmp_path / "a.iso", FILES)) as (volume, _):
        assert (volume.volume_id, volume.has_udf, volume.el_torito) == ("DISC", True, ())


def test_small_content_inside_the_file_entry_comes_as_bytes(tmp_path: Path) -> None:
    with opened(udf_volume(tmp_path / "a.iso", FILES, allocation=EMBEDDED)) as (volume, _):
        assert volume.find("a.txt").pieces == (b"hello",)


def test_parts_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"a": b"x" * 4096}, hole_bytes=3 * 1024**2 + 5)

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("a")) == b"x" * 4096 + bytes(3 * 1024**2 + 5)


def test_hole_of_absurd_size_is_an_error(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"a": b"x"}, hole_bytes=500 * 1024**2)

    with opened(path) as (volume, _), pytest.raises(ImageError, match="a hole of 524,288,000"):
        volume.find("a")


@pytest.mark.parametrize("anchor", [256, -1, -257])
def test_any_one_anchor_will_do(tmp_path: Path, anchor: int) -> None:
    with opened(udf_volume(tmp_path / "a.iso", FILES, anchors=(anchor,))) as (volume, fd):
        assert content(fd, volume.find("a.txt")) == b"hello"


def test_reserve_sequence_stands_in_for_the_main_one(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", FILES)
    patched(path, 34 * SECTOR + 100, b"damage")  # the logical volume descriptor

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("a.txt")) == b"hello"


def test_mirror_stands_in_for_the_metadata_file(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", FILES, metadata=True)
    main = _file_entry(path, kind=250)
    patched(path, main, bytes(SECTOR))

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("a.txt")) == b"hello"


def test_newest_descriptor_counts(tmp_path: Path) -> None:
    """A second partition descriptor with a higher number, in place of the unallocated space."""
    path = udf_volume(tmp_path / "a.iso", FILES)
    body = bytearray(path.read_bytes()[33 * SECTOR + 16 : 33 * SECTOR + 512])
    for start in (32, 48):
        struct.pack_into("<L", body, 0, 1)
        struct.pack_into("<L", body, 188 - 16, 99_999)
        patched(path, (start + 3) * SECTOR, tagged(5, start + 3, bytes(body)))

    with opened(path) as (volume, fd):
        assert content(fd, volume.find("a.txt")) == b"hello"  # number 2 won against number 1


def test_damaged_crc_is_an_error(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"a.txt": b"hello"})
    patched(path, _file_entry(path, kind=FILE) + 60, b"\x01")  # of the size

    with opened(path) as (volume, _), pytest.raises(ImageError, match="descriptor is not where"):
        volume.find("a.txt")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (20, struct.pack("<H", 4096), "strategy 4096"),
        (34, struct.pack("<H", 2), "extended allocation descriptors"),
        (56, struct.pack("<Q", 2**63), "less content"),
        (172, struct.pack("<L", 2**31), "too long"),
        (168, struct.pack("<L", 2**32 - 1), "too long"),
        (180, struct.pack("<L", 2**31), r"a\.txt ends past the end"),
    ],
)
def test_file_entry_that_lies_is_an_error(
    tmp_path: Path, offset: int, value: bytes, message: str
) -> None:
    path = udf_volume(tmp_path / "a.iso", {"a.txt": b"hello"})
    _change(path, _file_entry(path, kind=FILE), offset, value)

    with opened(path) as (volume, _), pytest.raises(ImageError, match=message):
        volume.find("a.txt")


def test_allocation_descriptors_that_continue_themselves_are_an_error(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"a.txt": b"x" * 9000}, chained=True)
    data = path.read_bytes()
    at = next(
        at
        for at in range(PARTITION_START * SECTOR, len(data), SECTOR)
        if data[at : at + 2] == b"\x02\x01"
    )
    _change(path, at, 24, struct.pack("<LL", SECTOR | 3 << 30, at // SECTOR - PARTITION_START))

    with opened(path) as (volume, _), pytest.raises(ImageError, match=r"over 20,000 extents"):
        volume.find("a.txt")


def test_directory_that_is_its_own_child_ends_with_the_path(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"dir/file": b"x"}, allocation=EMBEDDED)
    data = path.read_bytes()
    [root, child] = [
        at
        for at in range(PARTITION_START * SECTOR, len(data), SECTOR)
        if data[at : at + 2] == b"\x05\x01" and data[at + 27] == 4
    ]
    patched(path, child, data[root : root + SECTOR])

    with opened(path) as (volume, _):
        assert volume.find("/dir/dir/dir/dir").is_directory
        with pytest.raises(ImageNotFoundError):
            volume.find("/dir/dir/dir/dir/file")


def test_volume_of_other_blocks_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", FILES)
    for start in (32, 48):
        _change(path, (start + 2) * SECTOR, 212, struct.pack("<L", 512))

    with opened(path) as (volume, _), pytest.raises(ImageError, match="blocks of 512 bytes"):
        volume.find("a.txt")


def test_unknown_kind_of_partition_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", FILES, metadata=True)
    for start in (32, 48):
        _change(path, (start + 2) * SECTOR, 446 + 5, b"*UDF Sparable Partition")

    with opened(path) as (volume, _), pytest.raises(ImageError, match="kind of partition"):
        volume.find("a.txt")


def _file_entry(path: Path, *, kind: int) -> int:
    """Where the last file entry of that kind of file is."""
    data = path.read_bytes()
    return max(
        at
        for at in range(PARTITION_START * SECTOR, len(data), SECTOR)
        if data[at : at + 2] in (b"\x05\x01", b"\x0a\x01") and data[at + 27] == kind
    )


def _change(path: Path, descriptor: int, offset: int, value: bytes) -> None:
    """Overwrite a field, and make the tag's sums right again."""
    sector = bytearray(path.read_bytes()[descriptor : descriptor + SECTOR])
    sector[offset : offset + len(value)] = value
    kind, location = struct.unpack_from("<H10xL", sector)
    (length,) = struct.unpack_from("<H", sector, 10)
    patched(path, descriptor, tagged(kind, location, bytes(sector[16 : 16 + length])))
