"""Stubs over the API: built by POST, fetched as a file."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bootserver.http.api.problems import ProblemError
from bootserver.http.api.requests import StubOrder, read_body
from bootserver.http.api.services import AdminServices, require_image, services_of
from bootserver.model import StubFormat
from bootserver.quoting import attachment
from bootserver.stub.network import NetworkSpec
from bootserver.stub.plan import StubPlan
from bootserver.stub.registry import IssuedStub
from bootserver.stub.site import plan_for_site
from bootserver.stub.spec import stub_spec
from bootserver.stub.write import shelve

CONTENT_TYPES = {
    StubFormat.ISO: "application/x-iso9660-image",
    StubFormat.IMG: "application/octet-stream",
    StubFormat.EFI: "application/efi",  # UEFI 2.10, 24.7.2
}


@dataclass(frozen=True, slots=True)
class _Built:
    """A stub in its file."""

    plan: StubPlan
    data: bytes


async def build_stub(request: web.Request) -> web.Response:
    """POST /stubs"""
    services, wanted = services_of(request), await read_body(request, StubOrder)
    await require_image(services, wanted.image, wanted.entry)
    network = NetworkSpec.parse(
        static_ip=wanted.static_ip,
        gateway=wanted.gateway,
        dns=wanted.dns,
        vlan=wanted.vlan,
        mac=wanted.mac,
        then_dhcp=wanted.then_dhcp,
    )
    spec = stub_spec(
        services.config, wanted.image, wanted.entry, servers=wanted.servers, network=network
    )
    issued = await services.stubs.issue(spec)
    built = await asyncio.to_thread(_build, services, issued, wanted.format)
    answer = _stub_json(issued, wanted.format, built)
    headers = {"Location": answer["download"]}
    return web.json_response(answer, status=201, headers=headers)


async def download_stub(request: web.Request) -> web.Response:
    """GET /stubs/{token}.{format}: made again if need be, always the same."""
    services, token = services_of(request), request.match_info["token"]
    try:
        stub_format = StubFormat(request.match_info["format"])
    except ValueError:
        formats = ", ".join(StubFormat)
        raise ProblemError(404, "there is no such kind of stub", hint=f"one of {formats}") from None
    issued = await services.stubs.find(token)
    if issued is None:
        raise ProblemError(
            404, "there is no stub of that token", hint="build one: POST /api/v1/stubs"
        )
    built = await asyncio.to_thread(_build, services, issued, stub_format)
    return web.Response(
        body=built.data,
        content_type=CONTENT_TYPES[stub_format],
        headers={"Content-Disposition": attachment(issued.spec.file_name(stub_format))},
    )


def _build(services: AdminServices, issued: IssuedStub, stub_format: StubFormat) -> _Built:
    """The stub, from the shelf if it lies there; blocks."""
    plan = plan_for_site(services.config, issued, stub_format)
    path = shelve(plan, services.config.state.path / "shelf")
    return _Built(plan, path.read_bytes())


def _stub_json(issued: IssuedStub, stub_format: StubFormat, built: _Built) -> dict[str, Any]:
    image, base = issued.spec.image, f"{issued.spec.servers[0]}/b/{issued.token}"
    return {
        "token": issued.token,
        "image": image,
        "format": stub_format.value,
        "size_bytes": len(built.data),
        "sha256": hashlib.sha256(built.data).hexdigest(),
        "digest": built.plan.digest,
        "read_bytes": dict(built.plan.read_bytes),
        "urls": {
            "script": f"{base}/boot.ipxe",
            "image": f"{base}/image.iso" if image else "",
            "tree": f"{base}/tree/" if image else "",
            "stub": f"{base}/stub.{'efi' if stub_format is StubFormat.EFI else 'iso'}",
        },
        "download": f"/api/v1/stubs/{issued.token}.{stub_format}",
        "file_name": issued.spec.file_name(stub_format),
    }
