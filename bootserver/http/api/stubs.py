"""Stubs over the API: built by POST, fetched as a file."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field

from bootserver.errors import DatabaseError, ImageError, LoaderMissingError, StubError
from bootserver.fields import Entry, ImageId, Mac, ServerUrl
from bootserver.http.api.operations import ApiAnswer, Operations
from bootserver.http.api.requests import ENTRY, JsonBody
from bootserver.http.api.services import AdminServices, require_image, services_of
from bootserver.http.errors import NotFoundError
from bootserver.model import Firmware, StubFormat
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

operations = Operations()


def _ipv4(text: str) -> str:
    if text:
        ipaddress.IPv4Address(text)
    return text


def _ipv4_with_prefix(text: str) -> str:
    if text:
        ipaddress.IPv4Interface(text)
        if "/" not in text:
            raise ValueError(f"lacks its prefix length: write {text}/24, say")
    return text


def _server(text: str) -> str:
    if not text:
        raise ValueError("is no server URL such as http://192.0.2.10:8080")
    return text


Ipv4 = Annotated[str, AfterValidator(_ipv4)]


class StubOrder(JsonBody):
    """A stub to build."""

    image: ImageId = Field(default="", description="An image's id; without one, a menu of all")
    entry: Entry = Field(default="", description=ENTRY)
    # From JSON an enum comes as text, which strict mode lets in.
    format: StubFormat = StubFormat.ISO
    static_ip: Annotated[str, AfterValidator(_ipv4_with_prefix)] = Field(
        default="", description="192.0.2.5/24 in place of DHCP"
    )
    gateway: Ipv4 = ""
    dns: Ipv4 = ""
    vlan: int | None = Field(default=None, ge=1, le=4094)
    mac: Mac = ""
    then_dhcp: bool = Field(
        default=False, description="The static address first, on the card of that MAC; then DHCP"
    )
    servers: list[Annotated[ServerUrl, AfterValidator(_server)]] = Field(default=[], max_length=8)


@dataclass(frozen=True, slots=True)
class StubUrls:
    """What the stub's machine calls; `image` and `tree` are "" for a menu."""

    script: str
    image: str
    tree: str
    stub: str


@dataclass(frozen=True, slots=True)
class Stub:
    """A stub that was built."""

    token: str
    image: str
    format: StubFormat
    size_bytes: int
    sha256: str
    digest: str
    read_bytes: Mapping[Firmware, int]  # what goes over redirection
    urls: StubUrls
    download: str
    file_name: str


@operations.add(
    "POST",
    "/stubs",
    ImageError,
    StubError,
    LoaderMissingError,
    DatabaseError,
    statuses=(201,),
    headers=("Location",),
)
async def build_stub(request: web.Request, body: StubOrder) -> ApiAnswer[Stub]:
    """Build a stub."""
    services = services_of(request)
    await require_image(services, body.image, body.entry)
    network = NetworkSpec.parse(
        static_ip=body.static_ip,
        gateway=body.gateway,
        dns=body.dns,
        vlan=body.vlan,
        mac=body.mac,
        then_dhcp=body.then_dhcp,
    )
    spec = stub_spec(services.config, body.image, body.entry, servers=body.servers, network=network)
    issued = await services.stubs.issue(spec)
    plan, data = await asyncio.to_thread(_build, services, issued, body.format)
    base = f"{spec.servers[0]}/b/{issued.token}"
    stub = Stub(
        token=issued.token,
        image=spec.image,
        format=body.format,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        digest=plan.digest,
        read_bytes=plan.read_bytes,
        urls=StubUrls(
            script=f"{base}/boot.ipxe",
            image=f"{base}/image.iso" if spec.image else "",
            tree=f"{base}/tree/" if spec.image else "",
            stub=f"{base}/stub.{'efi' if body.format is StubFormat.EFI else 'iso'}",
        ),
        download=f"/api/v1/stubs/{issued.token}.{body.format}",
        file_name=spec.file_name(body.format),
    )
    return ApiAnswer(stub, {"Location": stub.download})


@operations.add(
    "GET",
    "/stubs/{token}.{format}",
    NotFoundError,
    StubError,
    LoaderMissingError,
    DatabaseError,
    media_types=tuple(CONTENT_TYPES.values()),
    headers=("Content-Disposition",),
)
async def download_stub(request: web.Request) -> web.StreamResponse:
    """The file of a stub."""
    services, token = services_of(request), request.match_info["token"]
    try:
        stub_format = StubFormat(request.match_info["format"])
    except ValueError:
        formats = ", ".join(StubFormat)
        raise NotFoundError("there is no such kind of stub", hint=f"one of {formats}") from None
    issued = await services.stubs.find(token)
    if issued is None:
        raise NotFoundError("there is no stub of that token", hint="build one: POST /api/v1/stubs")
    _, data = await asyncio.to_thread(_build, services, issued, stub_format)
    return web.Response(
        body=data,
        content_type=CONTENT_TYPES[stub_format],
        headers={"Content-Disposition": attachment(issued.spec.file_name(stub_format))},
    )


def _build(
    services: AdminServices, issued: IssuedStub, stub_format: StubFormat
) -> tuple[StubPlan, bytes]:
    """The stub and its bytes, from the shelf if it lies there, always the same; blocks."""
    plan = plan_for_site(services.config, issued, stub_format)
    path = shelve(plan, services.config.state.path / "shelf")
    return plan, path.read_bytes()
