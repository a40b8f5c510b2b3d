"""Boot sessions and their events in the database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bootserver.database import EVENTS, SESSIONS
from bootserver.model import BootEvent, BootPhase, BootSession, Firmware, Machine
from bootserver.sessions.tracker import BAD_ENDS


class SessionStore:
    """Reads and writes sessions; every call is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def save(
        self,
        new: Iterable[BootSession],
        changed: Iterable[BootSession],
        events: Iterable[BootEvent],
    ) -> None:
        """Write sessions that are new, sessions that changed, and events, together."""
        async with self._engine.begin() as connection:
            if rows := [_session_row(session) for session in new]:
                await connection.execute(SESSIONS.insert(), rows)
            for session in changed:
                await connection.execute(
                    SESSIONS.update().where(SESSIONS.c.id == session.id), [_session_row(session)]
                )
            if rows := [_event_row(event) for event in events]:
                await connection.execute(EVENTS.insert(), rows)

    async def by_key(self, key: str) -> BootSession | None:
        """The session whose URLs bear `key`."""
        return await self._one(SESSIONS.c.key == key)

    async def by_id(self, session_id: str) -> BootSession | None:
        """The session of that id, or the only one whose id begins so."""
        matches = await self._many(SESSIONS.c.id.startswith(session_id, autoescape=True), limit=2)
        return matches[0] if len(matches) == 1 else None

    async def unfinished(self, handed_off_since: datetime) -> list[BootSession]:
        """Sessions that may go on, oldest first; of machines handed over only the newer ones."""
        over = SESSIONS.c.phase.in_([phase.value for phase in BAD_ENDS])
        handed_over = SESSIONS.c.phase.in_([BootPhase.HANDED_OFF.value, BootPhase.OS_UP.value])
        old = handed_over & (SESSIONS.c.phase_at < handed_off_since.timestamp())
        return (await self._many(~over & ~old, limit=None))[::-1]

    async def recent(self, limit: int | None) -> list[BootSession]:
        """The newest sessions, newest first."""
        return await self._many(None, limit=limit)

    async def last_of(self, name: str) -> BootSession | None:
        """The newest session of the machine with that MAC address or UUID, as Machine has them."""
        return await self._one(SESSIONS.c.machine.contains(json.dumps(name), autoescape=True))

    async def events(self, session_ids: Iterable[str]) -> dict[str, list[BootEvent]]:
        """The events of each session, in order."""
        found: dict[str, list[BootEvent]] = {session_id: [] for session_id in session_ids}
        query = select(EVENTS).where(EVENTS.c.session.in_(list(found))).order_by(EVENTS.c.number)
        async with self._engine.connect() as connection:
            for row in await connection.execute(query):
                found[row.session].append(
                    BootEvent(row.session, BootPhase(row.phase), _time(row.at), row.detail)
                )
        return found

    async def _one(self, condition: Any) -> BootSession | None:
        matches = await self._many(condition, limit=1)
        return matches[0] if matches else None

    async def _many(self, condition: Any, *, limit: int | None) -> list[BootSession]:
        query = select(SESSIONS).order_by(SESSIONS.c.created_at.desc()).limit(limit)
        if condition is not None:
            query = query.where(condition)
        async with self._engine.connect() as connection:
            return [_session(row) for row in await connection.execute(query)]


def _session_row(session: BootSession) -> dict[str, Any]:
    row = {column.name: getattr(session, column.name) for column in SESSIONS.columns}
    return row | {
        "created_at": session.created_at.timestamp(),
        "phase_at": session.phase_at.timestamp() if session.phase_at else None,
        "machine": json.dumps(asdict(session.machine)),
    }


def _session(row: Row[Any]) -> BootSession:
    machine = json.loads(row.machine)
    firmware = Firmware(machine["firmware"]) if machine["firmware"] else None
    return BootSession(
        **row._asdict()
        | {
            "created_at": _time(row.created_at),
            "phase": BootPhase(row.phase),
            "phase_at": _time(row.phase_at) if row.phase_at is not None else None,
            "machine": Machine(**machine | {"firmware": firmware}),
        }
    )


def _event_row(event: BootEvent) -> dict[str, Any]:
    return {
        "session": event.session,
        "phase": event.phase.value,
        "at": event.at.timestamp(),
        "detail": event.detail,
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
