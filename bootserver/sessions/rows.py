"""The ledger's types as rows of the database, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row

from bootserver.model import (
    BootEvent,
    BootPhase,
    BootPlan,
    BootSession,
    Method,
    SeenMachine,
    Transfer,
    Way,
)
from bootserver.schema import SESSIONS, TRANSFERS, machine_columns, machine_of, machine_values

_PLAN = TypeAdapter(BootPlan)


def machine_rows(sessions: Iterable[BootSession]) -> dict[str, dict[str, Any]]:
    """The newest of these sessions of each machine, as a row of MACHINES."""
    return {
        session.machine_name: machine_values(session.machine, session.address)
        | {
            "seen_at": session.created_at.timestamp(),
            "session": session.id,
            "image": session.image,
        }
        for session in _oldest_first(sessions)
        if session.machine_name
    }


def image_rows(sessions: Iterable[BootSession]) -> dict[str, dict[str, Any]]:
    """When each image was last booted, as rows of BOOTED_IMAGES."""
    return {
        session.image: {"image": session.image, "seen_at": session.created_at.timestamp()}
        for session in _oldest_first(sessions)
        if session.image
    }


def _oldest_first(sessions: Iterable[BootSession]) -> list[BootSession]:
    return sorted(sessions, key=lambda session: session.created_at)


def session_row(session: BootSession) -> dict[str, Any]:
    """A row of SESSIONS."""
    plan = session.plan
    names = set(SESSIONS.columns.keys()) - {"entry", "profile", "nics"}
    row = {name: getattr(session, name) for name in names}
    return row | {
        "plan": _PLAN.dump_json(plan).decode() if plan else "",
        "entry": plan.entry if plan else "",
        "profile": plan.profile if plan else "",
        "created_at": session.created_at.timestamp(),
        "phase_at": session.phase_at.timestamp() if session.phase_at else None,
        **machine_columns(session.machine),
    }


def session_of(row: Row[Any]) -> BootSession:
    """The session of that row."""
    values = row._asdict()
    for name in ("machine_name", "image_bytes", "recipe", "method", "entry", "profile", "nics"):
        del values[name]
    return BootSession(
        **values
        | {
            "plan": _plan_of(row),
            "created_at": time_of(row.created_at),
            "phase": BootPhase(row.phase),
            "phase_at": time_of(row.phase_at) if row.phase_at is not None else None,
            "machine": machine_of(row),
        }
    )


def _plan_of(row: Row[Any]) -> BootPlan | None:
    """How that session boots; an older bootserver wrote only what these columns have."""
    if row.plan:
        return _PLAN.validate_json(row.plan)
    if not row.method:
        return None
    return BootPlan(
        row.recipe,
        Way(Method(row.method)),
        image_bytes=row.image_bytes,
        entry=row.entry,
        profile=row.profile,
    )


def event_row(event: BootEvent) -> dict[str, Any]:
    """A row of EVENTS."""
    return {
        "session": event.session,
        "phase": event.phase.value,
        "at": event.at.timestamp(),
        "detail": event.detail,
    }


def event_of(row: Row[Any]) -> BootEvent:
    """The event of that row."""
    return BootEvent(row.session, BootPhase(row.phase), time_of(row.at), row.detail)


_TRANSFER_TIMES = ("started_at", "progress_at", "ended_at")


def transfer_row(transfer: Transfer) -> dict[str, Any]:
    """A row of TRANSFERS."""
    row = {column.name: getattr(transfer, column.name) for column in TRANSFERS.columns}
    return row | {name: row[name].timestamp() for name in _TRANSFER_TIMES if row[name] is not None}


def transfer_of(row: Row[Any]) -> Transfer:
    """The transfer of that row."""
    values = row._asdict()
    times = {name: time_of(values[name]) for name in _TRANSFER_TIMES if values[name] is not None}
    return Transfer(**values | times)


def seen_of(row: Row[Any]) -> SeenMachine:
    """The machine of that row of MACHINES."""
    return SeenMachine(
        machine=machine_of(row),
        name=row.name,
        address=row.address,
        seen_at=time_of(row.seen_at),
        session=row.session,
        image=row.image,
    )


def time_of(seconds: float) -> datetime:
    """The time that is kept as seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
