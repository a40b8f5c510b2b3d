"""The server as a whole, over the API."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.metadata import version

from aiohttp import web

from bootserver.clock import CLOCK
from bootserver.config import StubConfig
from bootserver.errors import DatabaseError, StubError
from bootserver.http.api.events import EVENTS
from bootserver.http.api.jobs import JOBS
from bootserver.http.api.operations import Operations
from bootserver.http.api.services import services_of
from bootserver.http.metrics import METRICS
from bootserver.json_values import Timestamp
from bootserver.stub.loaders import problems
from bootserver.stub.spec import own_url

LOADERS_INTERVAL_S = 30.0

operations = Operations()


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


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The server as a whole."""

    version: str
    started_at: Timestamp
    uptime_s: float
    own_url: str  # where stubs call; "" if that is unknown
    open_menu: bool
    problems: list[str]
    images: int
    boots: int
    boots_in_progress: int
    boots_stalled: int
    jobs_running: int
    watchers: int


@operations.add("GET", "/status", DatabaseError)
async def get_status(request: web.Request) -> ServerStatus:
    """Version, uptime, counts, problems."""
    services = services_of(request)
    config, boots = services.config, request.config_dict[METRICS].boots
    try:
        url, complaints = own_url(config), []
    except StubError as err:
        url, complaints = "", [f"{err.message}; {err.hint}"]
    complaints += await request.config_dict[LOADER_CHECK].problems(config.stub)
    complaints += config.warnings
    return ServerStatus(
        version=version("bootserver"),
        started_at=CLOCK.began,
        uptime_s=round(CLOCK.passed_s(), 3),
        own_url=url,
        open_menu=config.boot.open_menu,
        problems=complaints,
        images=len(services.library.images()),
        boots=await (await services.ledger.written()).count(),
        boots_in_progress=boots.in_progress(),
        boots_stalled=boots.stalled(),
        jobs_running=request.config_dict[JOBS].active,
        watchers=request.config_dict[EVENTS].watchers,
    )
