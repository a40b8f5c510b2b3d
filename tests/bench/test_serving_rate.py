"""The clients and the table of the benchmark beside nginx; what it measures is not judged."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.bench.serving_rate import CASES, Figures, Reader, cpu_s, drain, table

BODY = bytes(300_000)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_get("/image", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/image"
    await runner.cleanup()


async def test_a_reader_takes_one_body_after_the_other(url: str):
    def two_bodies() -> int:
        reader, total = Reader(url), 0
        while total < 2 * len(BODY):
            total += reader.read(100_000)
        reader.connection.close()
        return total

    assert await asyncio.to_thread(two_bodies) == 2 * len(BODY)


async def test_fast_and_slow_readers_take_bytes_until_the_time_is_over(url: str):
    assert await asyncio.to_thread(drain, url, 2, 2, 0.3) > 0


def test_the_table_has_the_medians_and_how_they_compare():
    case = CASES[2]
    measured = {
        (case.name, "bootserver"): [Figures(rate, 40e-6) for rate in (10.0, 30.0, 20.0)],
        (case.name, "nginx"): [Figures(40.0, 20e-6)],
    }

    line = table([case], measured).splitlines()[-1]

    assert line == f"| {case.name} | 20.00 requests/s | 40.00 | **0.50** | 2.00 | 40 us/request |"


def test_this_process_has_used_its_processor():

    assert cpu_s(os.getpid()) > 0
