"""curl and wget fetch from us what they fetch from any server."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncIterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.files.layout import Layout
from bootserver.files.open_version import open_file
from bootserver.http.files import send_file
from bootserver.model import ByteRange, Content, FileVersion
from tests.fixtures.processes import output_of

pytestmark = pytest.mark.interop

CONTENT = random.Random(5).randbytes(9_000_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LAST_MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"

# Two extents in another order, a hole filled with bytes of ours, and an appendix.
LAYOUT = (
    Layout((ByteRange(5_000_000, 9_000_001), ByteRange(1000, 3_000_000)))
    .replaced(2_000_000, b"ours" * 100_000)
    .appended(b"and more" * 20_000)
)
PIECED = b"".join(
    piece if isinstance(piece, bytes) else CONTENT[piece.start : piece.stop]
    for piece in LAYOUT.pieces
)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The address of an image of nine million bytes; `pieced.iso` beside it is LAYOUT of it."""
    path = tmp_path / "image.iso"
    path.write_bytes(CONTENT)
    os.utime(path, (784111777, 784111777))
    content = Content(str(path), FileVersion.of(path.stat()), SHA256)
    files = {"image.iso": await open_file(content), "pieced.iso": await open_file(content, LAYOUT)}

    async def handle(request: web.Request) -> web.StreamResponse:
        file = files[request.match_info["name"]]
        outcome = await send_file(
            request,
            file,
            content_type="application/octet-stream",
            on_sent=lambda _: None,
            stalled_s=30,
        )
        return outcome.response

    app = web.Application()
    app.router.add_get("/{name}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/image.iso"
    finally:
        await runner.cleanup()
        for file in files.values():
            file.close()


@pytest.fixture
def pieced_url(url: str) -> str:
    """The address of an image made of pieces of the other one and bytes of ours."""
    return url.replace("image.iso", "pieced.iso")


async def curl(*arguments: str | Path) -> bytes:
    return await output_of("curl", "--silent", "--show-error", "--noproxy", "*", *arguments)


async def wget(*arguments: str | Path) -> bytes:
    return await output_of("wget", "--quiet", "--no-proxy", "--tries=1", *arguments)


def parsed(answer: bytes) -> tuple[int, Message]:
    """Status and headers of an answer that curl printed with its headers."""
    status_line, _, fields = answer.partition(b"\r\n")
    return int(status_line.split()[1]), BytesParser().parsebytes(fields, headersonly=True)


async def test_curl_gets_the_whole_image(url: str, tmp_path: Path) -> None:
    await curl("--output", tmp_path / "got", url)

    assert hashlib.sha256((tmp_path / "got").read_bytes()).hexdigest() == SHA256


async def test_curl_gets_it_with_http_1_0(url: str) -> None:
    assert hashlib.sha256(await curl("--http1.0", url)).hexdigest() == SHA256


async def test_curl_sees_the_size_and_the_validators(url: str) -> None:
    status, headers = parsed(await curl("--head", url))

    assert status == 200
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == f'"{SHA256}"'
    assert headers["Last-Modified"] == LAST_MODIFIED


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("0-0", CONTENT[:1]),
        ("1000-5000000", CONTENT[1000:5000001]),
        ("8999990-", CONTENT[8999990:]),
        ("-100000", CONTENT[-100000:]),
        ("8999990-99999999999999999999", CONTENT[8999990:]),
    ],
)
async def test_curl_gets_one_range(url: str, asked: str, expected: bytes) -> None:
    assert await curl("--range", asked, url) == expected


async def test_curl_gets_several_ranges_as_multipart(url: str) -> None:
    answer = await curl("--include", "--range", "0-1,1000000-2000000,-3", url)

    status, headers = parsed(answer)
    assert status == 206
    message = BytesParser().parsebytes(answer.partition(b"\r\n")[2])
    assert message.get_content_type() == "multipart/byteranges"
    boundary = headers.get_param("boundary")
    assert isinstance(boundary, str)
    body = answer.partition(b"\r\n\r\n")[2]
    assert len(body) == int(headers["Content-Length"])
    parts = body.split(b"--" + boundary.encode())[1:-1]
    assert [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts] == [
        CONTENT[:2],
        CONTENT[1000000:2000001],
        CONTENT[-3:],
    ]


async def test_curl_gets_two_ranges_on_one_connection(url: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    connects = await curl(
        *("--range", "5-4000000", "--output", first, "--write-out", "%{num_connects}\n", url),
        "--next",
        *("--silent", "--noproxy", "*"),
        *("--range", "-7", "--output", second, "--write-out", "%{num_connects}\n", url),
    )

    assert connects.split() == [b"1", b"0"]
    assert first.read_bytes() == CONTENT[5:4000001]
    assert second.read_bytes() == CONTENT[-7:]


@pytest.mark.parametrize("have", [1, 4_000_000, 9_000_000])
async def test_curl_resumes(url: str, tmp_path: Path, have: int) -> None:
    got = tmp_path / "got"
    got.write_bytes(CONTENT[:have])

    await curl("--continue-at", "-", "--output", got, url)

    assert hashlib.sha256(got.read_bytes()).hexdigest() == SHA256


@pytest.mark.parametrize(
    ("validator", "status", "length"),
    [
        (f'"{SHA256}"', 206, 10),
        (LAST_MODIFIED, 206, 10),
        ('"another"', 200, len(CONTENT)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200, len(CONTENT)),
    ],
)
async def test_curl_gets_a_range_only_of_the_version_it_has(
    url: str, validator: str, status: int, length: int
) -> None:
    answer = await curl("--include", "--range", "10-19", "--header", f"If-Range: {validator}", url)

    seen, headers = parsed(answer)
    assert (seen, headers["Content-Length"]) == (status, str(length))


async def test_curl_does_not_fetch_what_it_has(url: str, tmp_path: Path) -> None:
    etags = tmp_path / "etags"
    await curl("--etag-save", etags, "--output", tmp_path / "got", url)

    status = await curl("--etag-compare", etags, "--write-out", "%{http_code}", url)

    assert status == b"304"


async def test_curl_gets_a_file_made_of_pieces(pieced_url: str) -> None:
    assert await curl(pieced_url) == PIECED


@pytest.mark.parametrize(
    "part",
    [
        slice(1_999_990, 2_400_010),  # over all that was replaced
        slice(2_399_999, 4_100_000),  # from there into the second extent
        slice(4_000_000, 4_000_002),  # the seam of the extents
        slice(6_999_000, 7_000_000),  # into the appendix
        slice(-100_000, None),
    ],
)
async def test_curl_gets_a_range_over_the_seams(pieced_url: str, part: slice) -> None:
    start, stop, _ = part.indices(len(PIECED))

    assert await curl("--range", f"{start}-{stop - 1}", pieced_url) == PIECED[part]


@pytest.mark.parametrize("have", [1, 2_000_001, 4_000_001, len(PIECED) - 1])
async def test_curl_resumes_a_file_made_of_pieces(
    pieced_url: str, tmp_path: Path, have: int
) -> None:
    got = tmp_path / "got"
    got.write_bytes(PIECED[:have])

    await curl("--continue-at", "-", "--output", got, pieced_url)

    assert got.read_bytes() == PIECED


async def test_wget_gets_the_whole_image(url: str, tmp_path: Path) -> None:
    await wget("--output-document", tmp_path / "got", url)

    assert hashlib.sha256((tmp_path / "got").read_bytes()).hexdigest() == SHA256
    assert (tmp_path / "got").stat().st_mtime == 784111777


@pytest.mark.parametrize("have", [1, 4_000_000, 9_000_000])
async def test_wget_resumes(url: str, tmp_path: Path, have: int) -> None:
    got = tmp_path / "fetched" / "image.iso"
    got.parent.mkdir()
    got.write_bytes(CONTENT[:have])

    await wget("--continue", "--directory-prefix", got.parent, url)

    assert hashlib.sha256(got.read_bytes()).hexdigest() == SHA256


async def test_wget_starts_where_it_is_told(url: str) -> None:
    assert await wget("--start-pos=8000000", "--output-document=-", url) == CONTENT[8000000:]
