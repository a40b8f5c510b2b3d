"""Crowds and nonsense against a running server that may open 1,024 files: both planes answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bootserver.bench.ports import free_port
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import run
from tests.fixtures.server import RunningServer, Site, serving

pytestmark = pytest.mark.slow

FILES = 1024  # that the server may open, hard limit
LOAD_S = 20
SILENT = 1_100
DOWNLOADS = 200
IMAGE_BYTES = 6 << 20  # more than the kernels of both ends take
ANSWER_S = 30  # generous: what is measured is printed
COME_BACK_S = 5
FUZZ = 2_000  # 10,000 were thrown by hand

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the start of a TLS handshake


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(
        tmp_path / "site",
        https_port=free_port(),
        entering=("prlimit", f"--nofile={FILES}:{FILES}"),
        extra="[limits]\nheader_s = 8\nidle_s = 8\n",
    )
    make_iso(site.path / "images" / "rescue.iso", bios=True, pad_bytes=IMAGE_BYTES)
    return site


@pytest.fixture
def _many_files() -> Iterator[None]:
    """More connections than a process has descriptors for at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_kib(server: RunningServer) -> int:
    """What the server has in memory now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found
    return int(found[1])


def open_files(server: RunningServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@asynccontextmanager
async def crowd(*members: asyncio.Task[None]) -> AsyncIterator[None]:
    """They do what they do until the end of the block."""
    try:
        yield
    finally:
        for member in members:
            member.cancel()
        await asyncio.gather(*members, return_exceptions=True)


async def stay(port: int, sent: bytes) -> None:
    """Connect, send this and then nothing; again when the server ends it, for ever."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(sent)
                while await reader.read(1 << 16):
                    pass
            finally:
                writer.transport.abort()
        await asyncio.sleep(random.uniform(0.5, 1.5) * COME_BACK_S)


async def download(url: str, address: str, seconds: float) -> str:
    """The digest of what is there, taken slowly from that address over so many seconds."""
    digest = hashlib.sha256()
    timeout = aiohttp.ClientTimeout(total=None, sock_read=ANSWER_S)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(address, 0)),
            timeout=timeout,
            read_bufsize=1 << 14,
        ) as http,
        http.get(url) as answer,
    ):
        assert answer.status == 200
        async for data in answer.content.iter_chunked(IMAGE_BYTES // 100):
            digest.update(data)
            await asyncio.sleep(seconds / 100)
    return digest.hexdigest()


async def health(urls: dict[str, str], slowest: dict[str, float]) -> None:
    """Ask each plane again and again, from another address; note the slowest answers.

    curl asks, for this process is as busy as its crowd.
    """
    while True:
        for plane, url in urls.items():
            _, output, _ = await run(
                *("curl", "-sk", "--interface", "127.0.0.250", "--max-time", str(ANSWER_S)),
                *("-w", "%{http_code} %{time_total}", url),
            )
            body, _, seconds = output.decode().rpartition(" ")
            assert (plane, body) == (plane, "ok\n200")
            slowest[plane] = max(slowest.get(plane, 0), float(seconds))
        await asyncio.sleep(0.25)


@pytest.mark.interop
@pytest.mark.usefixtures("_many_files")
async def test_silent_clients_keep_nobody_from_booting(
    site: Site, capsys: pytest.CaptureFixture[str]
):
    urls = {
        "boot": f"http://127.0.0.1:{site.boot_port}/healthz",
        "https": f"https://127.0.0.1:{site.https_port}/healthz",
        "admin": f"http://127.0.0.1:{site.admin_port}/healthz",
    }
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    silence = [
        *((site.boot_port, sent) for sent in (b"", whole[:-2], whole) for _ in range(250)),
        *((site.https_port, sent) for sent in (b"", HELLO) for _ in range(100)),
        *((site.admin_port, sent) for sent in (b"", whole[:-2], whole) for _ in range(50)),
    ]
    assert len(silence) == SILENT
    slowest: dict[str, float] = {}
    async with serving(site) as server:
        image = (site.path / "images" / "rescue.iso").read_bytes()
        stub = await site.query("stub", "build", "rescue")
        before_kib = memory_kib(server)
        silent = [asyncio.create_task(stay(port, sent)) for port, sent in silence]
        async with crowd(*silent):
            await asyncio.sleep(3)
            idle, idle_kib = open_files(server), memory_kib(server) - before_kib
            url = f"http://127.0.0.1:{site.boot_port}/b/{stub['token']}/image.iso"
            watch = asyncio.create_task(health(urls, slowest))
            # Half of them behind one address, the others with one of their own.
            addresses = [f"127.0.0.{max(2, n - 98)}" for n in range(DOWNLOADS)]
            downloads = [
                asyncio.create_task(download(url, address, LOAD_S)) for address in addresses
            ]
            async with crowd(watch):
                digests = await asyncio.gather(*downloads)
                assert not watch.done() or watch.result()
            files = open_files(server)
            metrics = await metric_lines(site)
        lines = (site.path / "server.log").read_text().splitlines()

    with capsys.disabled():
        print(
            f"\n{SILENT} silent, {DOWNLOADS} downloading for {LOAD_S} s: slowest answers "
            + ", ".join(f"{plane} {seconds:.3f} s" for plane, seconds in slowest.items())
            + f"; {idle_kib / idle:.1f} KiB for each of {idle} open files; {files} at the end; "
            + f"{len(lines)} log lines"
        )
    assert set(slowest) == set(urls)
    assert set(digests) == {hashlib.sha256(image).hexdigest()}
    assert len(lines) < 100
    assert not [line for line in lines if '"level": "error"' in line or "Traceback" in line]
    assert files < FILES
    assert metrics['limit_refused_total{limit="connections"}'] > 0
    assert metrics['limit_max{limit="connections"}'] >= DOWNLOADS


async def metric_lines(site: Site) -> dict[str, float]:
    """The values of /metrics by their names and labels."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{site.admin_port}/metrics") as answer,
    ):
        text = await answer.text()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


REQUESTS = {
    "boot": [
        b"GET /b/{token}/boot.ipxe?mac=52-54-00-12-34-56&platform=efi&dimms=0004 HTTP/1.1\r\n"
        b"Host: boot\r\nUser-Agent: iPXE/1\r\n\r\n",
        b"GET /b/{token}/image.iso HTTP/1.1\r\nHost: b\r\nRange: bytes=0-9,20-29,-5\r\n\r\n",
        b'GET /b/{token}/image.iso HTTP/1.1\r\nHost: b\r\nIf-Range: "x"\r\nRange: bytes=9-\r\n\r\n',
        b"HEAD /b/{token}/tree/ HTTP/1.1\r\nHost: b\r\nIf-Modified-Since: never\r\n\r\n",
        b"GET /b/{token}/tree/isolinux/%2e%2e/x HTTP/1.0\r\n\r\n",
        b"GET /b/{token}/phase/handoff HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        b"GET /nbp/memdisk HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nForwarded: for=x\r\n\r\n",
        b"POST /boot.ipxe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
    "admin": [
        b"GET /?q=a&phase=failed&before=2026-01-01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /boots/1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n",
        b"GET /static/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/boots?limit=5&machine=%ff&phase=failed HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/boots/export?format=csv&since=2026-01-01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b'PUT /api/v1/images/rescue/settings HTTP/1.1\r\nHost: localhost\r\nIf-Match: "x"\r\n'
        b'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"title":"x"}',
        b"POST /api/v1/profiles HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 33\r\n\r\n{"serial":"x","image":"rescue"   }',
        b"POST /api/v1/stubs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n12\r\n{"image":"rescue"}\r\n0\r\n\r\n',
        b"GET /api/v1/amt/hosts/x/console HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text\r\n\r\n",
    ],
}
PIECES = [
    *(b"\r\n", b"\n", b"\0", b"\x1b[31m", b"\xff", b"\xc3", b"\xed\xb2\x99", b"%", b"%00", b"%ff"),
    *(b"//", b"..", b"{", b"}", b"?", b"#", b"&", b"=", b"+", b";", b":", b",", b'"', b"<script>"),
    *(b"-1", b"9" * 30, b"a" * 9000, b"Host: \x99\r\n", b"Host: a b\r\n", b"Range: bytes=--1\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"HTTP/9.9"),
    *(b"Origin: null\r\n", b"If-None-Match: W/\r\n", b"If-Match: *\r\n", b"ffffffffffffffff\r\n"),
]


def hostile(chance: random.Random, requests: list[bytes]) -> bytes:
    """A request with some damage; sometimes two, or nothing but noise."""
    if not chance.randrange(50):
        return chance.randbytes(chance.randrange(400))
    data = bytearray(b"".join(chance.choices(requests, k=chance.choice((1, 1, 1, 2, 3)))))
    for _ in range(chance.randrange(4)):
        place, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(5):
            case 0:
                data[place:place] = chance.choice(PIECES)
            case 1:
                data[place : place + 3] = chance.randbytes(chance.randrange(4))
            case 2:
                del data[place : min(end, place + 20)]
            case 3:
                data[place:place] = data[place:end]
            case 4 if not chance.randrange(4):
                del data[place:]
    return bytes(data)


async def throw(port: int, data: bytes, wait_s: float = 0.05) -> bytes:
    """Send that; returns what has come back by then, or until the connection's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(wait_s):
                while more := await reader.read(1 << 16):
                    got += more[: 1 << 12]
    finally:
        writer.transport.abort()
    return got


async def test_nonsense_changes_nothing(site: Site):
    chance = random.Random(10)
    async with serving(site) as server:
        token = (await site.query("stub", "build", "rescue"))["token"].encode()
        ports = {"boot": site.boot_port, "admin": site.admin_port}
        requests = {
            plane: [request.replace(b"{token}", token) for request in REQUESTS[plane]]
            for plane in ports
        }

        async def some(count: int) -> set[bytes]:
            """The statuses of so many hostile requests."""
            statuses = set()
            for _ in range(count // 20):
                planes = chance.choices(list(ports), k=20)
                answers = await asyncio.gather(
                    *(throw(ports[plane], hostile(chance, requests[plane])) for plane in planes)
                )
                statuses |= {s for got in answers for s in re.findall(rb"^HTTP/1\.. (\d+)", got)}
            return statuses

        statuses = await some(FUZZ // 4)  # to have in memory what stays there
        await asyncio.sleep(2)
        memory, files = memory_kib(server), open_files(server) + 2
        statuses |= await some(FUZZ - FUZZ // 4)
        grown_kib = memory_kib(server) - memory
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while open_files(server) > files:
                    await asyncio.sleep(0.1)
        more_files = open_files(server) - files
        after = await throw(site.boot_port, b"GET /healthz HTTP/1.0\r\n\r\n", ANSWER_S)
        log = (site.path / "server.log").read_text()

    assert {b"200", b"400", b"404"} <= statuses
    assert b"500" not in statuses
    assert after.endswith(b"ok\n")
    assert "Traceback" not in log
    assert '"level": "error"' not in log
    assert more_files <= 0
    assert grown_kib < 16 << 10
