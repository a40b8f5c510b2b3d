"""One database for the digests, stubs and sessions; the URL is the plug.

Each part declares its tables on `metadata`; `open_database` makes those that are missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import MetaData, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bootserver.errors import ServiceError

metadata = MetaData()


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose tables exist, closed at the end.

    `url` is SQLAlchemy's, with an async driver: `sqlite+aiosqlite:///var/bootserver.db`.
    Raises ServiceError if the database cannot be opened or written.
    """
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _tune_sqlite)
    try:
        try:
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
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
