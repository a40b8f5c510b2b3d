"""The ledger over the API: pages of boots, single boots, and all of them as a file."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from aiohttp import web

from bootserver.http.api.problems import ProblemError
from bootserver.http.api.requests import BootQuery, ExportQuery, next_link, read_query, utc_text
from bootserver.http.api.services import services_of
from bootserver.selector import Selector
from bootserver.sessions.export import FORMATS, Wanted, boots_json


async def list_boots(request: web.Request) -> web.Response:
    """GET /boots"""
    wanted, store = read_query(request, BootQuery), await services_of(request).ledger.written()
    sessions = await store.recent(
        wanted.limit + 1,  # one more tells whether there is a next page
        before=wanted.before,
        search=wanted.q,
        image=wanted.image,
        machine=_machine_name(wanted.machine),
        phases=wanted.phase,
    )
    page = sessions[: wanted.limit]
    following = _url(wanted, page[-1].created_at) if len(sessions) > len(page) else None
    return web.json_response(
        {"boots": await boots_json(store, page), "next": following},
        headers=next_link(following),
    )


async def get_boot(request: web.Request) -> web.Response:
    """GET /boots/{id}"""
    store, boot_id = await services_of(request).ledger.written(), request.match_info["id"]
    session = await store.by_id(boot_id)
    if session is None:
        raise ProblemError(
            404,
            f"no boot has the id {boot_id[:40]!r}, or more than one begins so",
            hint="see /api/v1/boots",
        )
    [boot] = await boots_json(store, [session])
    return web.json_response(boot)


async def export_boots(request: web.Request) -> web.StreamResponse:
    """GET /boots/export: sent while it is read, so that a million boots are never in memory."""
    wanted, store = read_query(request, ExportQuery), await services_of(request).ledger.written()
    form = FORMATS[wanted.format]
    today = datetime.now(UTC).date()
    response = web.StreamResponse(
        headers={
            "Content-Type": form.content_type,
            "Content-Disposition": f'attachment; filename="boots-{today}.{form.suffix}"',
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(request)
    async for text in form.write(store, Wanted(wanted.since, wanted.image)):
        await response.write(text.encode())
    await response.write_eof()
    return response


def _machine_name(text: str) -> str:
    """A MAC address or UUID as the ledger writes it; other names as they are."""
    try:
        names = Selector.parse([text]).names
    except ValueError:
        return text
    return next(iter(names.values()))


def _url(wanted: BootQuery, before: datetime) -> str:
    """The page of the same boots that began before that."""
    given = wanted.model_dump(mode="json", exclude_unset=True) | {"before": utc_text(before)}
    return f"/api/v1/boots?{urlencode(given, doseq=True)}"
