"""openapi.json, the routes and what is really answered: all three say the same."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    fake_amt,
)
from bootserver.config import PROJECT, Config
from bootserver.http.api import (
    amt,
    amt_console,
    boots,
    events,
    images,
    jobs,
    machines,
    openapi,
    optimize,
    profiles,
    status,
    stubs,
)
from bootserver.http.api.app import add_api
from bootserver.http.api.openapi import OPERATIONS, document
from bootserver.http.api.operations import Operations
from bootserver.http.api.problems import PROBLEM_TYPE
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.amt import PASSWORD, attended_spec, boot_until, with_amt
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import winpe_disc

MAC = "52:54:00:12:34:56"


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    """A machine with AMT that wants its user's consent to all."""
    async with fake_amt(attended_spec(tmp_path / "amt")) as device:
        yield device


@pytest.fixture
async def admin(config: Config, device: FakeAmtDevice) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(with_amt(config, device)) as admin:
        yield admin


@pytest.mark.slow
async def test_the_document_is_valid_openapi(admin: Admin):
    served = await admin.ask("/openapi.json")

    validate(served)
    assert served == document()
    assert served["openapi"].startswith("3.1")


async def test_the_routes_are_those_of_the_document(admin: Admin):
    app = web.Application()
    add_api(app, admin.services)
    [mounted] = app.router.resources()
    routed = {(route.method, route.resource.canonical) for route in mounted}
    described = {
        (method.upper(), f"/api/v1{path}")
        for path, methods in document()["paths"].items()
        for method in methods
    }

    assert routed == described
    assert len(described) == len(OPERATIONS)


def test_operation_ids_are_unique():
    ids = [op["operationId"] for path in document()["paths"].values() for op in path.values()]

    assert len(ids) == len(set(ids))


def test_the_guide_has_every_route_and_no_other():
    guide = (PROJECT / "docs" / "api.md").read_text()

    table = re.findall(r"^\| `([A-Z]+) (\S+)` \|", guide, re.MULTILINE)

    assert table == [(op.method, op.path) for op in OPERATIONS]


class Caller:
    """Calls the API, judges each answer by its description, and notes what was called."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.called: set[tuple[str, str]] = set()

    async def __call__(
        self, method: str, path: str, expect: int, at: str = "", **options: Any
    ) -> tuple[Any, Any]:
        """Headers and body of the answer; `at` is the path itself where `path` has names in it."""
        status, headers, body = await self.admin.raw(at or path, method, **options)
        assert status == expect, (method, path, body)
        self.called.add((method, path))
        judge(method, path, status, headers["Content-Type"] if body else "", headers, body)
        return headers, json.loads(body) if "json" in headers.get("Content-Type", "") else body

    def has_called(self, operations: Operations) -> bool:
        """True if each of these was."""
        return self.called >= {(op.method, op.path) for op in operations}


@pytest.fixture
def call(admin: Admin) -> Caller:
    return Caller(admin)


async def test_the_server_answers_as_described(call: Caller):
    await call("GET", "/status", 200)
    await call("GET", "/openapi.json", 200)
    async with call.admin.events():
        call.called.add(("GET", "/events"))

    assert all(map(call.has_called, (status.operations, events.operations, openapi.operations)))


async def test_boots_are_answered_as_described(call: Caller):
    session = await call.admin.boot()

    await call("GET", "/boots", 200)
    await call("GET", "/boots", 400, "/boots?limit=0")
    await call("GET", "/boots/{id}", 200, f"/boots/{session.id}")
    await call("GET", "/boots/{id}", 404, "/boots/none")
    for form in ("csv", "json", "openmetrics"):
        await call("GET", "/boots/export", 200, f"/boots/export?format={form}")
    await call("GET", "/boots/export", 400, "/boots/export?format=xml")

    assert call.has_called(boots.operations)


async def test_images_and_jobs_are_answered_as_described(call: Caller):
    iso = call.admin.services.config.images.path / "rescue.iso"
    iso.with_name("pe.iso").hardlink_to(winpe_disc())
    await call.admin.look_again()
    await call("GET", "/images", 200)
    await call("GET", "/images/{id}", 200, "/images/rescue")
    await call("GET", "/images/{id}", 404, "/images/none")
    await call("GET", "/images/{id}/explain", 200, "/images/rescue/explain")
    await call("GET", "/images/{id}/inspect", 200, "/images/pe/inspect")
    await call("GET", "/images/{id}/inspect", 422, "/images/rescue/inspect")
    await call("GET", "/images/{id}/inspect", 404, "/images/none/inspect")
    upload = {"Content-Type": "application/octet-stream"}
    await call(
        "POST", "/images", 201, "/images?name=second.iso", data=iso.read_bytes(), headers=upload
    )
    _, job = await call("POST", "/images", 202, json={"url": "http://127.0.0.1:1/x.iso"})
    trim = {"drop_wifi": True}
    await call(
        "POST", "/images/{id}/optimize/preview", 200, "/images/pe/optimize/preview", json=trim
    )
    await call("POST", "/images/{id}/optimize", 202, "/images/pe/optimize", json=trim)
    await call("POST", "/images/{id}/optimize", 422, "/images/pe/optimize", json={})
    await call("GET", "/jobs", 200)
    await call("GET", "/jobs/{id}", 200, f"/jobs/{job['id']}")
    await call("GET", "/jobs/{id}", 404, "/jobs/none")
    await call("DELETE", "/jobs/{id}", 200, f"/jobs/{job['id']}")
    await call("DELETE", "/images/{id}", 204, "/images/second")
    path, at = "/images/{id}/settings", "/images/rescue/settings"
    headers, _ = await call("GET", path, 200, at)
    match = {"If-Match": headers["ETag"]}
    await call("PUT", path, 200, at, json={"title": "Rescue"}, headers=match)
    await call("PUT", path, 412, at, json={"title": "Mine"}, headers=match)
    await call("PUT", path, 428, at, json={})

    assert call.has_called(images.operations)
    assert call.has_called(jobs.operations)
    assert call.has_called(optimize.operations)


async def test_stubs_are_answered_as_described(call: Caller):
    _, stub = await call("POST", "/stubs", 201, json={"image": "rescue"})
    await call("POST", "/stubs", 422, json={"image": "none"})
    await call("GET", "/stubs/{token}.{format}", 200, f"/stubs/{stub['token']}.iso")
    await call("GET", "/stubs/{token}.{format}", 404, f"/stubs/{stub['token']}.vhd")

    assert call.has_called(stubs.operations)


async def test_machines_and_profiles_are_answered_as_described(call: Caller):
    await call.admin.boot()
    await call("GET", "/machines", 200)
    await call("GET", "/machines", 400, "/machines?limit=0")
    order = {"mac": MAC, "image": "rescue"}
    _, profile = await call("POST", "/profiles", 201, json=order)
    await call("POST", "/profiles", 409, json=order)
    await call("GET", "/profiles", 200)
    path, at = "/profiles/{id}", f"/profiles/{profile['id']}"
    headers, _ = await call("GET", path, 200, at)
    match = {"If-Match": headers["ETag"]}
    _, profile = await call("PUT", path, 200, at, json={"arguments": "quiet"}, headers=match)
    await call("DELETE", path, 412, at, headers=match)
    await call("DELETE", path, 204, at, headers={"If-Match": profile["etag"]})

    assert call.has_called(machines.operations)
    assert call.has_called(profiles.operations)


async def test_amt_is_answered_as_described(call: Caller, device: FakeAmtDevice):
    path, at, login = "/amt/hosts/{host}", f"/amt/hosts/{device.host}", {"password": PASSWORD}
    await call("GET", "/amt/hosts", 200)
    await call("POST", f"{path}/probe", 200, f"{at}/probe", json=login)
    await call("POST", f"{path}/probe", 422, f"{at}/probe", json={})
    await call("POST", f"{path}/probe", 404, "/amt/hosts/a%20b/probe", json={})
    await call("GET", "/amt/hosts", 200)
    await call("POST", f"{path}/power", 200, f"{at}/power", json=login | {"action": "reset"})
    await call("POST", f"{path}/power", 502, f"{at}/power", json=login | {"action": "on"})
    # A user at the machine has to consent first.
    await call("POST", f"{path}/boot", 502, f"{at}/boot", json=login | {"to": "disk"})
    await call("POST", f"{path}/kvm", 200, f"{at}/kvm", json=login | {"rfb_password": "P@ssw0rd"})

    order, boot_path = login | {"image": "rescue"}, "/amt/boots/{id}"
    machine = "/machines/{id}/boot", f"/machines/{device.host}/boot"
    _, boot = await call("POST", machine[0], 202, machine[1], json=order)
    await call("POST", machine[0], 409, machine[1], json=order)
    boot_at, code = f"/amt/boots/{boot['id']}", {"code": "999999"}
    await boot_until(call.admin, boot["id"], lambda boot: boot["doing"] == "consent")
    await call("POST", f"{boot_path}/consent", 202, f"{boot_at}/consent", json=code)
    await call("GET", "/amt/boots", 200)
    await call("GET", boot_path, 200, boot_at)
    await call("DELETE", boot_path, 200, boot_at)
    await call("POST", f"{boot_path}/consent", 409, f"{boot_at}/consent", json=code)
    await call("GET", boot_path, 404, "/amt/boots/none")
    await call("DELETE", path, 204, at)

    assert call.has_called(amt.operations)


async def test_a_console_is_answered_as_described(call: Caller, device: FakeAmtDevice):
    path, at = "/amt/hosts/{host}/console", f"/amt/hosts/{device.host}/console"
    await call("GET", path, 426, at)

    async with call.admin.http.ws_connect(f"{call.admin.url}/api/v1{at}") as console:
        await console.send_json({"password": PASSWORD})
        assert (await console.receive_json())["status"]["state"] == "opening"

    assert call.has_called(amt_console.operations)


def judge(method: str, path: str, status: int, content_type: str, headers: Any, body: bytes):
    """Asserts that the document says that there is such an answer."""
    described = document()["paths"][path][method.lower()]["responses"][str(status)]
    if not body:
        assert "content" not in described
        return
    media_type = content_type.partition(";")[0]
    schema = described["content"][media_type].get("schema", {})
    if media_type in ("application/json", PROBLEM_TYPE):
        Draft202012Validator(schema | {"components": document()["components"]}).validate(
            json.loads(body)
        )
    if status < 400:
        for name in described.get("headers", {}):
            assert name in headers or name == "Link", (method, path, name)
