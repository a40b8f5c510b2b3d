"""What a server does no second time for a file that was asked for before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bootserver.config import Config
from bootserver.errors import ImageNotFoundError, ImageNotReadyError
from bootserver.files import open_version
from bootserver.files.layout import Layout
from bootserver.files.open_version import OpenFiles
from bootserver.model import ByteRange, Content, FileVersion
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso

RANGES = ("bytes=0-2047", "bytes=4096-36863", "bytes=100000-100000")


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=200_000)
    async with running_boots(config) as boots:
        yield boots


async def booted(boots: Boots) -> str:
    """The path of a boot whose machine has its script."""
    token = await boots.token()
    await boots.script(token)
    session = boots.ledger.find(token, "127.0.0.1")
    assert session
    return f"/b/{session.key}"


async def test_a_warm_file_is_sent_without_the_database_and_without_opening_it(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    paths = [f"/b/{await boots.token()}/image.iso", f"{await booted(boots)}/image.iso"]
    for path in paths:
        await boots.body(path, Range="bytes=0-0")
    await boots.ledger.flush()
    statements: list[str] = []
    opened: list[Any] = []
    engine = boots.ledger._store._engine.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    monkeypatch.setattr(open_version, "open_version", lambda *call: opened.append(call))

    for path in paths:
        for part in (*RANGES, *RANGES):
            await boots.body(path, Range=part)
        await boots.body(path)

    assert (statements, opened) == ([], [])


async def test_ranges_of_a_boot_are_one_transfer_in_its_ledger(boots: Boots):
    path = await booted(boots)

    await asyncio.gather(
        *(boots.body(f"{path}/image.iso", Range=part) for part in RANGES for _ in range(20))
    )

    [session] = await boots.recorded()
    [transfer] = (await boots.store.transfers([session.id]))[session.id]
    assert (transfer.requests, transfer.sent_bytes) == (60, 20 * (2048 + 32768 + 1))
    assert (transfer.first_byte, transfer.last_byte, transfer.holes) == (0, 100_000, 2)


def content(path: Path) -> Content:
    return Content(str(path), FileVersion.of(path.stat()), "5f" * 32)


def open_descriptors(path: Path) -> int:
    """How many descriptors of this process lead, or led, to that path."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # of this look itself
            links.append(str(link.readlink()))
    return sum(link.removesuffix(" (deleted)") == str(path) for link in links)


async def test_of_many_files_the_last_ones_stay_open(tmp_path: Path):
    files = OpenFiles(most=2)
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(100))
    parts = [Layout((ByteRange(start, 100),)) for start in range(3)]

    opened = [await files.open(content(path), part) for part in parts]

    assert open_descriptors(path) == 2
    assert await files.open(content(path), parts[2]) is opened[2]
    with pytest.raises(ImageNotReadyError), opened[0].in_use():
        pass
    files.close()
    assert open_descriptors(path) == 0


async def test_a_file_that_was_replaced_is_not_served_from_its_open_descriptor(tmp_path: Path):
    files = OpenFiles()
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(100))
    old = content(path)
    await files.open(old)
    (tmp_path / "new").write_bytes(bytes(100))
    (tmp_path / "new").rename(path)

    with pytest.raises(ImageNotReadyError):
        await files.open(old)
    path.unlink()
    with pytest.raises(ImageNotFoundError):
        await files.open(old)
    files.close()


@pytest.mark.parametrize("end", ["deleted", "idle"])
async def test_a_file_is_closed_that_is_gone_or_that_nothing_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
):
    monkeypatch.setattr(open_version, "LOOK_S", 0.001)
    monkeypatch.setattr(open_version, "IDLE_LOOKS", 2 if end == "idle" else 1 << 30)
    files = OpenFiles()
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(100))
    await files.open(content(path))
    keeping = asyncio.create_task(files.keep_current())
    if end == "deleted":
        path.unlink()

    async with asyncio.timeout(30):
        while open_descriptors(path):
            await asyncio.sleep(0.001)

    keeping.cancel()
