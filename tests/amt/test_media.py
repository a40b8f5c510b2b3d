"""Images in a redirected drive: whole blocks, at once or not, of any size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootserver.amt.redirection.media import (
    IN_MEMORY_BYTES_MAX,
    FileMedium,
    Medium,
    MemoryMedium,
    blank_floppy,
    open_cd,
)
from bootserver.amt.redirection.scsi import DriveKind
from bootserver.errors import ImageError, ImageNotFoundError

IMAGE = b"".join(lba.to_bytes(2, "big") * 1024 for lba in range(10))[:-100]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.iso"
    path.write_bytes(IMAGE)
    return path


def media(image: Path) -> list[Medium]:
    fd = os.open(image, os.O_RDONLY)  # until the process ends
    return [MemoryMedium(DriveKind.CD, IMAGE), FileMedium(DriveKind.CD, fd, len(IMAGE))]


def test_blocks_are_slices_and_the_last_is_filled_up(image: Path) -> None:
    padded = IMAGE + bytes(100)
    for medium in media(image):
        assert medium.size_blocks == 10
        for lba in range(10):
            for count in range(1, 11 - lba):
                expected = padded[lba * 2048 : (lba + count) * 2048]
                assert bytes(medium.read(lba, count)) == expected
                at_once = medium.read_at_once(lba, count)
                # The page cache has what was read just before, where the file system tells.
                assert at_once is None or bytes(at_once) == expected


def test_a_floppy_has_blocks_of_512_bytes() -> None:
    medium = MemoryMedium(DriveKind.FLOPPY, bytes(512) + b"\xee" * 512)

    assert medium.size_blocks == 2
    assert bytes(medium.read(1, 1)) == b"\xee" * 512
    assert blank_floppy().size_blocks == 2880
    assert blank_floppy().read_at_once(2879, 1) == bytes(512)


def test_an_image_in_memory_is_not_copied() -> None:
    image = bytearray(4 * 2048)
    data = MemoryMedium(DriveKind.CD, memoryview(image)).read_at_once(1, 1)
    image[2048:2050] = b"hi"  # after the read: a copy would not show it

    assert data is not None
    assert bytes(data[:2]) == b"hi"


def test_a_file_that_was_cut_short_is_an_error(image: Path) -> None:
    medium = media(image)[1]
    os.truncate(image, 3 * 2048)

    assert bytes(medium.read(2, 1)) == IMAGE[2 * 2048 : 3 * 2048]
    assert medium.read_at_once(2, 2) is None
    with pytest.raises(OSError, match="2,048 bytes too early"):
        medium.read(2, 2)


def test_a_system_that_cannot_say_what_is_cached_reads_in_threads(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = media(image)[1]
    monkeypatch.delattr(os, "RWF_NOWAIT")
    monkeypatch.delattr(os, "posix_fadvise")

    assert medium.read_at_once(0, 1) is None
    assert bytes(medium.read(0, 1)) == IMAGE[:2048]


async def test_a_small_image_is_in_memory_and_a_large_one_is_not(tmp_path: Path) -> None:
    small, large = tmp_path / "small.iso", tmp_path / "large.iso"
    for path, size_bytes in ((small, IN_MEMORY_BYTES_MAX), (large, IN_MEMORY_BYTES_MAX + 1)):
        with path.open("wb") as file:
            file.truncate(size_bytes)

    async with open_cd(small) as in_memory, open_cd(large) as on_disk:
        assert isinstance(in_memory, MemoryMedium)
        assert isinstance(on_disk, FileMedium)
        assert on_disk.size_blocks == in_memory.size_blocks + 1
        assert bytes(on_disk.read(on_disk.size_blocks - 1, 1)) == bytes(2048)


async def test_images_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.iso").touch()
    for name, error, words in [
        ("no.iso", ImageNotFoundError, "is gone"),
        ("empty.iso", ImageError, "is empty"),
        ("", ImageError, "cannot be read: Is a directory"),
    ]:
        with pytest.raises(error, match=words):
            async with open_cd(tmp_path / name):
                pass
