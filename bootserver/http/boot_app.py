"""The boot plane over HTTP: what machines call, read-only, everything behind a token.

| route                                | serves                                            |
|--------------------------------------|---------------------------------------------------|
| GET, HEAD `/b/{token}/boot.ipxe`     | the boot script, or in a script what stands in the way |
| GET, HEAD `/b/{token}/image.iso`     | the image, with ranges                            |
| GET, HEAD `/b/{token}/stub.iso`      | the stub itself, for virtual media that reads HTTP |
| GET, HEAD `/b/{token}/stub.efi`      | the same as one program, for UEFI HTTP boot       |
| GET, HEAD `/b/{token}/phase/{phase}` | the machine says how far it is: `handoff`, `up`   |
| GET, HEAD `/nbp/{name}`              | public loaders: memdisk, ramdisk.efi, iPXE        |
"""

from __future__ import annotations

import ipaddress
from functools import partial

from aiohttp import web

from bootserver.http.errors import plain_errors
from bootserver.http.files import SendEnd, send_file
from bootserver.model import Content, StubFormat
from bootserver.openfile import open_file
from bootserver.plane import BootPlane

PLANE = web.AppKey("plane", BootPlane)

SCRIPT_TYPE = "text/plain"
ISO_TYPE = "application/x-iso9660-image"
EFI_TYPE = "application/efi"  # UEFI 2.10, 24.7.2
BINARY_TYPE = "application/octet-stream"


def make_boot_app(plane: BootPlane) -> web.Application:
    """The boot plane's aiohttp application."""
    app = web.Application(middlewares=[plain_errors])
    app[PLANE] = plane
    app.add_routes(
        [
            web.get("/b/{token}/boot.ipxe", _script),
            web.get("/b/{token}/image.iso", _image),
            web.get("/b/{token}/stub.iso", _stub_iso),
            web.get("/b/{token}/stub.efi", _stub_efi),
            web.get("/b/{token}/phase/{phase}", _beacon),
            web.get("/nbp/{name}", _loader),
        ]
    )
    return app


async def _script(request: web.Request) -> web.StreamResponse:
    if request.method == "HEAD":  # a look, not a boot
        return web.Response(content_type=SCRIPT_TYPE)
    plane = request.app[PLANE]
    text = await plane.script(request.match_info["token"], request.query, _address(request))
    return web.Response(text=text, content_type=SCRIPT_TYPE, headers={"Cache-Control": "no-store"})


async def _image(request: web.Request) -> web.StreamResponse:
    plane = request.app[PLANE]
    image, session = await plane.image(request.match_info["token"], _address(request))
    on_sent = _uncounted
    if session and request.method == "GET":
        plane.fetching(session, image)
        on_sent = partial(plane.sent, session)
    with await open_file(image) as file:
        sent = await send_file(request, file, content_type=ISO_TYPE, on_sent=on_sent)
    if session and request.method == "GET":
        if sent.end is not SendEnd.COMPLETE:
            plane.fetch_broken(session, sent.end, sent.sent_bytes)
        elif sent.response.status == 200:
            plane.fetched(session)
    return sent.response


async def _stub_iso(request: web.Request) -> web.StreamResponse:
    stub = await request.app[PLANE].stub(request.match_info["token"], StubFormat.ISO)
    return await _send_static(request, stub, ISO_TYPE)


async def _stub_efi(request: web.Request) -> web.StreamResponse:
    stub = await request.app[PLANE].stub(request.match_info["token"], StubFormat.EFI)
    return await _send_static(request, stub, EFI_TYPE)


async def _loader(request: web.Request) -> web.StreamResponse:
    loader = await request.app[PLANE].loader(request.match_info["name"])
    return await _send_static(request, loader, BINARY_TYPE)


async def _beacon(request: web.Request) -> web.StreamResponse:
    if request.method != "HEAD":
        match = request.match_info
        request.app[PLANE].beacon(match["token"], match["phase"], _address(request))
    return web.Response(text="noted\n", headers={"Cache-Control": "no-store"})


async def _send_static(
    request: web.Request, content: Content, content_type: str
) -> web.StreamResponse:
    with await open_file(content) as file:
        sent = await send_file(request, file, content_type=content_type, on_sent=_uncounted)
    return sent.response


def _uncounted(_sent_bytes: int) -> None:
    """Bytes that belong to no boot's image."""


def _address(request: web.Request) -> str:
    """The client's IP address; IPv4 as such, also where it came in on an IPv6 socket."""
    address = ipaddress.ip_address((request.remote or "::").partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
