"""The database file: one from an older bootserver is brought up to date, one from a newer left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect

from bootserver.database import open_database
from bootserver.errors import ServiceError
from bootserver.model import BootPhase, Firmware, Machine
from bootserver.schema import SCHEMA_NUMBER, metadata
from bootserver.sessions.store import SessionStore

# What the bootserver that had no transfers yet made of an empty file.
OLD_SCHEMA = """
CREATE TABLE digests (
    path TEXT NOT NULL, size_bytes BIGINT NOT NULL, mtime_ns BIGINT NOT NULL,
    inode BIGINT NOT NULL, sha256 VARCHAR(64) NOT NULL, facts JSON NOT NULL,
    problem TEXT NOT NULL, inspection VARCHAR(16) NOT NULL, PRIMARY KEY (path)
);
CREATE TABLE profiles (
    id VARCHAR NOT NULL, selector VARCHAR NOT NULL, names JSON NOT NULL, image VARCHAR NOT NULL,
    arguments VARCHAR NOT NULL, memdisk VARCHAR NOT NULL, once BOOLEAN NOT NULL,
    set_at DOUBLE NOT NULL, PRIMARY KEY (id), UNIQUE (selector, once)
);
CREATE TABLE sessions (
    id VARCHAR NOT NULL, "key" VARCHAR NOT NULL, token VARCHAR NOT NULL, image VARCHAR NOT NULL,
    created_at DOUBLE NOT NULL, machine VARCHAR NOT NULL, address VARCHAR NOT NULL,
    phase VARCHAR NOT NULL, phase_at DOUBLE, image_bytes BIGINT NOT NULL,
    sent_bytes BIGINT NOT NULL, error VARCHAR NOT NULL, PRIMARY KEY (id), UNIQUE ("key")
);
CREATE INDEX ix_sessions_phase ON sessions (phase);
CREATE INDEX ix_sessions_token ON sessions (token);
CREATE INDEX ix_sessions_created_at ON sessions (created_at);
CREATE TABLE stubs (
    token VARCHAR NOT NULL, image VARCHAR NOT NULL, spec VARCHAR NOT NULL,
    issued_at DOUBLE NOT NULL, PRIMARY KEY (token)
);
CREATE INDEX ix_stubs_image ON stubs (image);
CREATE TABLE events (
    number INTEGER NOT NULL, session VARCHAR NOT NULL, phase VARCHAR NOT NULL, at DOUBLE NOT NULL,
    detail VARCHAR NOT NULL, PRIMARY KEY (number),
    FOREIGN KEY(session) REFERENCES sessions (id)
);
CREATE INDEX ix_events_session ON events (session);
"""
OLD_MACHINE = {
    "mac": "52:54:00:12:34:56",
    "uuid": "00112233-4455-6677-8899-aabbccddeeff",
    "serial": "S 1",
    "asset": "",
    "manufacturer": "",
    "product": "OptiPlex",
    "firmware": "bios",
    "architecture": "",
    "memory_mib": 4096,
}
NAMELESS = OLD_MACHINE | {"mac": "", "uuid": "", "serial": "", "firmware": None}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger with two boots of one machine and one of a machine without a name."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OLD_SCHEMA)
        for number, (machine, image) in enumerate(
            [(OLD_MACHINE, "first"), (OLD_MACHINE, "last"), (NAMELESS, "other")]
        ):
            database.execute(
                "INSERT INTO sessions VALUES (?,?,'t',?,?,?,'192.0.2.9','handed_off',?,9,7,'')",
                (f"{number}a", f"k{number}", image, 1000.5 + number, json.dumps(machine), 2000.0),
            )
        database.execute("INSERT INTO events VALUES (1, '0a', 'created', 1000.5, '')")
        database.commit()
    return path


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def test_a_database_of_an_older_bootserver_keeps_its_boots(old: Path):
    async with open_database(url(old)) as engine:
        store = SessionStore(engine)
        boots = await store.recent(10)
        events = await store.events(["0a"])

    assert [boot.image for boot in boots] == ["other", "last", "first"]
    assert boots[2].machine == Machine(
        mac="52:54:00:12:34:56",
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        serial="S 1",
        product="OptiPlex",
        firmware=Firmware.BIOS,
        memory_mib=4096,
    )
    assert (boots[2].sent_bytes, boots[2].recipe, boots[2].stalled) == (7, "", "")
    assert [event.phase for event in events["0a"]] == [BootPhase.CREATED]
    assert boots[2].machine.nics == ()


async def test_the_boots_of_an_older_bootserver_are_found_by_machine_and_image(old: Path):
    async with open_database(url(old)) as engine:
        store = SessionStore(engine)
        machines = await store.machines(10)
        by_machine = await store.recent(10, machine="52:54:00:12:34:56")
        by_product = await store.recent(10, search="optiplex")
        by_image = await store.recent(10, search="fir")

    assert [(seen.name, seen.image) for seen in machines] == [
        ("192.0.2.9", "other"),
        ("52:54:00:12:34:56", "last"),
    ]
    assert machines[1].seen_at == datetime.fromtimestamp(1001.5, UTC)
    assert [boot.image for boot in by_machine] == ["last", "first"]
    assert [boot.image for boot in by_product] == ["other", "last", "first"]
    assert [boot.image for boot in by_image] == ["first"]


async def schema_of(path: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Of each table its columns and indices."""
    async with open_database(url(path)) as engine, engine.connect() as connection:
        return await connection.run_sync(
            lambda sync: {
                table: (
                    {column["name"] for column in inspect(sync).get_columns(table)},
                    {str(index["name"]) for index in inspect(sync).get_indexes(table)},
                )
                for table in inspect(sync).get_table_names()
            }
        )


async def test_an_upgraded_database_has_all_that_a_new_one_has(old: Path, tmp_path: Path):
    upgraded, new = await schema_of(old), await schema_of(tmp_path / "new.db")

    assert set(new) == set(metadata.tables)
    for table, (columns, indices) in new.items():
        assert upgraded[table][0] == columns, table
        assert upgraded[table][1] >= indices, table


async def test_opening_it_again_changes_nothing(old: Path):
    async with open_database(url(old)):
        pass
    with closing(sqlite3.connect(old)) as database:
        before = list(database.iterdump())
        changes = database.execute("PRAGMA schema_version").fetchone()

    async with open_database(url(old)):
        pass

    with closing(sqlite3.connect(old)) as database:
        assert list(database.iterdump()) == before
        assert database.execute("PRAGMA schema_version").fetchone() == changes


async def test_two_processes_may_bring_it_up_to_date_at_once(old: Path):
    async def open_it() -> int:
        async with open_database(url(old)) as engine:
            return await SessionStore(engine).count()

    assert await asyncio.gather(*(open_it() for _ in range(8))) == [3] * 8


async def test_a_database_of_a_newer_bootserver_is_refused_with_a_sentence(tmp_path: Path):
    path = tmp_path / "new.db"
    async with open_database(url(path)):
        pass
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE schema_version SET number = number + 1")
        database.commit()

    with pytest.raises(ServiceError, match="written by a newer bootserver") as refused:
        async with open_database(url(path)):
            pass

    assert "newer bootserver" in refused.value.hint
    with closing(sqlite3.connect(path)) as database:
        [number] = database.execute("SELECT number FROM schema_version").fetchone()
    assert number == SCHEMA_NUMBER + 1
