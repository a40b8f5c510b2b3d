"""The library: which files are listed, when, and what is told of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bootserver.database import DatabaseEngine, open_database
from bootserver.errors import ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.images import digests
from bootserver.images import library as library_module
from bootserver.images.digests import hash_file
from bootserver.images.directory import look
from bootserver.images.iso import inspect_iso
from bootserver.images.library import Library
from bootserver.model import FileVersion, Image
from tests.fixtures.isos import make_iso, truncated_iso

AN_HOUR_AGO_NS = 3600 * 10**9
SETTLE_S = 0.05


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/test.db") as engine:
        yield engine


def _put(path: Path, *, volume_id: str = "TEST") -> Path:
    """A bootable ISO that has been there for an hour."""
    return _age(make_iso(path, bios=True, volume_id=volume_id))


def _age(path: Path) -> Path:
    mtime_ns = path.stat().st_mtime_ns - AN_HOUR_AGO_NS
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


async def _images(directory: Path, engine: DatabaseEngine) -> dict[str, Image]:
    """What a library of its own lists once it has read everything."""
    async with Library(directory, engine, settle_s=SETTLE_S) as library:
        await library.scan()
        await library.settled()
        return {image.id: image for image in library.images()}


@asynccontextmanager
async def _watching(library: Library) -> AsyncIterator[None]:
    task = asyncio.create_task(library.watch(0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    """Waits for what the library finds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_reading_many_new_files_builds_each_image_a_few_times_only(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once at each look, and twice as its file is read: not all of them for each file."""
    files = 40
    first = _put(directory / "0.iso")
    for number in range(1, files):
        (directory / f"{number}.iso").hardlink_to(first)
    built: list[str] = []
    image_of = library_module._image

    def counting(image_id: str, *arguments: Any) -> Image:
        built.append(image_id)
        return image_of(image_id, *arguments)

    monkeypatch.setattr(library_module, "_image", counting)

    images = await _images(directory, engine)

    assert len(images) == files
    assert all(image.sha256 for image in images.values())
    assert len(built) == 3 * files


async def test_file_becomes_an_image_with_facts_and_digest(
    directory: Path, engine: DatabaseEngine
) -> None:
    path = _put(directory / "Rescue 1.0.iso", volume_id="RESCUE10")

    image = (await _images(directory, engine))["Rescue 1.0"]

    assert image.path == str(path)
    assert image.title == "RESCUE10"
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert image.facts is not None
    assert len(image.facts.el_torito) == 1
    assert image.problem == ""
    version = image.version
    assert version == FileVersion.of(path.stat())


async def test_images_are_sorted_by_id(directory: Path, engine: DatabaseEngine) -> None:
    for name in ("c", "a", "b"):
        _put(directory / f"{name}.iso")

    assert list(await _images(directory, engine)) == ["a", "b", "c"]


async def test_of_two_files_with_one_id_the_first_wins_and_the_other_is_logged(
    directory: Path, engine: DatabaseEngine
) -> None:
    _put(directory / "A.iso", volume_id="SECOND")
    _put(directory / "A.ISO", volume_id="FIRST")

    async with Library(directory, engine) as library:
        with capture_logs() as logs:
            await library.scan()
            await library.scan()
        await library.settled()

        assert library.get("A").title == "FIRST"
    assert [log["file"] for log in logs if log["event"] == "images.ignored"] == ["A.iso"]


async def test_bad_file_is_listed_with_its_problem_and_one_log_line(
    directory: Path, engine: DatabaseEngine
) -> None:
    _age(truncated_iso(directory / "half.iso", keep_bytes=100_000))
    _put(directory / "whole.iso")

    async with Library(directory, engine) as library:
        with capture_logs() as logs:
            await library.scan()
            await library.settled()
            await library.scan()
            await library.settled()

        image = library.get("half")
        assert "half.iso is truncated" in image.problem
        assert "copy it again" in image.problem
        assert image.sha256 == ""
        assert library.get("whole").problem == ""
    assert [log["image"] for log in logs if log["event"] == "image.problem"] == ["half"]


async def test_image_is_listed_with_facts_while_it_is_hashed(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _put(directory / "a.iso", volume_id="SLOW")
    hashing, go_on = threading.Event(), threading.Event()

    def slow(path: Path, **options: object) -> tuple[str, FileVersion]:
        hashing.set()
        assert go_on.wait(20)
        return hash_file(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(library_module, "hash_file", slow)
    async with Library(directory, engine) as library:
        await library.scan()
        await asyncio.to_thread(hashing.wait, 20)

        assert library.get("a").sha256 == ""
        assert library.get("a").title == "SLOW"
        assert library.progress("a") == (0, path.stat().st_size)

        go_on.set()
        await library.settled()
        assert library.get("a").sha256
        assert library.progress("a") is None


async def test_unchanged_file_is_not_read_again_after_a_restart(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(directory / "a.iso")
    _age(truncated_iso(directory / "bad.iso", keep_bytes=100_000))
    before = await _images(directory, engine)

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(library_module, "hash_file", forbidden)
    monkeypatch.setattr(library_module, "inspect_iso", forbidden)

    assert await _images(directory, engine) == before


async def test_file_whose_inspection_is_outdated_is_inspected_but_not_hashed_again(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(directory / "a.iso")
    before = await _images(directory, engine)

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(library_module, "hash_file", forbidden)
    monkeypatch.setattr(digests, "INSPECTION_REVISION", "newer")

    assert await _images(directory, engine) == before


async def test_young_file_is_not_listed_before_a_second_look(
    directory: Path, engine: DatabaseEngine
) -> None:
    make_iso(directory / "young.iso")

    async with Library(directory, engine, settle_s=3600) as library:
        await library.scan()
        await library.scan()

        assert library.images() == []
        with pytest.raises(ImageNotReadyError, match="still being written"):
            library.get("young")


async def test_file_that_grows_between_looks_stays_out_until_it_is_whole(
    directory: Path, engine: DatabaseEngine, tmp_path: Path
) -> None:
    whole = make_iso(tmp_path / "whole.iso").read_bytes()
    path = directory / "a.iso"
    path.write_bytes(whole[:40_000])

    async with Library(directory, engine, settle_s=SETTLE_S) as library:
        await library.scan()
        path.write_bytes(whole)
        await asyncio.sleep(2 * SETTLE_S)
        await library.scan()
        assert library.images() == []

        await library.settled()
        assert library.get("a").problem == ""
        assert library.get("a").sha256 == hashlib.sha256(whole).hexdigest()


async def test_settled_does_not_wait_for_a_file_that_never_stops_growing(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(directory / "done.iso")
    path = directory / "growing.iso"
    path.write_bytes(b"0")

    def look_and_grow(directory: Path) -> object:
        with path.open("ab") as file:
            file.write(b"more")
        return look(directory)

    monkeypatch.setattr(library_module, "look", look_and_grow)

    assert list(await _images(directory, engine)) == ["done"]


async def test_watch_sees_files_come_change_and_go(directory: Path, engine: DatabaseEngine) -> None:
    library = Library(directory, engine, settle_s=SETTLE_S)

    def title() -> str | None:
        images = library.images()
        return images[0].title if images and images[0].sha256 else None

    async with library, _watching(library):
        make_iso(directory / "a.iso", volume_id="ONE")
        await _until(lambda: title() == "ONE")
        first = library.get("a").sha256

        make_iso(directory / "a.iso", volume_id="TWO")
        await _until(lambda: title() == "TWO")
        assert library.get("a").sha256 != first

        (directory / "a.iso").unlink()
        await _until(lambda: library.images() == [])


async def test_an_image_that_did_not_change_stays_the_same_object(
    directory: Path, engine: DatabaseEngine
) -> None:
    _put(directory / "a.iso")

    async with Library(directory, engine) as library:
        await library.scan()
        await library.settled()
        before = library.get("a")
        await library.scan()

        assert library.get("a") is before


async def test_file_changed_while_it_is_hashed_gets_the_new_contents_digest(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _put(directory / "a.iso", volume_id="OLD")
    calls = 0

    def change_once(path: Path, **options: object) -> tuple[str, FileVersion]:
        nonlocal calls
        calls += 1
        result = hash_file(path, **options)  # type: ignore[arg-type]
        if calls == 1:
            make_iso(path, bios=True, volume_id="NEW")
        return result

    monkeypatch.setattr(library_module, "hash_file", change_once)

    image = (await _images(directory, engine))["a"]

    assert calls == 2
    assert image.title == "NEW"
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def _hashing_until_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[threading.Event, threading.Event]:
    """Hashing goes on until it is cancelled; the events tell that it has begun, and has ended."""
    hashing, ended = threading.Event(), threading.Event()

    def until_cancelled(
        path: Path, *, progress: object, cancelled: threading.Event
    ) -> tuple[str, FileVersion]:
        hashing.set()
        if cancelled.wait(20):
            ended.set()
        raise ImageNotReadyError("cancelled")

    monkeypatch.setattr(library_module, "hash_file", until_cancelled)
    return hashing, ended


async def test_file_removed_while_it_is_hashed_ends_the_hashing(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _put(directory / "a.iso")
    hashing, ended = _hashing_until_cancelled(monkeypatch)
    async with Library(directory, engine) as library:
        await library.scan()
        await asyncio.to_thread(hashing.wait, 20)
        path.unlink()
        await library.scan()
        await library.settled()

        assert ended.is_set()
        assert library.images() == []


async def test_close_ends_the_hashing(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(directory / "a.iso")
    hashing, ended = _hashing_until_cancelled(monkeypatch)
    async with Library(directory, engine) as library:
        await library.scan()
        await asyncio.to_thread(hashing.wait, 20)

    assert await asyncio.to_thread(ended.wait, 20)


async def test_unreadable_file_is_tried_again_and_mends_itself(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads files of any mode, so the failing disk is played."""
    _put(directory / "a.iso")

    def broken(path: Path) -> None:
        raise ImageError(f"{path.name} cannot be read: I/O error") from OSError(5, "I/O error")

    monkeypatch.setattr(library_module, "inspect_iso", broken)
    async with Library(directory, engine) as library:
        with capture_logs() as logs:
            for _ in range(3):
                await library.scan()
                await library.settled()
        assert library.get("a").problem == "a.iso cannot be read: I/O error"
        assert [log["event"] for log in logs] == ["image.problem"]

        monkeypatch.setattr(library_module, "inspect_iso", inspect_iso)
        await library.scan()
        await library.settled()
        assert library.get("a").problem == ""
        assert library.get("a").sha256


async def test_missing_directory_is_an_error_of_scan_and_keeps_the_listing(
    directory: Path, engine: DatabaseEngine
) -> None:
    _put(directory / "a.iso")
    async with Library(directory, engine) as library:
        await library.scan()
        await library.settled()
        shutil.move(directory, directory.with_name("away"))

        with pytest.raises(ImageError, match="cannot be read") as caught:
            await library.scan()

        assert "mounted" in caught.value.hint
        assert [image.id for image in library.images()] == ["a"]


async def test_watch_logs_a_missing_directory_once_and_goes_on(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.rmdir()
    looks = 0
    three_looks = asyncio.Event()
    loop = asyncio.get_running_loop()

    def counting(directory: Path) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:
            loop.call_soon_threadsafe(three_looks.set)
        return look(directory)

    monkeypatch.setattr(library_module, "look", counting)
    library = Library(directory, engine, settle_s=SETTLE_S)
    with capture_logs() as logs:
        async with library, _watching(library):
            await asyncio.wait_for(three_looks.wait(), 20)
            directory.mkdir()
            _put(directory / "a.iso")
            await _until(lambda: bool(library.images() and library.images()[0].sha256))

    assert [log["event"] for log in logs].count("images.scan_failed") == 1


async def test_sidecar_is_seen_by_the_next_scan_without_reading_the_iso_again(
    directory: Path, engine: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(directory / "a.iso", volume_id="VOLUME")
    async with Library(directory, engine) as library:
        await library.scan()
        await library.settled()
        sha256 = library.get("a").sha256

        def forbidden(*args: object, **options: object) -> None:
            raise AssertionError("read again")

        monkeypatch.setattr(library_module, "hash_file", forbidden)
        monkeypatch.setattr(library_module, "inspect_iso", forbidden)
        (directory / "a.toml").write_text('title = "Rescue"\nmemdisk = "iso raw"\n')
        await library.scan()
        assert (library.get("a").title, library.get("a").settings.memdisk) == ("Rescue", "iso raw")

        (directory / "a.toml").write_text('titel = "Rescue"\n')
        await library.scan()
        assert "'titel' is no known key" in library.get("a").problem
        assert "title, memdisk, arguments" in library.get("a").problem

        (directory / "a.toml").unlink()
        await library.scan()
        assert library.get("a").title == "VOLUME"
        assert library.get("a").problem == ""
        assert library.get("a").sha256 == sha256


async def test_iso_without_volume_id_is_titled_by_its_id(
    directory: Path, engine: DatabaseEngine
) -> None:
    _put(directory / "nameless.iso", volume_id="")

    assert (await _images(directory, engine))["nameless"].title == "nameless"


async def test_unknown_id_names_near_matches(directory: Path, engine: DatabaseEngine) -> None:
    _put(directory / "memtest86.iso")
    async with Library(directory, engine) as library:
        await library.scan()

        with pytest.raises(ImageNotFoundError, match="'memtest'") as caught:
            library.get("memtest")
        assert caught.value.hint == "did you mean memtest86?"

        with pytest.raises(ImageNotFoundError) as caught:
            library.get("entirely-else")
        assert caught.value.hint == "run: bootserver images list"


async def test_empty_library_says_where_to_put_an_image(
    directory: Path, engine: DatabaseEngine
) -> None:
    async with Library(directory, engine) as library:
        with pytest.raises(ImageNotFoundError) as caught:
            library.get("a")

    assert str(directory) in caught.value.hint
