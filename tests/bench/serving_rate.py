"""How fast one image goes out over HTTP, whole and in ranges, from us and from nginx beside it.

    python -m tests.bench.serving_rate [--rounds 5] [--seconds 2] [--only ranges]

Both serve the same 1 GiB file over loopback, a worker each. They take turns within a round, so that
both have the same machine; what is printed are medians. Ranges are asked for by wrk. Bulk is taken
by a process of ours that has the kernel drop the bytes (tcp(7), MSG_TRUNC), so that the client's
own copying is not what is measured. nginx and wrk come out of Debian's packages, uninstalled.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import aiohttp

from bootserver.bench.ports import free_port
from bootserver.stub.packages import PackageSource
from tests.fixtures.isos import make_iso
from tests.fixtures.server import Site, serving

IMAGE_BYTES = 1 << 30
SLOW_BYTES_PER_S = 500_000
SLOW_PAUSE_S = 0.1
PACKAGES = Path(__file__).parents[1] / "isos" / "serving-peers"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

NGINX = """
user {user};
daemon off;
worker_processes 1;
error_log stderr error;
pid {directory}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; }}
}}
"""
RANGES = """
local size, length = {size}, {length}
math.randomseed({seed})
request = function()
    local first = math.random(0, (size - length) / 512) * 512
    local range = string.format("bytes=%d-%d", first, first + length - 1)
    return wrk.format("GET", nil, {{["Range"] = range}})
end
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of a server."""

    name: str
    range_bytes: int = 0  # 0: the whole file, again and again
    fast: int = 8  # connections
    slow: int = 0

    @property
    def unit(self) -> str:
        """Of its rate."""
        return "requests/s" if self.range_bytes else "GB/s"


CASES = (
    Case("whole file, 1 stream", fast=1),
    Case("whole file, 32 streams", fast=32),
    *(Case(f"{kib} KiB ranges, 8 connections", kib << 10) for kib in (2, 32, 128)),
    Case("100 fast + 400 slow", fast=100, slow=400),
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is up."""

    name: str
    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did in one round: per second, and CPU seconds for each of these."""

    rate: float
    cpu_s: float


# ---- Servers ---------------------------------------------------------------------------------


@asynccontextmanager
async def ours(directory: Path, image: Path) -> AsyncIterator[Contender]:
    """bootserver with a machine that has its script."""
    os.environ["BOOTSERVER_IMAGES__SCAN_INTERVAL_S"] = "2"  # as it is outside of the tests
    site = Site(directory)
    site.add(image, "rescue.iso")
    async with serving(site) as server:
        built = await site.query("stub", "build", "rescue", "-o", str(directory / "stub.iso"))
        token = built["token"]
        base = f"http://127.0.0.1:{site.boot_port}/b"
        async with aiohttp.ClientSession() as http:
            query = "mac=52-54-00-12-34-56&platform=pcbios"
            for _ in range(120):
                async with http.get(f"{base}/{token}/boot.ipxe?{query}") as answer:
                    script = await answer.text()
                if found := re.search(r"/b/([0-9a-f]+)/image\.iso", script):
                    break
                await asyncio.sleep(0.5)
            else:
                raise SystemExit(f"there is no image in this script:\n{script}")
        yield Contender("bootserver", f"{base}/{found[1]}/image.iso", server.process.pid)


@asynccontextmanager
async def nginx(directory: Path, image: Path, peers: Path) -> AsyncIterator[Contender]:
    """nginx with one worker, which serves the image's directory."""
    directory.mkdir()
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        NGINX.format(user=getpass.getuser(), directory=directory, port=port, root=image.parent)
    )
    process = await asyncio.create_subprocess_exec(
        *(peers / "usr/sbin/nginx", "-c", config, "-p", directory)
    )
    try:
        await until_open(port)
        yield Contender("nginx", f"http://127.0.0.1:{port}/{image.name}", process.pid)
    finally:
        process.terminate()
        await process.wait()


async def until_open(port: int) -> None:
    """Return once something listens there."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def peers() -> Path:
    """The directory with nginx and wrk, unpacked the first time."""
    if not (PACKAGES / "usr/bin/wrk").exists():
        PACKAGES.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as workdir:
            source = PackageSource(Path(workdir))
            for package in ("nginx", "wrk", "libluajit-5.1-2"):
                root = source.unpack(package).root
                subprocess.run(["cp", "-a", f"{root}/.", PACKAGES], check=True)
    return PACKAGES


# ---- Clients ---------------------------------------------------------------------------------


def ask_for_ranges(case: Case, url: str, seconds: float, seed: int, peers: Path) -> float:
    """Requests per second of random ranges; wrk ends with an error if one is no answer."""
    with TemporaryDirectory() as directory:
        script = Path(directory) / "ranges.lua"
        script.write_text(RANGES.format(size=IMAGE_BYTES, length=case.range_bytes, seed=seed))
        wrk = str(peers / "usr/bin/wrk")
        command = [wrk, "-t1", f"-c{case.fast}", f"-d{seconds:g}s", "-s", str(script)]
        libraries = next((peers / "usr/lib").glob("*/libluajit*")).parent
        asked = subprocess.run(
            [*command, url],
            env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
            capture_output=True,
            text=True,
            check=True,
        )
    if "Non-2xx" in asked.stdout or "Socket errors" in asked.stdout:
        raise SystemExit(asked.stdout)
    found = re.search(r"Requests/sec:\s+([\d.]+)", asked.stdout)
    assert found, asked.stdout
    return float(found[1])


class Reader:
    """A connection that fetches the same file again and again, and has the kernel drop it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        self.connection = socket.create_connection((place.hostname, place.port))
        self._request = f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        self._left = 0
        self._ask()
        self.connection.setblocking(False)

    def _ask(self) -> None:
        self.connection.sendall(self._request)
        self._head = b""

    def read(self, most: int) -> int:
        """So many bytes of the body, or fewer."""
        try:
            if not self._left:
                return self._read_head()
            got = self.connection.recv_into(_NOTHING, min(most, self._left), socket.MSG_TRUNC)
        except BlockingIOError:
            return 0
        if not got:
            raise SystemExit("the server has ended a connection in the middle")
        self._left -= got
        if not self._left:
            self._ask()
        return got

    def _read_head(self) -> int:
        self._head += self.connection.recv(4096)
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return 0
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(head.decode())
        found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        assert found, head
        self._left = int(found[1]) - len(body)
        return len(body)


_NOTHING = bytearray(4 << 20)


def drain(url: str, fast: int, slow: int, seconds: float) -> int:
    """How many bytes all these readers got in that time."""
    with ExitStack() as stack:
        readers = [Reader(url) for _ in range(fast + slow)]
        for reader in readers:
            stack.enter_context(reader.connection)
        selector = stack.enter_context(selectors.DefaultSelector())
        for reader in readers[:fast]:
            selector.register(reader.connection, selectors.EVENT_READ, reader)
        total, begun = 0, time.monotonic()
        next_slow = begun
        while (now := time.monotonic()) < begun + seconds:
            if now >= next_slow:
                at_once = int(SLOW_BYTES_PER_S * SLOW_PAUSE_S)
                total += sum(reader.read(at_once) for reader in readers[fast:])
                next_slow += SLOW_PAUSE_S
            for key, _ in selector.select(0.01):
                total += key.data.read(len(_NOTHING))
    return total


def take_bulk(case: Case, url: str, seconds: float) -> float:
    """GB per second that a process of ours takes with so many connections."""
    command = [sys.executable, "-m", "tests.bench.serving_rate", "--drain", url]
    counts = [str(case.fast), str(case.slow), str(seconds)]
    drained = subprocess.run([*command, *counts], capture_output=True, text=True, check=True)
    return int(drained.stdout) / seconds / 1e9


# ---- Measuring -------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """What that process and its children have used."""
    total = 0
    for process in (pid, *children(pid)):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])  # proc(5): utime, stime
    return total / TICKS_PER_S


def children(pid: int) -> Iterator[int]:
    """The processes that it has started."""
    yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def measure(case: Case, contender: Contender, seconds: float, seed: int, peers: Path) -> Figures:
    """What that server does with that case."""
    before = cpu_s(contender.pid)
    if case.range_bytes:
        rate = ask_for_ranges(case, contender.url, seconds, seed, peers)
    else:
        rate = take_bulk(case, contender.url, seconds)
    used = cpu_s(contender.pid) - before
    return Figures(rate, used / max(rate * seconds, 1e-9))


async def compare(rounds: int, seconds: float, only: str, results: Path | None) -> None:
    """Measures, and prints a table."""
    unpacked = peers()
    cases = [case for case in CASES if only in case.name]
    measured: dict[tuple[str, str], list[Figures]] = {}
    loads = [os.getloadavg()[0]]
    with TemporaryDirectory(dir=Path.cwd()) as name:
        directory = Path(name)
        image = directory / "peer" / "rescue.iso"
        image.parent.mkdir()
        make_iso(image, bios=True, pad_bytes=IMAGE_BYTES)
        async with (
            ours(directory / "ours", image) as us,
            nginx(directory / "nginx", image, unpacked) as them,
        ):
            for number in range(rounds):
                for case in cases:
                    for contender in (us, them):
                        figures = await asyncio.to_thread(
                            measure, case, contender, seconds, number, unpacked
                        )
                        measured.setdefault((case.name, contender.name), []).append(figures)
                loads.append(os.getloadavg()[0])
    print(table(cases, measured))
    print(f"medians of {rounds} rounds of {seconds:g} s; load average {min(loads)} to {max(loads)}")
    if results:
        results.write_text(json.dumps(as_json(measured, loads), indent=1) + "\n")


def table(cases: list[Case], measured: Mapping[tuple[str, str], list[Figures]]) -> str:
    """The medians, and how they compare, in Markdown."""
    lines = [
        "| case | ours | nginx | rate, x nginx | CPU, x nginx | CPU, ours |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        rates, costs = (
            {
                name: statistics.median(getattr(each, field) for each in measured[case.name, name])
                for name in ("bootserver", "nginx")
            }
            for field in ("rate", "cpu_s")
        )
        cost = f"{costs['bootserver'] * 1e6:.0f} us/request"
        if not case.range_bytes:
            cost = f"{costs['bootserver'] * 1.0737:.3f} s/GiB"
        lines.append(
            f"| {case.name} | {rates['bootserver']:,.2f} {case.unit} | {rates['nginx']:,.2f} "
            f"| **{rates['bootserver'] / rates['nginx']:.2f}** "
            f"| {costs['bootserver'] / max(costs['nginx'], 1e-9):.2f} | {cost} |"
        )
    return "\n".join(lines)


def as_json(
    measured: Mapping[tuple[str, str], list[Figures]], loads: list[float]
) -> dict[str, object]:
    """Every figure of every round."""
    return {
        "load_averages": loads,
        "rounds": [
            {
                "case": case,
                "server": server,
                "rates": [each.rate for each in figures],
                "cpu_s": [each.cpu_s for each in figures],
            }
            for (case, server), figures in measured.items()
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--results", type=Path, help="a JSON file for every figure")
    parser.add_argument("--drain", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drain:
        url, fast, slow, seconds = arguments.drain
        print(drain(url, int(fast), int(slow), float(seconds)))
    else:
        asyncio.run(compare(arguments.rounds, arguments.seconds, arguments.only, arguments.results))


if __name__ == "__main__":
    main()
