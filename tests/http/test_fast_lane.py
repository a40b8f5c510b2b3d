"""Both lanes of the boot plane: the same requests, the same answers, on one connection."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bootserver.config import Config
from bootserver.http.fast_lane import COPY_MAX_BYTES, FastLane
from bootserver.model import BootPhase, TransferEnd
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso

DATA = random.Random(14).randbytes(700_000)
HOST = "Host: x"
WAIT_S = 60
MIB = 1 << 20


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", {"data": DATA}, bios=True)
    async with running_boots(config) as boots:
        yield boots


@contextmanager
def taken(monkeypatch: pytest.MonkeyPatch, *, none: bool = False) -> Iterator[list[bool]]:
    """Of each request whether the fast lane took it; with `none` it takes none."""
    answer, answers = FastLane.answer, list[bool]()

    def noted(lane: FastLane, *call: Any) -> bool:
        answers.append(not none and answer(lane, *call))
        return answers[-1]

    with monkeypatch.context() as patch:
        patch.setattr(FastLane, "answer", noted)
        yield answers


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection that sends bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, *, to_head: bool = False) -> Answer:
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            status = int(first.split()[1])
            if status == 100:
                return await self.answer(to_head=to_head)
            length = int(headers.get("Content-Length", 0))
            none = to_head or status == 304
            return Answer(status, headers, b"" if none else await self.reader.readexactly(length))

    async def ask(self, request: bytes) -> Answer:
        self.writer.write(request)
        return await self.answer(to_head=request.startswith(b"HEAD"))


@asynccontextmanager
async def connected(boots: Boots, *, receive_buffer: int = 0) -> AsyncIterator[Client]:
    host, _, port = boots.url.removeprefix("http://").partition(":")
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    limit = receive_buffer or 1 << 16
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def booted(boots: Boots, image: str = "rescue") -> str:
    """The path of the image for a machine that has its script."""
    token = await boots.token(image)
    await boots.script(token)
    session = boots.ledger.find(token, "127.0.0.1")
    assert session
    return f"/b/{session.key}/image.iso"


def request(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8")


# ---- One table for both lanes -----------------------------------------------------------------

ETAG, STALE = "{etag}", '"stale"'
PAST, FUTURE = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT"

# Headers, and whether the fast lane is to take a GET with them.
TABLE: list[tuple[list[str], bool]] = [
    ([HOST], True),
    ([HOST, "Range: bytes=0-0"], True),
    ([HOST, "Range: bytes=2048-36863"], True),
    ([HOST, "Range: bytes=5-"], True),
    ([HOST, "Range: bytes=0-299999"], True),
    ([HOST, "Range: bytes=00-01"], True),
    ([HOST, "Range: bytes=100-99999999"], True),
    ([HOST, "Range: bytes=-5"], False),
    ([HOST, "Range: bytes=-0"], False),
    ([HOST, "Range: bytes=-99999999"], False),
    ([HOST, "Range: bytes=99999999-"], False),
    ([HOST, "Range: bytes=5-2"], False),
    ([HOST, "Range: bytes=0-1,5-6"], False),
    ([HOST, "Range: bytes=0-1, 1-6"], False),
    ([HOST, "Range: bytes=0-1 "], False),
    ([HOST, "Range: bytes= 0-1"], False),
    ([HOST, "Range: bytes=+0-1"], False),
    ([HOST, "Range: bytes=0x0-1"], False),
    ([HOST, "Range: bytes=\u0663-"], False),
    ([HOST, "Range: bytes="], False),
    ([HOST, "Range: bytes=-"], False),
    ([HOST, "Range: items=0-1"], False),
    ([HOST, "Range: bytes=" + "9" * 400 + "-"], False),
    ([HOST, "Range: bytes=0-" + "9" * 400], False),
    ([HOST, "range: bytes=0-1"], False),
    ([HOST, "Range:bytes=0-1"], False),
    ([HOST, "Range: Bytes=0-1"], False),
    ([HOST, "Range: bytes=0-1", "Range: bytes=4-5"], False),
    ([HOST, "Range: bytes=0-1", f"If-Range: {ETAG}"], False),
    ([HOST, "Range: bytes=0-1", f"If-Range: {STALE}"], False),
    ([HOST, "Range: bytes=0-1", f"If-Range: W/{ETAG}"], False),
    ([HOST, "Range: bytes=0-1", f"If-Range: {PAST}"], False),
    ([HOST, f"If-Match: {ETAG}"], False),
    ([HOST, f"If-Match: {STALE}"], False),
    ([HOST, "If-Match: *", "Range: bytes=0-1"], False),
    ([HOST, f"If-None-Match: {ETAG}"], False),
    ([HOST, f"If-None-Match: W/{ETAG}, {STALE}"], False),
    ([HOST, f"If-None-Match: {STALE}"], False),
    ([HOST, f"If-Modified-Since: {FUTURE}"], False),
    ([HOST, f"If-Modified-Since: {PAST}"], False),
    ([HOST, f"If-Unmodified-Since: {PAST}"], False),
    ([HOST, "User-Agent: iPXE/1.21.1", "Connection: keep-alive", "Range: bytes=0-9"], True),
    ([HOST, "Accept-Encoding: gzip, br", "Accept: */*", "Accept-Language: de"], True),
    ([HOST, "Cache-Control: no-cache", "Pragma: no-cache"], True),
    (["Host: [::1]:8080", "Range: bytes=7-8"], True),
    ([HOST, "X-Odd: 1"], False),
    ([HOST, "Forwarded: for=192.0.2.1"], False),
    ([HOST, "Cookie: a=b"], False),
    ([HOST, "Content-Length: 0"], False),
    ([HOST, "Accept: \u00fc"], False),
    ([HOST, "Accept:"], True),
    ([HOST, "Accept: */*", "Accept: text/html"], False),
    ([], False),
    (["Host: a b"], False),
    ([HOST, "Host: y"], False),
    ([HOST, "A B: 1"], False),
    ([HOST, "Accept : 1"], False),
    ([HOST, "Connection: close"], False),
    ([HOST, "Connection: Keep-Alive, Upgrade", "Upgrade: h2c"], False),
]
TARGETS = ("{path}?a=b", "/{path}", "http://x{path}", "{path}/", "{path}%20", "/b/none/image.iso")


def comparable(answer: Answer) -> Answer:
    """The answer without what differs each time: its date, and what separates its parts."""
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    found = re.search("boundary=([0-9a-f]+)", headers.get("Content-Type", ""))
    if found is None:
        return replace(answer, headers=headers)
    boundary = found[1]
    headers = {name: value.replace(boundary, "B") for name, value in headers.items()}
    return replace(answer, headers=headers, body=answer.body.replace(boundary.encode(), b"B"))


async def all_answers(boots: Boots, requests: list[bytes]) -> list[Answer]:
    """The answers, each on a connection that has just had one."""
    answers = []
    warm = next(one for one in requests if b"Range: bytes=0-0\r\n" in one)
    for one in requests:
        async with connected(boots) as client:
            for _ in range(2):
                await client.ask(warm)
            answers.append(comparable(await client.ask(one)))
    return answers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("whose", ["boot", "stub"])
async def test_both_lanes_give_the_same_answer(
    boots: Boots, monkeypatch: pytest.MonkeyPatch, method: str, whose: str
):
    path = await booted(boots) if whose == "boot" else f"/b/{await boots.token()}/image.iso"
    etag = f'"{hashlib.sha256(boots.iso.read_bytes()).hexdigest()}"'
    requests = [
        request(path, *(line.replace(ETAG, etag) for line in lines), method=method)
        for lines, _ in TABLE
    ]
    requests += [request(target.format(path=path), HOST, method=method) for target in TARGETS]
    warm = request(path, HOST, "Range: bytes=0-0")

    with taken(monkeypatch, none=True):
        slow = await all_answers(boots, [warm, *requests])
    with taken(monkeypatch) as answers:
        fast = await all_answers(boots, [warm, *requests])

    assert fast == slow
    expected = [is_plain and method == "GET" for _, is_plain in TABLE]
    if method == "HEAD":  # where a range changes nothing
        expected = [
            is_plain or (len(lines) == 2 and lines[1].startswith("Range: bytes="))
            for lines, is_plain in TABLE
        ]
    assert answers[2::3][1:] == [*expected, *(False for _ in TARGETS)]
    assert answers[4::3] == [True] * (len(answers[4::3]))  # the ones before each
    ranges = [a for a in fast if a.status == 206 and "boundary" not in a.headers["Content-Type"]]
    whole = boots.iso.read_bytes()
    for answer in ranges:
        start, stop = re.findall("[0-9]+", answer.headers["Content-Range"])[:2]
        assert answer.body in (b"", whole[int(start) : int(stop) + 1])
    assert len(ranges) >= 5 * (method == "GET")


@pytest.mark.parametrize("keep_alive", [False, True])
async def test_http_1_0_is_answered_as_it_asks(boots: Boots, keep_alive: bool):
    path = await booted(boots)
    async with connected(boots) as client:
        await client.ask(request(path, HOST, "Range: bytes=0-9"))
        more = ["Connection: keep-alive"] if keep_alive else []
        old = request(path, HOST, "Range: bytes=0-9", *more, version="1.0")
        answer = await client.ask(old)
        client.writer.write(old)
        again = await client.reader.read(9)

    assert (answer.status, len(answer.body)) == (206, 10)
    assert again == (b"HTTP/1.0 " if keep_alive else b"")


# ---- Connections ------------------------------------------------------------------------------


async def test_requests_that_come_together_are_answered_in_their_order(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    path, whole = await booted(boots), boots.iso.read_bytes()
    plain = [(start, start + 40_000 * (start % 5) + 9) for start in range(0, 200_000, 7001)]
    asked = [request(path, HOST, f"Range: bytes={first}-{last}") for first, last in plain]
    odd = request(path, HOST, "Range: bytes=-7")
    async with connected(boots) as client:
        await client.ask(asked[0])
        with taken(monkeypatch) as answers:
            client.writer.write(b"".join(asked[:20]) + odd + b"".join(asked[20:]))
            got = [await client.answer() for _ in (*asked, odd)]
            again = await client.ask(asked[0])

    assert got.pop(20).body == whole[-7:]
    assert [answer.body for answer in got] == [whole[a : b + 1] for a, b in plain]
    assert again.body == got[0].body
    assert answers == [True] * 20 + [False, True]  # what came with the odd one went with it


async def test_a_request_that_comes_in_two_parts_is_answered(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    path, whole = await booted(boots), boots.iso.read_bytes()
    asked = request(path, HOST, "Range: bytes=100-199")
    async with connected(boots) as client:
        await client.ask(asked)
        for cut in (1, 20, len(asked) - 3, len(asked) - 1):
            client.writer.write(asked[:cut])
            await asyncio.sleep(0.01)
            client.writer.write(asked[cut:])
            assert (await client.answer()).body == whole[100:200]


async def test_after_the_slow_lane_the_fast_lane_answers_again(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    path = await booted(boots)
    plain, odd = request(path, HOST, "Range: bytes=0-9"), request(path, HOST, "Range: bytes=-9")
    async with connected(boots) as client:
        await client.ask(plain)
        with taken(monkeypatch) as answers:
            for _ in range(3):
                assert (await client.ask(plain)).status == (await client.ask(odd)).status == 206

    assert answers == [True, False] * 3


async def test_a_slow_reader_gets_every_byte_of_what_came_in_one_copy(boots: Boots):
    path, whole = await booted(boots), boots.iso.read_bytes()
    length = COPY_MAX_BYTES
    starts = [n * 1000 for n in range(40)]
    async with connected(boots, receive_buffer=4096) as client:
        await client.ask(request(path, HOST, "Range: bytes=0-0"))
        client.writer.write(
            b"".join(request(path, HOST, f"Range: bytes={n}-{n + length - 1}") for n in starts)
        )
        for start in starts:
            assert (await client.answer()).body == whole[start : start + length]

    [transfer] = await transfers(boots)
    assert (transfer.sent_bytes, transfer.requests) == (1 + length * len(starts), 41)


async def transfers(boots: Boots) -> list[Any]:
    [session] = await boots.recorded()
    return (await boots.store.transfers([session.id]))[session.id]


async def test_a_whole_image_from_the_fast_lane_is_a_download_in_the_ledger(
    boots: Boots, monkeypatch: pytest.MonkeyPatch
):
    path, whole = await booted(boots), boots.iso.read_bytes()
    async with connected(boots) as client:
        for _ in range(2):
            await client.ask(request(path, HOST, "Range: bytes=0-9"))
        with taken(monkeypatch) as answers:
            await client.ask(request(path, HOST, method="HEAD"))
            answer = await client.ask(request(path, HOST))

    assert answers == [True, True]
    assert answer.body == whole
    assert (await boots.phases())[-1] == BootPhase.FETCHED
    last = (await transfers(boots))[-1]
    assert (last.sent_bytes, last.outcome, last.requests) == (len(whole), "complete", 1)


async def test_ranges_that_make_up_the_image_are_the_whole_of_it(boots: Boots):
    path, whole = await booted(boots), boots.iso.read_bytes()
    starts = list(range(0, len(whole), 50_000))
    random.Random(3).shuffle(starts)
    async with connected(boots) as client:
        for start in starts:
            await client.ask(request(path, HOST, f"Range: bytes={start}-{start + 49_999}"))

    assert (await boots.phases())[-1] == BootPhase.FETCHED
    [transfer] = await transfers(boots)
    assert (transfer.outcome, transfer.holes) == ("complete", 0)
    assert (transfer.requests, transfer.last_byte) == (len(starts), len(whole) - 1)


async def test_a_client_that_leaves_in_the_middle_has_left(config: Config):
    iso = make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=16 * MIB)
    async with running_boots(config) as boots:
        path = await booted(boots)
        async with connected(boots, receive_buffer=4096) as client:
            await client.ask(request(path, HOST, "Range: bytes=0-9"))
            client.writer.write(request(path, HOST))
            await client.reader.readexactly(100_000)
        async with asyncio.timeout(WAIT_S):
            while (last := (await transfers(boots))[-1]).ended_at is None:
                await asyncio.sleep(0.01)

        assert last.outcome == TransferEnd.CLIENT_LEFT
        assert 0 < last.sent_bytes < iso.stat().st_size
        assert "broke off" in (await boots.recorded())[0].error


# ---- Limits, time-outs and the end ------------------------------------------------------------


def with_limits(config: Config, **limits: float) -> Config:
    return config.model_copy(update={"limits": config.limits.model_copy(update=limits)})


@asynccontextmanager
async def big_boots(config: Config) -> AsyncIterator[Boots]:
    """An image that no kernel's buffers hold."""
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=16 * MIB)
    async with running_boots(config) as boots:
        yield boots


async def ended(client: Client) -> bool:
    """True once the server has ended the connection."""
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionError):
            while await client.reader.read(1 << 16):
                pass
    return True


async def test_a_connection_that_rests_after_a_fast_answer_is_ended(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(with_limits(config, idle_s=0.4, header_s=30)) as boots:
        path = await booted(boots)
        async with connected(boots) as client:
            await client.ask(request(path, HOST, "Range: bytes=0-9"))
            with taken(monkeypatch) as answers:
                await client.ask(request(path, HOST, "Range: bytes=0-9"))

            assert await ended(client)
            assert answers == [True]


async def test_half_a_header_after_a_fast_answer_has_its_time_and_no_more(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(with_limits(config, header_s=0.4, idle_s=1000)) as boots:
        path = await booted(boots)
        async with connected(boots) as client:
            for _ in range(2):
                await client.ask(request(path, HOST, "Range: bytes=0-9"))
            client.writer.write(b"GET / HTTP/1.1\r\n")

            assert await ended(client)


async def test_who_takes_nothing_of_a_fast_answer_is_cut_off(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    async with big_boots(with_limits(config, stalled_s=0.4)) as boots:
        path = await booted(boots)
        async with connected(boots, receive_buffer=4096) as client:
            for _ in range(2):
                await client.ask(request(path, HOST, "Range: bytes=0-9"))
            with taken(monkeypatch) as answers:
                client.writer.write(request(path, HOST))
                async with asyncio.timeout(WAIT_S):
                    while (last := (await transfers(boots))[-1]).ended_at is None:
                        await asyncio.sleep(0.01)

        assert answers == [True]
        assert (last.outcome, last.requests) == (TransferEnd.STALLED, 1)


async def test_while_all_send_fast_answers_none_makes_way(config: Config):
    async with big_boots(with_limits(config, connections=2)) as boots, AsyncExitStack() as stack:
        path = await booted(boots)
        await boots.http.close()  # its connection would be one of them
        clients = []
        for _ in range(2):
            client = await stack.enter_async_context(connected(boots, receive_buffer=4096))
            for _ in range(2):
                await client.ask(request(path, HOST, "Range: bytes=0-9"))
            client.writer.write(request(path, HOST))
            await client.reader.readuntil(b"\r\n\r\n")
            clients.append(client)
        async with connected(boots) as waiting:
            waiting.writer.write(request("/healthz", HOST))
            for client in clients:
                await client.reader.readexactly(boots.iso.stat().st_size)

            assert (await waiting.answer()).body == b"ok\n"


async def test_the_one_that_had_the_oldest_answer_makes_way(config: Config):
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(with_limits(config, connections=2)) as boots:
        path = await booted(boots)
        await boots.http.close()
        asked = request(path, HOST, "Range: bytes=0-9")
        async with connected(boots) as first, connected(boots) as second:
            for client in (first, second, first, second, first):
                await client.ask(asked)
            async with connected(boots) as third:
                assert (await third.ask(asked)).status == 206

                assert await ended(second)
                assert (await first.ask(asked)).status == 206


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_stopping_server_lets_fast_answers_end_for_as_long_as_it_may(
    config: Config, is_taken: bool
):
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=16 * MIB)
    async with running_boots(config, grace_s=WAIT_S if is_taken else 0.2) as boots:
        path, size = await booted(boots), boots.iso.stat().st_size
        await boots.http.close()
        async with connected(boots, receive_buffer=4096) as client:
            for _ in range(2):
                await client.ask(request(path, HOST, "Range: bytes=0-9"))
            client.writer.write(request(path, HOST))
            await client.reader.readuntil(b"\r\n\r\n")
            stopping = asyncio.create_task(boots.port.stop())
            if is_taken:
                assert len(await client.reader.readexactly(size)) == size
            await stopping

            assert await ended(client)
            last = (await transfers(boots))[-1]
            assert last.outcome == ("complete" if is_taken else "server_left")


# ---- Images that change -----------------------------------------------------------------------


async def test_what_was_overwritten_in_place_is_not_sent(boots: Boots):
    path = await booted(boots)
    asked = request(path, HOST, "Range: bytes=0-9")
    async with connected(boots) as client:
        for _ in range(2):
            await client.ask(asked)
        data = bytearray(boots.iso.read_bytes())
        data[3] ^= 1
        boots.iso.write_bytes(data)

        assert (await client.ask(asked)).status == 503


async def test_what_was_replaced_or_deleted_is_not_sent(boots: Boots):
    path = f"/b/{await boots.token()}/image.iso"
    asked = request(path, HOST, "Range: bytes=0-9")
    async with connected(boots) as client:
        for _ in range(2):
            old = await client.ask(asked)
        make_iso(boots.iso.with_suffix(".new"), {"other": DATA[::-1]}, bios=True)
        boots.iso.with_suffix(".new").rename(boots.iso)
        replaced = await client.ask(asked)
        await boots.look_again()
        new = await client.ask(asked)
        boots.iso.unlink()
        deleted = await client.ask(asked)

    assert (replaced.status, deleted.status) == (503, 404)
    assert (old.status, new.status) == (206, 206)
    assert old.headers["ETag"] != new.headers["ETag"]


async def test_a_boot_that_has_ended_is_served_no_more(boots: Boots):
    path = await booted(boots)
    asked = request(path, HOST, "Range: bytes=0-9")
    async with connected(boots) as client:
        for _ in range(2):
            assert (await client.ask(asked)).status == 206
        boots.ledger.advance(path.split("/")[2], BootPhase.FAILED)

        assert (await client.ask(asked)).status == 404


@pytest.mark.slow
async def test_two_hundred_clients_get_no_mixed_version_while_images_are_replaced(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    """Every byte that comes is of the version that its ETag names."""
    versions: dict[str, bytes] = {}

    def write(path: Path, seed: int) -> None:
        make_iso(path, {"data": random.Random(seed).randbytes(200_000)}, bios=True)
        whole = path.read_bytes()
        versions[f'"{hashlib.sha256(whole).hexdigest()}"'] = whole

    images = [config.images.path / f"image{n}.iso" for n in range(10)]
    for seed, path in enumerate(images):
        write(path, seed)
    statuses: list[int] = []
    async with running_boots(config) as boots:
        paths = [f"/b/{await boots.token(path.stem)}/image.iso" for path in images]

        async def read(seed: int) -> None:
            random_ = random.Random(seed)
            left = 25
            while left:
                with suppress(ConnectionError, asyncio.IncompleteReadError):  # a body cut short
                    async with connected(boots) as client:
                        while left:
                            left -= 1
                            first = random_.randrange(150_000)
                            last = first + random_.choice((99, 32_767, 140_000))
                            part = f"Range: bytes={first}-{last}"
                            path = random_.choice(paths)
                            answer = await client.ask(request(path, HOST, part))
                            statuses.append(answer.status)
                            if answer.status == 206:
                                whole = versions[answer.headers["ETag"]]
                                assert answer.body == whole[first : first + len(answer.body)]

        async def replace_images() -> None:
            for number in range(100, 130):
                path = random.Random(number).choice(images)
                new = path.with_suffix(".new")
                await asyncio.to_thread(write, new, number)
                if number % 2:
                    new.rename(path)
                else:  # in place
                    path.write_bytes(new.read_bytes())
                    new.unlink()
                await boots.library.scan()

        with taken(monkeypatch) as answers:
            await asyncio.gather(replace_images(), *(read(seed) for seed in range(200)))

    assert set(statuses) <= {206, 503}
    assert statuses.count(206) > 2000
    assert sum(answers) > 1000
