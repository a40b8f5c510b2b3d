"""The dashboard: pages that are rendered with their first state, and the files that move them.

A page reads complete without JavaScript. With it, the same page is fetched again and merged in when
something has happened (static/merge.js). So markup is written in one place, the templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bootserver import clock, units
from bootserver.amt.errors import AmtError
from bootserver.errors import BootServerError, ImageError
from bootserver.http import amt_view_data, labels, view_data
from bootserver.http.api.drivers import DeviceQuery, find_driver, list_drivers
from bootserver.http.api.machines import configured_machines
from bootserver.http.api.requests import read_query
from bootserver.http.api.services import services_of
from bootserver.http.errors import API_STATUS, status_of
from bootserver.http.incoming import route
from bootserver.http.waterfall import ENDS, axis, common_scale_s, length_s, waterfall
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.json_values import to_json
from bootserver.sessions.shape import progress
from bootserver.windows.inspect import TRIMS
from bootserver.windows.target import DEFAULT_VERSION, WindowsArch

HERE = Path(__file__).parent
HISTORY_SHOWN = 50
LIVE_SHOWN = 40  # people read no more cards than that

HEADERS = {
    # No inline script or style, nothing from elsewhere: what a machine says of itself stays text.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

PAGES = web.AppKey("pages", Environment)


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which part of the history a page shows, from its URL."""

    q: str = ""
    image: str = ""
    phase: str = ""
    before: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> HistoryQuery:
        """The query as far as it makes sense; the rest counts as absent."""
        phase, before = query.get("phase", ""), query.get("before", "")
        return cls(
            q=query.get("q", "").strip(),
            image=query.get("image", ""),
            phase=phase if phase in labels.PHASES else "",
            before=before if _moment(before) else "",
        )

    @property
    def any(self) -> bool:
        """True if it leaves boots out."""
        return bool(self.q or self.image or self.phase)

    @property
    def before_at(self) -> datetime | None:
        """Only boots that began before it."""
        return _moment(self.before)

    def url(self, before: str = "") -> str:
        """The page that shows the same, from there on."""
        values = {"q": self.q, "image": self.image, "phase": self.phase, "before": before}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"/?{query}" if query else "/"


def add_dashboard(app: web.Application) -> None:
    """Adds the pages and their static files to the admin plane."""
    app[PAGES] = _environment()
    app[view_data.HELD_STATUS] = {}
    app.add_routes(
        [
            web.get("/", _boots),
            web.get(route("/boots/{id}"), _boot),
            web.get("/images", _images),
            web.get(route("/images/{id}/inspect"), _inspected),
            web.get("/machines", _machines),
            web.get("/drivers", _drivers),
            web.get("/amt", _amt),
            web.get(route("/amt/{host}/console"), _console),
            web.static("/static", HERE / "static"),
        ]
    )
    app.on_response_prepare.append(_harden)


async def _boots(request: web.Request) -> web.Response:
    query = HistoryQuery.of(request.query)
    now = clock.now()
    live = await view_data.live_boots(request, now)
    past, older = await view_data.history(
        request,
        limit=HISTORY_SHOWN,
        before=query.before_at,
        search=query.q,
        image=query.image,
        phase=query.phase,
    )
    if not query.any:  # a search finds what is booting, too
        going_on = {boot["id"] for boot in live}
        past = [boot for boot in past if boot["id"] not in going_on]
    lengths_s = [length_s(boot) for boot in past]
    scale_s = common_scale_s(lengths_s)
    return await _page(
        request,
        "boots.html",
        live=[
            {"boot": boot, "fall": waterfall(boot, now, live=True)} for boot in live[:LIVE_SHOWN]
        ],
        live_left_out=max(0, len(live) - LIVE_SHOWN),
        total_speed=sum(boot["bytes_per_s"] for boot in live if boot["seconds_left"] is not None),
        history=[
            {
                "boot": boot,
                "length_s": length,
                "fall": waterfall(boot, now, live=False, scale_s=scale_s),
            }
            for boot, length in zip(past, lengths_s, strict=True)
        ],
        scale_s=scale_s,
        ticks=axis(scale_s, 3),
        query=query,
        newest=query.url(),
        older=query.url(older) if older else "",
        # The one that is searched for may be gone.
        image_names=sorted({*view_data.image_names(request), *filter(None, [query.image])}),
        phases={phase.value: name for phase, name in labels.PHASES.items()},
    )


async def _boot(request: web.Request) -> web.Response:
    now = clock.now()
    found = await view_data.boot(request, request.match_info["id"], now)
    if found is None:
        return await _page(
            request,
            "not_found.html",
            status_code=404,
            heading="No such boot",
            sentence="The ledger has no boot of that id; it may have been too old to keep.",
        )
    boot, live = found
    fall = waterfall(boot, now, live=live)
    return await _page(
        request,
        "boot.html",
        boot=boot,
        live=live,
        ended=boot["phase"] in ENDS,
        fall=fall,
        remarks=[bar for bar in fall.bars if bar.detail and bar.detail != boot["error"]],
        length_s=fall.length_s,
        machine_facts=labels.machine_facts(boot["machine"], boot["address"]),
        image_names=view_data.image_names(request),
    )


async def _images(request: web.Request) -> web.Response:
    machines, _ = await view_data.machines(request)
    return await _page(
        request,
        "images.html",
        images=view_data.images(request),
        ignored=services_of(request).library.ignored,
        images_path=services_of(request).config.images.path,
        jobs=view_data.jobs(request, clock.now()),
        machines=machines,
        recipes=sorted(RECIPE_NAMES),
    )


async def _inspected(request: web.Request) -> web.Response:
    image_id = request.match_info["id"]
    try:
        services = services_of(request)
        winpe = await services.winpe.of(services.library.get(image_id).content)
    except ImageError as err:
        return await _refusal(request, f"{image_id} cannot be looked into", err)
    machines, _ = await view_data.machines(request)
    return await _page(
        request, "winpe.html", image_id=image_id, winpe=winpe, trims=TRIMS, machines=machines
    )


async def _machines(request: web.Request) -> web.Response:
    before = _moment(request.query.get("before", ""))
    machines, older = await view_data.machines(request, before)
    return await _page(
        request,
        "machines.html",
        machines=machines,
        before=before,
        older=older,
        profiles=await view_data.profiles(request),
        configured=[to_json(machine) for machine in configured_machines(services_of(request))],
        image_names=view_data.image_names(request),
        amt_hosts=await amt_view_data.hosts_by_name(request),
        methods=amt_view_data.METHODS,
    )


async def _drivers(request: web.Request) -> web.Response:
    found, problem = None, None
    if request.query.get("device"):
        try:
            found = await find_driver(request, read_query(request, DeviceQuery))
        except BootServerError as err:
            problem = err
    return await _page(
        request,
        "drivers.html",
        drivers=(await list_drivers(request)).drivers,
        drivers_path=services_of(request).config.drivers.path,
        archs=list(WindowsArch),
        query={"device": "", "windows": DEFAULT_VERSION, "arch": WindowsArch.AMD64}
        | dict(request.query),
        found=found,
        problem=problem,
    )


async def _amt(request: web.Request) -> web.Response:
    return await _page(
        request,
        "amt.html",
        boots=await amt_view_data.boots(request, clock.now()),
        hosts=await amt_view_data.hosts(request),
        image_names=view_data.image_names(request),
        methods=amt_view_data.METHODS,
        actions=amt_view_data.ACTIONS,
        targets=amt_view_data.TARGETS,
    )


async def _console(request: web.Request) -> web.Response:
    try:
        host = await services_of(request).amt_hosts.resolve(request.match_info["host"])
    except AmtError as err:
        return await _refusal(request, "No such machine", err)
    known = {known["host"]: known for known in await amt_view_data.hosts(request)}
    return await _page(
        request, "console.html", host=host, title=known[host]["title"] if host in known else host
    )


async def _refusal(request: web.Request, heading: str, err: BootServerError) -> web.Response:
    """A page that says why there is no other, with the status that the API answers with."""
    return await _page(
        request,
        "not_found.html",
        status_code=status_of(type(err), API_STATUS),
        heading=heading,
        sentence=f"{err.message}: {err.hint}." if err.hint else f"{err.message}.",
    )


async def _page(
    request: web.Request, template: str, *, status_code: int = 200, **values: Any
) -> web.Response:
    text = (
        request.app[PAGES]
        .get_template(template)
        .render(
            now=clock.now(),
            here=request.path,
            status=await view_data.held_status(request),
            **values,
        )
    )
    return web.Response(
        status=status_code,
        text=text,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    """Says to the browser what pages of ours never do."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/static/"):  # an upgrade shows at once; unchanged files cost a 304
        response.headers["Cache-Control"] = "no-cache"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"percent": units.percent, "progress": progress}
    environment.filters |= {
        name: getattr(units, name) for name in ("megabytes", "speed", "duration", "clock")
    }
    environment.filters |= {
        name: getattr(labels, name)
        for name in (
            *("moment", "since", "after_colon", "phase", "outcome", "firmware", "method"),
            *("machine_name", "machine_key", "names", "selector"),
        )
    }
    environment.filters |= {
        name: getattr(amt_view_data, name) for name in ("doing", "way", "power")
    }
    return environment


def _moment(text: str) -> datetime | None:
    """A time with its zone, or None for what is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None
