"""What happens, as server-sent events (HTML Living Standard, 9.2), to every watcher.

The bus gives each watcher a bounded number of unread messages and drops one that falls behind. A
watcher whose connection takes nothing is cut off like every other client (`[limits] stalled_s`).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from bootserver.errors import ServerFullError
from bootserver.http.api.images import image_list
from bootserver.http.api.operations import Operations
from bootserver.http.api.services import AdminServices
from bootserver.json_values import to_json
from bootserver.limits import Limit
from bootserver.sessions.bus import Bus, Subscription

UNREAD_MAX = 1024
# Between two batches to one watcher, times the number of watchers. So 500 get what happens four
# times a second, and leave the loop to the machines.
PAUSE_S = 0.0005
UNSENT_BYTES = 64 << 10  # per watcher in the kernel, which doubles it
HEARTBEAT_S = 15.0
RECONNECT_MS = 2000
LOOK_INTERVAL_S = 1.0

log = structlog.get_logger(__name__)


class EventStream:
    """The watchers of this server, and each message in the form that they all get."""

    def __init__(self, bus: Bus, places: Limit) -> None:
        self._bus = bus
        self._places = places
        self._watching: set[Subscription] = set()
        self._written: OrderedDict[int, tuple[Mapping[str, Any], bytes]] = OrderedDict()
        self._number = 0

    @property
    def watchers(self) -> int:
        """How many there are."""
        return len(self._watching)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Sends what happens until the watcher leaves, is too slow, or the server stops."""
        # From before the answer begins: a watcher with its first line misses nothing.
        with self._places.place(), self._bus.subscribe(UNREAD_MAX) as subscription:
            self._watching.add(subscription)
            try:
                response = web.StreamResponse(
                    headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
                )
                await response.prepare(request)
                _bound_kernel_buffer(request)
                await self._send(request, response, subscription)
                return response
            finally:
                self._watching.discard(subscription)

    def close(self) -> None:
        """Ends all streams; the watchers connect again when the server is back."""
        for subscription in self._watching:
            subscription.close()

    async def _send(
        self, request: web.Request, response: web.StreamResponse, subscription: Subscription
    ) -> None:
        text = b"retry: %d\n\n" % RECONNECT_MS
        try:
            while text:
                await response.write(text)
                await asyncio.sleep(self.watchers * PAUSE_S)
                text = await self._next(subscription)
        except ConnectionError:
            return
        if subscription.was_dropped and request.transport is not None:
            log.info("events.watcher_dropped", client=request.remote)
            request.transport.abort()  # or aiohttp would wait until all is sent

    async def _next(self, subscription: Subscription) -> bytes:
        """All that is unread, a comment if nothing comes, or nothing at the end."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                return b"".join(map(self._text, _newest(await subscription.batch())))
        except TimeoutError:
            return b": still here\n\n"

    def _text(self, message: Mapping[str, Any]) -> bytes:
        """The message on the wire; written once, however many watch."""
        known = self._written.get(id(message))
        if known is not None and known[0] is message:
            return known[1]
        kind = message["type"]
        self._number += 1
        data = json.dumps(message[kind], separators=(",", ":"))
        text = f"id: {self._number}\nevent: {kind}\ndata: {data}\n\n".encode()
        self._written[id(message)] = (message, text)
        if len(self._written) > UNREAD_MAX:
            self._written.popitem(last=False)
        return text


def _bound_kernel_buffer(request: web.Request) -> None:
    """Or the kernel would take megabytes for each watcher that sleeps."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)


def _newest(batch: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """The last message about each boot, each job and the library: it has all that is new.

    A watcher that keeps up gets every message; one that does not has less to read.
    """
    last: dict[tuple[str, str], Mapping[str, Any]] = {}
    for message in batch:
        kind = message["type"]
        about = (kind, message[kind].get("id", ""))
        last.pop(about, None)  # it takes its place at the end
        last[about] = message
    return last.values()


EVENTS = web.AppKey("events", EventStream)


operations = Operations()


@operations.add("GET", "/events", ServerFullError, media_types=("text/event-stream",))
async def watch(request: web.Request) -> web.StreamResponse:
    """What happens, as server-sent events."""
    return await request.config_dict[EVENTS].send(request)


async def tell_of_images(services: AdminServices) -> None:
    """Tells the watchers when the library changes or reads on; looks once a second, for ever."""
    published = _library(services)
    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        library = _library(services)
        if library != published:
            published = library
            services.bus.publish({"type": "images", "images": to_json(image_list(services))})


def _library(services: AdminServices) -> tuple[object, ...]:
    """What the library has, and how far it is read. What did not change are the same objects."""
    images = services.library.images()
    progress = [services.library.progress(image.id) for image in images]
    return images, progress, services.library.ignored
