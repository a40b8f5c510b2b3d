"""One file over real sockets: ranges, conditions, slow and vanishing readers, changing files."""

from __future__ import annotations

import asyncio
import contextlib
import email
import errno
import gc
import logging
import os
import random
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from threading import get_ident

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bootserver.errors import ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.files.layout import Layout
from bootserver.files.open_version import OpenFile, open_file
from bootserver.http.bodies import HELD_BACK_BYTES
from bootserver.http.files import SendOutcome, send_file
from bootserver.model import ByteRange, Content, FileVersion, TransferEnd

pytestmark = pytest.mark.slow

SHA256 = "5f" * 32
ETAG = f'"{SHA256}"'
MTIME_NS = 784111777_600_000_000
LAST_MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
STALE_DATE = "Sun, 06 Nov 1994 08:49:36 GMT"
MIB = 1 << 20


# ---- the server under test --------------------------------------------------------------------


@dataclass
class Plane:
    """A server with one file at `/image.iso`, and what the caller of send_file saw."""

    port: int = 0
    runner: web.AppRunner | None = None
    transport: asyncio.Transport | None = None
    counted: int = 0
    on_sent: Callable[[], None] = lambda: None
    outcomes: asyncio.Queue[SendOutcome | BaseException] = field(default_factory=asyncio.Queue)

    async def outcome(self) -> SendOutcome:
        async with asyncio.timeout(30):
            seen = await self.outcomes.get()
        assert isinstance(seen, SendOutcome)
        return seen

    async def until_counted(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.counted < count:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def plane_for(
    file: OpenFile,
    *,
    stalled_s: float = 30,
    tls: ssl.SSLContext | None = None,
    interim: bytes = b"",
) -> AsyncIterator[Plane]:
    plane = Plane()

    def count(sent_bytes: int) -> None:
        assert sent_bytes > 0
        plane.counted += sent_bytes
        plane.on_sent()

    async def handle(request: web.Request) -> web.StreamResponse:
        plane.transport = request.transport
        if interim:
            assert request.transport is not None
            request.transport.set_write_buffer_limits(high=2 * len(interim))  # drain() is content
            request.transport.write(interim)
        try:
            outcome = await send_file(
                request,
                file,
                content_type="application/x-iso9660-image",
                on_sent=count,
                stalled_s=stalled_s,
            )
        except ImageNotReadyError:
            return web.Response(status=503)
        except BaseException as err:
            plane.outcomes.put_nowait(err)
            raise
        plane.outcomes.put_nowait(outcome)
        return outcome.response

    app = web.Application()
    app.router.add_get("/image.iso", handle)
    plane.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await plane.runner.setup()
    try:
        await web.TCPSite(plane.runner, "127.0.0.1", 0, ssl_context=tls).start()
        plane.port = plane.runner.addresses[0][1]
        yield plane
    finally:
        await plane.runner.cleanup()


def make_file(path: Path, content: bytes) -> Path:
    """A file whose modification time is long ago, so that any write to it shows."""
    path.write_bytes(content)
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return path


def version_of(path: Path) -> FileVersion:
    return FileVersion.of(path.stat())


def reference(path: Path) -> Content:
    return Content(str(path), version_of(path), SHA256)


async def opened(path: Path) -> OpenFile:
    return await open_file(reference(path))


def content_of(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def open_descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Fails the test if anything was logged as a warning or with a traceback."""
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    caplog.set_level(logging.DEBUG)

    yield

    gc.collect()
    await asyncio.sleep(0)
    assert problems == []
    assert [r for r in caplog.records if r.levelno >= logging.WARNING or r.exc_info] == []


# ---- the client -------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int
    headers: email.message.Message
    body: bytes


class Client:
    """A connection whose receive buffer is small, and which reads only when told to."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""

    async def ask(
        self, *headers: str, method: str = "GET", version: str = "HTTP/1.1", path: str = "image.iso"
    ) -> None:
        lines = [f"{method} /{path} {version}", "Host: x", *headers, "", ""]
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.connection, "\r\n".join(lines).encode())

    async def more(self, size_bytes: int = 1 << 16) -> bytes:
        async with asyncio.timeout(30):
            return await asyncio.get_running_loop().sock_recv(self.connection, size_bytes)

    async def head(self) -> tuple[int, email.message.Message]:
        while b"\r\n\r\n" not in self.buffer:
            data = await self.more(4096)
            assert data, f"the connection ended in the headers: {self.buffer!r}"
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status_line, _, fields = head.decode().partition("\r\n")
        return int(status_line.split()[1]), email.message_from_string(fields)

    async def body(self, length: int) -> bytes:
        """So many bytes, or what came before the connection ended."""
        parts = [self.buffer]
        received = len(self.buffer)
        while received < length:
            try:
                data = await self.more()
            except ConnectionResetError:
                break
            if not data:
                break
            parts.append(data)
            received += len(data)
        whole = b"".join(parts)
        self.buffer = whole[length:]
        return whole[:length]

    async def get(self, *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> Answer:
        await self.ask(*headers, method=method, version=version)
        status, fields = await self.head()
        length = 0 if method == "HEAD" or status == 304 else int(fields["Content-Length"])
        return Answer(status, fields, await self.body(length))


@asynccontextmanager
async def connected(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        yield Client(connection)


# ---- opening ----------------------------------------------------------------------------------


async def test_a_file_of_another_version_is_not_opened(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", b"0123456789")
    good = version_of(path)
    before = open_descriptors()

    for wrong in (
        FileVersion(9, good.mtime_ns, good.inode),
        FileVersion(10, good.mtime_ns + 1, good.inode),
        FileVersion(10, good.mtime_ns, good.inode + 1),
    ):
        with pytest.raises(ImageNotReadyError, match="changed"):
            await open_file(Content(str(path), wrong, SHA256))

    assert open_descriptors() == before


async def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError):
        await open_file(Content(str(tmp_path / "no.iso"), FileVersion(1, 1, 1), SHA256))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "x.iso"
    make(path)

    with pytest.raises(ImageError):
        await open_file(reference(path))


async def test_closing_twice_does_not_close_somebody_elses_file(tmp_path: Path) -> None:
    file = await opened(make_file(tmp_path / "a.iso", b"0123456789"))
    number = file.fd
    file.close()

    other = os.open(tmp_path, os.O_RDONLY)
    assert other == number  # the lowest free number is given again
    file.close()

    os.fstat(other)
    os.close(other)


async def test_a_closed_file_answers_nobody(tmp_path: Path) -> None:
    file = await opened(make_file(tmp_path / "a.iso", b"0123456789"))
    file.close()

    async with plane_for(file) as plane, connected(plane.port) as client:
        assert (await client.get()).status == 503


async def test_an_open_that_nobody_waits_for_any_more_leaves_no_descriptor(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", b"0123456789")
    await asyncio.to_thread(int)  # the thread pool's own descriptors, if any
    before = open_descriptors()

    opening = asyncio.create_task(opened(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0.01)

    assert open_descriptors() == before


# ---- one answer -------------------------------------------------------------------------------

SIZES = [0, 1, HELD_BACK_BYTES, HELD_BACK_BYTES + 1, 2 * HELD_BACK_BYTES + 1, 3 * MIB + 7]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("size_bytes", SIZES)
async def test_the_whole_file_arrives_with_its_headers(tmp_path: Path, size_bytes: int) -> None:
    content = content_of(size_bytes)

    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get("Accept-Encoding: gzip, deflate, br")
            outcome = await plane.outcome()

    assert answer.status == 200
    assert answer.body == content
    assert answer.headers["Content-Length"] == str(size_bytes)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == ETAG
    assert answer.headers["Last-Modified"] == LAST_MODIFIED
    assert answer.headers["Cache-Control"] == "no-transform"
    assert answer.headers["Content-Type"] == "application/x-iso9660-image"
    assert answer.headers["Content-Encoding"] is None
    assert outcome.end is TransferEnd.COMPLETE
    assert outcome.sent_bytes == plane.counted == size_bytes


@pytest.mark.usefixtures("quiet")
async def test_a_modification_in_the_future_is_told_as_now(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", b"0123456789")
    os.utime(path, (4e9, 4e9))

    with await opened(path) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get()

    assert not answer.headers["Last-Modified"].endswith(" 2096 02:13:20 GMT")


CONTENT = content_of(2 * MIB)
END = len(CONTENT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        # The faults found in aiohttp's FileResponse:
        (["Range: bytes=0-9", 'If-Range: "stale-etag"'], 200, CONTENT),
        (["Range: bytes=0-9", f"If-Range: {STALE_DATE}"], 200, CONTENT),
        (["Range: items=0-1"], 200, CONTENT),
        (["Range: bytes=5-2"], 200, CONTENT),
        (["Range: bytes=-0"], 416, b""),
        (["Accept-Encoding: gzip"], 200, CONTENT),
        # and what it does right:
        (["Range: bytes=0-9", f"If-Range: {ETAG}"], 206, CONTENT[:10]),
        (["Range: bytes=0-9", f"If-Range: {LAST_MODIFIED}"], 206, CONTENT[:10]),
        (["Range: bytes=0-0"], 206, CONTENT[:1]),
        (["Range: bytes=5-"], 206, CONTENT[5:]),
        (["Range: bytes=-5"], 206, CONTENT[-5:]),
        ([f"Range: bytes=-{MIB}"], 206, CONTENT[-MIB:]),
        ([f"Range: bytes=7-{10**30}"], 206, CONTENT[7:]),
        ([f"Range: bytes={END}-"], 416, b""),
        (["Range: bytes=0-1", "Range: bytes=5-6"], 200, CONTENT),
        (["If-None-Match: " + ETAG], 304, b""),
        (['If-None-Match: "x"', "If-None-Match: W/" + ETAG], 304, b""),
        (["If-Modified-Since: " + LAST_MODIFIED], 304, b""),
        (["If-Modified-Since: " + STALE_DATE], 200, CONTENT),
        (['If-Match: "x"'], 412, b""),
        (["If-Unmodified-Since: " + STALE_DATE], 412, b""),
    ],
)
async def test_an_answer_is_as_the_rfc_has_it_and_the_connection_goes_on(
    tmp_path: Path, headers: list[str], status: int, body: bytes
) -> None:
    path = make_file(tmp_path / "a.iso", CONTENT)
    (tmp_path / "a.iso.gz").write_bytes(b"not this")

    with await opened(path) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get(*headers)
            again = await client.get("Range: bytes=100-199")

    assert answer.status == status
    assert answer.body == body
    if status != 412:
        assert answer.headers["ETag"] == ETAG
    if status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{END}"
    assert again.status == 206
    assert again.headers["Content-Range"] == f"bytes 100-199/{END}"
    assert again.body == CONTENT[100:200]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("header", ["X-Nothing: 1", "Range: bytes=5-9", "Range: bytes=-0"])
async def test_head_tells_the_size_and_sends_nothing(tmp_path: Path, header: str) -> None:
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            head = await client.get(header, method="HEAD")
            outcome = await plane.outcome()
            part = await client.get("Range: bytes=0-3")

    assert (head.status, head.headers["Content-Length"]) == (200, str(END))
    assert outcome.sent_bytes == 0
    assert part.body == CONTENT[:4]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "slices",
    [
        [slice(0, 2), slice(5, 7)],
        [slice(END - 10, END), slice(0, 1), slice(500, 600)],
        [slice(MIB, 2 * MIB - 5), slice(3, 9), slice(10, 700_000)],
        [slice(10, 700_000), slice(MIB, END)],
    ],
)
async def test_several_ranges_come_as_multipart_in_the_order_asked(
    tmp_path: Path, slices: list[slice]
) -> None:
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            asked = ",".join(f"{s.start}-{s.stop - 1}" for s in slices)
            answer = await client.get(f"Range: bytes={asked}")
            outcome = await plane.outcome()
            again = await client.get("Range: bytes=0-3")

    assert answer.status == 206
    assert answer.headers["Content-Range"] is None
    assert again.body == CONTENT[:4]  # so the Content-Length before was exact
    parts = parts_of(answer)
    assert [body for _, body in parts] == [CONTENT[s] for s in slices]
    assert [fields["Content-Range"] for fields, _ in parts] == [
        f"bytes {s.start}-{s.stop - 1}/{END}" for s in slices
    ]
    assert {fields["Content-Type"] for fields, _ in parts} == {"application/x-iso9660-image"}
    assert outcome.sent_bytes == sum(s.stop - s.start for s in slices)


def parts_of(answer: Answer) -> list[tuple[email.message.Message, bytes]]:
    """The parts of a multipart/byteranges body, split by RFC 2046 §5.1.1."""
    assert answer.headers.get_content_type() == "multipart/byteranges"
    delimiter = b"\r\n--" + str(answer.headers.get_param("boundary")).encode()
    preamble, *parts, epilogue = (b"\r\n" + answer.body).split(delimiter)
    assert (preamble, epilogue) == (b"", b"--\r\n")
    split = [part.removeprefix(b"\r\n").partition(b"\r\n\r\n") for part in parts]
    return [(email.message_from_bytes(head), body) for head, _, body in split]


@pytest.mark.usefixtures("quiet")
async def test_an_extent_of_a_file_is_served_as_a_file_of_its_own(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", CONTENT)
    extent = ByteRange(2048, 2048 + MIB)

    with await open_file(reference(path), Layout((extent,))) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            whole = await client.get()
            part = await client.get(f"Range: bytes={MIB - 3}-")
            past = await client.get(f"Range: bytes={MIB}-")

    assert whole.body == CONTENT[2048 : 2048 + MIB]
    assert whole.headers["ETag"] == f'"{SHA256}-2048-{2048 + MIB}"'
    assert part.headers["Content-Range"] == f"bytes {MIB - 3}-{MIB - 1}/{MIB}"
    assert part.body == CONTENT[2048 + MIB - 3 : 2048 + MIB]
    assert past.status == 416


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("version", "headers"), [("HTTP/1.0", []), ("HTTP/1.1", ["Connection: close"])]
)
async def test_a_client_without_keep_alive_gets_all_and_then_the_end(
    tmp_path: Path, version: str, headers: list[str]
) -> None:
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get(*headers, version=version)
            after = await client.more(1)

    assert answer.body == CONTENT
    assert after == b""


@pytest.mark.usefixtures("quiet")
async def test_a_client_that_closes_its_half_while_reading_gets_all(tmp_path: Path) -> None:
    content = content_of(8 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await client.head()
            client.connection.shutdown(socket.SHUT_WR)
            body = await client.body(len(content))

    assert body == content


@pytest.mark.usefixtures("quiet")
async def test_ranges_beyond_four_gib(tmp_path: Path) -> None:
    path = tmp_path / "big.iso"
    with path.open("wb") as sparse:
        for place in (2**32 - 4, 5 * 2**30 - 8):
            sparse.seek(place)
            sparse.write(b"landmark")
    size = 5 * 2**30

    with await opened(path) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            head = await client.get(method="HEAD")
            across = await client.get(f"Range: bytes={2**32 - 4}-{2**32 + 3}")
            bulk = await client.get(f"Range: bytes={2**32 - MIB}-{2**32 + MIB - 1}")
            tail = await client.get("Range: bytes=-8")
            several = await client.get(f"Range: bytes={2**32 - 4}-{2**32 + 3}, -8")

    assert head.headers["Content-Length"] == str(size)
    assert across.body == b"landmark"
    assert bulk.body == bytes(MIB - 4) + b"landmark" + bytes(MIB - 4)
    assert tail.body == b"landmark"
    assert tail.headers["Content-Range"] == f"bytes {size - 8}-{size - 1}/{size}"
    assert [body for _, body in parts_of(several)] == [b"landmark", b"landmark"]


@pytest.mark.usefixtures("quiet")
async def test_a_thousand_ranges_get_the_whole_file(tmp_path: Path) -> None:
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get("Range: bytes=" + ",".join(["0-0"] * 1000))

    assert answer.status == 200
    assert answer.body == CONTENT


@pytest.mark.parametrize(
    "header",
    ["Range: bytes=" + ",".join(["0-0"] * 10_000), "X-Long: " + "x" * 65536],
)
async def test_a_monstrous_header_is_refused_and_harms_nobody(tmp_path: Path, header: str) -> None:
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane:
            async with connected(plane.port) as client:
                await client.ask(header)
                status, _ = await client.head()
            async with connected(plane.port) as neighbour:
                answer = await neighbour.get()

    assert status == 400
    assert answer.body == CONTENT


# ---- pieces of a file and bytes of ours -------------------------------------------------------

SMALL_PIECES = tuple(
    piece for n in range(300) for piece in (ByteRange(3000 * n, 3000 * n + 2048), b"%08d" % n)
)
OURS = content_of(300_000)
LAYOUTS = {
    "one extent": Layout((ByteRange(2048, 2048 + MIB),)),
    "extents in another order": Layout(
        (ByteRange(MIB, END), ByteRange(7, 9), ByteRange(100_000, 800_000), ByteRange(0, 5))
    ),
    "a byte of ours in the middle": Layout.whole(END).replaced(MIB, b"?"),
    "the last byte ours": Layout.whole(END).replaced(END - 1, b"?"),
    "the first byte ours": Layout.whole(END).replaced(0, b"?"),
    "an appendix": Layout.whole(END).appended(OURS),
    "small pieces at the end": Layout((ByteRange(0, MIB), *SMALL_PIECES)),
    "small pieces and a long one": Layout((*SMALL_PIECES, ByteRange(5, MIB), *SMALL_PIECES)),
    "little of ours alone": Layout((b"0123456789",)),
    "much of ours alone": Layout((OURS,)),
    "nothing of the file": Layout(()),
}
with_every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def served(layout: Layout) -> bytes:
    """What the layout makes of CONTENT."""
    return b"".join(
        piece if isinstance(piece, bytes) else CONTENT[piece.start : piece.stop]
        for piece in layout.pieces
    )


@pytest.mark.usefixtures("quiet")
@with_every_layout
async def test_pieces_are_served_as_one_file(tmp_path: Path, layout: Layout) -> None:
    content = make_file(tmp_path / "a.iso", CONTENT)
    expected = served(layout)

    with await open_file(reference(content), layout) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            head = await client.get(method="HEAD")
            assert (await plane.outcome()).sent_bytes == 0
            answer = await client.get()
            outcome = await plane.outcome()
            again = await client.get(method="HEAD")

    assert answer.status == 200
    assert answer.body == expected
    assert head.headers["Content-Length"] == answer.headers["Content-Length"] == str(len(expected))
    assert head.headers["ETag"] == answer.headers["ETag"] == layout.etag(reference(content))
    assert outcome.end is TransferEnd.COMPLETE
    assert outcome.sent_bytes == plane.counted == len(expected)
    assert again.status == 200


@pytest.mark.usefixtures("quiet")
@with_every_layout
async def test_a_range_of_pieces_is_a_slice_of_what_they_make(
    tmp_path: Path, layout: Layout
) -> None:
    expected = served(layout)
    edges = [0, *accumulate(map(len, layout.pieces[:2])), len(expected)]
    slices = [
        slice(max(0, edge + start), edge + stop)
        for edge in dict.fromkeys(edges)
        for start, stop in ((-3, 4), (-100_000, 1), (-1, 70_000), (-HELD_BACK_BYTES, 300_000))
    ]

    with await open_file(reference(make_file(tmp_path / "a.iso", CONTENT)), layout) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            for part in slices:
                answer = await client.get(f"Range: bytes={part.start}-{part.stop - 1}")
                outcome = await plane.outcome()

                assert answer.status == (206 if expected[part] else 416)
                assert answer.body == expected[part]
                assert outcome.sent_bytes == len(expected[part])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"nothing of the file"}))
async def test_several_ranges_of_pieces_come_as_multipart(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    expected = served(layout)
    third = len(expected) // 3
    slices = [slice(2 * third + 1, 3 * third), slice(0, 2), slice(3, 2 * third)]

    with await open_file(reference(make_file(tmp_path / "a.iso", CONTENT)), layout) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            asked = ",".join(f"{s.start}-{s.stop - 1}" for s in slices)
            answer = await client.get(f"Range: bytes={asked}")
            outcome = await plane.outcome()
            again = await client.get("Range: bytes=0-3")

    assert [body for _, body in parts_of(answer)] == [expected[s] for s in slices]
    assert outcome.sent_bytes == sum(len(expected[s]) for s in slices)  # and no framing
    assert again.body == expected[:4]  # so the Content-Length before was exact


@pytest.mark.usefixtures("quiet")
async def test_long_pieces_go_by_reference_from_their_place_and_the_rest_by_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_sendfile = os.sendfile
    referred: set[int] = set()

    def watched(out: int, source: int, offset: int, count: int) -> int:
        sent = real_sendfile(out, source, offset, count)
        referred.update(range(offset, offset + sent))
        return sent

    monkeypatch.setattr(os, "sendfile", watched)
    layout = Layout((ByteRange(MIB, END), *SMALL_PIECES, ByteRange(7, 700_000), OURS))
    with await open_file(reference(make_file(tmp_path / "a.iso", CONTENT)), layout) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get()

    assert answer.body == served(layout)
    assert referred == {*range(MIB, END), *range(7, 700_000)}


@pytest.mark.usefixtures("quiet")
@with_every_layout
async def test_pieces_are_served_to_a_slow_reader_and_without_sendfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    real_sendfile = os.sendfile
    calls = 0

    def once(*arguments: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real_sendfile(*arguments)

    monkeypatch.setattr(os, "sendfile", once)
    with await open_file(reference(make_file(tmp_path / "a.iso", CONTENT)), layout) as file:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            answer = await client.get()
            outcome = await plane.outcome()

    assert answer.body == served(layout)
    assert outcome.sent_bytes == plane.counted == len(answer.body)


@pytest.mark.usefixtures("quiet")
async def test_much_of_ours_lets_others_have_their_turn(tmp_path: Path) -> None:
    turns = 0
    seen: list[int] = []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    path = make_file(tmp_path / "a.iso", b"0123456789")
    with await open_file(reference(path), Layout((content_of(8 * MIB),))) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            plane.on_sent = lambda: seen.append(turns)
            others = asyncio.create_task(take_turns())
            answer = await client.get()
            others.cancel()

    assert answer.body == content_of(8 * MIB)
    assert len(seen) > 8 * MIB // HELD_BACK_BYTES - 2
    assert len(set(seen)) == len(seen)  # others had a turn between any two


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("If-Range: {etag}", 206),
        (f"If-Range: {ETAG}", 200),
        ("If-None-Match: {etag}", 304),
        (f"If-None-Match: {ETAG}", 206),
        ("If-Match: {etag}", 206),
        (f"If-Match: {ETAG}", 412),
        # Bytes of ours change without a date, so no date says that a client has this version.
        (f"If-Range: {LAST_MODIFIED}", 200),
        ("If-Range: yesterday", 200),
        (f"If-Modified-Since: {LAST_MODIFIED}", 206),
        (f"If-Unmodified-Since: {STALE_DATE}", 206),
    ],
)
async def test_a_layout_with_bytes_of_ours_is_known_by_its_tag_alone(
    tmp_path: Path, header: str, status: int
) -> None:
    content = reference(make_file(tmp_path / "a.iso", CONTENT))
    layout = Layout.whole(END).replaced(MIB, b"?")

    with await open_file(content, layout) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            headers = header.format(etag=layout.etag(content))
            answer = await client.get("Range: bytes=1048575-1048577", headers)

    assert answer.status == status
    assert answer.headers["Last-Modified"] is None
    if status == 206:
        assert answer.body == CONTENT[MIB - 1 : MIB] + b"?" + CONTENT[MIB + 1 : MIB + 2]


async def test_an_extent_has_the_date_of_its_file(tmp_path: Path) -> None:
    content = reference(make_file(tmp_path / "a.iso", CONTENT))

    with await open_file(content, Layout((ByteRange(1, 9), ByteRange(3, 7)))) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            answer = await client.get("Range: bytes=1-4", f"If-Range: {LAST_MODIFIED}")

    assert answer.status == 206
    assert answer.headers["Last-Modified"] == LAST_MODIFIED


async def test_a_layout_that_the_file_is_too_short_for_is_not_opened(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", b"0123456789")
    before = open_descriptors()

    with pytest.raises(ImageError, match="ends before"):
        await open_file(reference(path), Layout((b"x", ByteRange(5, 11))))

    assert open_descriptors() == before


async def test_a_copy_of_pieces_ends_where_the_file_has_become_shorter(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", b"0123456789")
    layout = Layout((b"ab", ByteRange(4, 10), b"cd", ByteRange(0, 4)))

    with await open_file(reference(path), layout) as file:
        before = file.read(ByteRange(1, 13))
        os.truncate(path, 7)
        after = file.read(ByteRange(1, 13))

    assert before == b"b456789cd012"
    assert after == b"b456"  # nothing in a place where it does not belong


@pytest.mark.parametrize("size_bytes", [1000, 5 * MIB + 3])
async def test_what_is_not_in_memory_is_read_in_a_thread_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
):
    content = content_of(size_bytes)
    file = await opened(make_file(tmp_path / "a.iso", content))
    fetched: list[ByteRange] = []
    read, sendfile, pread, loops = OpenFile._read_through, os.sendfile, os.pread, get_ident()

    def read_through(file: OpenFile, part: ByteRange) -> None:
        assert get_ident() != loops
        read(file, part)
        fetched.append(part)

    def is_fetched(_: OpenFile, part: ByteRange) -> bool:
        return any(one.start <= part.start and part.stop <= one.stop for one in fetched)

    def send(to: int, fd: int, offset: int, count: int) -> int:
        assert is_fetched(file, ByteRange(offset, offset + count))
        return sendfile(to, fd, offset, count)

    def copy(fd: int, count: int, offset: int) -> bytes:
        assert get_ident() != loops or is_fetched(file, ByteRange(offset, offset + count))
        return pread(fd, count, offset)

    monkeypatch.setattr(OpenFile, "_read_through", read_through)
    monkeypatch.setattr(OpenFile, "is_at_hand", is_fetched)
    monkeypatch.setattr(os, "sendfile", send)
    monkeypatch.setattr(os, "pread", copy)
    async with plane_for(file) as plane, connected(plane.port) as client:
        answer = await client.get()

    assert answer.body == content
    assert fetched
    file.close()


async def test_a_disk_that_fails_in_the_thread_is_an_error_and_a_short_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = await opened(make_file(tmp_path / "a.iso", content_of(5 * MIB)))

    def fail(_: OpenFile, part: ByteRange) -> None:
        if part.start:
            raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(OpenFile, "_read_through", fail)
    monkeypatch.setattr(OpenFile, "is_at_hand", lambda *_: False)
    async with plane_for(file) as plane, connected(plane.port) as client:
        await client.ask()
        _, headers = await client.head()
        body = await client.body(int(headers["Content-Length"]))
        with pytest.raises(AssertionError):
            await plane.outcome()

    assert len(body) < 5 * MIB
    file.close()


# ---- many readers, slow readers, lost readers -------------------------------------------------


@pytest.mark.usefixtures("quiet")
async def test_a_slow_reader_gets_every_byte_and_is_not_taken_for_a_stalled_one(
    tmp_path: Path,
) -> None:
    content = content_of(6 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with (
            plane_for(file, stalled_s=0.5) as plane,
            connected(plane.port, receive_buffer=4096) as client,
        ):
            await client.ask()
            await client.head()
            parts = [client.buffer]
            while sum(map(len, parts)) < len(content):
                parts.append(await client.more())
                await asyncio.sleep(0.002)
            outcome = await plane.outcome()

    assert b"".join(parts) == content
    assert outcome.end is TransferEnd.COMPLETE


@pytest.mark.usefixtures("quiet")
async def test_many_readers_of_one_open_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    async def read(port: int, start: int) -> bool:
        async with connected(port, receive_buffer=8192) as client:
            return (await client.get(f"Range: bytes={start}-")).body == CONTENT[start:]

    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane:
            right = await asyncio.gather(*(read(plane.port, 1000 * n) for n in range(30)))

    assert right == [True] * 30


@pytest.mark.usefixtures("quiet")
async def test_the_file_waits_for_what_is_still_in_the_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What aiohttp has not handed to the socket yet must not be overtaken by sendfile."""
    real_sendfile = os.sendfile
    held: list[int] = []

    def watched(out: int, source: int, offset: int, count: int) -> int:
        assert plane.transport is not None
        held.append(plane.transport.get_write_buffer_size())
        return real_sendfile(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", watched)
    interim = b"HTTP/1.1 102 Processing\r\n\r\n" * 300_000  # more than the kernel takes at once
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with (
            plane_for(file, interim=interim) as plane,
            connected(plane.port, receive_buffer=4096) as client,
        ):
            await client.ask()
            first = await client.body(len(interim))
            status, _ = await client.head()
            body = await client.body(END)

    assert set(held) == {0}
    assert first == interim
    assert status == 200
    assert body == CONTENT


@pytest.mark.usefixtures("quiet")
async def test_bytes_are_counted_while_they_flow(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await plane.until_counted(1)
            counted_early = plane.counted
            await client.head()
            await client.body(len(content))
            outcome = await plane.outcome()

    assert 0 < counted_early < len(content)
    assert plane.counted == outcome.sent_bytes == len(content)


@pytest.mark.usefixtures("quiet")
async def test_a_reader_that_leaves_in_the_middle_is_an_ordinary_end(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file) as plane:
            before = open_descriptors()
            async with connected(plane.port, receive_buffer=4096) as client:
                await client.ask()
                await client.head()
                await client.body(100_000)
            with capture_logs() as logs:
                outcome = await plane.outcome()
                await asyncio.sleep(0.05)
            after = open_descriptors()

    assert outcome.end is TransferEnd.CLIENT_LEFT
    assert 100_000 <= outcome.sent_bytes == plane.counted < len(content)
    assert logs == []
    assert after == before


@pytest.mark.usefixtures("quiet")
async def test_a_reader_that_leaves_at_once_is_an_ordinary_end(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file) as plane:
            for _ in range(20):
                async with connected(plane.port) as client:
                    await client.ask()
                    client.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                    )
            async with connected(plane.port) as client:
                answer = await client.get("Range: bytes=1-4")

    assert answer.body == content[1:5]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("size_bytes", [16 * MIB, 3 * HELD_BACK_BYTES])
async def test_a_reader_that_takes_nothing_is_given_up(tmp_path: Path, size_bytes: int) -> None:
    content = content_of(size_bytes)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file, stalled_s=0.1) as plane:
            before = open_descriptors()
            async with connected(plane.port, receive_buffer=4096) as client:
                await client.ask()
                outcome = await plane.outcome()
                await client.head()
                body = await client.body(len(content))
            after = open_descriptors()

    assert outcome.end is TransferEnd.STALLED
    assert outcome.sent_bytes == plane.counted < len(content)
    assert len(body) < len(content)
    assert after == before


@pytest.mark.usefixtures("quiet")
async def test_shutting_down_in_mid_answer_closes_the_connection_and_the_descriptors(
    tmp_path: Path,
) -> None:
    content = content_of(16 * MIB)
    file = await opened(make_file(tmp_path / "a.iso", content))
    number = file.fd
    async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
        await client.ask()
        await plane.until_counted(1)
        file.close()
        os.fstat(number)  # still open: an answer needs it

        assert plane.runner is not None
        await plane.runner.cleanup()
        seen = await asyncio.wait_for(plane.outcomes.get(), 30)
        body = await client.body(len(content) + 1000)

    assert isinstance(seen, asyncio.CancelledError)
    assert len(body) < len(content)
    assert file.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


# ---- never two versions mixed -----------------------------------------------------------------


def overwrite_in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as image:
        image.write(content)


async def test_a_file_that_has_changed_before_the_answer_is_refused(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", CONTENT)
    with await opened(path) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            first = await client.get("Range: bytes=0-9")
            overwrite_in_place(path, b"x")
            second = await client.get("Range: bytes=0-9")

    assert (first.status, second.status) == (206, 503)


@pytest.mark.usefixtures("quiet")
async def test_a_file_overwritten_while_it_is_sent_ends_in_a_short_body(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    path = make_file(tmp_path / "a.iso", content)
    with await opened(path) as file, capture_logs() as logs:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await client.head()
            await client.body(100_000)
            overwrite_in_place(path, bytes(100))
            body = await client.body(len(content))
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.FILE_CHANGED
    assert outcome.sent_bytes == plane.counted < len(content) - 2 * MIB  # it is noticed early
    assert len(body) < len(content) - 100_000
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("http.file_changed", "warning")
    ]


@pytest.mark.usefixtures("quiet")
async def test_bytes_that_are_already_queued_are_not_passed_off_as_the_old_ones(
    tmp_path: Path,
) -> None:
    """sendfile queues references to the page cache: what is overwritten now, arrives so."""
    content = content_of(6 * HELD_BACK_BYTES)
    path = make_file(tmp_path / "a.iso", content)
    with await opened(path) as file, capture_logs():
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await plane.until_counted(len(content) - 2 * HELD_BACK_BYTES)
            await asyncio.sleep(0.05)  # time for the last piece to leave too early, if it would
            overwrite_in_place(path, bytes(len(content)))
            await client.head()
            body = await client.body(len(content))
            outcome = await plane.outcome()

    assert len(body) < len(content) or body == content
    assert outcome.end is TransferEnd.FILE_CHANGED


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("tail", [b"?" * 100, content_of(HELD_BACK_BYTES)])
async def test_a_tail_of_ours_does_not_vouch_for_bytes_that_have_changed(
    tmp_path: Path, tail: bytes
) -> None:
    content = content_of(3 * HELD_BACK_BYTES)  # the kernels could hold all of it
    path = make_file(tmp_path / "a.iso", content)
    layout = Layout.whole(len(content)).appended(tail)
    with await open_file(reference(path), layout) as file, capture_logs():
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await plane.until_counted(layout.size_bytes - 2 * HELD_BACK_BYTES)
            await asyncio.sleep(0.05)  # time for the last piece to leave too early, if it would
            overwrite_in_place(path, bytes(len(content)))
            await client.head()
            body = await client.body(layout.size_bytes)
            outcome = await plane.outcome()

    assert len(body) < layout.size_bytes or body == content + tail
    assert outcome.end is TransferEnd.FILE_CHANGED


async def test_bytes_of_ours_are_refused_as_well_when_the_file_has_changed(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.iso", CONTENT)
    with await open_file(reference(path), Layout.whole(END).appended(b"?" * 100)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            first = await client.get("Range: bytes=-9")
            overwrite_in_place(path, b"x")
            second = await client.get("Range: bytes=-9")

    assert (first.status, second.status) == (206, 503)


@pytest.mark.usefixtures("quiet")
async def test_a_file_cut_short_while_it_is_sent_ends_in_a_short_body(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    path = make_file(tmp_path / "a.iso", content)
    with await opened(path) as file, capture_logs():
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await plane.until_counted(1)
            os.truncate(path, 1000)
            await client.head()
            body = await client.body(len(content))
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.FILE_CHANGED
    assert len(body) < len(content)


@pytest.mark.usefixtures("quiet")
async def test_a_file_replaced_by_rename_is_sent_to_its_end(tmp_path: Path) -> None:
    content = content_of(16 * MIB)
    path = make_file(tmp_path / "a.iso", content)
    with await opened(path) as file:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            await client.ask()
            await plane.until_counted(1)
            make_file(tmp_path / "new.iso", bytes(16 * MIB)).rename(path)
            await client.head()
            body = await client.body(len(content))
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.COMPLETE
    assert body == content


# ---- where sendfile does not reach ------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
async def test_a_file_system_without_sendfile_is_served_by_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "sendfile", refuse)
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port, receive_buffer=4096) as client:
            answer = await client.get()
            outcome = await plane.outcome()

    assert answer.body == CONTENT
    assert outcome.sent_bytes == plane.counted == END


@pytest.mark.usefixtures("quiet")
async def test_a_file_that_ends_early_though_its_size_has_not_changed_is_a_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over NFS the size may be told from a cache while the file is short already."""
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file, capture_logs():
        async with plane_for(file) as plane, connected(plane.port) as client:
            await client.ask()
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.FILE_CHANGED


@pytest.mark.usefixtures("quiet")
async def test_a_connection_that_the_kernel_gives_up_is_a_client_that_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: int) -> int:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(os, "sendfile", give_up)
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            await client.ask()
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.CLIENT_LEFT
    assert outcome.sent_bytes == 0


async def test_a_failing_disk_is_an_error_and_a_short_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "sendfile", fail)
    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file) as plane, connected(plane.port) as client:
            await client.ask()
            await client.head()
            body = await client.body(END)
            seen = await plane.outcomes.get()

    assert isinstance(seen, OSError)
    assert seen.errno == errno.EIO
    assert len(body) < END


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    return directory / "cert.pem", directory / "key.pem"


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def client_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.check_hostname = False
    return context


@pytest.mark.interop
@pytest.mark.usefixtures("quiet")
async def test_tls_readers_share_one_open_file(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def read(port: int, start: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls)
        request = f"GET /image.iso HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-\r\n\r\n"
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(END - start)
        writer.close()
        return b" 206 " in head and body == CONTENT[start:]

    with await opened(make_file(tmp_path / "a.iso", CONTENT)) as file:
        async with plane_for(file, tls=server_tls) as plane:
            right = await asyncio.gather(*(read(plane.port, 1000 * n) for n in range(5)))

    assert right == [True] * 5


@pytest.mark.interop
@pytest.mark.usefixtures("quiet")
async def test_a_tls_reader_that_takes_nothing_does_not_fill_the_memory(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    content = content_of(64 * MIB)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file, stalled_s=0.3, tls=server_tls) as plane:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", plane.port, ssl=client_tls, limit=1024
            )
            writer.write(b"GET /image.iso HTTP/1.1\r\nHost: x\r\n\r\n")
            outcome = await plane.outcome()
            writer.transport.abort()

    assert outcome.end is TransferEnd.STALLED
    assert outcome.sent_bytes < 16 * MIB  # what the two kernels hold


@pytest.mark.usefixtures("quiet")
async def test_over_tls_a_client_that_leaves_is_no_error(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with await opened(make_file(tmp_path / "a.iso", content_of(64 * MIB))) as file:
        async with plane_for(file, tls=server_tls) as plane:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", plane.port, ssl=client_tls, limit=1024
            )
            writer.write(b"GET /image.iso HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            outcome = await plane.outcome()

    assert outcome.end is TransferEnd.CLIENT_LEFT


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("size_bytes", SIZES)
async def test_over_tls_the_length_is_told_and_every_byte_comes_and_is_counted(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, size_bytes: int
) -> None:
    content = content_of(size_bytes)
    with await opened(make_file(tmp_path / "a.iso", content)) as file:
        async with plane_for(file, tls=server_tls) as plane:
            reader, writer = await asyncio.open_connection("127.0.0.1", plane.port, ssl=client_tls)
            heads = []
            for method in (b"HEAD", b"GET"):
                writer.write(method + b" /image.iso HTTP/1.1\r\nHost: x\r\n\r\n")
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                outcome = await plane.outcome() if method == b"HEAD" else None
                assert outcome is None or outcome.sent_bytes == 0
            body = await reader.readexactly(size_bytes)
            outcome = await plane.outcome()
            writer.close()

    for head in heads:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nContent-Length: %d\r\n" % size_bytes in head
        assert b"chunked" not in head
    assert body == content
    assert outcome.end is TransferEnd.COMPLETE
    assert outcome.sent_bytes == plane.counted == size_bytes


@pytest.mark.usefixtures("quiet")
async def test_over_tls_a_file_overwritten_while_it_is_sent_ends_in_a_short_body(
    tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    content = content_of(16 * MIB)
    path = make_file(tmp_path / "a.iso", content)
    with await opened(path) as file, capture_logs() as logs:
        async with plane_for(file, tls=server_tls) as plane:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", plane.port, ssl=client_tls, limit=1024
            )
            writer.write(b"GET /image.iso HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await plane.until_counted(HELD_BACK_BYTES)
            overwrite_in_place(path, bytes(len(content)))
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while data := await reader.read(1 << 16):
                    received += data
            outcome = await plane.outcome()
            writer.transport.abort()

    body = received.partition(b"\r\n\r\n")[2]
    assert outcome.end is TransferEnd.FILE_CHANGED
    assert outcome.sent_bytes == plane.counted < len(content)
    assert content.startswith(body)  # nothing of the new version
    assert len(body) < len(content)
    assert [line["event"] for line in logs] == ["http.file_changed"]
