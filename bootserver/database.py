"""Connections to the database, whose URL is the plug, and SQLite's file under it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import aiosqlite
import structlog
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bootserver.errors import DatabaseError, ServiceError
from bootserver.schema import bring_up_to_date

TURNS = 14  # of those who use it at once: SQLAlchemy has 15 connections, and one is the keeper
QUEUE_S = 300.0  # for a turn: in a storm of machines all have one
BUSY_TIMEOUT_MS = 5000  # how long SQLite tries again while another process writes
LOOK_INTERVAL_S = 2.0  # at SQLite's file, while it is not used
TICK_S = 0.05  # longer than any kernel's clock of time stamps takes to move on
RENEWAL_WAIT_S = 10.0  # longer than a transaction waits for another's lock

# What to do, by SQLite's result code (sqlite.org/rescode.html).
_HINTS = {
    sqlite3.SQLITE_BUSY: "another program has it locked: end that one, or try again",
    sqlite3.SQLITE_FULL: "free some space on its disk, and try again",
    sqlite3.SQLITE_IOERR: "free some space on its disk, or check the disk",
    sqlite3.SQLITE_CORRUPT: "the server puts it aside at its next use, or start: bootserver serve",
    sqlite3.SQLITE_NOTADB: "the server puts it aside at its next use, or start: bootserver serve",
}

log = structlog.get_logger(__name__)

# Whether the task's client is still there; one that has left gets no turn to read.
is_awaited: ContextVar[Callable[[], bool]] = ContextVar("is_awaited", default=lambda: True)


class DatabaseEngine:
    """The database: its connections, whose errors are for people, and SQLite's file.

    A server looks after that file. Before each use it looks whether the path still leads to it.
    SQLite would go on writing to a file that was deleted or replaced, and all of that would be
    lost. A connection that is never given away still has its content, which is then written to the
    path again. A damaged file is moved aside, and `on_new` tells those who remember what was in it.
    What fails in the middle of that is gone on with at the next use or look.

    Those who use it have turns. A task that waits for one of SQLAlchemy's connections would hold
    100 KB.
    """

    def __init__(self, engine: AsyncEngine, *, looked_after: bool = False) -> None:
        self.engine = engine
        self.on_new: list[Callable[[], Awaitable[None]]] = []
        name = engine.url.database if engine.dialect.name == "sqlite" else None
        self._path = Path(name) if name and name != ":memory:" else None
        self._looked_after = looked_after and self._path is not None
        self._file: tuple[int, int] | None = None  # device and inode
        self._keeper: AsyncConnection | None = None
        self._is_damaged = False
        self._untold: list[Callable[[], Awaitable[None]]] = []  # of on_new, about this database
        self._renewing = asyncio.Lock()
        self._turns = asyncio.Semaphore(TURNS)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection, for reading; raises DatabaseError, or ConnectionError (see is_awaited)."""
        async with self._in_use(for_reading=True), self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction; raises DatabaseError, or IntegrityError."""
        async with self._in_use(), self.engine.begin() as connection:
            yield connection

    def content(self) -> tuple[tuple[int, int, int], ...] | None:
        """What tells this content of the database from every later one, without a statement.

        Each process's transactions change the size or the time of SQLite's file, or of the log
        beside it. None where that cannot be told: of another database, and just after a write. The
        next write may get the same time.
        """
        if self._path is None:
            return None
        found = []
        for path in (self._path, Path(f"{self._path}-wal")):
            try:
                status = path.stat()
            except OSError:  # without a log all is in the file
                continue
            if abs(time.time() - status.st_mtime) < TICK_S:
                return None
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    async def keep(self) -> None:
        """Look after the file while it is not used, for ever."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            with suppress(DatabaseError):  # told to those who use it
                async with self._in_use():
                    pass
                await self._tell()

    async def open(self) -> None:
        """Bring the database up to date; raises ServiceError."""
        try:
            await self._open()
        except DatabaseError as err:
            if not (self._looked_after and self._is_damaged):
                name = self.engine.url.render_as_string()
                raise ServiceError(
                    f"the database {name} cannot be opened: {err.message}", hint=err.hint
                ) from err
            await self._replace_damaged()

    async def close(self) -> None:
        """Give all connections back."""
        if self._keeper is not None:
            await self._keeper.close()
            self._keeper = None
        await self.engine.dispose()

    async def _open(self) -> None:
        if self._path is not None:
            _make_private(self._path)
        with self._errors_for_people():
            async with self.engine.begin() as connection:
                await connection.run_sync(bring_up_to_date)
            if self._looked_after:
                self._keeper = await self.engine.connect()
                checked = await self._keeper.exec_driver_sql("PRAGMA quick_check(1)")
                if (found := checked.scalar()) != "ok":
                    self._is_damaged = True
                    raise DatabaseError(f"it is damaged: {found}")
                await self._keeper.rollback()  # a connection that reads keeps the log from ending
                self._file = self._file_there()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn at the database, whose file is good when it begins; raises DatabaseError."""
        while True:
            try:
                async with asyncio.timeout(QUEUE_S):
                    await self._turns.acquire()
            except TimeoutError:
                raise DatabaseError(
                    f"the database is busy: no connection was free for {QUEUE_S:g} seconds",
                    hint="try again; if that goes on, the machine is too slow for so many",
                ) from None
            try:
                if self._is_good():
                    yield
                    return
            finally:
                self._turns.release()
            await self._renew()

    @asynccontextmanager
    async def _in_use(self, *, for_reading: bool = False) -> AsyncIterator[None]:
        async with self._turn():
            if for_reading and not is_awaited.get()():
                raise ConnectionResetError("the client has left")
            self._users += 1
            self._unused.clear()
            try:
                with self._errors_for_people():
                    yield
            finally:
                self._users -= 1
                if not self._users:
                    self._unused.set()

    @contextmanager
    def _errors_for_people(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:  # what a statement asks, and gets
            raise
        except SQLAlchemyError as err:
            cause = getattr(err, "orig", None)
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            self._is_damaged |= code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            hint = _HINTS.get(code, "check [state] database and path in config.toml")
            raise DatabaseError(f"the database cannot be used: {cause or err}", hint=hint) from err
        except OSError as err:  # a database server that is not there, or a disk that takes nothing
            raise DatabaseError(
                f"the database cannot be reached: {err}", hint="check [state] database and path"
            ) from err

    # ---- SQLite's file ----

    def _is_good(self) -> bool:
        return not self._looked_after or (not self._is_damaged and self._file_there() == self._file)

    def _file_there(self) -> tuple[int, int] | None:
        assert self._path is not None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @property
    def _new_file(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.new")

    async def _renew(self) -> None:
        """Have a good file at the path again; raises DatabaseError if that cannot be done now."""
        async with self._renewing:
            if self._is_good():
                return
            try:
                async with asyncio.timeout(RENEWAL_WAIT_S):
                    await self._unused.wait()
            except TimeoutError:
                raise DatabaseError("the database is being renewed", hint="try again") from None
            if self._is_damaged:
                await self._replace_damaged()
            else:
                await self._write_again()
        await self._tell()

    async def _tell(self) -> None:
        """Tell those who remember that the database is a new one; each until it could be done."""
        while self._untold:
            tell = self._untold.pop()
            try:
                await tell()
            except DatabaseError:
                self._untold.append(tell)
                raise

    async def _replace_damaged(self) -> None:
        """Begin with an empty database; the damaged file is kept beside it."""
        with self._errors_for_people():
            aside = self._move_aside("damaged")
            self._new_file.unlink(missing_ok=True)
            await self.close()
        self._is_damaged, self._untold = False, list(self.on_new)
        log.error(
            "database.damaged",
            moved_to=aside,
            hint="the new one has no machine profiles or AMT certificates: sqlite3 FILE .recover "
            "may find them in the old one",
        )
        await self._open()

    async def _write_again(self) -> None:
        """Put what is in the open file, which is no longer at the path, there again.

        Without a keeper that was begun before: the content is in the new file, or at the path.
        """
        assert self._path is not None
        with self._errors_for_people():
            if self._keeper is not None:
                self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
                self._new_file.unlink(missing_ok=True)
                _make_private(self._new_file)
                await self._keeper.exec_driver_sql("VACUUM INTO ?", (str(self._new_file),))
                aside = self._move_aside("replaced")
                await self.close()  # not before: it removes the log at the path, whosever that is
                log.error(
                    "database.was_replaced" if aside else "database.was_deleted",
                    path=str(self._path),
                    **({"moved_to": aside} if aside else {}),
                    hint="it is written again, with all that was in it; stop the server to "
                    "exchange it",
                )
            if self._new_file.exists():
                self._new_file.replace(self._path)
        await self._open()

    def _move_aside(self, why: str) -> str:
        """Give the file at the path another name, and those that SQLite keeps beside it."""
        assert self._path is not None
        path, aside = self._path, ""
        if path.exists():
            kept = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{why}")
            for end in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{path}{end}").rename(f"{kept}{end}")
            aside = str(kept)
        for end in ("-wal", "-shm"):  # of a file that is gone
            Path(f"{path}{end}").unlink(missing_ok=True)
        return aside


@asynccontextmanager
async def open_database(url: str, *, looked_after: bool = False) -> AsyncIterator[DatabaseEngine]:
    """A database whose tables exist, closed at the end; `looked_after` by the server alone.

    `url` is SQLAlchemy's, with an async driver: `sqlite+aiosqlite:///var/bootserver.db`.
    Raises ServiceError if the database cannot be opened or written.
    """
    try:
        engine = create_async_engine(url)
    except (SQLAlchemyError, ImportError) as err:
        raise ServiceError(
            f"[state] database is no database URL that can be used: {err}",
            hint="write it like sqlite+aiosqlite:///var/bootserver.db",
        ) from err
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "do_connect", _connect_to_sqlite)
        event.listen(engine.sync_engine, "connect", _tune_sqlite)
    database = DatabaseEngine(engine, looked_after=looked_after)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def _make_private(path: Path) -> None:
    """Make SQLite's file its owner's only if there is none; those beside it get the same rights."""
    with suppress(OSError):  # it is there, or SQLite will say what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


class _StopsOnce(aiosqlite.Connection):
    """A connection that may be stopped twice: of aiosqlite's own, that waits for ever (0.22).

    SQLAlchemy does so if a task with the connection is cancelled twice, as at the end of an event
    loop. Then the program would never end.
    """

    def stop(self) -> asyncio.Future[Any] | None:
        """Has the thread close the connection and end, unless that is on its way."""
        return super().stop() if self._running else None


def _connect_to_sqlite(
    _dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]
) -> None:
    def connect(*arguments: Any, **more: Any) -> aiosqlite.Connection:
        connection = _StopsOnce(partial(sqlite3.connect, *arguments, **more), 64)
        connection._thread = Thread(  # a daemon, as SQLAlchemy has it
            target=_until_the_loop_ends, args=(connection._thread.run,), daemon=True
        )
        return connection

    options["async_creator_fn"] = connect


def _until_the_loop_ends(run: Callable[[], None]) -> None:
    """Answer an event loop with what SQLite says; once that loop has ended, no one."""
    with suppress(RuntimeError):
        run()


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets the command line read and write beside a running server (sqlite.org/wal.html)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()
