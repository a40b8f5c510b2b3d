"""ImageTrees: the right version of an image, opened once, kept, and closed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootserver.disc.volume import open_volume
from bootserver.errors import ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.files.layout import Layout
from bootserver.files.open_version import open_file
from bootserver.images import tree as tree_module
from bootserver.images.tree import ImageTrees
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Content, FileVersion
from tests.fixtures.isos import make_iso

FILES = {"live/vmlinuz": b"kernel", "live/initrd": b"initrd!"}


@pytest.fixture
def trees() -> Iterator[ImageTrees]:
    trees = ImageTrees(open_images=3)
    yield trees
    trees.close()


def image(path: Path) -> Content:
    make_iso(path, FILES)
    return Content(str(path), FileVersion.of(path.stat()), "ab" * 32)


def open_files(directory: Path) -> int:
    """How many files of that directory this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    return sum(os.path.realpath(link).startswith(str(directory)) for link in links)


async def test_files_are_found_and_listed(tmp_path: Path, trees: ImageTrees) -> None:
    content = image(tmp_path / "a.iso")

    assert (await trees.find(content, "/LIVE/vmlinuz")).size_bytes == 6
    listed = await trees.children(content, "/live")

    assert {node.name: node.size_bytes for node in listed} == {"vmlinuz": 6, "initrd": 7}


async def test_what_is_not_there_is_not_found_and_the_image_stays_open(
    tmp_path: Path, trees: ImageTrees
) -> None:
    content = image(tmp_path / "a.iso")

    with pytest.raises(ImageNotFoundError, match=r"a\.iso has no '/nothing'"):
        await trees.find(content, "/nothing")

    assert open_files(tmp_path) == 1


async def test_image_is_opened_once_for_look_ups_at_the_same_time(
    tmp_path: Path, trees: ImageTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    all_waiting = threading.Barrier(2, timeout=10)

    def counted(fd: int, size_bytes: int, name: str) -> object:
        opened.append(name)
        all_waiting.wait()  # until the other look-up is on its way
        return open_volume(fd, size_bytes, name)

    monkeypatch.setattr(tree_module, "open_volume", counted)
    content = image(tmp_path / "a.iso")
    first = asyncio.create_task(trees.find(content, "/live/vmlinuz"))
    others = [asyncio.create_task(trees.find(content, "/live/initrd")) for _ in range(2)]
    await asyncio.to_thread(all_waiting.wait)

    await asyncio.gather(first, *others)

    assert opened == ["a.iso"]
    assert open_files(tmp_path) == 1


async def test_most_recently_used_stay_open(tmp_path: Path, trees: ImageTrees) -> None:
    contents = [image(tmp_path / f"{n}.iso") for n in range(5)]

    for content in contents:
        await trees.find(content, "/live/vmlinuz")
        await trees.find(contents[0], "/live/vmlinuz")

    kept = {Path(path).name for path, _ in trees._images}
    assert kept == {"0.iso", "3.iso", "4.iso"}
    assert open_files(tmp_path) == 3


async def test_close_gives_all_files_back(tmp_path: Path, trees: ImageTrees) -> None:
    for n in range(3):
        await trees.find(image(tmp_path / f"{n}.iso"), "/live/vmlinuz")

    trees.close()

    assert open_files(tmp_path) == 0


async def test_close_waits_for_the_look_up_that_is_going_on(
    tmp_path: Path, trees: ImageTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slow(fd: int, size_bytes: int, name: str) -> object:
        opening.set()
        assert go_on.wait(10)
        return open_volume(fd, size_bytes, name)

    monkeypatch.setattr(tree_module, "open_volume", slow)
    look_up = asyncio.create_task(trees.find(image(tmp_path / "a.iso"), "/live/vmlinuz"))
    assert await asyncio.to_thread(opening.wait, 10)

    trees.close()
    assert open_files(tmp_path) == 1
    go_on.set()

    assert (await look_up).size_bytes == 6
    assert open_files(tmp_path) == 0


async def test_other_version_is_not_ready_and_not_kept(tmp_path: Path, trees: ImageTrees) -> None:
    content = image(tmp_path / "a.iso")
    os.utime(content.path, ns=(1, 1))

    with pytest.raises(ImageNotReadyError, match="has changed since it was read"):
        await trees.find(content, "/live/vmlinuz")

    assert open_files(tmp_path) == 0


async def test_image_that_changes_after_a_look_up_is_not_ready(
    tmp_path: Path, trees: ImageTrees
) -> None:
    content = image(tmp_path / "a.iso")
    await trees.find(content, "/live/vmlinuz")
    os.utime(content.path, ns=(1, 1))

    with pytest.raises(ImageNotReadyError):
        await trees.find(content, "/live/vmlinuz")

    assert open_files(tmp_path) == 0


async def test_new_version_is_opened_anew(tmp_path: Path, trees: ImageTrees) -> None:
    old = image(tmp_path / "a.iso")
    await trees.find(old, "/live/vmlinuz")
    make_iso(tmp_path / "b.iso", {"live/vmlinuz": b"a newer kernel"})
    (tmp_path / "b.iso").rename(tmp_path / "a.iso")
    new = Content(old.path, FileVersion.of((tmp_path / "a.iso").stat()), "cd" * 32)

    assert (await trees.find(new, "/live/vmlinuz")).size_bytes == 14
    assert (await trees.find(old, "/live/vmlinuz")).size_bytes == 6  # still open


async def test_missing_image_is_not_found(tmp_path: Path, trees: ImageTrees) -> None:
    content = image(tmp_path / "a.iso")
    Path(content.path).unlink()

    with pytest.raises(ImageNotFoundError, match="is gone"):
        await trees.find(content, "/live/vmlinuz")


async def test_image_that_is_no_disc_is_an_error_each_time(
    tmp_path: Path, trees: ImageTrees
) -> None:
    (tmp_path / "a.iso").write_bytes(bytes(100_000))
    content = Content(
        str(tmp_path / "a.iso"), FileVersion.of((tmp_path / "a.iso").stat()), "ab" * 32
    )

    for _ in range(2):
        with pytest.raises(ImageNotFoundError, match=r"a\.iso is no disc"):
            await trees.find(content, "/live/vmlinuz")

    assert open_files(tmp_path) == 0


async def test_image_on_a_broken_disk_is_an_image_error(
    tmp_path: Path, trees: ImageTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = image(tmp_path / "a.iso")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("bootserver.disc.source.os.pread", broken)

    with pytest.raises(ImageError, match=r"a\.iso cannot be read: Input/output error"):
        await trees.find(content, "/live/vmlinuz")


async def test_a_file_above_2_gib_that_lies_behind_4_gib_is_served_exactly(
    tmp_path: Path, trees: ImageTrees
) -> None:
    path = make_iso(tmp_path / "large.iso", {"far.bin": b"far away"}, rock_ridge=False)
    size_bytes, start = 3 << 30, 5 << 30
    move_content(path, b"far away", start, size_bytes)
    with path.open("r+b") as sparse:
        for place, text in ((start, b"begin"), (start + size_bytes - 3, b"end")):
            sparse.seek(place)
            sparse.write(text)
    content = Content(str(path), FileVersion.of(path.stat()), "ab" * 32)
    far = await trees.find(content, "/far.bin")

    with await open_file(content, Layout(far.pieces)) as file:
        assert file.size_bytes == size_bytes
        assert file.read(ByteRange(0, 5)) == b"begin"
        assert file.read(ByteRange(size_bytes - 5, size_bytes)) == b"\0\0end"


def move_content(path: Path, content: bytes, start: int, size_bytes: int) -> None:
    """Change where a file lies, and its size, in its directory record (ECMA-119 9.1.3, 9.1.4)."""
    image = path.read_bytes()
    lba = image.index(content) // CD_SECTOR_BYTES
    old = both_endian(lba) + both_endian(len(content))
    assert image.count(old) == 1
    path.write_bytes(
        image.replace(old, both_endian(start // CD_SECTOR_BYTES) + both_endian(size_bytes))
    )


def both_endian(number: int) -> bytes:
    """A number as ECMA-119 7.3.3 writes it."""
    return number.to_bytes(4, "little") + number.to_bytes(4, "big")
