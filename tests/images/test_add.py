"""Adding images: whole and checked, or not at all; downloads that survive bad servers."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bootserver.errors import ImageError
from bootserver.images import add as add_module
from bootserver.images.add import add_image
from tests.fixtures.isos import make_iso

ETAG = '"v1"'
DATE = "Sun, 01 Nov 2026 10:00:00 GMT"


@pytest.fixture(autouse=True)
def _quick_and_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits, and no proxy between a test and its server."""
    monkeypatch.setattr(add_module, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ISO of a little more than a megabyte."""
    path = tmp_path_factory.mktemp("content") / "a.iso"
    return make_iso(path, {"random": os.urandom(1_000_000)}, bios=True).read_bytes()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@dataclass
class Mirror:
    """A web server with one file and the bad habits a test gives it."""

    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": ETAG})
    cuts: list[int] = field(default_factory=list)  # bytes to send of each answer, then cut
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)  # their Range headers
    before: Callable[[int], None] = lambda number: None  # called with the request's number
    url: str = ""
    part: Path | None = None  # cut only when so much has come here

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.before(len(self.requests))
        self.requests.append(request.headers.get("Range"))
        start, status = 0, 200
        validators = (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        if self.ranges and "Range" in request.headers:
            start = request.http_range.start or 0
            status = 206
            if request.headers.get("If-Range", validators[0]) not in validators:
                start, status = 0, 200
            elif start >= len(self.content):
                total = {"Content-Range": f"bytes */{len(self.content)}"}
                return web.Response(status=416, headers=total)
        body = self.content[start:]
        response = web.StreamResponse(status=status, headers=self.headers)
        if status == 206:
            end, total = len(self.content) - 1, len(self.content)
            response.headers["Content-Range"] = f"bytes {start}-{end}/{total}"
        response.content_length = len(body)
        await response.prepare(request)
        if self.cuts:
            cut = self.cuts.pop(0)
            await response.write(body[:cut])
            assert self.part is not None
            async with asyncio.timeout(20):
                while cut and self.part.stat().st_size != start + cut:
                    await asyncio.sleep(0.001)
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        return response


@asynccontextmanager
async def _serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """The handler's address; it answers every path."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def mirror(directory: Path, content: bytes) -> AsyncIterator[Mirror]:
    mirror = Mirror(content, part=directory / ".rescue.iso.part")
    async with _serving(mirror.handle) as address:
        mirror.url = f"{address}/pub/rescue.iso"
        yield mirror


# -- from a file


async def test_local_file_is_copied_under_its_name(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "Rescue 1.ISO").write_bytes(content)
    steps: list[tuple[int, int | None]] = []

    path = await add_image(
        str(tmp_path / "Rescue 1.ISO"), directory, progress=lambda *step: steps.append(step)
    )

    assert path == directory / "Rescue 1.iso"
    assert path.read_bytes() == content
    assert _names(directory) == ["Rescue 1.iso"]
    assert steps[-1] == (len(content), len(content))


async def test_copy_works_where_the_kernel_does_not_copy(
    directory: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "a.iso").write_bytes(content)

    assert (await add_image(str(tmp_path / "a.iso"), directory)).read_bytes() == content


async def test_other_name_can_be_given(directory: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    path = await add_image(str(tmp_path / "a.iso"), directory, name="rescue 2.0.iso")

    assert path.name == "rescue 2.0.iso"


@pytest.mark.parametrize(
    "name", ["", ".iso", ".hidden", "../up", "a/b", "a\\b", "two\nlines", "\x1b[0m", "x" * 250]
)
async def test_unsafe_name_is_refused(
    directory: Path, tmp_path: Path, content: bytes, name: str
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError) as caught:
        await add_image(str(tmp_path / "a.iso"), directory, name=name)

    assert "name" in caught.value.message
    assert _names(tmp_path) == ["a.iso", "images"]
    assert _names(directory) == []


async def test_file_that_is_no_iso_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "a.iso").write_bytes(b"<html>")

    with pytest.raises(ImageError, match=r"a\.iso is not an ISO"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert _names(directory) == []


async def test_missing_file_is_told(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.iso cannot be read: No such file"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert _names(directory) == []


async def test_missing_directory_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError, match=r"image directory .*nowhere cannot be read"):
        await add_image(str(tmp_path / "a.iso"), tmp_path / "nowhere")


async def test_name_of_another_image_is_refused_and_that_image_stays(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)
    other = make_iso(directory / "a.ISO").read_bytes()

    with pytest.raises(ImageError, match=r"a\.ISO already exists, with other content"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert _names(directory) == ["a.ISO"]
    assert (directory / "a.ISO").read_bytes() == other


async def test_same_content_again_is_fine(directory: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)
    first = await add_image(str(tmp_path / "a.iso"), directory)

    with capture_logs() as logs:
        again = await add_image(str(tmp_path / "a.iso"), directory)

    assert again == first
    assert [log["event"] for log in logs] == ["image.already_there"]


async def test_image_that_appears_meanwhile_is_not_overwritten(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    def appear(done_bytes: int, total_bytes: int | None) -> None:
        (directory / "a.iso").write_bytes(b"somebody else's")

    with pytest.raises(ImageError, match="already exists, with other content"):
        await add_image(str(tmp_path / "a.iso"), directory, progress=appear)

    assert (directory / "a.iso").read_bytes() == b"somebody else's"
    assert _names(directory) == ["a.iso"]


async def test_right_digest_is_accepted_in_any_case(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    path = await add_image(
        str(tmp_path / "a.iso"), directory, sha256=f" {_sha256(content).upper()}\n"
    )

    assert path.exists()


async def test_wrong_digest_is_told_with_both_and_leaves_nothing(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError) as caught:
        await add_image(str(tmp_path / "a.iso"), directory, sha256="0" * 64)

    assert _sha256(content) in caught.value.message
    assert "0" * 64 in caught.value.message
    assert _names(directory) == []


async def test_digest_that_is_none_is_refused_at_once(directory: Path) -> None:
    with pytest.raises(ImageError, match="not a SHA-256 digest"):
        await add_image("http://127.0.0.1:9/a.iso", directory, sha256="abc")


async def test_two_adders_of_one_name_do_not_meet(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with (
        add_module._open_part(directory, "a"),
        pytest.raises(ImageError, match="being added by another"),
    ):
        await add_image(str(tmp_path / "a.iso"), directory)


async def test_cancelled_copy_leaves_nothing(
    directory: Path, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add_module, "COPY_CHUNK_BYTES", 65_536)
    (tmp_path / "a.iso").write_bytes(content)
    task: asyncio.Task[Path] | None = None

    def cancel(done_bytes: int, total_bytes: int | None) -> None:
        assert task is not None
        task.cancel()

    task = asyncio.create_task(add_image(str(tmp_path / "a.iso"), directory, progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert _names(directory) == []


# -- from a URL


async def test_url_is_downloaded_under_its_last_segment(directory: Path, mirror: Mirror) -> None:
    steps: list[tuple[int, int | None]] = []
    url = mirror.url.replace("rescue.iso", "R%C3%A9scue%201.iso?token=secret")

    path = await add_image(url, directory, progress=lambda *step: steps.append(step))

    assert path == directory / "Réscue 1.iso"
    assert path.read_bytes() == mirror.content
    assert _names(directory) == ["Réscue 1.iso"]
    assert steps[0] == (0, len(mirror.content))
    assert steps[-1] == (len(mirror.content), len(mirror.content))


async def test_image_is_not_listed_before_it_is_whole(directory: Path, mirror: Mirror) -> None:
    listings: set[tuple[str, ...]] = set()

    def look(done_bytes: int, total_bytes: int | None) -> None:
        listings.add(tuple(_names(directory)))

    await add_image(mirror.url, directory, progress=look)

    assert listings == {(".rescue.iso.part", ".rescue.iso.part.json")}


@pytest.mark.parametrize(
    "validator", [{"ETag": ETAG}, {"Last-Modified": DATE}, {"ETag": 'W/"1"', "Last-Modified": DATE}]
)
async def test_cut_download_goes_on_where_it_stopped(
    directory: Path, mirror: Mirror, validator: dict[str, str]
) -> None:
    mirror.headers = validator
    mirror.cuts = [400_000, 300_000]

    path = await add_image(mirror.url, directory, sha256=_sha256(mirror.content))

    assert path.read_bytes() == mirror.content
    assert mirror.requests == [None, "bytes=400000-", "bytes=700000-"]


async def test_more_cuts_than_retries_are_survived_while_bytes_arrive(
    directory: Path, mirror: Mirror
) -> None:
    mirror.cuts = [100_000] * 8

    assert (await add_image(mirror.url, directory)).read_bytes() == mirror.content
    assert len(mirror.requests) == 9


async def test_next_call_goes_on_where_the_last_gave_up(directory: Path, mirror: Mirror) -> None:
    mirror.cuts = [500_000, 0, 0, 0]
    with pytest.raises(ImageError, match=r"500,000 bytes are here") as caught:
        await add_image(mirror.url, directory)
    assert "goes on where it stopped" in caught.value.hint
    assert _names(directory) == [".rescue.iso.part", ".rescue.iso.part.json"]
    mirror.requests.clear()

    path = await add_image(mirror.url, directory)

    assert path.read_bytes() == mirror.content
    assert mirror.requests == ["bytes=500000-"]
    assert _names(directory) == ["rescue.iso"]


async def test_server_that_ignores_range_starts_afresh(directory: Path, mirror: Mirror) -> None:
    mirror.ranges = False
    mirror.cuts = [400_000]

    path = await add_image(mirror.url, directory)

    assert path.read_bytes() == mirror.content
    assert mirror.requests == [None, "bytes=400000-"]


async def test_file_that_changes_on_the_server_is_never_mixed(
    directory: Path, mirror: Mirror, tmp_path: Path
) -> None:
    newer = make_iso(tmp_path / "new.iso", {"random": os.urandom(1_100_000)}).read_bytes()

    def change(number: int) -> None:
        if number == 1:
            mirror.content, mirror.headers = newer, {"ETag": '"v2"'}

    mirror.cuts = [400_000]
    mirror.before = change

    assert (await add_image(mirror.url, directory)).read_bytes() == newer


async def test_answer_with_another_etag_to_a_range_is_not_appended(
    directory: Path, content: bytes, tmp_path: Path
) -> None:
    """A server that ignores If-Range sends the tail of a newer file."""
    newer = make_iso(tmp_path / "new.iso", {"random": os.urandom(1_000_000)}).read_bytes()
    mirror = Mirror(content, cuts=[400_000], part=directory / ".a.iso.part")

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = request.headers.copy()
        if headers.pop("If-Range", None):
            mirror.content, mirror.headers = newer, {"ETag": '"v2"'}
        return await mirror.handle(request.clone(headers=headers))

    async with _serving(handle) as address:
        path = await add_image(f"{address}/a.iso", directory)

    assert path.read_bytes() == newer
    assert mirror.requests == [None, "bytes=400000-", None]


async def test_without_a_validator_nothing_is_resumed_or_kept(
    directory: Path, mirror: Mirror
) -> None:
    mirror.headers = {}
    mirror.cuts = [400_000, 300_000, 200_000, 100_000]

    with pytest.raises(ImageError, match="100,000 bytes are here"):
        await add_image(mirror.url, directory)

    assert mirror.requests == [None] * 4
    assert _names(directory) == []


async def test_part_of_another_url_is_not_continued(directory: Path, mirror: Mirror) -> None:
    mirror.cuts = [500_000, 0, 0, 0]
    with pytest.raises(ImageError):
        await add_image(mirror.url, directory)
    mirror.requests.clear()

    await add_image(mirror.url.replace("/pub/", "/other/"), directory)

    assert mirror.requests == [None]


async def test_state_file_holds_no_secret_of_the_url(directory: Path, mirror: Mirror) -> None:
    mirror.cuts = [500_000, 0, 0, 0]
    secret = mirror.url.replace("http://", "http://user:hunter2@") + "?sig=hunter3"

    with pytest.raises(ImageError) as caught:
        await add_image(secret, directory)

    state = (directory / ".rescue.iso.part.json").read_text()
    assert set(json.loads(state)) == {"url_sha256", "validator"}
    assert "hunter" not in caught.value.message + caught.value.hint + state


async def test_spoilt_state_file_means_a_fresh_start(directory: Path, mirror: Mirror) -> None:
    (directory / ".rescue.iso.part").write_bytes(b"rubbish")
    (directory / ".rescue.iso.part.json").write_text("[1")

    assert (await add_image(mirror.url, directory)).read_bytes() == mirror.content
    assert mirror.requests == [None]


def _leave_part(directory: Path, url: str, data: bytes) -> None:
    (directory / ".rescue.iso.part").write_bytes(data)
    state = {"url_sha256": _sha256(url.encode()), "validator": ETAG}
    (directory / ".rescue.iso.part.json").write_text(json.dumps(state))


async def test_whole_part_file_is_published_on_416(directory: Path, mirror: Mirror) -> None:
    _leave_part(directory, mirror.url, mirror.content)

    assert (await add_image(mirror.url, directory)).read_bytes() == mirror.content
    assert mirror.requests == [f"bytes={len(mirror.content)}-"]


async def test_too_long_part_file_starts_afresh_on_416(directory: Path, mirror: Mirror) -> None:
    _leave_part(directory, mirror.url, mirror.content + b"more")

    assert (await add_image(mirror.url, directory)).read_bytes() == mirror.content
    assert mirror.requests == [f"bytes={len(mirror.content) + 4}-", None]


async def test_senseless_416_leads_to_a_fresh_start(directory: Path, mirror: Mirror) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            total = {"Content-Range": f"bytes */{len(mirror.content)}"}
            return web.Response(status=416, headers=total)
        return await mirror.handle(request)

    async with _serving(handle) as address:
        url = f"{address}/rescue.iso"
        _leave_part(directory, url, mirror.content[:1000])

        assert (await add_image(url, directory)).read_bytes() == mirror.content


async def test_body_shorter_than_announced_is_no_success(directory: Path, mirror: Mirror) -> None:
    """The file is whole by its own descriptors, so only the length can tell."""
    mirror.content += bytes(50_000)
    whole = len(mirror.content)
    mirror.cuts = [whole - 50_000, 0, 0, 0]

    with pytest.raises(ImageError, match=f"{whole - 50_000:,} bytes are here"):
        await add_image(mirror.url, directory)

    assert _names(directory) == [".rescue.iso.part", ".rescue.iso.part.json"]


async def test_range_answer_that_lies_about_the_total_is_no_success(
    directory: Path, content: bytes
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "Range" not in request.headers:
            part = directory / ".a.iso.part"
            return await Mirror(content, cuts=[400_000], part=part).handle(request)
        tail = content[400_000:]
        span = f"bytes 400000-{len(content) - 1}/{len(content) - 7}"
        return web.Response(status=206, body=tail, headers={"Content-Range": span, "ETag": ETAG})

    async with _serving(handle) as address:
        with pytest.raises(ImageError, match=f"ended at byte {len(content):,} of"):
            await add_image(f"{address}/a.iso", directory)

    assert _names(directory) == []


async def test_web_page_in_place_of_the_image_is_refused_and_not_kept(
    directory: Path, mirror: Mirror
) -> None:
    mirror.content = b"<html>please log in</html>" * 5000

    with pytest.raises(ImageError, match=r"^rescue\.iso is not an ISO"):
        await add_image(mirror.url, directory)

    assert _names(directory) == []


async def test_image_truncated_on_the_server_is_refused(directory: Path, mirror: Mirror) -> None:
    mirror.content = mirror.content[:600_000]

    with pytest.raises(ImageError, match=r"^rescue\.iso is truncated"):
        await add_image(mirror.url, directory)

    assert _names(directory) == []


async def test_existing_image_of_another_size_is_told_before_the_download(
    directory: Path, mirror: Mirror
) -> None:
    make_iso(directory / "rescue.iso")
    steps: list[int] = []

    with pytest.raises(ImageError, match=r"rescue\.iso already exists, with other content"):
        await add_image(mirror.url, directory, progress=lambda done, total: steps.append(done))

    assert steps == []
    assert _names(directory) == ["rescue.iso"]


async def test_existing_image_of_the_digest_asked_for_needs_no_server(
    directory: Path, content: bytes
) -> None:
    (directory / "a.iso").write_bytes(content)

    path = await add_image("http://127.0.0.1:9/a.iso", directory, sha256=_sha256(content))

    assert path == directory / "a.iso"


async def test_downloading_the_same_content_again_is_fine(directory: Path, mirror: Mirror) -> None:
    first = await add_image(mirror.url, directory)

    assert await add_image(mirror.url, directory) == first
    assert _names(directory) == ["rescue.iso"]


async def test_not_found_is_told_at_once(directory: Path) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound

    async with _serving(handle) as address:
        with pytest.raises(ImageError, match=r"/a\.iso answered 404 Not Found"):
            await add_image(f"{address}/a.iso", directory)

    assert _names(directory) == []


async def test_busy_server_is_asked_again(directory: Path, mirror: Mirror) -> None:
    def busy(number: int) -> None:
        if number < 2:
            mirror.requests.append(None)
            raise web.HTTPServiceUnavailable

    mirror.before = busy

    assert (await add_image(mirror.url, directory)).read_bytes() == mirror.content


async def test_redirect_is_followed(directory: Path, mirror: Mirror) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(mirror.url)

    async with _serving(handle) as address:
        path = await add_image(f"{address}/latest.iso", directory)

    assert path.name == "latest.iso"


async def test_redirect_loop_is_told(directory: Path) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path)

    async with _serving(handle) as address:
        with pytest.raises(ImageError, match="redirects more than 10 times"):
            await add_image(f"{address}/a.iso", directory)


async def test_unreachable_host_is_told_without_retries(
    directory: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setattr(add_module, "RETRY_WAITS_S", (3600.0,))

    with pytest.raises(ImageError, match=r"cannot be reached: Connection refused$") as caught:
        await add_image(f"http://127.0.0.1:{unused_port}/a.iso", directory)

    assert caught.value.hint == "check the address and the network"
    assert _names(directory) == []


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound, so that nobody else gets it, and that nobody listens on."""
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_silent_server_is_given_up(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_module, "SILENCE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(add_module, "RETRY_WAITS_S", ())
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with _serving(handle) as address:
        with pytest.raises(ImageError, match=r"was silent for 0\.05 s"):
            await add_image(f"{address}/a.iso", directory)
        over.set()


async def test_https_of_a_plain_server_is_a_tls_failure(directory: Path, mirror: Mirror) -> None:
    with pytest.raises(ImageError, match="TLS failed"):
        await add_image(mirror.url.replace("http://", "https://"), directory)


@pytest.mark.interop
async def test_unknown_certificate_is_a_tls_failure(
    directory: Path, mirror: Mirror, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async with _serving(mirror.handle, tls) as address:
        with pytest.raises(ImageError, match=r"TLS failed: .*self-signed") as caught:
            await add_image(f"{address}/a.iso", directory)

    assert "CA certificates" in caught.value.hint


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.iso", "http://[::1/a.iso", "http:///a.iso"])
async def test_address_that_cannot_be_used_is_told(directory: Path, url: str) -> None:
    with pytest.raises(ImageError) as caught:
        await add_image(url, directory)

    assert caught.value.hint


async def test_url_without_a_name_asks_for_one(directory: Path) -> None:
    with pytest.raises(ImageError, match="no name") as caught:
        await add_image("http://127.0.0.1:9/", directory)

    assert "--name" in caught.value.hint


# -- a full disk: a real one, 256 KiB of tmpfs in a mount namespace of the child's own

FULL_DISK = textwrap.dedent("""
    import asyncio, subprocess, sys
    from pathlib import Path
    from bootserver.errors import ImageError
    from bootserver.images.add import add_image

    directory = Path(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory], check=True)
    try:
        asyncio.run(add_image(sys.argv[1], directory))
    except ImageError as err:
        print(err.message)
    print(sorted(path.name for path in directory.iterdir()))
""")


async def _add_to_full_disk(source: str, directory: Path) -> list[str]:
    """What the child prints: the error, and what is left in the directory."""
    namespace = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() else [])
    child = await asyncio.create_subprocess_exec(
        *namespace, sys.executable, "-c", FULL_DISK, source, str(directory),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, err.decode()
    return out.decode().splitlines()[-2:]


async def test_copy_that_cannot_fit_is_refused_with_both_numbers(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    message, left = await _add_to_full_disk(str(tmp_path / "a.iso"), directory)

    assert message.startswith(f"there is no room for a.iso: {len(content):,} bytes more are needed")
    assert "262,144 bytes are free" in message
    assert left == "[]"


async def test_download_that_cannot_fit_is_refused_before_it_starts(
    directory: Path, mirror: Mirror
) -> None:
    message, left = await _add_to_full_disk(mirror.url, directory)

    assert f"{len(mirror.content):,} bytes more are needed" in message
    assert left == "[]"


async def test_disk_that_fills_up_meanwhile_is_told_and_the_part_kept(
    directory: Path, content: bytes
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        """Tells no length, so that the disk's end is met by writing."""
        response = web.StreamResponse(headers={"ETag": ETAG})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content)
        return response

    async with _serving(handle) as address:
        message, left = await _add_to_full_disk(f"{address}/a.iso", directory)

    assert message.startswith("there is no room for a.iso: 0 bytes are free")
    assert left == "['.a.iso.part', '.a.iso.part.json']"


def test_aiohttp_is_imported_by_a_download_only() -> None:
    code = "import sys, bootserver.images.add; print('aiohttp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"
