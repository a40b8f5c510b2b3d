"""A console's connection to the redirection port, and how fast it is."""

from __future__ import annotations

import asyncio
import socket

import pytest

from bootserver.bench.fake_amt.link import ConsoleLink
from bootserver.bench.fake_amt.spec import Segments

PINGS = 8192
PING = b"\x44" + bytes(7)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long everybody sleeps, who then does not."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return taken


@pytest.mark.parametrize(("is_slow", "seconds"), [(True, 8 * 8 * PINGS / 10_000_000), (False, 0)])
async def test_a_slow_link_takes_its_time_for_each_byte(
    pauses: list[float], is_slow: bool, seconds: float
):

    ours, consoles = socket.socketpair()
    with consoles:
        consoles.sendall(PINGS * PING)
    reader, writer = await asyncio.open_connection(sock=ours)
    link = ConsoleLink(reader, writer, Segments.WHOLE, lambda: is_slow)

    messages = 0
    while await link.next(30):
        messages += 1

    assert messages == PINGS
    assert sum(pauses) == pytest.approx(seconds)
    writer.close()
