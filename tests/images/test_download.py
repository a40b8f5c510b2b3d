"""Downloads: they survive bad servers, go on after cuts, and are refused when spoilt."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.errors import ImageError
from bootserver.images import download as download_module
from bootserver.images.add import add_image
from tests.fixtures.isos import make_iso
from tests.images.files import names, sha256
from tests.images.mirror import ETAG, Mirror, serving

DATE = "Sun, 01 Nov 2026 10:00:00 GMT"


async def test_url_is_downloaded_under_its_last_segment(directory: Path, mirror: Mirror) -> None:
    steps: list[tuple[int, int | None]] = []
    url = mirror.url.replace("rescue.iso", "R%C3%A9scue%201.iso?token=secret")

    path = await add_image(url, directory, progress=lambda *step: steps.append(step))

    assert path == directory / "Réscue 1.iso"
    assert path.read_bytes() == mirror.content
    assert names(directory) == ["Réscue 1.iso"]
    assert steps[0][1] == len(mirror.content)
    assert steps[-1] == (len(mirror.content), len(mirror.content))


async def test_image_is_not_listed_before_it_is_whole(directory: Path, mirror: Mirror) -> None:
    listings: set[tuple[str, ...]] = set()

    def look(done_bytes: int, total_bytes: int | None) -> None:
        listings.add(tuple(names(directory)))

    await add_image(mirror.url, directory, progress=look)

    assert listings == {(".rescue.iso.part", ".rescue.iso.part.open")}


@pytest.mark.parametrize(
    "validator", [{"ETag": ETAG}, {"Last-Modified": DATE}, {"ETag": 'W/"1"', "Last-Modified": DATE}]
)
async def test_cut_download_goes_on_where_it_stopped(
    directory: Path, mirror: Mirror, validator: dict[str, str]
) -> None:
    mirror.headers = validator
    mirror.cuts = [400_000, 300_000]

    path = await add_image(mirror.url, directory, sha256=sha256(mirror.content))

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
    assert names(directory) == [".rescue.iso.part", ".rescue.iso.part.json"]
    mirror.requests.clear()

    path = await add_image(mirror.url, directory)

    assert path.read_bytes() == mirror.content
    assert mirror.requests == ["bytes=500000-"]
    assert names(directory) == ["rescue.iso"]


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

    async with serving(handle) as address:
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
    assert names(directory) == []


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
    state = {"url_sha256": sha256(url.encode()), "validator": ETAG}
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

    async with serving(handle) as address:
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

    assert names(directory) == [".rescue.iso.part", ".rescue.iso.part.json"]


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

    async with serving(handle) as address:
        with pytest.raises(ImageError, match=f"ended at byte {len(content):,} of"):
            await add_image(f"{address}/a.iso", directory)

    assert names(directory) == []


async def test_web_page_in_place_of_the_image_is_refused_and_not_kept(
    directory: Path, mirror: Mirror
) -> None:
    mirror.content = b"\n<HTML>please log in</html>" * 5000

    with pytest.raises(ImageError, match=r"^rescue\.iso: it is a web page"):
        await add_image(mirror.url, directory)

    assert names(directory) == []


async def test_image_truncated_on_the_server_is_refused(directory: Path, mirror: Mirror) -> None:
    mirror.content = mirror.content[:600_000]

    with pytest.raises(ImageError, match=r"^rescue\.iso is truncated"):
        await add_image(mirror.url, directory)

    assert names(directory) == []


async def test_not_found_is_told_at_once(directory: Path) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound

    async with serving(handle) as address:
        with pytest.raises(ImageError, match=r"/a\.iso answered 404 Not Found"):
            await add_image(f"{address}/a.iso", directory)

    assert names(directory) == []


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

    async with serving(handle) as address:
        path = await add_image(f"{address}/latest.iso", directory)

    assert path.name == "latest.iso"


async def test_redirect_loop_is_told(directory: Path) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path)

    async with serving(handle) as address:
        with pytest.raises(ImageError, match="redirects more than 10 times"):
            await add_image(f"{address}/a.iso", directory)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
@pytest.mark.parametrize("redirected", [False, True])
async def test_host_name_that_there_cannot_be_is_told(
    directory: Path, host: str, redirected: bool
) -> None:
    async def handle(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"http://{host}/a.iso")

    async with serving(handle) as address:
        with pytest.raises(ImageError, match="is no usable URL"):
            await add_image(f"{address if redirected else f'http://{host}'}/a.iso", directory)

    assert names(directory) == []


async def test_unreachable_host_is_told_without_retries(
    directory: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setattr(download_module, "RETRY_WAITS_S", (3600.0,))

    with pytest.raises(ImageError, match=r"cannot be reached: Connection refused$") as caught:
        await add_image(f"http://127.0.0.1:{closed_port}/a.iso", directory)

    assert caught.value.hint == "check the address and the network"
    assert names(directory) == []


async def test_silent_server_is_given_up(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "SILENCE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(download_module, "RETRY_WAITS_S", ())
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with serving(handle) as address:
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

    async with serving(mirror.handle, tls) as address:
        with pytest.raises(ImageError, match=r"TLS failed: .*self-signed") as caught:
            await add_image(f"{address}/a.iso", directory)

    assert "CA certificates" in caught.value.hint
