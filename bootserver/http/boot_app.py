"""The boot plane over HTTP, with or without TLS: read-only, everything behind a token.

{token} is a stub's. {boot} is the key of one boot's session, or a stub's token.

| route                                         | serves                                   |
|-----------------------------------------------|------------------------------------------|
| GET, HEAD `/b/{token}/boot.ipxe`              | the boot script, a menu, or a sentence   |
| GET, HEAD `/b/{token}/{picked}/boot.ipxe`     | … for what was chosen: `entry/3/pick/ID` |
| GET, HEAD `/b/{boot}/image.iso`               | the image, with ranges                   |
| GET, HEAD `/b/{boot}/tree/{path}`             | a file in it, with ranges; or a listing  |
| GET, HEAD `/b/{token}/stub.iso`               | the stub, for virtual media over HTTP    |
| GET, HEAD `/b/{token}/stub.efi`               | as one program, for UEFI HTTP boot       |
| GET, HEAD `/b/{boot}/phase/{phase}`           | nothing; the machine is so far           |
| GET, HEAD `/boot.ipxe`                        | `[boot] open_menu`: for machines without |
| GET, HEAD `/nbp/autoexec.ipxe`                | a stub; where iPXE for UEFI looks itself |
| GET, HEAD `/nbp/{name}`                       | public loaders: memdisk, ramdisk.efi, …  |
| GET, HEAD `/healthz`                          | "ok": for proxies and monitoring         |
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from urllib.parse import quote

from aiohttp import hdrs, web

from bootserver.boot.files import WHOLE_IMAGE, BootFiles
from bootserver.boot.script import Pick
from bootserver.boot.service import BootService, Delivery
from bootserver.fields import parse_server_url
from bootserver.files.open_version import OpenFile, OpenFiles
from bootserver.http.connection import Connection
from bootserver.http.errors import plain_errors
from bootserver.http.fast_lane import LANE, FastLane, HotBody
from bootserver.http.files import send_file
from bootserver.http.health import healthz
from bootserver.http.incoming import machine_query, plain_address, route
from bootserver.http.listing import render_listing
from bootserver.images.overlay import Served
from bootserver.model import BootSession, ByteRange, Content, Image, StubFormat
from bootserver.sessions.live import AskTcp

SERVICE = web.AppKey("boot_service", BootService)
FILES = web.AppKey("open_files", OpenFiles)

SCRIPT_TYPE = "text/plain"
ISO_TYPE = "application/x-iso9660-image"
EFI_TYPE = "application/efi"  # UEFI 2.10, 24.7.2
BINARY_TYPE = "application/octet-stream"


def make_boot_app(service: BootService) -> web.Application:
    """The boot plane's aiohttp application."""
    app = web.Application(middlewares=[plain_errors])
    app[SERVICE] = service
    app[FILES] = OpenFiles()
    app[LANE] = FastLane()
    app.cleanup_ctx.append(_open_files)
    routes = {
        "/b/{token}/boot.ipxe": _script,
        "/b/{token}/{picked:drivers|(?:drivers/)?(?:pick|entry)/.+}/boot.ipxe": _script,
        "/b/{boot}/image.iso": _image,
        "/b/{boot}/tree/{path:.*}": _tree,
        "/b/{token}/stub.iso": _stub_iso,
        "/b/{token}/stub.efi": _stub_efi,
        "/b/{boot}/phase/{phase}": _beacon,
        "/boot.ipxe": _open_script,
        "/nbp/autoexec.ipxe": _open_script,
        "/nbp/{name}": _loader,
        "/healthz": healthz,
    }
    # web.get answers HEAD too: with the same headers, no body, and nothing told to the ledger.
    app.add_routes([web.get(route(path), handler) for path, handler in routes.items()])
    return app


async def _open_files(app: web.Application) -> AsyncIterator[None]:
    keeping = asyncio.create_task(app[FILES].keep_current(), name="open-files")
    yield
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    app[FILES].close()


async def _script(request: web.Request) -> web.StreamResponse:
    if request.method == "HEAD":  # a look, not a boot
        return web.Response(content_type=SCRIPT_TYPE)
    match = request.match_info
    return _script_response(
        await request.app[SERVICE].script(
            match["token"],
            machine_query(request.rel_url.raw_query_string),
            _address(request),
            _origin(request),
            Pick.parse(match.get("picked", "")),
        )
    )


async def _open_script(request: web.Request) -> web.StreamResponse:
    return _script_response(request.app[SERVICE].open_script(_origin(request)))


def _script_response(text: str) -> web.Response:
    return web.Response(text=text, content_type=SCRIPT_TYPE, headers={"Cache-Control": "no-store"})


async def _image(request: web.Request) -> web.StreamResponse:
    service, key = request.app[SERVICE], request.match_info["boot"]
    files, session = await service.files(key, _address(request))
    served = await files.whole()
    return await _send_for_boot(request, files, WHOLE_IMAGE, served, session, ISO_TYPE)


async def _tree(request: web.Request) -> web.StreamResponse:
    service, key = request.app[SERVICE], request.match_info["boot"]
    path = f"/{request.match_info['path']}"
    files, session = await service.files(key, _address(request), _origin(request))
    if path.endswith("/"):
        nodes = await files.listing(path)
        return web.Response(text=render_listing(path, nodes), content_type="text/html")
    served = await files.file(path)
    if served is None:
        raise web.HTTPMovedPermanently(f"./{quote(path.rpartition('/')[2])}/")
    return await _send_for_boot(request, files, f"tree{path}", served, session, BINARY_TYPE)


async def _send_for_boot(
    request: web.Request,
    files: BootFiles,
    name: str,
    served: Served,
    session: BootSession | None,
    content_type: str,
) -> web.StreamResponse:
    """Send what a boot fetches, and tell the ledger how it goes."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    file = await request.app[FILES].open(served.content, served.layout)
    delivery = request.app[SERVICE].delivery(
        session if request.method == "GET" else None,
        name,
        "http",
        served.size_bytes,
        by_ipxe=request.headers.get("User-Agent", "").startswith("iPXE"),
        is_range=hdrs.RANGE in request.headers,
        ask_tcp=connection.ask_tcp,
    )
    with delivery as sending:
        if len(served.layout.pieces) == 1 and not served.layout.has_own_bytes:
            _keep_hot(request, files.image, name, file, content_type)
        return await _send(request, file, content_type, sending)


def _uncounted(_part: ByteRange, _by_ipxe: bool, _ask_tcp: AskTcp) -> None:
    """What goes out to no boot."""


def _keep_hot(
    request: web.Request, image: Image, name: str, file: OpenFile, content_type: str
) -> None:
    """Have the fast lane answer for this file from now on, as long as we would."""
    service, key, address = request.app[SERVICE], request.match_info["boot"], _address(request)
    session = service.session(key, address)
    note_range: Callable[[ByteRange, bool, AskTcp], None] = _uncounted
    if session:
        note_range = service.range_recorder(session, name, "http", file.size_bytes)

    def deliver(by_ipxe: bool, is_range: bool, ask_tcp: AskTcp) -> AbstractContextManager[Delivery]:
        return service.delivery(
            session,
            name,
            "http",
            file.size_bytes,
            by_ipxe=by_ipxe,
            is_range=is_range,
            ask_tcp=ask_tcp,
        )

    stands = partial(service.stands, key, address, image, session)
    body = HotBody(file, content_type, service.stalled_s, stands, deliver, note_range)
    request.app[LANE].keep(request.rel_url.raw_path, address, body)


async def _stub_iso(request: web.Request) -> web.StreamResponse:
    stub = await request.app[SERVICE].stub(request.match_info["token"], StubFormat.ISO)
    return await _send_content(request, stub, ISO_TYPE)


async def _stub_efi(request: web.Request) -> web.StreamResponse:
    stub = await request.app[SERVICE].stub(request.match_info["token"], StubFormat.EFI)
    return await _send_content(request, stub, EFI_TYPE)


async def _loader(request: web.Request) -> web.StreamResponse:
    loader = await request.app[SERVICE].loader(request.match_info["name"])
    efi = request.match_info["name"].endswith(".efi")  # firmware boots no other type
    content_type = EFI_TYPE if efi else BINARY_TYPE
    return await _send_content(request, loader, content_type)


async def _beacon(request: web.Request) -> web.StreamResponse:
    if request.method != "HEAD":
        match = request.match_info
        await request.app[SERVICE].beacon(match["boot"], match["phase"], _address(request))
    return web.Response(text="noted\n", headers={"Cache-Control": "no-store"})


async def _send_content(
    request: web.Request, content: Content, content_type: str
) -> web.StreamResponse:
    """Send what belongs to no boot."""
    file = await request.app[FILES].open(content)
    return await _send(request, file, content_type, Delivery())


async def _send(
    request: web.Request, file: OpenFile, content_type: str, delivery: Delivery
) -> web.StreamResponse:
    sent = await send_file(
        request,
        file,
        content_type=content_type,
        on_sent=delivery.sent,
        stalled_s=request.app[SERVICE].stalled_s,
    )
    delivery.end = sent.end
    delivery.start = sent.start
    return sent.response


def _origin(request: web.Request) -> str:
    """This server's URL as the client wrote it; our own idea of it if that makes no sense.

    It is for the system that is booted, which seldom knows TLS: who came over ours gets the plain
    one beside it. Of a proxy's TLS we know no plain one.
    """
    service = request.app[SERVICE]
    if request.transport and request.transport.get_extra_info("sslcontext"):
        return service.http_url(_own_address(request))
    try:
        return parse_server_url(f"{request.scheme}://{request.host}")
    except ValueError:
        return service.http_url()


def _address(request: web.Request) -> str:
    """The client's IP address; IPv4 as such, also where it came in on an IPv6 socket."""
    return plain_address(request.remote or "::")


def _own_address(request: web.Request) -> str:
    """Our own address that the client has called, likewise; "" if it has gone."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return plain_address(name[0]) if name else ""
