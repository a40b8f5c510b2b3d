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
    FakeSpec,
    OptInRequired,
    ProvisioningMode,
    SystemState,
    fake_amt,
)
from bootserver.config import PROJECT, Config
from bootserver.http.api.app import add_api
from bootserver.http.api.openapi import SELF, document
from bootserver.http.api.operations import OPERATIONS
from bootserver.http.api.problems import PROBLEM_TYPE
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.amt import PASSWORD, boot_until, with_amt
from tests.fixtures.isos import make_iso

MAC = "52:54:00:12:34:56"


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    """A machine with AMT that wants its user's consent to all."""
    spec = FakeSpec(
        tmp_path / "amt",
        control_mode=ProvisioningMode.CLIENT,
        consent=OptInRequired.ALL,
        power=SystemState.S0,
    )
    async with fake_amt(spec) as device:
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
    assert len(described) == len(OPERATIONS) + 1


def test_operation_ids_are_unique():
    ids = [op["operationId"] for path in document()["paths"].values() for op in path.values()]

    assert len(ids) == len(set(ids))


def test_the_guide_has_every_route_and_no_other():
    guide = (PROJECT / "docs" / "api.md").read_text()

    table = re.findall(r"^\| `([A-Z]+) (\S+)` \|", guide, re.MULTILINE)

    assert table == [(op.method, op.path) for op in (*OPERATIONS, SELF)]


async def test_every_operation_answers_what_its_description_says(
    admin: Admin, device: FakeAmtDevice
):
    """Calls them all, in an order that makes sense, and judges each answer by its schema."""
    called: set[tuple[str, str]] = set()

    async def call(method: str, path: str, expect: int, at: str = "", **options: Any) -> Any:
        status, headers, body = await admin.raw(at or path, method, **options)
        assert status == expect, (method, path, body)
        called.add((method, path))
        judge(method, path, status, headers["Content-Type"] if body else "", headers, body)
        return headers, json.loads(body) if "json" in headers.get("Content-Type", "") else body

    session = await admin.boot()
    await call("GET", "/status", 200)
    await call("GET", "/boots", 200)
    await call("GET", "/boots", 400, "/boots?limit=0")
    await call("GET", "/boots/{id}", 200, f"/boots/{session.id}")
    await call("GET", "/boots/{id}", 404, "/boots/none")
    for form in ("csv", "json", "openmetrics"):
        await call("GET", "/boots/export", 200, f"/boots/export?format={form}")
    await call("GET", "/boots/export", 400, "/boots/export?format=xml")
    await call("GET", "/images", 200)
    await call("GET", "/images/{id}", 200, "/images/rescue")
    await call("GET", "/images/{id}", 404, "/images/none")
    await call("GET", "/images/{id}/explain", 200, "/images/rescue/explain")
    headers, _ = await call("GET", "/images/{id}/settings", 200, "/images/rescue/settings")
    await call(
        "PUT",
        "/images/{id}/settings",
        200,
        "/images/rescue/settings",
        json={"title": "Rescue"},
        headers={"If-Match": headers["ETag"]},
    )
    await call("PUT", "/images/{id}/settings", 428, "/images/rescue/settings", json={})
    iso = admin.services.config.images.path / "rescue.iso"
    headers, job = await call(
        "POST",
        "/images",
        201,
        "/images?name=second.iso",
        data=iso.read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    headers, job = await call("POST", "/images", 202, json={"url": "http://127.0.0.1:1/x.iso"})
    await call("GET", "/jobs", 200)
    await call("GET", "/jobs/{id}", 200, f"/jobs/{job['id']}")
    await call("DELETE", "/jobs/{id}", 200, f"/jobs/{job['id']}")
    headers, stub = await call("POST", "/stubs", 201, json={"image": "rescue"})
    await call("POST", "/stubs", 422, json={"image": "none"})
    await call("GET", "/stubs/{token}.{format}", 200, f"/stubs/{stub['token']}.iso")
    await call("GET", "/machines", 200)
    await call("GET", "/machines", 400, "/machines?limit=0")
    _, profile = await call("POST", "/profiles", 201, json={"mac": MAC, "image": "rescue"})
    await call("GET", "/profiles", 200)
    headers, _ = await call("GET", "/profiles/{id}", 200, f"/profiles/{profile['id']}")
    _, profile = await call(
        "PUT",
        "/profiles/{id}",
        200,
        f"/profiles/{profile['id']}",
        json={"arguments": "quiet"},
        headers={"If-Match": headers["ETag"]},
    )
    await call(
        "DELETE",
        "/profiles/{id}",
        204,
        f"/profiles/{profile['id']}",
        headers={"If-Match": profile["etag"]},
    )
    host, login = f"/amt/hosts/{device.host}", {"password": PASSWORD}
    await call("GET", "/amt/hosts", 200)
    await call("POST", "/amt/hosts/{host}/probe", 200, f"{host}/probe", json=login)
    await call("POST", "/amt/hosts/{host}/probe", 422, f"{host}/probe", json={})
    await call("POST", "/amt/hosts/{host}/probe", 404, "/amt/hosts/a%20b/probe", json={})
    await call("GET", "/amt/hosts", 200)
    await call(
        "POST", "/amt/hosts/{host}/power", 200, f"{host}/power", json=login | {"action": "reset"}
    )
    await call(
        "POST", "/amt/hosts/{host}/power", 502, f"{host}/power", json=login | {"action": "on"}
    )
    screen = login | {"rfb_password": "P@ssw0rd"}
    own = login | {"to": "disk"}  # a user there has to consent first
    await call("POST", "/amt/hosts/{host}/boot", 502, f"{host}/boot", json=own)
    await call("POST", "/amt/hosts/{host}/kvm", 200, f"{host}/kvm", json=screen)
    await call("GET", "/amt/hosts/{host}/console", 426, f"{host}/console")
    async with admin.http.ws_connect(f"{admin.url}/api/v1{host}/console") as console:
        await console.send_json(login)
        assert (await console.receive_json())["status"]["state"] == "opening"
        called.add(("GET", "/amt/hosts/{host}/console"))
    order = login | {"image": "rescue"}
    _, amt_boot = await call(
        "POST", "/machines/{id}/boot", 202, f"/machines/{device.host}/boot", json=order
    )
    await call("POST", "/machines/{id}/boot", 409, f"/machines/{device.host}/boot", json=order)
    amt_boot_path = f"/amt/boots/{amt_boot['id']}"
    code = {"code": "999999"}
    await boot_until(admin, amt_boot["id"], lambda boot: boot["doing"] == "consent")
    await call("POST", "/amt/boots/{id}/consent", 202, f"{amt_boot_path}/consent", json=code)
    await call("GET", "/amt/boots", 200)
    await call("GET", "/amt/boots/{id}", 200, amt_boot_path)
    await call("DELETE", "/amt/boots/{id}", 200, amt_boot_path)
    await call("POST", "/amt/boots/{id}/consent", 409, f"{amt_boot_path}/consent", json=code)
    await call("GET", "/amt/boots/{id}", 404, "/amt/boots/none")
    await call("DELETE", "/amt/hosts/{host}", 204, host)
    await admin.look_again()
    await call("DELETE", "/images/{id}", 204, "/images/second")
    await call("GET", "/openapi.json", 200)
    async with admin.events():
        called.add(("GET", "/events"))

    assert called == {(op.method, op.path) for op in (*OPERATIONS, SELF)}


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
