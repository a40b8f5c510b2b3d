"""Clients that leave in the middle, send too slowly or make no sense, on the admin plane."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bootserver.config import Config
from tests.fixtures.admin import EVENT_S, PC, Admin, running_admin

JSON_HEAD = (
    b"POST /api/v1/images HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
)
UPLOAD_HEAD = JSON_HEAD.replace(b"/images ", b"/images?name=new ").replace(b"json", b"octet-stream")


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    limits = config.limits.model_copy(update={"body_s": 0.3})
    async with running_admin(config.model_copy(update={"limits": limits})) as admin:
        yield admin


@asynccontextmanager
async def connection(
    admin: Admin, sent: bytes, plane: str = "admin"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has sent this."""
    url = admin.boot_url if plane == "boot" else admin.url
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 12)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until_logged(logs: list[Any], event: str) -> None:
    async with asyncio.timeout(EVENT_S):
        while event not in [line["event"] for line in logs]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/", "/images", "/api/v1/images", "/healthz", "/nope"])
async def test_a_host_with_a_bad_byte_is_refused(admin: Admin, path: str):
    request = b"GET %s HTTP/1.1\r\nHost: a\x99\r\n\r\n" % path.encode()
    with capture_logs() as logs:
        async with connection(admin, request) as (reader, _), asyncio.timeout(EVENT_S):
            status = await reader.readline()

    assert status.startswith(b"HTTP/1.1 400 ")
    assert logs == []


@pytest.mark.parametrize(
    "header",
    [
        b"Expect: \xff",
        b"User-Agent: caf\xe9",
        b"Upgrade: websocket\r\nConnection: \xff",
        b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: \x93",
        b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: \xff",
    ],
)
async def test_bytes_that_are_no_text_fail_nothing(admin: Admin, header: bytes):
    path = b"/api/v1/amt/hosts/192.0.2.1/console"
    request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n" % (path, header)
    async with connection(admin, request) as (reader, _), asyncio.timeout(EVENT_S):
        status = await reader.readline()

    assert status.split()[1].startswith(b"4")


@pytest.mark.parametrize("target", [b"http://localhost:9/healthz", b"http://[::1]/healthz"])
@pytest.mark.parametrize("host", [b"", b"Host: localhost\r\n", b"Host: other.example\r\n"])
@pytest.mark.parametrize("plane", ["boot", "admin"])
async def test_a_target_that_names_the_host_is_answered_like_any_other(
    admin: Admin, plane: str, target: bytes, host: bytes
):
    """The admin plane wants the header, which no page of another site can forge."""
    request = b"GET %b HTTP/1.0\r\n%b\r\n" % (target, host)
    async with connection(admin, request, plane) as (reader, _), asyncio.timeout(EVENT_S):
        status = await reader.readline()

    refused = plane == "admin" and b"localhost" not in host
    assert status.split()[1] == (b"421" if refused else b"200")


async def test_a_client_that_leaves_with_half_a_body_is_one_line(admin: Admin):
    with capture_logs() as logs:
        async with connection(admin, JSON_HEAD + b"{") as (_, writer):
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await until_logged(logs, "http.client_left")

    assert [(line["event"], line["log_level"]) for line in logs] == [("http.client_left", "info")]


async def test_a_client_that_leaves_with_half_an_image_is_no_error(admin: Admin):
    with capture_logs() as logs:
        async with connection(admin, UPLOAD_HEAD + b"x" * 100) as (_, writer):
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await until_logged(logs, "job.ended")

    assert {line["log_level"] for line in logs} == {"info"}
    assert list(admin.services.config.images.path.iterdir()) == []


async def test_a_client_that_leaves_in_the_middle_of_an_export_is_one_line(admin: Admin):
    for number in range(300):
        session = admin.ledger.start("token", "rescue", PC, f"192.0.2.{number % 250}")
        admin.ledger.complain(session.key, "x" * 10_000)
    await admin.ledger.flush()
    request = b"GET /api/v1/boots/export?format=json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with capture_logs() as logs:
        async with connection(admin, request) as (reader, writer):
            async with asyncio.timeout(EVENT_S):
                await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            await until_logged(logs, "http.client_left")

    assert [(line["event"], line["log_level"]) for line in logs] == [("http.client_left", "info")]


@pytest.mark.parametrize(
    ("sent", "status"), [(JSON_HEAD + b"{", b" 408 "), (UPLOAD_HEAD + b"x", b" 408 ")]
)
async def test_a_body_that_does_not_go_on_is_given_up(admin: Admin, sent: bytes, status: bytes):
    async with connection(admin, sent) as (reader, _), asyncio.timeout(EVENT_S):
        first = await reader.readline()

    assert status in first


async def test_a_body_that_is_no_http_is_refused(admin: Admin):
    head = JSON_HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
    with capture_logs() as logs:
        async with connection(admin, head + b"zz\r\n") as (reader, _), asyncio.timeout(EVENT_S):
            status = await reader.readline()

    assert b" 400 " in status
    assert "error" not in {line["log_level"] for line in logs}


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
PACKED = b"Content-Encoding: %s\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "rest", [CHUNKED, *(PACKED % name for name in (b"gzip", b"deflate", b"br", b"zstd"))]
)
@pytest.mark.parametrize("plane", ["boot", "admin"])
async def test_a_body_that_nothing_reads_is_not_worth_a_line(
    admin: Admin, caplog: pytest.LogCaptureFixture, plane: str, rest: bytes
):
    request = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\n" + rest
    async with asyncio.timeout(EVENT_S):
        async with connection(admin, request, plane) as (reader, writer):
            status = await reader.readline()
            writer.write_eof()
            while await reader.read(1000):  # until the server is done with it
                pass

    assert status.split()[1] in (b"400", b"405")
    assert caplog.records == []


async def test_a_packed_body_is_refused_in_words(admin: Admin):
    problem = await admin.ask(
        "/profiles",
        "POST",
        data=b"packed",
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        expect=415,
    )

    assert problem["hint"] == "send it without Content-Encoding"
