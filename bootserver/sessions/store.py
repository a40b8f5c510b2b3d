"""Boot sessions, their events and their transfers in the database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, false, or_, select, union
from sqlalchemy import func as sql
from sqlalchemy.ext.asyncio import AsyncConnection

from bootserver import clock
from bootserver.database import DatabaseEngine
from bootserver.model import BootEvent, BootPhase, BootSession, SeenMachine, Transfer
from bootserver.schema import BOOTED_IMAGES, EVENTS, MACHINES, SESSIONS, TRANSFERS
from bootserver.sessions.rows import (
    event_of,
    event_row,
    image_rows,
    machine_rows,
    seen_of,
    session_of,
    session_row,
    transfer_of,
    transfer_row,
)
from bootserver.sessions.tracker import BAD_ENDS, STARTING

PRUNED_AT_ONCE = 500  # boots in one transaction, so that others wait only briefly
# A search that finds more machines and images than this walks through the boots themselves.
PROBES_MAX = 100

_HANDED_OVER = STARTING | {BootPhase.OS_UP}
_UNDER_WAY = frozenset(BootPhase) - BAD_ENDS - _HANDED_OVER


class SessionStore:
    """Reads and writes the ledger; every call is one transaction."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    # ---- Writing ----

    async def save(
        self,
        new: Iterable[BootSession],
        changed: Iterable[BootSession],
        events: Iterable[BootEvent],
        transfers: Iterable[Transfer] = (),
    ) -> None:
        """Write sessions that are new, sessions that changed, events, and transfers, together."""
        new, changed = list(new), list(changed)
        async with self._engine.begin() as connection:
            if rows := [session_row(session) for session in new]:
                await connection.execute(SESSIONS.insert(), rows)
            if rows := [session_row(session) for session in changed]:
                mine = SESSIONS.c.id == bindparam("of")
                await connection.execute(
                    SESSIONS.update().where(mine), [row | {"of": row["id"]} for row in rows]
                )
            if rows := [event_row(event) for event in events]:
                await connection.execute(EVENTS.insert(), rows)
            if rows := [transfer_row(transfer) for transfer in transfers]:
                mine = (TRANSFERS.c.session == bindparam("in")) & (
                    TRANSFERS.c.number == bindparam("at")
                )
                keys = [{"in": row["session"], "at": row["number"]} for row in rows]
                await connection.execute(TRANSFERS.delete().where(mine), keys)
                await connection.execute(TRANSFERS.insert(), rows)
            await _note_newest(connection, MACHINES, machine_rows([*new, *changed]))
            await _note_newest(connection, BOOTED_IMAGES, image_rows([*new, *changed]))

    async def forget(self, ids: Iterable[str]) -> None:
        """Forget these sessions, if they are known."""
        async with self._engine.begin() as connection:
            await _forget(connection, list(ids))

    async def prune(self, keep: int, keep_days: float, *, spare: Collection[str] = ()) -> int:
        """Forget all boots but the newest `keep`, and those older than `keep_days`; 0 is no limit.

        `spare` has the ids of boots that go on. Returns how many are gone. Machines and images
        without a boot in the ledger go with them.
        """
        cut = await self._cut(keep, keep_days)
        if cut is None:
            return 0
        gone = 0
        old = SESSIONS.c.created_at <= cut
        batch = select(SESSIONS.c.id).where(old).order_by(SESSIONS.c.created_at)
        if spare:
            batch = batch.where(SESSIONS.c.id.not_in(spare))
        while True:
            async with self._engine.begin() as connection:
                ids = list(await connection.scalars(batch.limit(PRUNED_AT_ONCE)))
                await _forget(connection, ids)
                if len(ids) < PRUNED_AT_ONCE:
                    for table in (MACHINES, BOOTED_IMAGES):
                        await connection.execute(table.delete().where(table.c.seen_at <= cut))
            gone += len(ids)
            if len(ids) < PRUNED_AT_ONCE:
                return gone
            await asyncio.sleep(0.05)  # for those who want to write meanwhile

    async def _cut(self, keep: int, keep_days: float) -> float | None:
        """When the newest boot began that is to be forgotten."""
        cuts = []
        if keep:
            newest_first = select(SESSIONS.c.created_at).order_by(SESSIONS.c.created_at.desc())
            async with self._engine.connect() as connection:
                cuts.append(await connection.scalar(newest_first.offset(keep).limit(1)))
        if keep_days:
            cuts.append((clock.now() - timedelta(days=keep_days)).timestamp())
        return max((cut for cut in cuts if cut is not None), default=None)

    # ---- Single boots ----

    async def by_id(self, session_id: str) -> BootSession | None:
        """The session of that id, or the only one whose id begins so."""
        if not re.fullmatch("[0-9a-f]+", session_id):
            return None
        begins_so = (SESSIONS.c.id >= session_id) & (SESSIONS.c.id < f"{session_id}g")
        matches = await self._sessions(select(SESSIONS).where(begins_so).limit(2))
        return matches[0] if len(matches) == 1 else None

    async def unfinished(self, handed_off_since: datetime) -> list[BootSession]:
        """Sessions that may go on, oldest first; of machines handed over only the newer ones."""
        under_way = SESSIONS.c.phase.in_([phase.value for phase in _UNDER_WAY])
        handed_over = SESSIONS.c.phase.in_([phase.value for phase in _HANDED_OVER])
        newer = SESSIONS.c.phase_at >= handed_off_since.timestamp()
        sessions = [
            *await self._sessions(select(SESSIONS).where(under_way)),
            *await self._sessions(select(SESSIONS).where(handed_over & newer)),
        ]
        return sorted(sessions, key=lambda session: session.created_at)

    async def events(self, session_ids: Iterable[str]) -> dict[str, list[BootEvent]]:
        """The events of each session, in order."""
        found: dict[str, list[BootEvent]] = {session_id: [] for session_id in session_ids}
        query = select(EVENTS).where(EVENTS.c.session.in_(list(found))).order_by(EVENTS.c.number)
        async with self._engine.connect() as connection:
            for row in await connection.execute(query):
                found[row.session].append(event_of(row))
        return found

    async def transfers(self, session_ids: Iterable[str]) -> dict[str, list[Transfer]]:
        """The transfers of each session, in order."""
        found: dict[str, list[Transfer]] = {session_id: [] for session_id in session_ids}
        mine = TRANSFERS.c.session.in_(list(found))
        query = select(TRANSFERS).where(mine).order_by(TRANSFERS.c.session, TRANSFERS.c.number)
        async with self._engine.connect() as connection:
            for row in await connection.execute(query):
                found[row.session].append(transfer_of(row))
        return found

    # ---- Many boots ----

    async def recent(
        self,
        limit: int | None,
        *,
        before: datetime | None = None,
        search: str = "",
        image: str = "",
        machine: str = "",
        phases: Collection[BootPhase] = (),
    ) -> list[BootSession]:
        """The newest sessions, newest first; from those that began `before`, if that is given.

        `search` is a part of what a machine tells of itself, or of an image's id. `machine` is a
        machine's name in the ledger, or its UUID. All that is given must hold.
        """
        alike: list[ColumnElement[bool]] = []  # boots of which one of these holds, each by an index
        conditions: list[ColumnElement[bool]] = []
        if before is not None:
            conditions.append(SESSIONS.c.created_at < before.timestamp())
        if phases:
            alike = [SESSIONS.c.phase == phase.value for phase in phases]
            conditions.append(SESSIONS.c.phase.in_([phase.value for phase in phases]))
        if image:
            if not phases or not _UNDER_WAY.issuperset(phases):  # of those there are but few
                alike = [SESSIONS.c.image == image]
            conditions.append(SESSIONS.c.image == image)
        if machine:
            alike = [SESSIONS.c.machine_name == name for name in await self._names(machine)]
            conditions.append(or_(false(), *alike))
        if search:
            newest = limit if not conditions or (before and len(conditions) == 1) else None
            found, condition = await self._found(search, newest, before)
            conditions.append(condition)
            alike = found or alike
        async with self._engine.connect() as connection:  # what waits has no large query yet
            if limit is None or not alike:
                query = select(SESSIONS).where(*conditions).limit(limit)
            else:
                query = _newest_of_each(alike, conditions, limit)
            newest_first = query.order_by(SESSIONS.c.created_at.desc())
            return [session_of(row) for row in await connection.execute(newest_first)]

    async def machines(
        self, limit: int | None = None, *, before: datetime | None = None
    ) -> list[SeenMachine]:
        """The machines in the ledger, the one that booted last first; or those seen `before`."""
        query = select(MACHINES).order_by(MACHINES.c.seen_at.desc()).limit(limit)
        if before is not None:
            query = query.where(MACHINES.c.seen_at < before.timestamp())
        async with self._engine.connect() as connection:
            return [seen_of(row) for row in await connection.execute(query)]

    async def last_of(self, name: str) -> SeenMachine | None:
        """The machine of that name in the ledger, or of that UUID, as it was the last time."""
        mine = (MACHINES.c.name == name) | (MACHINES.c.uuid == name)
        query = select(MACHINES).where(mine).order_by(MACHINES.c.seen_at.desc()).limit(1)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return seen_of(row) if row else None

    async def count(self) -> int:
        """How many boots the ledger has."""
        async with self._engine.connect() as connection:
            return await connection.scalar(select(sql.count()).select_from(SESSIONS)) or 0

    async def _names(self, machine: str) -> list[str]:
        """What the ledger calls the machines with that name or UUID."""
        mine = (MACHINES.c.name == machine) | (MACHINES.c.uuid == machine)
        async with self._engine.connect() as connection:
            return list(await connection.scalars(select(MACHINES.c.name).where(mine)))

    async def _found(
        self, search: str, limit: int | None, before: datetime | None
    ) -> tuple[list[ColumnElement[bool]], ColumnElement[bool]]:
        """What a search finds: conditions that indices answer, none if too many; and all in one.

        If nothing else is asked, the newest N boots are of those N machines that booted last. Only
        that many count of what is found, beside those that booted again after the page.
        """
        machines, images = _matching(search)
        alike: list[ColumnElement[bool]] = []
        async with self._engine.connect() as connection:
            for name, column, query in (
                (MACHINES.c.name, SESSIONS.c.machine_name, machines),
                (BOOTED_IMAGES.c.image, SESSIONS.c.image, images),
            ):
                seen_at = name.table.c.seen_at
                newest_first = query.order_by(seen_at.desc())
                found: list[str] = []
                if before is not None:
                    later = newest_first.where(seen_at >= before.timestamp())
                    found += await connection.scalars(later.limit(PROBES_MAX + 1))
                    newest_first = newest_first.where(seen_at < before.timestamp())
                found += await connection.scalars(newest_first.limit(limit))
                alike += [column == value for value in found]
        whole = _unindexed(SESSIONS.c.machine_name).in_(machines) | _unindexed(
            SESSIONS.c.image
        ).in_(images)
        if not alike:
            return [], false()
        return (alike if len(alike) <= PROBES_MAX else []), whole

    async def _sessions(self, query: Select[Any]) -> list[BootSession]:
        async with self._engine.connect() as connection:
            return [session_of(row) for row in await connection.execute(query)]


def _newest_of_each(
    alike: Sequence[ColumnElement[bool]], conditions: Sequence[ColumnElement[bool]], limit: int
) -> Select[Any]:
    """The newest boots of which one of `alike` holds, and all of `conditions`.

    An index gives the newest boots of one machine at once. Of several it gives all their boots, to
    be sorted. So each gives its newest, and the newest of those it is.
    """
    best = [
        select(SESSIONS.c.id, SESSIONS.c.created_at)
        .where(one, *conditions)
        .order_by(SESSIONS.c.created_at.desc())
        .limit(limit)
        .subquery()
        for one in alike
    ]
    merged = union(*(select(some) for some in best)).subquery()
    newest = select(merged.c.id).order_by(merged.c.created_at.desc()).limit(limit)
    return select(SESSIONS).where(SESSIONS.c.id.in_(newest))


def _matching(search: str) -> tuple[Select[Any], Select[Any]]:
    """The names of the machines, and the images, that a search finds."""
    part = search.strip().lower()
    parts = {part, part.replace("-", ":")}  # MAC addresses are written in both ways
    words = or_(*(MACHINES.c.words.contains(each, autoescape=True) for each in sorted(parts)))
    image = sql.lower(BOOTED_IMAGES.c.image).contains(part, autoescape=True)
    return select(MACHINES.c.name).where(words), select(BOOTED_IMAGES.c.image).where(image)


def _unindexed(column: ColumnElement[str]) -> ColumnElement[str]:
    """The column's value, so that the database walks newest first and does not sort what it finds.

    It cannot know that so much was found that most boots are among it.
    """
    return column.concat("")


async def _forget(connection: AsyncConnection, ids: Collection[str]) -> None:
    for column in (EVENTS.c.session, TRANSFERS.c.session, SESSIONS.c.id):
        await connection.execute(column.table.delete().where(column.in_(ids)))


async def _note_newest(
    connection: AsyncConnection, table: Table, rows: Mapping[str, dict[str, Any]]
) -> None:
    """Write those rows, by their primary key, that are newer than what the table has."""
    if not rows:
        return
    [key] = table.primary_key.columns
    there = await connection.execute(select(table).where(key.in_(list(rows))))
    same = {row._mapping[key.name]: row._asdict() for row in there}
    newer = {
        name: row
        for name, row in rows.items()
        if name not in same or (row != same[name] and row["seen_at"] >= same[name]["seen_at"])
    }
    if newer:
        await connection.execute(table.delete().where(key.in_(list(newer))))
        await connection.execute(table.insert(), list(newer.values()))
