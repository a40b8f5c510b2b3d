"""What the pages show, in the shapes of the API: the same functions make both."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bootserver.http.api.images import ignored_json, image_json
from bootserver.http.api.jobs import JOBS
from bootserver.http.api.machines import configured as configured_json
from bootserver.http.api.machines import profile_json
from bootserver.http.api.services import services_of
from bootserver.http.api.status import status_json
from bootserver.images.decide import Site
from bootserver.images.explain import explain
from bootserver.model import BootPhase, BootSession, Method
from bootserver.sessions.export import boots_json
from bootserver.sessions.tracker import ORDER, STARTING

LIVE_MAX = 200
MACHINES_SHOWN = 200
# After the hand-off a system takes so long to call home, if it can; most say no more. One that
# fetches its root may take longer, and is then looked at more closely.
STARTING_FOR = timedelta(minutes=3)
FETCHING_FOR = timedelta(hours=1)
FROM_MEMORY = {Method.MEMDISK, Method.RAMDISK, Method.WIMBOOT}  # these fetch nothing more
# A boot that stands still for so long belongs to the past, though nobody has ended it.
STALLED_FOR = timedelta(hours=1)
JOB_TOLD_FOR = timedelta(minutes=10)  # that it has failed

STATUS_HELD_S = 10.0

Json = dict[str, Any]

HELD_STATUS = web.AppKey("held_status", dict[str, Any])

# Asked for apart: of those handed off there are as many as there are boots in the ledger.
UNDER_WAY = frozenset(phase for phase in BootPhase if ORDER[phase] < ORDER[BootPhase.HANDED_OFF])


async def status(request: web.Request) -> Json:
    """The server as a whole, as it was a few seconds ago: making that reads every loader."""
    held = request.config_dict[HELD_STATUS]
    if time.monotonic() > held.get("until", 0.0):
        held |= {"until": time.monotonic() + STATUS_HELD_S, "status": await status_json(request)}
    return dict(held["status"])


def is_live(session: BootSession, now: datetime, *, fetching: bool = False) -> bool:
    """True for a boot that a person would say goes on; `fetching` if something is on its way."""
    stands_for = now - (session.phase_at or session.created_at)
    if session.phase in STARTING:
        return stands_for < (FETCHING_FOR if fetching else STARTING_FOR)
    return session.phase in UNDER_WAY and (not session.stalled or stands_for < STALLED_FOR)


async def live_boots(request: web.Request, now: datetime) -> list[Json]:
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


def _is_fetching(boot: Json) -> bool:
    return any(not transfer["outcome"] for transfer in boot["transfers"])


async def history(
    request: web.Request,
    *,
    limit: int,
    before: datetime | None,
    search: str,
    image: str,
    phase: str,
) -> tuple[list[Json], str]:
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


async def boot(request: web.Request, boot_id: str, now: datetime) -> tuple[Json, bool] | None:
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
    site = Site.of(services.config)
    return [
        {
            "image": image_json(services, image),
            "explanation": explain(image, site).as_json()
            if image.facts and not image.problem
            else None,
        }
        for image in services.library.images()
    ]


def ignored(request: web.Request) -> list[Json]:
    """What lies in the library and is no image."""
    return list(ignored_json(services_of(request)))


def images_path(request: web.Request) -> str:
    """The directory of the library."""
    return str(services_of(request).config.images.path)


def jobs(request: web.Request, now: datetime) -> list[Json]:
    """The jobs that are not done, and those that failed a short while ago."""
    return [
        job.as_json()
        for job in request.config_dict[JOBS].list()
        if job.is_active or (job.problem and job.ended_at and now - job.ended_at < JOB_TOLD_FOR)
    ]


async def machines(request: web.Request, before: datetime | None = None) -> tuple[list[Json], str]:
    """The machines that have been here, the last one first, and where the next page begins."""
    store = await services_of(request).ledger.written()
    seen = await store.machines(MACHINES_SHOWN + 1, before=before)
    shown = seen[:MACHINES_SHOWN]
    older = shown[-1].seen_at.isoformat() if len(seen) > len(shown) else ""
    return [asdict(one) | {"seen_at": one.seen_at.isoformat()} for one in shown], older


async def profiles(request: web.Request) -> list[Json]:
    """What is set for machines here, newest first."""
    return [profile_json(profile) for profile in await services_of(request).profiles.list()]


def configured(request: web.Request) -> list[Json]:
    """What config.toml says of machines."""
    return configured_json(services_of(request))
