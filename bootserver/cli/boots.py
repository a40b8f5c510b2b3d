"""`bootserver boots`: the ledger of boots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from bootserver.cli.shared import as_json, megabytes, open_state, print_json, with_config
from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.model import BootEvent, BootSession


@click.group()
def boots() -> None:
    """What booted, how far it came, how long each phase took."""


@boots.command("list")
@click.option("--limit", default=50, show_default=True, help="How many, newest first.")
@as_json
@with_config
async def list_boots(config: Config, limit: int, as_json: bool) -> None:
    """List boots, newest first."""
    from bootserver.sessions.store import SessionStore

    async with open_state(config) as engine:
        store = SessionStore(engine)
        sessions = await store.recent(limit)
        events = await store.events(session.id for session in sessions)
    if as_json:
        print_json([_as_dict(session, events[session.id]) for session in sessions])
        return
    if not sessions:
        click.echo("No boots yet: start a machine from a stub.")
    for session in sessions:
        click.echo(
            f"{session.id}  {session.created_at.astimezone():%Y-%m-%d %H:%M:%S}  "
            f"{_name(session):<17}  {session.image:<24}  {session.phase:<13}  "
            f"{megabytes(session.sent_bytes):>10}  {session.error}".rstrip()
        )


@boots.command("show")
@click.argument("session_id", metavar="ID")
@as_json
@with_config
async def show_boot(config: Config, session_id: str, as_json: bool) -> None:
    """Show one boot with the time of each phase; the beginning of its id will do."""
    from bootserver.sessions.store import SessionStore
    from bootserver.sessions.tracker import seconds_per_phase

    async with open_state(config) as engine:
        store = SessionStore(engine)
        session = await store.by_id(session_id)
        if session is None:
            raise BootServerError(
                f"no boot has the id {session_id}, or more than one begins so",
                hint="run: bootserver boots list",
            )
        events = (await store.events([session.id]))[session.id]
    if as_json:
        print_json(_as_dict(session, events))
        return
    machine = session.machine
    click.echo(f"{session.id}  {session.image} on {_name(session)}")
    told = (machine.manufacturer, machine.product, machine.serial, machine.uuid)
    click.echo(f"  {' '.join(filter(None, told)) or 'a machine that told nothing of itself'}")
    click.echo(f"  {megabytes(session.sent_bytes)} of {megabytes(session.image_bytes)} sent")
    for event, seconds in zip(events, seconds_per_phase(events), strict=True):
        at = event.at.astimezone()
        click.echo(
            f"  {at:%H:%M:%S.%f}  {seconds:>9.3f} s  {event.phase:<13}  {event.detail}".rstrip()
        )
    if session.error:
        click.secho(f"  {session.error}", fg="red")


def _as_dict(session: BootSession, events: Sequence[BootEvent]) -> dict[str, Any]:
    """The session for scripts; the key of its URLs stays inside."""
    from bootserver.sessions.tracker import seconds_per_phase

    values = asdict(session)
    del values["key"]
    values["created_at"] = session.created_at.isoformat()
    values["phase_at"] = session.phase_at.isoformat() if session.phase_at else None
    values["phases"] = [
        {"phase": e.phase, "at": e.at.isoformat(), "seconds": seconds, "detail": e.detail}
        for e, seconds in zip(events, seconds_per_phase(events), strict=True)
    ]
    return values


def _name(session: BootSession) -> str:
    return session.machine.mac or session.address or "-"
