"""/metrics for Prometheus: what the running server has counted, and how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import version

import structlog
from aiohttp import hdrs, web
from prometheus_client import Gauge, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bootserver.http.api.events import EVENTS
from bootserver.http.api.jobs import JOBS
from bootserver.http.api.services import AdminServices
from bootserver.images.recipes import RECIPE_NAMES, recipe_of
from bootserver.limits import ServerLimits
from bootserver.sessions.metrics import OTHER, BootMetrics

UNREAD_MAX = 100_000  # messages: counting is quick, and what is dropped here is not counted
IMAGES_MAX = 200

log = structlog.get_logger(__name__)


class ServerMetrics:
    """The metrics of a running server."""

    def __init__(self, services: AdminServices) -> None:
        self._services = services
        self._known: dict[str, str] = {}  # the images that have lines of their own, their recipes
        self.boots = BootMetrics(self._image_label, _recipe_label)
        self.boots.count_boots_under_way()
        for boot in services.ledger.live_boots():  # before any machine can go on with one
            self.boots.pass_over(boot)
        registry = self.boots.registry
        self._images = Gauge("library_images", "Images by state", ("state",), registry=registry)
        self._ledger_boots = Gauge("ledger_boots", "Boots in the ledger", registry=registry)
        self._watchers = Gauge("event_watchers", "Who watches the event stream", registry=registry)
        self._jobs = Gauge("image_jobs", "Images that are being added", registry=registry)
        registry.register(_LimitCollector(services.limits))
        Info("bootserver", "The server", registry=registry).info({"version": version("bootserver")})

    async def follow(self) -> None:
        """Count what happens, for ever."""
        with self._services.bus.subscribe(UNREAD_MAX) as subscription:
            while batch := await subscription.batch():
                for message in batch:
                    if message["type"] == "boot":
                        self.boots.add(message["boot"])
        log.error("metrics.incomplete", reason="boots came faster than they were counted")

    async def answer(self, request: web.Request) -> web.Response:
        """Prometheus' text, or OpenMetrics for who accepts that."""
        self._look_at_images()
        store = await self._services.ledger.written()
        self._ledger_boots.set(await store.count())
        self._watchers.set(request.config_dict[EVENTS].watchers)
        self._jobs.set(request.config_dict[JOBS].active)
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        body = await asyncio.to_thread(encode, self.boots.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    def _look_at_images(self) -> None:
        images = self._services.library.images()
        counts = dict.fromkeys(("ready", "being_read", "unusable"), 0)
        for image in images:
            state = "unusable" if image.problem else "ready" if image.sha256 else "being_read"
            counts[state] += 1
            if image.id not in self._known and len(self._known) < IMAGES_MAX and image.facts:
                self._known[image.id] = recipe_of(image).recipe.name
                self.boots.begin_at_zero(image.id, self._known[image.id])
        for state, count in counts.items():
            self._images.labels(state).set(count)

    def _image_label(self, image: str) -> str:
        if image not in self._known:
            self._look_at_images()
        return image if image in self._known else OTHER


class _LimitCollector(Collector):
    """Each limit: how long a client has; of a number what may be, what is, what was refused."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        """All of them, by the names that they have in config.toml."""
        used = GaugeMetricFamily("limit_used", "How much of a limit is in use", labels=["limit"])
        most = GaugeMetricFamily("limit_max", "The limit", labels=["limit"])
        refused = CounterMetricFamily(
            "limit_refused", "How many the limit has refused, or ended for others", labels=["limit"]
        )
        for name, limit in self._limits.by_name().items():
            used.add_metric([name], limit.used)
            most.add_metric([name], limit.max)
            refused.add_metric([name], limit.refused)
        times = GaugeMetricFamily("limit_seconds", "How long a client has", labels=["limit"])
        for name, value in self._limits.config.model_dump().items():
            if name.endswith("_s"):
                times.add_metric([name], value)
        yield from (used, most, refused, times)


def _recipe_label(recipe: str) -> str:
    return recipe if recipe in RECIPE_NAMES or not recipe else OTHER


METRICS = web.AppKey("metrics", ServerMetrics)


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics"""
    return await request.config_dict[METRICS].answer(request)
