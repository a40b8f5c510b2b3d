"""What a database can suffer while the server has it: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from bootserver import database as database_module
from bootserver.database import DatabaseEngine, open_database
from bootserver.errors import DatabaseError, ServiceError
from bootserver.model import Machine
from bootserver.schema import bring_up_to_date
from bootserver.selector import Selector
from bootserver.sessions.profiles import ProfileStore

ONE, TWO = Selector(serial="1"), Selector(serial="2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bootserver.db"


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[DatabaseEngine]:
    path.parent.mkdir()
    async with open_database(url(path), looked_after=True) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 50)


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def on_disk(path: Path) -> list[str]:
    """The images of the profiles in the database there, as another program reads them."""
    with closing(sqlite3.connect(path)) as other:
        return [row[0] for row in other.execute("SELECT image FROM profiles ORDER BY set_at")]


def remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


async def test_a_locked_database_is_a_sentence(engine: DatabaseEngine, path: Path):
    profiles = ProfileStore(engine)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="is locked") as refused:
            await profiles.set(ONE, image="one")
        assert await profiles.list() == []  # a reader does not wait

    assert "another program" in refused.value.hint
    await profiles.set(ONE, image="one")
    assert on_disk(path) == ["one"]


async def test_a_full_disk_is_a_sentence_and_passes(engine: DatabaseEngine, path: Path):
    profiles = ProfileStore(engine)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, before[1]))
    try:
        with pytest.raises(DatabaseError) as refused:
            await profiles.set(ONE, image="one", arguments="x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert "free some space" in refused.value.hint
    await profiles.set(ONE, image="one")
    assert on_disk(path) == ["one"]


@pytest.mark.parametrize("gone", ["file", "file and its log", "directory"])
async def test_a_deleted_database_is_written_again_with_all_that_was_in_it(
    engine: DatabaseEngine, path: Path, gone: str
):
    profiles = ProfileStore(engine)
    await profiles.set(ONE, image="one")
    if gone == "file":
        path.unlink()
    else:
        remove(path)
    if gone == "directory":
        path.parent.rmdir()
    with capture_logs() as logs:
        await profiles.set(TWO, image="two")
        listed = [profile.image for profile in await profiles.list()]

    assert listed == ["two", "one"]
    assert on_disk(path) == ["one", "two"]
    assert [line["event"] for line in logs] == ["database.was_deleted"]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_database_that_was_replaced_is_written_again_and_the_other_kept(
    engine: DatabaseEngine, path: Path, tmp_path: Path
):
    profiles = ProfileStore(engine)
    await profiles.set(ONE, image="one")
    remove(path)
    async with open_database(url(path)) as theirs:  # a command that came just now
        await ProfileStore(theirs).set(TWO, image="theirs")

    with capture_logs() as logs:
        await profiles.set(TWO, image="two")

    [line] = logs
    assert line["event"] == "database.was_replaced"
    assert on_disk(path) == ["one", "two"]
    assert on_disk(Path(line["moved_to"])) == ["theirs"]


async def test_a_damaged_database_is_moved_aside_at_the_start(path: Path):
    path.parent.mkdir()
    path.write_bytes(garbage := os.urandom(50_000))

    with capture_logs() as logs:
        async with open_database(url(path), looked_after=True) as engine:
            await ProfileStore(engine).set(ONE, image="one")

    [line] = logs
    assert (line["event"], line["log_level"]) == ("database.damaged", "error")
    assert Path(line["moved_to"]).read_bytes() == garbage
    assert on_disk(path) == ["one"]


async def test_a_page_that_is_damaged_is_found_at_the_start(path: Path):
    path.parent.mkdir()
    async with open_database(url(path)) as engine:
        profiles = ProfileStore(engine)
        for number in range(300):
            await profiles.set(Selector(serial=f"{number}"), image="x", arguments="y" * 200)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 2 * 4096)
        file.write(os.urandom(4096))

    with capture_logs() as logs:
        async with open_database(url(path), looked_after=True) as engine:
            assert await ProfileStore(engine).list() == []

    assert [line["event"] for line in logs] == ["database.damaged"]


async def test_a_command_leaves_a_damaged_database_to_the_server(path: Path):
    path.parent.mkdir()
    path.write_bytes(garbage := os.urandom(50_000))

    with pytest.raises(ServiceError, match="not a database") as refused:
        async with open_database(url(path)):
            pass

    assert "bootserver serve" in refused.value.hint
    assert path.read_bytes() == garbage


async def test_a_database_damaged_meanwhile_is_moved_aside_and_those_who_know_are_told(
    engine: DatabaseEngine, path: Path
):
    profiles, told = ProfileStore(engine), []

    async def tell() -> None:
        told.append(await profiles.set(ONE, image="remembered"))

    engine.on_new.append(tell)
    await profiles.set(ONE, image="one")
    for end in ("", "-wal"):
        with Path(f"{path}{end}").open("r+b") as file:
            file.write(b"damaged!" * 10_000)
    with capture_logs() as logs:
        with pytest.raises(DatabaseError):
            async with engine.begin() as connection:
                await connection.exec_driver_sql("VACUUM")  # reads all of it
        await profiles.set(TWO, image="two")

    assert [line["event"] for line in logs] == ["database.damaged"]
    assert len(told) == 1
    assert sorted(on_disk(path)) == ["remembered", "two"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def fails_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the next opening of the database fail, as on a disk that is full for a moment."""

    def fail(_: object) -> None:
        monkeypatch.setattr(database_module, "bring_up_to_date", bring_up_to_date)
        raise OperationalError("", {}, sqlite3.OperationalError("disk full"))

    return lambda: monkeypatch.setattr(database_module, "bring_up_to_date", fail)


async def test_a_database_that_cannot_be_written_again_at_once_is_so_later(
    engine: DatabaseEngine, path: Path, fails_once: Callable[[], None]
):
    profiles = ProfileStore(engine)
    await profiles.set(ONE, image="one")
    remove(path)

    fails_once()
    with pytest.raises(DatabaseError, match="disk full"):
        await profiles.set(TWO, image="two")
    await profiles.set(TWO, image="two")

    assert on_disk(path) == ["one", "two"]


async def test_a_damaged_database_on_a_disk_that_takes_nothing_is_a_sentence(
    engine: DatabaseEngine, path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    engine._is_damaged = True
    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "rename", refuse)
        with pytest.raises(DatabaseError, match="Read-only"):
            await ProfileStore(engine).set(ONE, image="one")
    await ProfileStore(engine).set(ONE, image="one")

    assert on_disk(path) == ["one"]


async def test_those_who_remember_are_told_when_it_could_not_be_done_at_once(
    engine: DatabaseEngine, path: Path, fails_once: Callable[[], None]
):
    profiles, told = ProfileStore(engine), []

    async def tell() -> None:
        told.append(1)
        if len(told) == 1:
            raise DatabaseError("disk full")
        await profiles.set(ONE, image="remembered")

    engine.on_new.append(tell)
    engine._is_damaged = True

    fails_once()
    for _ in range(2):
        with pytest.raises(DatabaseError, match="disk full"):
            await profiles.set(TWO, image="two")
    await engine._tell()

    assert on_disk(path) == ["remembered"]


async def test_a_profile_used_while_the_database_is_locked_is_used_once(
    engine: DatabaseEngine, path: Path
):
    profiles, machine = ProfileStore(engine), Machine(serial="1")
    once = await profiles.set(ONE, image="one", once=True)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        await profiles.consume(once.id)
        assert await profiles.find(machine) is None

    await profiles.consume("another")  # as the next does, and keep_consumed()
    assert on_disk(path) == []


async def cancel_a_write_twice(engine: DatabaseEngine, other: sqlite3.Connection) -> None:
    """As at a server's end, while another program has the database locked."""

    async def write() -> None:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DELETE FROM profiles")

    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    for _ in range(2):
        writing.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait({writing})


async def test_connection_whose_task_is_cancelled_twice_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """SQLAlchemy tells such a connection to close, and to stop."""
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 300)
    path.parent.mkdir()
    async with open_database(url(path)) as engine:
        with closing(sqlite3.connect(path)) as other:
            await cancel_a_write_twice(engine, other)

        left = asyncio.all_tasks() - {asyncio.current_task()}
        _, waiting = await asyncio.wait(left, timeout=10) if left else (set(), set())

    assert waiting == set()


def test_event_loop_that_ends_before_sqlite_has_answered_leaves_no_traceback(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 300)
    tracebacks: list[object] = []
    monkeypatch.setattr(threading, "excepthook", tracebacks.append)
    path.parent.mkdir()
    threads = set(threading.enumerate())

    async def leave() -> None:
        async with open_database(url(path)) as engine:
            await cancel_a_write_twice(engine, other)

    with closing(sqlite3.connect(path)) as other:
        asyncio.run(leave())
        for thread in set(threading.enumerate()) - threads:
            thread.join(10)

    assert tracebacks == []
