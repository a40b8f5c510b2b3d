"""The ledger over the API: pages of boots, single boots, and all of them as a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from aiohttp import web
from pydantic import Field

from bootserver.errors import DatabaseError
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import PageQuery, UrlQuery, When, next_link, next_page
from bootserver.http.api.services import services_of
from bootserver.http.errors import NotFoundError
from bootserver.model import BootPhase
from bootserver.selector import Selector
from bootserver.sessions.export import FORMATS, Wanted, boots_json
from bootserver.sessions.shape import BootJson

operations = Operations()


class BootQuery(PageQuery):
    """Which boots."""

    q: str = Field(default="", max_length=200, description="In the image, machine or address")
    image: str = Field(default="", max_length=300)
    machine: str = Field(default="", max_length=100, description="A MAC, UUID, serial or asset")
    phase: list[BootPhase] = Field(default=[], description="In any of these phases")


class ExportQuery(UrlQuery):
    """Which boots, and in which form."""

    format: Literal["csv", "json", "openmetrics"] = "csv"
    since: When | None = Field(default=None, description="Boots that were created then or later")
    image: str = Field(default="", max_length=300)


@dataclass(frozen=True, slots=True)
class BootPage:
    """Boots, newest first."""

    boots: list[BootJson]
    next: str | None  # the URL of the next page


@operations.add("GET", "/boots", DatabaseError, headers=("Link",))
async def list_boots(request: web.Request, query: BootQuery) -> ApiAnswer[BootPage]:
    """A page of boots, newest first."""
    store = await services_of(request).ledger.written()
    sessions = await store.recent(
        query.limit + 1,  # one more tells whether there is a next page
        before=query.before,
        search=query.q,
        image=query.image,
        machine=_machine_name(query.machine),
        phases=query.phase,
    )
    page, following = sessions[: query.limit], None
    if len(sessions) > len(page):
        following = next_page(request, query, page[-1].created_at)
    return ApiAnswer(BootPage(await boots_json(store, page), following), next_link(following))


@operations.add(
    "GET",
    "/boots/export",
    DatabaseError,
    media_types=("text/csv", "application/json", "application/openmetrics-text"),
    headers=("Content-Disposition",),
)
async def export_boots(request: web.Request, query: ExportQuery) -> web.StreamResponse:
    """All boots as CSV, JSON or OpenMetrics."""
    store = await services_of(request).ledger.written()
    form = FORMATS[query.format]
    today = datetime.now(UTC).date()
    response = web.StreamResponse(
        headers={
            "Content-Type": form.content_type,
            "Content-Disposition": f'attachment; filename="boots-{today}.{form.suffix}"',
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(request)
    # Sent while it is read, so that a million boots are never in memory.
    async for text in form.write(store, Wanted(query.since, query.image)):
        await response.write(text.encode())
    await response.write_eof()
    return response


@operations.add("GET", "/boots/{id}", DatabaseError, NotFoundError)
async def get_boot(request: web.Request) -> BootJson:
    """One boot; the beginning of its id will do."""
    store, boot_id = await services_of(request).ledger.written(), request.match_info["id"]
    session = await store.by_id(boot_id)
    if session is None:
        raise NotFoundError(
            f"no boot has the id {boot_id[:40]!r}, or more than one begins so",
            hint="see /api/v1/boots",
        )
    [boot] = await boots_json(store, [session])
    return boot


def _machine_name(text: str) -> str:
    """A MAC address or UUID as the ledger writes it; other names as they are."""
    try:
        names = Selector.parse([text]).names
    except ValueError:
        return text
    return next(iter(names.values()))
