"""kill -9 at random, again and again: what was acknowledged is there, and nothing half done is.

`KILLS=100 SEED=7 pytest tests/test_kill_nine.py` kills a hundred times; `make test` five.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.fixtures.isos import make_iso
from tests.fixtures.server import COMMAND, RunningServer, Site, serving

KILLS = int(os.environ.get("KILLS", "5"))
SEED = int(os.environ.get("SEED", "1"))
LIVES_S = 2.0  # a server lives up to so long before it is killed
STARTING = 0.2  # of all kills come while the server starts
SETTLED_S = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 + 30 * KILLS)]


@dataclass
class Known:
    """What was acknowledged so far, and how often."""

    images: dict[str, str] = field(default_factory=dict)  # id: SHA-256
    stubs: dict[str, str] = field(default_factory=dict)  # token: SHA-256
    profiles: set[str] = field(default_factory=set)  # ids
    boots: dict[str, list[str]] = field(default_factory=dict)  # id: phases
    counts: Counter[str] = field(default_factory=Counter)


class Torment:
    """One site, its clients, and the one who kills."""

    def __init__(self, site: Site, directory: Path, mirror: str) -> None:
        self.site = site
        self.random = random.Random(SEED)
        self.known = Known()
        self.directory = directory
        self.mirror = mirror
        self.number = 0
        self.sums: dict[str, str] = {}  # of all images that were ever offered, by id
        self.admin = f"http://127.0.0.1:{site.admin_port}/api/v1"
        self.boot = f"http://127.0.0.1:{site.boot_port}/b"

    def offer(self) -> Path:
        """An image that is not in the library yet."""
        self.number += 1
        path = self.directory / f"image{self.number}.iso"
        make_iso(path, {"random": self.random.randbytes(400_000)}, bios=True)
        self.sums[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
        return path

    # ---- What clients do until the server dies ----

    async def add_path(self, http: aiohttp.ClientSession) -> None:
        """The command, which is killed as well, every second time."""
        source = self.offer()
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "images", "add", str(source), cwd=self.site.path, env=self.site.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if await process.wait() == 0:
                self.acknowledged_image(source.stem, "images added by path")
        finally:
            if process.returncode is None:
                if self.random.random() < 0.5:
                    process.kill()
                if await process.wait() == 0:
                    self.acknowledged_image(source.stem, "images added by path")

    async def add_url(self, http: aiohttp.ClientSession) -> None:
        source = self.offer()
        body = {"url": f"{self.mirror}/{source.name}"}
        async with http.post(f"{self.admin}/images", json=body) as answer:
            assert answer.status == 202, await answer.text()
            job = await answer.json()
        while not job["ended_at"]:
            await asyncio.sleep(0.05)
            async with http.get(f"{self.admin}/jobs/{job['id']}") as answer:
                job = await answer.json()
        assert job["state"] == "done", job
        self.acknowledged_image(source.stem, "images added by URL")

    def acknowledged_image(self, image_id: str, what: str) -> None:
        self.known.images[image_id] = self.sums[image_id]
        self.known.counts[what] += 1

    async def build_stub(self, http: aiohttp.ClientSession) -> None:
        order = {"image": "rescue", "vlan": self.random.randrange(1, 4000)}
        async with http.post(f"{self.admin}/stubs", json=order) as answer:
            assert answer.status == 201, await answer.text()
            stub = await answer.json()
        self.known.stubs[stub["token"]] = stub["sha256"]
        self.known.counts["stubs"] += 1

    async def write_profile(self, http: aiohttp.ClientSession) -> None:
        self.number += 1
        wanted = {"serial": f"S{self.number}", "image": "rescue"}
        async with http.post(f"{self.admin}/profiles", json=wanted) as answer:
            assert answer.status == 201, await answer.text()
            self.known.profiles.add((await answer.json())["id"])
        self.known.counts["profiles"] += 1

    async def boot_a_machine(self, http: aiohttp.ClientSession) -> None:
        while not self.known.stubs:
            await asyncio.sleep(0.05)
            async with http.get(f"{self.admin}/status"):
                pass  # an error ends this, when the server is gone
        token = next(reversed(self.known.stubs))
        self.number += 1
        query = {"mac": f"52-54-00-00-{self.number >> 8:02x}-{self.number & 255:02x}"}
        async with http.get(f"{self.boot}/{token}/boot.ipxe", params=query) as answer:
            [path] = re.findall(r"^initrd .*/b/(\S+)/image\.iso", await answer.text(), re.M)
        for place in ("image.iso", "phase/handoff"):
            async with http.get(f"{self.boot}/{path}/{place}") as answer:
                assert answer.status == 200
                await answer.read()
        async with http.get(f"{self.admin}/boots") as answer:
            for boot in (await answer.json())["boots"]:
                self.known.boots[boot["id"]] = [phase["phase"] for phase in boot["phases"]]
        self.known.counts["boots"] += 1

    async def go_on(
        self, act: Callable[[aiohttp.ClientSession], Awaitable[None]], http: aiohttp.ClientSession
    ) -> None:
        """Do it again and again, until the server is gone."""
        with suppress(aiohttp.ClientError):
            while True:
                await act(http)

    # ---- One life ----

    async def live_and_die(self) -> None:
        (self.site.path / "server.log").unlink(missing_ok=True)  # its last line may be half
        if self.random.random() < STARTING:
            await self.die_at_the_start()
            return
        async with serving(self.site) as server, aiohttp.ClientSession() as http:
            self.nothing_is_left_over()
            await self.all_is_there(http, server)
            acts = [self.add_path, self.add_url, self.build_stub]
            acts += [self.write_profile, self.boot_a_machine]
            clients = [asyncio.create_task(self.go_on(act, http)) for act in acts]
            await asyncio.sleep(self.random.uniform(0, LIVES_S))
            server.process.kill()
            await server.process.wait()
            clients[0].cancel()  # whose command may go on without a server
            done, _ = await asyncio.wait(clients, timeout=SETTLED_S)
            for client in clients:
                assert client in done
                if not client.cancelled() and client.exception():
                    raise AssertionError(client) from client.exception()

    async def die_at_the_start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", cwd=self.site.path, env=self.site.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.sleep(self.random.uniform(0, LIVES_S))
        process.kill()
        await process.wait()
        self.known.counts["starts that were killed"] += 1

    # ---- What must be so after each start ----

    def nothing_is_left_over(self) -> None:
        there = [*(self.site.path / "images").rglob("*"), *(self.site.path / "var").rglob("*")]
        left = [path.name for path in there if path.name.startswith(".")]
        assert left == []

    async def all_is_there(self, http: aiohttp.ClientSession, server: RunningServer) -> None:
        known, images = self.known, self.site.path / "images"
        ready = False
        while not ready:
            async with http.get(f"{self.admin}/images/rescue") as answer:
                ready = answer.status == 200 and bool((await answer.json())["sha256"])
            await asyncio.sleep(0.05)
        for path in images.glob("image*.iso"):  # acknowledged or not: none is half
            assert hashlib.sha256(path.read_bytes()).hexdigest() == self.sums[path.stem], path
        assert known.images.keys() <= {path.stem for path in images.iterdir()}
        async with http.get(f"{self.admin}/profiles") as answer:
            listed = {profile["id"] for profile in (await answer.json())["profiles"]}
        assert known.profiles <= listed
        for token, sha256 in list(known.stubs.items())[-5:]:
            async with http.get(f"{self.boot}/{token}/stub.iso") as answer:
                assert hashlib.sha256(await answer.read()).hexdigest() == sha256
        for boot_id, phases in known.boots.items():
            async with http.get(f"{self.admin}/boots/{boot_id}") as answer:
                assert answer.status == 200
                now = [phase["phase"] for phase in (await answer.json())["phases"]]
            assert now[: len(phases)] == phases
        assert not [line for line in server.log_lines if "exception" in line]
        known.counts["starts"] += 1
        for image_id in list(known.images):  # the library stays small
            (images / f"{image_id}.iso").unlink()
            del known.images[image_id]
        known.boots.clear()


@asynccontextmanager
async def slow_mirror(directory: Path) -> AsyncIterator[str]:
    """Serves the files of the directory, 50 KB at a time."""

    async def handle(request: web.Request) -> web.StreamResponse:
        data = (directory / request.match_info["name"]).read_bytes()
        response = web.StreamResponse(headers={"ETag": '"v1"'})
        response.content_length = len(data)
        await response.prepare(request)
        with suppress(ConnectionError):  # its reader was killed
            for start in range(0, len(data), 50_000):
                await response.write(data[start : start + 50_000])
                await asyncio.sleep(0.02)
        return response

    app = web.Application()
    app.add_routes([web.get("/{name}", handle)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_a_killed_server_starts_again_with_all_that_it_acknowledged(tmp_path: Path):
    site = Site(tmp_path / "site")
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    await site.build_stub("rescue")  # packing takes longer than a life
    offers = tmp_path / "offers"
    offers.mkdir()
    async with slow_mirror(offers) as mirror:
        torment = Torment(site, offers, mirror)
        for number in range(KILLS):
            await torment.live_and_die()
            print(number + 1, dict(torment.known.counts), flush=True)
        async with serving(site) as server, aiohttp.ClientSession() as http:
            torment.nothing_is_left_over()
            await torment.all_is_there(http, server)

    counts = torment.known.counts
    assert counts["starts"] + counts["starts that were killed"] == KILLS + 1
