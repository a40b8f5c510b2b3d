"""The API's aiohttp application, to be mounted at /api/v1, and what runs behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from bootserver.amt.serial.consoles import Consoles
from bootserver.http.api.amt_console import CONSOLES
from bootserver.http.api.events import EVENTS, EventStream, tell_of_images
from bootserver.http.api.jobs import JOBS, ImageJobs
from bootserver.http.api.openapi import OPERATIONS
from bootserver.http.api.services import SERVICES, AdminServices
from bootserver.http.api.status import LOADER_CHECK, LoaderCheck
from bootserver.http.incoming import route
from bootserver.http.metrics import METRICS, ServerMetrics

API_ROOT = "/api/v1"


def add_api(app: web.Application, services: AdminServices) -> None:
    """Mount the API, and have what it works with in `app`, for other routes too."""
    app[SERVICES] = services
    app[JOBS] = ImageJobs(services.bus, services.limits.uploads)
    app[EVENTS] = EventStream(services.bus, services.limits.watchers)
    app[CONSOLES] = Consoles(services.amt_hosts)
    app[METRICS] = ServerMetrics(services)
    app[LOADER_CHECK] = LoaderCheck()
    api = web.Application()
    for operation in OPERATIONS:
        api.router.add_route(operation.method, route(operation.path), operation.respond)
    app.add_subapp(API_ROOT, api)
    app.cleanup_ctx.append(_background)
    app.on_shutdown.append(_end_streams)


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Count and tell while the server runs."""
    tasks = [
        asyncio.create_task(app[METRICS].follow(), name="metrics"),
        asyncio.create_task(tell_of_images(app[SERVICES]), name="images-events"),
    ]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await app[JOBS].close()
    await app[SERVICES].amt_boots.close()


async def _end_streams(app: web.Application) -> None:
    app[EVENTS].close()
    await app[CONSOLES].close()
