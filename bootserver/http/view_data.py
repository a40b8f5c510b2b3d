"""What the pages show: the answers of the API, as JSON has them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bootserver.http.api.images import explanation_of, image_for_api
from bootserver.http.api.jobs import JOBS
from bootserver.http.api.machines import machine_for_api
from bootserver.http.api.profiles import profile_for_api
from bootserver.http.api.services import services_of
from bootserver.http.api.status import get_status
from bootserver.images.winpe import is_winpe
from bootserver.json_values import Json, to_json
from bootserver.model import BootPhase, BootSession, Method
from bootserver.sessions.export import boots_json
from bootserver.sessions.shape import BootJson
from bootserver.sessions.tracker import ORDER, STARTING

LIVE_MAX = 200
MACHINES_SHOWN = 200
# After the hand-off a system takes so long to call home, if it can; most say no more. One that
# fetches its root may take longer, and is then looked at more closely.
STARTING_FOR = timedelta(minutes=3)
FETCHING_FOR = timedelta(hours=1)
FROM_MEMORY = {Method.MEMDISK, Method.RAMDISK, Method.WIMBOOT}  # these fetch nothing more
# A boot that stands still for so long belongs to the past, though it has no end.
STALLED_FOR = timedelta(hours=1)
FAILED_JOB_SHOWN_FOR = timedelta(minutes=10)  # that it has failed

STATUS_HELD_S = 10.0

HELD_STATUS = web.AppKey("held_status", dict[str, Any])

# Asked for apart: of those handed off there are as many as there are boots in the ledger.
UNDER_WAY = frozenset(phase for phase in BootPhase if ORDER[phase] < ORDER[BootPhase.HANDED_OFF])


async def held_status(request: web.Request) -> Json:
    """The server as a whole, as it was a few seconds ago: making that reads every loader."""
    held = request.config_dict[HELD_STATUS]
    if time.monotonic() > held.get("until", 0.0):
        status = to_json(await get_status(request))
        held |= {"until": time.monotonic() + STATUS_HELD_S, "status": status}
    return dict(held["status"])


def is_live(session: BootSession, now: datetime, *, fetching: bool = False) -> bool:
    """True for a boot that a person would say goes on; `fetching` if something is on its way."""
    stands_for = now - (session.phase_at or session.created_at)
    if session.phase in STARTING:
        return stands_for < (FETCHING_FOR if fetching else STARTING_FOR)
    return session.phase in UNDER_WAY and (not session.stalled or stands_for < STALLED_FOR)


async def live_boots(request: web.Request, now: datetime) -> list[BootJson]:
    """The boots going on, newest first."""
    store = await services_of(request).ledger.written()
    under_way = await store.recent(LIVE_MAX, phases=UNDER_WAY)
    starting = await store.recent(LIVE_MAX, phases=STARTING)
    likely = [
        session
        for session in (*under_way, *starting)
        if is_live(session, now, fetching=session.method not in FROM_MEMORY)
    ]
    likely.sort(key=lambda session: session.created_at, reverse=True)
    boots = await boots_json(store, likely)
    return [
        boot
        for session, boot in zip(likely, boots, strict=True)
        if is_live(session, now, fetching=_is_fetching(boot))
    ]


def _is_fetching(boot: BootJson) -> bool:
    return any(not transfer["outcome"] for transfer in boot["transfers"])


async def history(
    request: web.Request,
    *,
    limit: int,
    before: datetime | None,
    search: str,
    image: str,
    phase: str,
) -> tuple[list[BootJson], str]:
    """A page of boots, newest first, and from when on the next page begins; "" after the last."""
    store = await services_of(request).ledger.written()
    sessions = await store.recent(
        limit + 1,
        before=before,
        search=search,
        image=image,
        phases=[BootPhase(phase)] if phase else [],
    )
    shown = sessions[:limit]
    older = shown[-1].created_at.isoformat() if len(sessions) > limit else ""
    return await boots_json(store, shown), older


async def boot(request: web.Request, boot_id: str, now: datetime) -> tuple[BootJson, bool] | None:
    """One boot, and whether it is going on; None if there is none of that id."""
    store = await services_of(request).ledger.written()
    session = await store.by_id(boot_id)
    if session is None:
        return None
    [found] = await boots_json(store, [session])
    return found, is_live(session, now, fetching=_is_fetching(found))


def image_names(request: web.Request) -> list[str]:
    """The ids of the images in the library."""
    return [image.id for image in services_of(request).library.images()]


def images(request: web.Request) -> list[Json]:
    """The images, each with its explanation where there is one."""
    services = services_of(request)
    shown = []
    for image in services.library.images():
        explanation = explanation_of(services, image)
        shown.append(
            {
                "image": to_json(image_for_api(services, image)),
                "explanation": to_json(explanation) if explanation else None,
                "is_winpe": is_winpe(image),
            }
        )
    return shown


def jobs(request: web.Request, now: datetime) -> list[Json]:
    """The jobs that are not done, and those that failed a short while ago."""
    return [
        to_json(job)
        for job in request.config_dict[JOBS].list()
        if job.is_active
        or (job.problem and job.ended_at and now - job.ended_at < FAILED_JOB_SHOWN_FOR)
    ]


async def machines(request: web.Request, before: datetime | None = None) -> tuple[list[Json], str]:
    """The machines that have been here, the last one first, and where the next page begins."""
    store = await services_of(request).ledger.written()
    found = await store.machines(MACHINES_SHOWN + 1, before=before)
    shown = found[:MACHINES_SHOWN]
    older = shown[-1].seen_at.isoformat() if len(found) > len(shown) else ""
    return [to_json(machine_for_api(machine)) for machine in shown], older


async def profiles(request: web.Request) -> list[Json]:
    """What is set for machines here, newest first."""
    found = await services_of(request).profiles.list()
    return [to_json(profile_for_api(profile)) for profile in found]
