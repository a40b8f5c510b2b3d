"""The connections of a plane: how many, for how long, and which one makes way for another.

A connection is busy with a request, or it waits for one: its first, or the next.

- *At the limit*, a waiting connection is closed for the new one: the oldest of the address with the
  most. So a crowd from one address displaces itself. An honest client has sent its request by then,
  and one that rests between two requests can connect again.
- *While all are busy*, new ones wait in the kernel until one is free. A machine that waits boots
  later; one whose connection is refused gives up.
- *At the limit of one address*, a new one is closed if all of that address are busy. It cannot wait
  in the kernel: whose connection is next there is unknown.
- *In time*: a client has `[limits] header_s` for a whole header, however slowly its bytes come, and
  `idle_s` between two requests. One that takes nothing of its answer for `stalled_s` is cut
  off. A handler that waits for a body sets its own limit.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from bootserver.config import LimitsConfig
from bootserver.errors import ServerFullError
from bootserver.http.incoming import Networks, is_among
from bootserver.limits import Limit
from bootserver.log import Gathered

NO_DESCRIPTOR_S = 1.0
LOOK_S = 1.0

log = structlog.get_logger(__name__)


class PooledConnection(Protocol):
    """A client's connection, as far as the pool uses it."""

    address: str
    was_answered: bool  # by the fast lane, since the pool has looked

    @property
    def has_gone(self) -> bool:
        """True once it is neither there nor on its way."""

    def drop(self) -> None:
        """End it now, whatever is unsent."""

    def look(self) -> None:
        """End it if it takes too long."""


@dataclass(slots=True)
class _Crowd:
    """The connections of one address, or all of them."""

    open: dict[PooledConnection, None] = field(default_factory=dict)
    waiting: dict[PooledConnection, None] = field(default_factory=dict)  # the longest wait first


class Listening(Protocol):
    """A port, as far as its connections have a say in it."""

    def listen(self) -> None:
        """Accept connections; a second call does nothing."""

    def pause(self) -> None:
        """Accept none for now."""


class Connections:
    """The connections of one plane, however many ports it has."""

    def __init__(
        self,
        config: LimitsConfig,
        limit: Limit,
        per_address: Limit | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.trusted: Networks = [ipaddress.ip_network(text) for text in trusted_proxies]
        self._limit = limit
        self._per_address = per_address
        self._all = _Crowd()
        self._by_address: dict[str, _Crowd] = {}
        self._forwarded: Counter[str] = Counter()
        self._ports: set[Listening] = set()
        self._watching: asyncio.Task[None] | None = None
        self._full = Gathered(partial(log.warning, "connections.full"))
        self._starved = Gathered(partial(log.error, "connections.no_descriptor"))
        self.client_left = Gathered(partial(log.info, "http.client_left"))
        self.bad_request = Gathered(partial(log.warning, "http.bad_request"))

    # ---- Ports ----

    def begin(self, port: Listening) -> None:
        """Accept what comes to that port."""
        self._ports.add(port)
        port.listen()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="connections")

    async def end(self, port: Listening) -> None:
        """Nothing more comes from that port."""
        self._ports.discard(port)
        if not self._ports and self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    def has_room(self) -> bool:
        """True if one more can be admitted; if not, all ports stop listening until it can."""
        if len(self._all.open) < self._limit.max or self._all.waiting:
            return True
        self._full(limit=self._limit.max, busy=len(self._all.open))
        self._pause()
        return False

    def no_descriptor(self, err: OSError) -> None:
        """A connection cannot be accepted for want of a descriptor: make room, try again soon."""
        self._starved(reason=err.strerror, connections=len(self._all.open))
        self._make_way(self._most_waiting())
        self._pause()
        asyncio.get_running_loop().call_later(NO_DESCRIPTOR_S, self._resume)

    def _pause(self) -> None:
        for port in self._ports:
            port.pause()

    def _resume(self) -> None:
        for port in self._ports:
            port.listen()

    # ---- Connections ----

    def admit(self, address: str) -> bool:
        """Make room for one of that address; False if it has too many that are busy."""
        mine = self._by_address.get(address)
        one = None if is_among(address, self.trusted) else self._per_address
        if mine and one and len(mine.open) >= one.max:
            one.refused += 1
            self._full(limit=one.max, address=address)
            if not self._make_way(mine):
                return False
        if len(self._all.open) >= self._limit.max:
            self._limit.refused += 1
            self._full(limit=self._limit.max)
            self._make_way(self._most_waiting())
        return True

    def enter(self, connection: PooledConnection) -> None:
        """A connection is there, and waits for its first request."""
        for crowd in (self._all, self._by_address.setdefault(connection.address, _Crowd())):
            crowd.open[connection] = None
            crowd.waiting[connection] = None
        self._limit.used = len(self._all.open)
        if one := self._per_address:
            one.used = max(one.used, len(self._by_address[connection.address].open))

    def leave(self, connection: PooledConnection) -> None:
        """A connection is gone; its place is free, or will be once its request is dealt with.

        A second call does nothing.
        """
        if connection not in self._all.waiting:
            return
        mine = self._by_address[connection.address]
        for crowd in (self._all, mine):
            del crowd.open[connection]
            del crowd.waiting[connection]
        if not mine.open:
            del self._by_address[connection.address]
        self._limit.used = len(self._all.open)
        if (one := self._per_address) and one.used == len(mine.open) + 1:
            one.used = max((len(crowd.open) for crowd in self._by_address.values()), default=0)
        self._resume()

    def is_waiting(self, connection: PooledConnection) -> bool:
        """True if it waits for a request."""
        return connection in self._all.waiting

    @contextmanager
    def answering(self, connection: PooledConnection, client: str) -> Iterator[None]:
        """The connection is busy with a request of that client, who may be behind a proxy.

        Raises ServerFullError if that client has too many requests under way.
        """
        if connection not in self._all.open:  # its client has left before the answer began
            self.enter(connection)
        crowds = (self._all, self._by_address[connection.address])
        for crowd in crowds:
            del crowd.waiting[connection]
        try:
            if client == connection.address or self._per_address is None:
                yield
                return
            if self._forwarded[client] >= self._per_address.max:
                self._per_address.refused += 1
                raise ServerFullError(f"{client} has {self._per_address.max} requests here already")
            self._forwarded[client] += 1
            try:
                yield
            finally:
                self._forwarded[client] -= 1
                if not self._forwarded[client]:
                    del self._forwarded[client]
        finally:
            for crowd in crowds:
                crowd.waiting[connection] = None
            if connection.has_gone:
                self.leave(connection)
            self._resume()

    def _most_waiting(self) -> _Crowd:
        """The address that has the most connections waiting."""
        crowds = self._by_address.values()
        return max(crowds, key=lambda crowd: len(crowd.waiting), default=self._all)

    def _make_way(self, crowd: _Crowd) -> bool:
        """End the connection that has waited longest; False if none waits."""
        while crowd.waiting:
            connection = next(iter(crowd.waiting))
            if not connection.was_answered:
                connection.drop()
                return True
            connection.was_answered = False  # by the lane, since it was put there
            for each in (self._all, self._by_address[connection.address]):
                each.waiting[connection] = each.waiting.pop(connection)
        return False

    async def _watch(self) -> None:
        """End what takes too long, for ever."""
        config = self.config
        pause_s = min(LOOK_S, config.header_s / 4, config.stalled_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            for connection in list(self._all.open):
                try:
                    connection.look()
                except Exception:  # the time-outs of all others go on
                    log.exception("connections.not_looked_at", client=connection.address)
