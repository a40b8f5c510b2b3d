"""The schema of the database: digests, stubs, the ledger, AMT hosts and profiles.

A database of an older bootserver gets what it lacks when it is opened: tables, indices, and
columns. So a column that is added has a server default. Nothing is ever renamed or taken away.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Executable,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    inspect,
    select,
    text,
)
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from bootserver.errors import ServiceError
from bootserver.model import Firmware, Machine, Nic
from bootserver.pci import PciId

# Raise it when an older bootserver could no longer work with what this one writes.
SCHEMA_NUMBER = 1

metadata = MetaData()

# One row: the SCHEMA_NUMBER of the newest bootserver that has opened this database.
SCHEMA = Table("schema_version", metadata, Column("number", Integer, primary_key=True))

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
    Column("phase", String, nullable=False),
    Column("phase_at", Double),
    Column("image_bytes", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("error", String, nullable=False),
    Column("recipe", String, nullable=False, server_default=""),
    Column("method", String, nullable=False, server_default=""),
    Column("entry", String, nullable=False, server_default=""),
    Column("stalled", String, nullable=False, server_default=""),
    Column("machine_name", String, nullable=False, server_default=""),
    Column("profile", String, nullable=False, server_default=""),
    Column("plan", Text, nullable=False, server_default=""),  # a BootPlan as JSON
    Column("nics", Text, nullable=False, server_default=""),  # Machine.nics as JSON
    # One for each thing that boots are looked up by, newest first.
    Index("ix_sessions_by_machine", "machine_name", "created_at"),
    Index("ix_sessions_by_image", "image", "created_at"),
    Index("ix_sessions_by_phase", "phase", "created_at"),
    Index("ix_sessions_unfinished", "phase", "phase_at"),
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

TRANSFERS = Table(
    "transfers",
    metadata,
    Column("session", String, ForeignKey("sessions.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("progress_at", Double),
    Column("ended_at", Double),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("outcome", String, nullable=False),
    Column("stalled_s", Double, nullable=False),
    Column("retransmits", Integer, nullable=False),
    Column("link", String, nullable=False),
    Column("recent_bytes_per_s", Double),
    Column("requests", Integer, nullable=False, server_default="1"),
    Column("first_byte", BigInteger),
    Column("last_byte", BigInteger),
    Column("holes", Integer, server_default="0"),
)

# The machines and the images that are in the ledger, with their newest boot. A search looks through
# these in place of the boots.
MACHINES = Table(
    "machines",
    metadata,
    Column("name", String, primary_key=True),  # Machine.name, else its address
    Column("uuid", String, nullable=False, index=True),
    Column("machine", String, nullable=False),
    Column("address", String, nullable=False),
    Column("words", String, nullable=False),  # what the machine says of itself, in lower case
    Column("seen_at", Double, nullable=False, index=True),
    Column("session", String, nullable=False),
    Column("image", String, nullable=False),
    Column("nics", Text, nullable=False, server_default=""),  # Machine.nics as JSON
)

BOOTED_IMAGES = Table(
    "booted_images",
    metadata,
    Column("image", String, primary_key=True),
    Column("seen_at", Double, nullable=False, index=True),
)

# The AMT of machines, by host, as it was last met.
AMT_HOSTS = Table(
    "amt_hosts",
    metadata,
    Column("host", String, primary_key=True),
    Column("certificate_sha256", String, nullable=False),  # pinned; "" where nothing is
    Column("facts", JSON, nullable=False),
    Column("uuid", String, nullable=False, index=True),
    Column("mac", String, nullable=False, index=True),
    Column("bytes_per_s", BigInteger, nullable=False),  # of redirection, last time; 0 unknown
    Column("seen_at", Double, nullable=False),
)

# What machines boot, as it was set at run time.
PROFILES = Table(
    "profiles",
    metadata,
    Column("id", String, primary_key=True),
    Column("selector", String, nullable=False),  # Selector.key
    Column("names", JSON, nullable=False),
    Column("image", String, nullable=False),
    Column("entry", String, nullable=False, server_default=""),
    Column("arguments", String, nullable=False),
    Column("memdisk", String, nullable=False),
    Column("once", Boolean, nullable=False),
    Column("set_at", Double, nullable=False),
    UniqueConstraint("selector", "once"),
)


def bring_up_to_date(connection: Connection) -> None:
    """Add what the database lacks; ServiceError if it is not for us."""
    number = _schema_number(connection)
    if number == SCHEMA_NUMBER and not _lacking(connection):
        return
    if connection.dialect.name == "sqlite":  # another process may do the same just now
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        number = _schema_number(connection)
    for statement in _lacking(connection):
        connection.execute(statement)
    if number is None:
        _name_machines(connection)
    if number != SCHEMA_NUMBER:
        connection.execute(SCHEMA.delete())
        connection.execute(SCHEMA.insert().values(number=SCHEMA_NUMBER))


def _schema_number(connection: Connection) -> int | None:
    """Which schema the database has; None for one that is empty or from before they had numbers."""
    if not inspect(connection).has_table(SCHEMA.name):
        return None
    number = connection.scalar(select(SCHEMA.c.number))
    if number is not None and number > SCHEMA_NUMBER:
        raise ServiceError(
            f"the database was written by a newer bootserver (its schema is {number}, this one "
            f"knows {SCHEMA_NUMBER})",
            hint="run that newer bootserver, or set [state] path in config.toml to a new directory",
        )
    return number


def _lacking(connection: Connection) -> list[Executable]:
    """The statements that add what this database does not have."""
    there = inspect(connection)
    tables = set(there.get_table_names())
    statements: list[Executable] = []
    for table in metadata.sorted_tables:
        if table.name not in tables:
            statements.append(CreateTable(table))
            statements += map(CreateIndex, table.indexes)
            continue
        columns = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                statements.append(text(f"ALTER TABLE {table.name} ADD COLUMN {added}"))
        indices = {index["name"] for index in there.get_indexes(table.name)}
        statements += [CreateIndex(index) for index in table.indexes if index.name not in indices]
    return statements


def _name_machines(connection: Connection) -> None:
    """Give the boots of an older bootserver the names and the rows by which they are looked up."""
    names: list[dict[str, Any]] = []
    machines: dict[str, dict[str, Any]] = {}
    images: dict[str, dict[str, Any]] = {}
    for row in connection.execute(select(SESSIONS).order_by(SESSIONS.c.created_at)):
        values = machine_values(machine_of(row), row.address)
        names.append({"of": row.id, "given": values["name"]})
        at = {"seen_at": row.created_at, "image": row.image}
        if values["name"]:
            machines[values["name"]] = values | at | {"session": row.id}
        if row.image:
            images[row.image] = at
    if names:
        named = SESSIONS.update().values(machine_name=bindparam("given"))
        connection.execute(named.where(SESSIONS.c.id == bindparam("of")), names)
    for table, rows in ((MACHINES, machines), (BOOTED_IMAGES, images)):
        if rows:
            connection.execute(table.insert(), list(rows.values()))


def machine_values(machine: Machine, address: str) -> dict[str, Any]:
    """What MACHINES has of a machine itself."""
    said = (v for v in (*asdict(machine).values(), address) if isinstance(v, str))
    cards = (text for nic in machine.nics for text in (nic.mac, str(nic.pci or "")))
    return {
        "name": machine.name or address,
        "uuid": machine.uuid,
        "address": address,
        "words": " ".join(dict.fromkeys(filter(None, (*said, *cards)))).lower(),
        **machine_columns(machine),
    }


def machine_columns(machine: Machine) -> dict[str, str]:
    """The machine in two columns: an older bootserver reads the first, and knows no others."""
    values = asdict(machine)
    del values["nics"]
    nics = [{"mac": nic.mac, "pci": nic.pci.hardware_id if nic.pci else ""} for nic in machine.nics]
    return {"machine": json.dumps(values), "nics": json.dumps(nics) if nics else ""}


def machine_of(row: Row[Any]) -> Machine:
    """The machine of a row that has machine_columns."""
    values = json.loads(row.machine)
    firmware = Firmware(values["firmware"]) if values["firmware"] else None
    nics = tuple(
        Nic(nic["mac"], PciId.parse(nic["pci"]) if nic["pci"] else None)
        for nic in json.loads(row.nics or "[]")
    )
    return Machine(**values | {"firmware": firmware, "nics": nics})
