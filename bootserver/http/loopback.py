"""What keeps other sites' pages away from the admin plane, which has no login.

A browser lets any page send requests to 127.0.0.1. Two things stop them here. The Host header must
be a loopback name. A site whose name resolves to 127.0.0.1 (DNS rebinding) still sends that name.
And what changes something must come from our own pages, or from no browser. Browsers say where a
request comes from in Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch Metadata). A WebSocket counts
as a change: it begins with a GET, and any page may read it (RFC 6455 §10.2).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from bootserver.http.errors import ForeignHostError, ForeignPageError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 §9.2.1
OUR_SITES = frozenset({"same-origin", "none"})  # `none`: typed in, or from a bookmark


@web.middleware
async def only_from_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses foreign Host names with 421, and writes from other sites' pages with 403."""
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) != 1 or not is_loopback(hosts[0]):
        raise ForeignHostError(
            f"this server is not {', '.join(hosts)[:100] or 'without a name'}",
            hint="use http://localhost or http://127.0.0.1, through an ssh tunnel from elsewhere",
        )
    if request.method not in SAFE_METHODS or hdrs.UPGRADE in request.headers:
        origins = request.headers.getall(hdrs.ORIGIN, [])
        sites = request.headers.getall("Sec-Fetch-Site", [])
        ours = f"{request.scheme}://{hosts[0]}".lower()
        if any(origin.lower() != ours for origin in origins) or not OUR_SITES.issuperset(sites):
            raise ForeignPageError(
                "a page of another site wanted to change something here",
                hint="use the dashboard, or a program that sends no Origin header",
            )
    return await handler(request)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """On every answer: no other site shows it in a frame, loads it, or guesses its type."""
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")


def is_loopback(host: str) -> bool:
    """True for the value of a Host header that can only be this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        urlsplit(f"//{host}").port  # noqa: B018  # raises for what is no number
    except ValueError:
        return False
    if {"@", "/", "?", "#", "\\"} & set(host):
        return False
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
