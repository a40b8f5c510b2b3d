"""Machines over the API, and the profiles that say what some of them boot."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bootserver.http.api.etags import changed, etag_of, require_match
from bootserver.http.api.problems import ProblemError
from bootserver.http.api.requests import (
    MachineQuery,
    NewProfile,
    ProfileChange,
    next_link,
    read_body,
    read_query,
    utc_text,
)
from bootserver.http.api.services import AdminServices, require_image, services_of
from bootserver.model import SeenMachine
from bootserver.sessions.profiles import Profile


async def list_machines(request: web.Request) -> web.Response:
    """GET /machines"""
    wanted, services = read_query(request, MachineQuery), services_of(request)
    store = await services.ledger.written()
    seen = await store.machines(wanted.limit + 1, before=wanted.before)
    page, following = seen[: wanted.limit], None
    if len(seen) > len(page):
        query = {"limit": wanted.limit, "before": utc_text(page[-1].seen_at)}
        following = f"/api/v1/machines?{urlencode(query)}"
    return web.json_response(
        {
            "machines": [_seen_json(machine) for machine in page],
            "next": following,
            "configured": configured(services),
        },
        headers=next_link(following),
    )


def configured(services: AdminServices) -> list[dict[str, Any]]:
    """What config.toml says machines boot; how their AMT is reached is nobody's business."""
    return [
        table.model_dump(mode="json", exclude={"amt"})
        for table in services.config.machines
        if table.boots_something_special
    ]


def _seen_json(seen: SeenMachine) -> dict[str, Any]:
    machine = {"name": seen.name, **asdict(seen.machine)}
    return asdict(seen) | {"machine": machine, "seen_at": seen.seen_at.isoformat()}


# ---- Profiles ----


def profile_id(profile: Profile) -> str:
    """Its name in URLs, which stays the same when it is set anew: its version is `profile.id`."""
    kind = "once" if profile.once else "standing"
    return hashlib.sha256(f"{kind} {profile.selector.key}".encode()).hexdigest()[:12]


def profile_json(profile: Profile) -> dict[str, Any]:
    """A profile for the API."""
    return {
        "id": profile_id(profile),
        "etag": etag_of(profile.id),
        **asdict(profile.selector),
        "image": profile.image,
        "entry": profile.entry,
        "arguments": profile.arguments,
        "memdisk": profile.memdisk,
        "once": profile.once,
        "set_at": profile.set_at.isoformat(),
        "warning": profile.selector.warning,
    }


async def list_profiles(request: web.Request) -> web.Response:
    """GET /profiles"""
    profiles = await services_of(request).profiles.list()
    return web.json_response({"profiles": [profile_json(profile) for profile in profiles]})


async def get_profile(request: web.Request) -> web.Response:
    """GET /profiles/{id}"""
    return _response(await _profile(request))


async def add_profile(request: web.Request) -> web.Response:
    """POST /profiles"""
    services, wanted = services_of(request), await read_body(request, NewProfile)
    await require_image(services, wanted.image, wanted.entry)
    profile = await services.profiles.add(wanted.selector, once=wanted.once, **wanted.boots)
    if profile is None:
        raise ProblemError(
            409, "there is such a profile for these names already", hint="change that one"
        )
    return _response(profile, 201)


async def put_profile(request: web.Request) -> web.Response:
    """PUT /profiles/{id}"""
    services, profile = services_of(request), await _profile(request)
    wanted = await read_body(request, ProfileChange)
    require_match(request, etag_of(profile.id))
    await require_image(services, wanted.image, wanted.entry)
    new = await services.profiles.replace(profile, **wanted.boots)
    if new is None:
        raise changed()
    return _response(new)


async def delete_profile(request: web.Request) -> web.Response:
    """DELETE /profiles/{id}"""
    profile = await _profile(request)
    require_match(request, etag_of(profile.id))
    if not await services_of(request).profiles.drop(profile.id):
        raise changed()
    return web.Response(status=204)


async def _profile(request: web.Request) -> Profile:
    wanted = request.match_info["id"]
    for profile in await services_of(request).profiles.list():
        if profile_id(profile) == wanted:
            return profile
    raise ProblemError(404, f"there is no profile {wanted[:40]!r}", hint="see /api/v1/profiles")


def _response(profile: Profile, status: int = 200) -> web.Response:
    headers = {"ETag": etag_of(profile.id)}
    if status == 201:
        headers["Location"] = f"/api/v1/profiles/{profile_id(profile)}"
    return web.json_response(profile_json(profile), status=status, headers=headers)
