"""A loopback UDP relay for TFTP that loses datagrams by a seeded dice, in both directions.

To the client the relay is the server: it answers every client from the one port that the client
wrote to, and keeps track of the port (TID) that the real server chose for each.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

Address = tuple[Any, ...]


class LossyRelay(asyncio.DatagramProtocol):
    """Faces the clients; `dropped` and `carried` count what became of their datagrams and ours."""

    def __init__(self, server: Address, loss: float, seed: int) -> None:
        self.server = server
        self.loss = loss
        self.dropped = 0
        self.carried = 0
        self.port = 0
        self._dice_up = random.Random(f"up {seed}")
        self._dice_down = random.Random(f"down {seed}")
        self._upstreams: dict[Address, asyncio.Task[_Upstream]] = {}
        self._facing_clients: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self._facing_clients = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, datagram: bytes, client: Address) -> None:
        if self._is_lost(self._dice_up):
            return
        if client not in self._upstreams:
            self._upstreams[client] = asyncio.create_task(self._open_upstream(client))
        upstream = self._upstreams[client]
        if upstream.done():
            upstream.result().pass_on(datagram)
        else:
            upstream.add_done_callback(lambda task: task.result().pass_on(datagram))

    def pass_back(self, datagram: bytes, client: Address) -> None:
        if not self._is_lost(self._dice_down):
            self._facing_clients.sendto(datagram, client)

    async def close(self) -> None:
        for upstream in await asyncio.gather(*self._upstreams.values()):
            upstream.transport.close()
        self._facing_clients.close()

    def _is_lost(self, dice: random.Random) -> bool:
        lost = dice.random() < self.loss
        self.dropped += lost
        self.carried += not lost
        return lost

    async def _open_upstream(self, client: Address) -> _Upstream:
        _, upstream = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Upstream(self, client), local_addr=(self.server[0], 0)
        )
        return upstream


class _Upstream(asyncio.DatagramProtocol):
    """Faces the server on behalf of one client."""

    def __init__(self, relay: LossyRelay, client: Address) -> None:
        self._relay = relay
        self._client = client
        self._server_tid: Address | None = None
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def pass_on(self, datagram: bytes) -> None:
        if datagram[:2] == b"\x00\x01" or self._server_tid is None:
            self.transport.sendto(datagram, self._relay.server)
        else:
            self.transport.sendto(datagram, self._server_tid)

    def datagram_received(self, datagram: bytes, server: Address) -> None:
        self._server_tid = server
        self._relay.pass_back(datagram, self._client)


@asynccontextmanager
async def lossy_relay(server: Address, *, loss: float, seed: int) -> AsyncIterator[LossyRelay]:
    """A relay in front of `server`, on its address and a port of its own."""
    _, relay = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: LossyRelay(server, loss, seed), local_addr=(server[0], 0)
    )
    try:
        yield relay
    finally:
        await relay.close()
