"""A request as the client meant it, before any route is looked for: one rule for both planes.

Slashes that are doubled count as one: firmware and DHCP servers put paths together carelessly.

A trusted proxy (`[server] trusted_proxies`) tells for which client it asks, and by which URL. It
does so in Forwarded (RFC 7239) or in X-Forwarded-For, -Proto and -Host. What anybody else says
there is not read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from multidict import CIMultiDict

from bootserver.fields import parse_server_url

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*))\s*(;|,|$)')  # RFC 7239 §4


class RequestHeaders(Protocol):
    """Headers of a request, of which each may come more than once."""

    def getall(self, key: str, default: Sequence[str]) -> Sequence[str]:
        """All values of that header."""


def readable(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers in ASCII: aiohttp quotes some of them and decodes others, and fails with more."""
    return CIMultiDict(
        (name, value.encode("ascii", "replace").decode()) for name, value in headers.items()
    )


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a trusted proxy says of the request; "" is what it does not say."""

    address: str = ""
    scheme: str = ""
    host: str = ""


def route(path: str) -> str:
    """The path for aiohttp's router, where a name in braces is all up to the next slash.

    aiohttp's own `{name}` takes no braces, which names of images may have.
    """
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


def machine_query(raw_query: str) -> dict[str, str]:
    """A query that a machine has sent: percent-encoded (RFC 3986), where a plus is a plus.

    Of a name that comes twice, the first counts.
    """
    pairs = [pair.partition("=") for pair in raw_query.split("&")]
    return {unquote(name): unquote(value) for name, _, value in reversed(pairs)}


def merged_slashes(raw_path: str) -> str:
    """The path with one slash wherever there are more."""
    return re.sub("/{2,}", "/", raw_path)


def plain_address(text: str) -> str:
    """An IP address without its zone; IPv4 as such, also where it came in on an IPv6 socket."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def is_host(text: str) -> bool:
    """True for what can stand in a Host header (RFC 9110 §7.2)."""
    try:
        return bool(text and parse_server_url(f"http://{text}")) and not text.endswith("/")
    except ValueError:
        return False


def is_among(address: str, networks: Networks) -> bool:
    """True for an address of one of these networks."""
    return any(ipaddress.ip_address(address) in network for network in networks)


def forwarded(headers: RequestHeaders, trusted: Networks) -> Forwarded:
    """What the trusted proxy that sent these headers says; what makes no sense counts as unsaid.

    Each proxy adds at the end. So the client is the last that is no trusted proxy. Scheme and host
    are those that the last proxy has seen.
    """
    elements = _elements(", ".join(headers.getall("Forwarded", ())))
    if not elements:
        names = {"for": "For", "proto": "Proto", "host": "Host"}
        values = {key: _values(headers, f"X-Forwarded-{name}") for key, name in names.items()}
        elements = [{"for": value} for value in values["for"]]
        elements[-1] |= {"proto": values["proto"][-1], "host": values["host"][-1]}
    scheme, host = elements[-1].get("proto", "").lower(), elements[-1].get("host", "")
    return Forwarded(
        address=_client((element.get("for", "") for element in reversed(elements)), trusted),
        scheme=scheme if scheme in ("http", "https") else "",
        host=host if is_host(host) else "",
    )


def _values(headers: RequestHeaders, name: str) -> list[str]:
    """The values of a header that is a list, at least one."""
    return [value.strip() for value in ",".join(headers.getall(name, ())).split(",")]


def _elements(text: str) -> list[dict[str, str]]:
    """The elements of a Forwarded header; none at all where it is malformed."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    while place < len(text):
        match = _PAIR.match(text, place)
        if match is None:
            return []
        name, quoted, token, end = match.groups()
        elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else token or ""
        place = match.end()
        if end == ",":
            elements.append({})
    return [element for element in elements if element]


def _client(nodes: Iterable[str], trusted: Networks) -> str:
    """The first of these nodes that is no trusted proxy; "" if it has no address."""
    address = ""
    for node in nodes:
        # RFC 7239 §6: an IPv6 address has brackets, and either may have a port.
        match = re.fullmatch(r"\[([^\]]+)\](?::.*)?|([0-9.]+)(?::.*)?|([0-9A-Fa-f:.]+)", node)
        try:
            address = plain_address(next(filter(None, match.groups()))) if match else ""
        except ValueError:
            return ""
        if not address or not is_among(address, trusted):
            return address
    return address
