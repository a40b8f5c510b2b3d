"""What warm requests cost in system calls, by strace's count: no load on the machine changes it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.isos import make_iso
from tests.fixtures.server import Site, serving

pytestmark = pytest.mark.slow

REQUESTS = 100
LOG_S = 30
MIB = 1 << 20
WINDOW_BYTES, PROBE_BYTES, COPY_BYTES = 2 * MIB, MIB // 2, MIB // 16

CALL = re.compile(
    r'(\d+) +(\w+)\((?:\d+<(?:TCP|/\S*rescue\.iso)|AT_FDCWD(?:<\S*>)?, "\S*rescue\.iso)'
)


class Traced:
    """A server under strace, and the image of a machine that has its script."""

    def __init__(self, log: Path, url: str, http: aiohttp.ClientSession, thread: int) -> None:
        self.log, self.url, self.http, self.thread = log, url, http, thread

    async def get(self, path: str, **headers: str) -> bytes:
        async with self.http.get(f"{self.url}{path}", headers=headers) as answer:
            return await answer.read()

    async def mark(self, name: str) -> None:
        """Have that name in the log."""
        await self.get(f"/healthz?{name}")
        async with asyncio.timeout(LOG_S):
            while f"GET /healthz?{name} " not in self.log.read_text():
                await asyncio.sleep(0.05)

    def calls(self) -> Counter[str]:
        """The event loop's calls between `begin` and `end`: of sockets, and of the image."""
        text = self.log.read_text()
        between = text[text.index("GET /healthz?begin ") : text.index("GET /healthz?end ")]
        found: Counter[str] = Counter()
        for line in between.splitlines()[1:]:
            if call := CALL.match(line):
                found[call[2]] += int(call[1]) == self.thread
        return +found


@asynccontextmanager
async def traced(directory: Path) -> AsyncIterator[tuple[Traced, str]]:
    log = directory / "calls"
    strace = ("strace", "-D", "-f", "-qq", "-yy", "-s", "40", "-o", str(log))
    wanted = "recvfrom,sendto,write,sendfile,preadv2,pread64,stat,newfstatat,openat,close,fadvise64"
    site = Site(directory / "site", entering=(*strace, "-e", f"trace={wanted}"))
    make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=8 * MIB)
    async with serving(site) as running, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{site.boot_port}"
        server = Traced(log, url, http, running.process.pid)
        stub = str(directory / "stub.iso")
        token = (await site.query("stub", "build", "rescue", "-o", stub))["token"]
        script = await server.get(f"/b/{token}/boot.ipxe?mac=52-54-00-12-34-56")
        path = re.search(rb"/b/[0-9a-f]{32}/image\.iso", script)
        assert path, script
        yield server, path[0].decode()


async def test_a_warm_range_is_read_looked_at_and_written_with_one_call_each(tmp_path: Path):
    async with traced(tmp_path) as (server, path):
        for _ in range(3):
            await server.get(path, Range="bytes=0-32767")
        await server.mark("begin")
        for number in range(REQUESTS):
            first = number * 40_000
            await server.get(path, Range=f"bytes={first}-{first + 32_767}")
        await server.mark("end")

    calls = server.calls()
    marks = 1  # `end` is read after the last of them
    assert calls.pop("recvfrom") - REQUESTS in (0, marks)
    assert calls.pop("sendto", 0) <= marks  # of `begin`'s answer
    assert calls == dict.fromkeys(("preadv2", "newfstatat", "write"), REQUESTS)


async def test_a_warm_image_goes_out_by_reference_with_a_few_looks_at_it(tmp_path: Path):
    async with traced(tmp_path) as (server, path):
        for _ in range(3):
            size_bytes = len(await server.get(path))
        await server.mark("begin")
        await server.get(path)
        await server.mark("end")

    calls = server.calls()
    by_reference = size_bytes - 2 * COPY_BYTES  # what is last is copied, and what makes it be
    windows = [
        min(WINDOW_BYTES, by_reference - start) for start in range(0, by_reference, WINDOW_BYTES)
    ]
    probes = sum(-(-(window - 1) // PROBE_BYTES) + 1 for window in windows)
    copies = 2
    assert calls["preadv2"] == probes + 2 * copies
    assert calls["pread64"] == copies
    assert calls["sendfile"] >= len(windows)
    assert calls["fadvise64"] == calls["openat"] == 0
