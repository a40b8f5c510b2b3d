"""The database: one schema for digests, stubs, sessions and profiles; the URL is the plug."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from bootserver.errors import ServiceError

metadata = MetaData()

# What is known of each version of an image file.
DIGESTS = Table(
    "digests",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),  # as _signed() gives it
    Column("sha256", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("problem", Text, nullable=False),
    Column("inspection", String(16), nullable=False),
)

# What each stub token stands for.
STUBS = Table(
    "stubs",
    metadata,
    Column("token", String, primary_key=True),
    Column("image", String, nullable=False, index=True),
    Column("spec", String, nullable=False),
    Column("issued_at", Double, nullable=False),
)

# Times are seconds since 1970 in UTC: SQLite keeps no time zones.
SESSIONS = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("token", String, nullable=False, index=True),
    Column("image", String, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
    Column("machine", String, nullable=False),
    Column("address", String, nullable=False),
    Column("phase", String, nullable=False, index=True),
    Column("phase_at", Double),
    Column("image_bytes", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("error", String, nullable=False),
)

EVENTS = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("session", String, ForeignKey("sessions.id"), nullable=False, index=True),
    Column("phase", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("detail", String, nullable=False),
)

# What machines boot, as it was set at run time.
PROFILES = Table(
    "profiles",
    metadata,
    Column("id", String, primary_key=True),
    Column("selector", String, nullable=False),  # Selector.key
    Column("names", JSON, nullable=False),
    Column("image", String, nullable=False),
    Column("arguments", String, nullable=False),
    Column("memdisk", String, nullable=False),
    Column("once", Boolean, nullable=False),
    Column("set_at", Double, nullable=False),
    UniqueConstraint("selector", "once"),
)


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose tables exist, closed at the end.

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
        event.listen(engine.sync_engine, "connect", _tune_sqlite)
    try:
        try:
            async with engine.begin() as connection:
                for table in metadata.sorted_tables:  # another process may do the same just now
                    await connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        await connection.execute(CreateIndex(index, if_not_exists=True))
        except (SQLAlchemyError, OSError) as err:
            raise ServiceError(
                f"the database {engine.url.render_as_string()} cannot be opened: "
                f"{getattr(err, 'orig', err)}",
                hint="check [state] database and path in config.toml, and who may write there",
            ) from err
        yield engine
    finally:
        await engine.dispose()


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets the command line read and write beside a running server (sqlite.org/wal.html)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
