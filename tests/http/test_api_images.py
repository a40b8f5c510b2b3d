"""The library over the API: added, changed, deleted; and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bootserver.config import Config
from bootserver.http.api import jobs as jobs_module
from bootserver.http.api.problems import PROBLEM_TYPE
from bootserver.images import explain as explain_module
from bootserver.images.decide import decide
from bootserver.model import BootPhase
from tests.fixtures.admin import EVENT_S, PC, Admin, event_of, running_admin
from tests.fixtures.isos import make_iso

UPLOAD = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


@pytest.fixture
def iso(tmp_path: Path) -> bytes:
    return make_iso(
        tmp_path / "new.iso", bios=True, volume_id="NEW", pad_bytes=3 << 20
    ).read_bytes()


@pytest.fixture
async def mirror(iso: bytes) -> AsyncIterator[Mirror]:
    mirror = Mirror(iso)
    app = web.Application()
    app.add_routes([web.get("/new.iso", mirror.answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    mirror.url = f"http://user:secret@127.0.0.1:{runner.addresses[0][1]}/new.iso"
    yield mirror
    await runner.cleanup()


class Mirror:
    """A web server with one ISO; `go_on` holds its second half back."""

    def __init__(self, iso: bytes) -> None:
        self.iso = iso
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(self.iso))})
        await response.prepare(request)
        half = len(self.iso) // 2
        await response.write(self.iso[:half])
        await self.go_on.wait()
        await response.write(self.iso[half:])
        return response


async def test_1500_images_are_explained_once_and_listed_from_memory(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    library = admin.services.library
    [image] = library.images()
    many = [dataclasses.replace(image, id=f"rescue-{number}") for number in range(1500)]
    monkeypatch.setattr(library, "images", lambda: many)
    decided = 0

    def counting(*arguments: Any) -> Any:
        nonlocal decided
        decided += 1
        return decide(*arguments)

    monkeypatch.setattr(explain_module, "decide", counting)
    counts = []
    for _ in range(2):
        listed = (await admin.ask("/images"))["images"]
        counts.append(decided)

    assert [entry["id"] for entry in listed] == [image.id for image in many]
    first, second = counts
    assert second == first >= len(many)


def in_library(admin: Admin) -> list[str]:
    return sorted(path.name for path in admin.services.config.images.path.iterdir())


async def chunks(data: bytes, stop: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]
        if stop and start > len(data) // 2:
            await stop.wait()


async def test_an_upload_becomes_an_image(admin: Admin, iso: bytes):
    digest = hashlib.sha256(iso).hexdigest()

    status, headers, _ = await admin.raw(
        f"/images?name=fresh.iso&sha256={digest.upper()}", "POST", data=chunks(iso), headers=UPLOAD
    )
    job = await admin.ask(headers["Location"].removeprefix("/api/v1"))
    await admin.look_again()
    image = await admin.ask("/images/fresh")

    assert status == 201
    assert (job["kind"], job["state"], job["image"]) == ("upload", "done", "fresh")
    assert job["done_bytes"] == len(iso)
    assert (image["sha256"], image["title"]) == (digest, "NEW")


async def test_an_image_in_a_folder_is_asked_for_changed_and_deleted(admin: Admin, iso: bytes):
    url = "/images/windows%2F11"

    status, headers, _ = await admin.raw(
        "/images?name=windows/11.iso", "POST", data=chunks(iso), headers=UPLOAD
    )
    job = await admin.ask(headers["Location"].removeprefix("/api/v1"))
    await admin.look_again()
    image = await admin.ask(url)
    explanation = await admin.ask(f"{url}/explain")
    _, headers, _ = await admin.raw(f"{url}/settings")
    changed = await admin.ask(
        f"{url}/settings", "PUT", json={"title": "Eleven"}, headers={"If-Match": headers["ETag"]}
    )
    stub = await admin.ask("/stubs", "POST", json={"image": "windows/11"}, expect=201)
    profile = await admin.ask(
        "/profiles", "POST", json={"serial": "S1", "image": "windows/11"}, expect=201
    )
    folder = admin.services.config.images.path / "windows"
    sidecar = (folder / "11.toml").read_text()
    deleted, _, _ = await admin.raw(url, "DELETE")

    assert status == 201
    assert (job["image"], image["id"], explanation["image"]) == ("windows/11",) * 3
    assert changed["title"] == "Eleven"
    assert "Eleven" in sidecar
    assert stub["file_name"] == "11.stub.iso"
    assert profile["image"] == "windows/11"
    assert deleted == 204
    assert list(folder.iterdir()) == []


async def test_what_is_no_image_is_listed_with_what_to_do(admin: Admin):
    (admin.services.config.images.path / "debian.iso.xz").touch()
    await admin.services.library.scan()

    [ignored] = (await admin.ask("/images"))["ignored"]

    assert ignored["file"] == "debian.iso.xz"
    assert "bootserver images add" in ignored["reason"]


async def test_an_upload_is_seen_growing_and_is_not_in_the_library_yet(admin: Admin, iso: bytes):
    stop = asyncio.Event()
    upload = asyncio.ensure_future(
        admin.raw("/images?name=fresh.iso", "POST", data=chunks(iso, stop), headers=UPLOAD)
    )
    async with asyncio.timeout(EVENT_S):
        while not (jobs := (await admin.ask("/jobs"))["jobs"]) or not jobs[0]["done_bytes"]:
            await asyncio.sleep(0.02)
    names = in_library(admin)
    stop.set()
    status, _, _ = await upload

    assert "fresh.iso" not in names
    assert status == 201
    assert "fresh.iso" in in_library(admin)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("name=fresh.iso&sha256=" + "0" * 64, "is not what was asked for"),
        ("name=rescue.iso", "already exists"),
        ("name=..%2Fout.iso", "cannot be an image's name"),
        ("name=.hidden", "cannot be an image's name"),
    ],
)
async def test_an_upload_that_is_wrong_leaves_nothing(
    admin: Admin, iso: bytes, query: str, words: str
):
    problem = await admin.ask(
        f"/images?{query}", "POST", expect=422, data=chunks(iso), headers=UPLOAD
    )

    assert words in problem["detail"]
    assert in_library(admin) == ["rescue.iso"]
    assert (await admin.ask("/jobs"))["jobs"][0]["state"] == "failed"


async def test_an_upload_of_something_else_is_refused(admin: Admin):
    problem = await admin.ask(
        "/images?name=x", "POST", expect=422, data=b"no ISO at all" * 9999, headers=UPLOAD
    )

    assert "is not an ISO" in problem["detail"]
    assert in_library(admin) == ["rescue.iso"]


async def test_an_upload_that_breaks_off_leaves_nothing(admin: Admin, iso: bytes):
    host, port = admin.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/v1/images?name=cut.iso HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(iso)
    )
    writer.write(iso[:100_000])
    await writer.drain()
    writer.close()

    async with asyncio.timeout(EVENT_S):
        while not (jobs := (await admin.ask("/jobs"))["jobs"]) or not jobs[0]["ended_at"]:
            await asyncio.sleep(0.02)

    assert jobs[0]["state"] == "failed"
    assert "broke off" in jobs[0]["error"]
    assert in_library(admin) == ["rescue.iso"]


@pytest.mark.slow
async def test_a_download_tells_how_far_it_is_and_becomes_an_image(admin: Admin, mirror: Mirror):
    mirror.go_on.clear()
    async with admin.events() as events:
        job = await admin.ask("/images", "POST", expect=202, json={"url": mirror.url})
        while (seen := await event_of(events, "job"))["state"] != "running":
            pass
        mirror.go_on.set()
        while seen["ended_at"] is None:
            seen = await event_of(events, "job")
        await admin.look_again()
        images = await event_of(events, "images")

    assert job["state"] == "waiting"
    assert (seen["id"], seen["state"], seen["image"]) == (job["id"], "done", "new")
    assert seen["done_bytes"] == len(mirror.iso)
    assert "new" in [image["id"] for image in images["images"]]


async def test_a_job_tells_no_password(admin: Admin, mirror: Mirror):
    job = await admin.ask("/images", "POST", expect=202, json={"url": mirror.url})

    assert "secret" not in str(job)
    assert job["source"].endswith("/new.iso")


async def test_a_download_is_cancelled_and_goes_on_later_or_not_at_all(
    admin: Admin, mirror: Mirror
):
    mirror.go_on.clear()
    job = await admin.ask("/images", "POST", expect=202, json={"url": mirror.url})
    async with asyncio.timeout(EVENT_S):
        while not (await admin.ask(f"/jobs/{job['id']}"))["done_bytes"]:
            await asyncio.sleep(0.02)

    cancelled = await admin.ask(f"/jobs/{job['id']}", "DELETE")

    assert cancelled["state"] == "cancelled"
    assert cancelled["ended_at"]
    assert "new.iso" not in in_library(admin)


async def test_only_so_many_images_are_added_at_once(admin: Admin, mirror: Mirror):
    admin.services.limits.uploads.max = 6
    mirror.go_on.clear()
    for number in range(6):
        order = {"url": mirror.url, "name": f"n{number}"}
        await admin.ask("/images", "POST", expect=202, json=order)
    states = [job["state"] for job in (await admin.ask("/jobs"))["jobs"]]

    status, headers, _ = await admin.raw("/images", "POST", json={"url": mirror.url})

    assert status == 503
    assert headers["Retry-After"]
    assert states.count("running") == jobs_module.RUNNING_MAX
    assert states.count("waiting") == 2


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/etc/passwd", "ftp://x/y.iso", "http://"])
async def test_only_the_web_is_downloaded_from(admin: Admin, url: str):
    problem = await admin.ask("/images", "POST", expect=422, json={"url": url})

    assert problem["errors"][0]["field"] == "url"


async def test_settings_are_changed_by_who_knows_them(admin: Admin):
    _, headers, _ = await admin.raw("/images/rescue/settings")
    first = {"If-Match": headers["ETag"]}
    wanted = {
        "title": "Rescue disc",
        "memdisk": "iso",
        "arguments": "quiet",
        "recipe": "",
        "entry": "",
    }

    status, headers, _ = await admin.raw(
        "/images/rescue/settings", "PUT", json=wanted, headers=first
    )
    await admin.ask("/images/rescue/settings", "PUT", expect=412, json={}, headers=first)
    await admin.ask("/images/rescue/settings", "PUT", expect=428, json={})

    assert status == 200
    assert headers["ETag"] != first["If-Match"]
    assert await admin.ask("/images/rescue/settings") == wanted
    assert (await admin.ask("/images/rescue"))["title"] == "Rescue disc"


async def test_all_mistakes_of_settings_are_told_at_once(admin: Admin):
    wrong = {"title": "a\nb", "memdisk": "${x}", "arguments": "a ${b}", "recipe": "none", "x": 1}

    problem = await admin.ask("/images/rescue/settings", "PUT", expect=422, json=wrong)

    assert [error["field"] for error in problem["errors"]] == list(wrong)


async def test_an_image_is_deleted_with_its_side_car(admin: Admin):
    (admin.services.config.images.path / "rescue.toml").write_text('title = "x"\n')

    await admin.ask("/images/rescue", "DELETE", expect=204)

    assert in_library(admin) == []
    await admin.ask("/images/rescue", expect=404)


async def test_an_image_stays_while_a_machine_fetches_it(admin: Admin):
    session = admin.ledger.start("token", "rescue", PC, "192.0.2.9")
    admin.ledger.advance(session.key, BootPhase.FETCHING)
    await admin.ledger.flush()

    problem = await admin.ask("/images/rescue", "DELETE", expect=409)
    admin.ledger.advance(session.key, BootPhase.HANDED_OFF)
    await admin.ledger.flush()
    await admin.ask("/images/rescue", "DELETE", expect=204)

    assert PC.mac in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/images/none", None, 404),
        ("PATCH", "/images/rescue", None, 405),
        ("POST", "/status", None, 405),
        ("POST", "/stubs", b"{", 400),
        ("POST", "/stubs", b"[]", 422),
        ("POST", "/stubs", b'{"vlan": "7"}', 422),
        ("POST", "/stubs", b" " * 100_000, 413),
        ("POST", "/stubs", b"[" * 50_000, 400),
    ],
)
async def test_every_refusal_is_a_problem(
    admin: Admin, method: str, path: str, body: bytes | None, status: int
):
    got, headers, text = await admin.raw(
        path, method, data=body, headers={"Content-Type": "application/json"}
    )
    problem = await admin.ask(
        path, method, expect=status, data=body, headers={"Content-Type": "application/json"}
    )

    assert got == status
    assert headers["Content-Type"] == PROBLEM_TYPE
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert (status == 405) == ("Allow" in headers)
    assert b"Traceback" not in text


async def test_the_api_outside_its_root_is_a_problem_too(admin: Admin):
    status, headers, _ = await admin.raw(f"{admin.url}/api/v2/images")

    assert (status, headers["Content-Type"]) == (404, PROBLEM_TYPE)
