"""The part file: one process has it, it gets its name only when whole, and full disks are told."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.errors import ImageError
from bootserver.images.add import add_image
from bootserver.images.part import open_part, sweep_library
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import output_of
from tests.images.files import names
from tests.images.mirror import ETAG, Mirror, serving


async def test_two_adders_of_one_name_do_not_meet(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with (
        open_part(directory / "a.iso"),
        pytest.raises(ImageError, match="being added by another"),
    ):
        await add_image(str(tmp_path / "a.iso"), directory)


async def test_image_that_appears_meanwhile_is_not_overwritten(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    def appear(done_bytes: int, total_bytes: int | None) -> None:
        (directory / "a.iso").write_bytes(b"somebody else's")

    with pytest.raises(ImageError, match="already exists, with other content"):
        await add_image(str(tmp_path / "a.iso"), directory, progress=appear)

    assert (directory / "a.iso").read_bytes() == b"somebody else's"
    assert names(directory) == ["a.iso"]


async def test_image_whose_adder_was_stopped_while_publishing_is_not_written_to(
    directory: Path, mirror: Mirror
) -> None:
    other = make_iso(directory / "rescue.iso").read_bytes()
    (directory / ".rescue.iso.part").hardlink_to(directory / "rescue.iso")

    with pytest.raises(ImageError, match="already exists, with other content"):
        await add_image(mirror.url, directory)

    assert (directory / "rescue.iso").read_bytes() == other
    assert names(directory) == ["rescue.iso"]


@pytest.fixture
def _no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT."""

    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("_no_hard_links")
async def test_file_system_without_hard_links_will_do(directory: Path, mirror: Mirror) -> None:
    path = await add_image(mirror.url, directory)

    assert path.read_bytes() == mirror.content
    assert names(directory) == ["rescue.iso"]


@pytest.mark.usefixtures("_no_hard_links")
async def test_without_hard_links_nothing_is_overwritten_either(
    directory: Path, mirror: Mirror
) -> None:
    def appear(done_bytes: int, total_bytes: int | None) -> None:
        (directory / "rescue.iso").write_bytes(b"somebody else's")

    with pytest.raises(ImageError, match="already exists, with other content"):
        await add_image(mirror.url, directory, progress=appear)

    assert (directory / "rescue.iso").read_bytes() == b"somebody else's"
    assert names(directory) == ["rescue.iso"]


def test_part_that_the_next_adder_has_begun_is_left_alone(directory: Path) -> None:
    with open_part(directory / "a.iso") as part:
        part.path.unlink()
        part.path.write_bytes(b"the next one's")

    assert (directory / ".a.iso.part").read_bytes() == b"the next one's"


# -- a full disk: a real one, 256 KiB of tmpfs in a mount namespace of the child's own

FULL_DISK = textwrap.dedent("""
    import asyncio, subprocess, sys
    from pathlib import Path
    from bootserver.errors import ImageError
    from bootserver.images.add import add_image

    directory = Path(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory], check=True)
    try:
        asyncio.run(add_image(sys.argv[1], directory))
    except ImageError as err:
        print(err.message)
    print(sorted(path.name for path in directory.iterdir()))
    subprocess.run(["umount", directory], check=True)
""")


async def _add_to_full_disk(source: str, directory: Path) -> list[str]:
    """What the child prints: the error, and what is left in the directory."""
    # In a chroot the root is no mount point, whose propagation could be changed.
    namespace = ["unshare", "--mount", "--propagation", "unchanged"]
    namespace += ["--map-root-user"] if os.geteuid() else []
    command = (*namespace, sys.executable, "-c", FULL_DISK, source, str(directory))
    return (await output_of(*command)).decode().splitlines()[-2:]


async def test_copy_that_cannot_fit_is_refused_with_both_numbers(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    message, left = await _add_to_full_disk(str(tmp_path / "a.iso"), directory)

    assert message.startswith(f"there is no room for a.iso: {len(content):,} bytes more are needed")
    assert "262,144 bytes are free" in message
    assert left == "[]"


@pytest.mark.slow
async def test_download_that_cannot_fit_is_refused_before_it_starts(
    directory: Path, mirror: Mirror
) -> None:
    message, left = await _add_to_full_disk(mirror.url, directory)

    assert f"{len(mirror.content):,} bytes more are needed" in message
    assert left == "[]"


@pytest.mark.slow
async def test_disk_that_fills_up_meanwhile_is_told_and_the_part_kept(
    directory: Path, content: bytes
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        """Tells no length, so that the disk's end is met by writing."""
        response = web.StreamResponse(headers={"ETag": ETAG})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content)
        return response

    async with serving(handle) as address:
        message, left = await _add_to_full_disk(f"{address}/a.iso", directory)

    assert message.startswith("there is no room for a.iso: 0 bytes are free")
    assert left == "['.a.iso.part', '.a.iso.part.json']"


# -- after a kill -9

ADDER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from bootserver.images.add import add_image

    asyncio.run(add_image(sys.argv[1], Path(sys.argv[2])))
""")


@contextmanager
def adder_of(source: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that adds an image, from when its part file has bytes."""
    part = directory / f".{Path(source).name}.part"
    with subprocess.Popen([sys.executable, "-c", ADDER, source, str(directory)]) as adder:
        try:
            while not part.exists() or not part.stat().st_size:
                assert adder.poll() is None
                time.sleep(0.01)
            yield adder
        finally:
            adder.kill()


async def test_a_part_that_a_killed_adder_left_is_swept_and_one_that_grows_is_not(
    directory: Path, content: bytes
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        """Half of the file, and then silence."""
        response = web.StreamResponse(headers={"ETag": ETAG, "Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[:500_000])
        await asyncio.sleep(600)
        return response

    def kill_and_sweep(url: str) -> tuple[list[Path], list[Path]]:
        with adder_of(url, directory):
            before = sweep_library(directory)
        return before, sweep_library(directory)

    async with serving(handle) as address:
        before, after = await asyncio.to_thread(kill_and_sweep, f"{address}/a.iso")

    assert before == []
    assert after == [directory / ".a.iso.part"]
    assert names(directory) == []


async def test_a_download_that_was_cut_is_kept_for_a_week(directory: Path, mirror: Mirror) -> None:
    mirror.cuts = [500_000, 0, 0, 0]
    with pytest.raises(ImageError, match=r"500,000 bytes are here"):
        await add_image(mirror.url, directory)

    assert sweep_library(directory) == []
    os.utime(directory / ".rescue.iso.part", (time.time() - 8 * 86400,) * 2)
    assert sweep_library(directory) == [directory / ".rescue.iso.part"]
    assert names(directory) == []


def test_other_programs_parts_are_left_alone(directory: Path) -> None:
    for name in (".film.mkv.part", "rescue.iso.part"):
        (directory / name).write_bytes(b"theirs")

    assert sweep_library(directory) == []


def test_a_part_that_is_an_image_already_leaves_the_image(directory: Path) -> None:
    make_iso(directory / "rescue.iso")
    (directory / ".rescue.iso.part").hardlink_to(directory / "rescue.iso")

    sweep_library(directory)

    assert names(directory) == ["rescue.iso"]
