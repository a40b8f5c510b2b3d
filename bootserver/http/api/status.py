"""The server as a whole, over the API."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import Any

from aiohttp import web

from bootserver.clock import CLOCK
from bootserver.config import StubConfig
from bootserver.errors import StubError
from bootserver.http.api.events import EVENTS
from bootserver.http.api.jobs import JOBS
from bootserver.http.api.services import AdminServices, services_of
from bootserver.http.metrics import METRICS
from bootserver.stub.loaders import problems
from bootserver.stub.spec import own_url

LOADERS_INTERVAL_S = 30.0


class LoaderCheck:
    """What is wrong with the loaders, looked up now and then: it reads them all."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._due_s = 0.0

    async def problems(self, stub: StubConfig) -> list[str]:
        """A sentence for each loader that is missing or has changed."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + LOADERS_INTERVAL_S
            self._problems = await asyncio.to_thread(problems, stub)
        return self._problems


LOADER_CHECK = web.AppKey("loader_check", LoaderCheck)


async def get_status(request: web.Request) -> web.Response:
    """GET /status"""
    return web.json_response(await status_json(request))


async def status_json(request: web.Request) -> dict[str, Any]:
    """The status for the API and the dashboard."""
    services = services_of(request)
    boots = request.config_dict[METRICS].boots
    url, complaints = _own_url(services)
    complaints += await request.config_dict[LOADER_CHECK].problems(services.config.stub)
    complaints += services.config.warnings
    return {
        "version": version("bootserver"),
        "started_at": CLOCK.began.isoformat(),
        "uptime_s": round(CLOCK.passed_s(), 3),
        "own_url": url,
        "open_menu": services.config.boot.open_menu,
        "problems": complaints,
        "images": len(services.library.images()),
        "boots": await (await services.ledger.written()).count(),
        "boots_in_progress": boots.in_progress(),
        "boots_stalled": boots.stalled(),
        "jobs_running": request.config_dict[JOBS].active,
        "watchers": request.config_dict[EVENTS].watchers,
    }


def _own_url(services: AdminServices) -> tuple[str, list[str]]:
    """Where stubs call, and what is wrong with that."""
    try:
        return own_url(services.config), []
    except StubError as err:
        return "", [f"{err.message}; {err.hint}"]
