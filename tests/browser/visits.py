"""Machines that come to the boot plane over HTTP, as iPXE does, without a machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from tests.fixtures.server import Site

HOSTILE = '<script>window.owned = 1</script><img src=x onerror="window.owned = 1">'


@dataclass
class Visit:
    """One machine on its way through a boot."""

    http: aiohttp.ClientSession
    base: str
    key: str

    async def get(self, path: str) -> bytes:
        """What this boot's URLs answer."""
        async with self.http.get(f"{self.base}/b/{self.key}/{path}") as answer:
            assert answer.status == 200, (path, answer.status)
            return await answer.read()


async def visit(http: aiohttp.ClientSession, site: Site, token: str, **told: str) -> Visit:
    """A machine whose stub calls, and says that of itself."""
    base = f"http://127.0.0.1:{site.boot_port}"
    machine = {"platform": "pcbios", "dimms": "0004.......", "mac": "52-54-00-12-34-56"} | told
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in machine.items())
    async with http.get(f"{base}/b/{token}/boot.ipxe?{query}") as answer:
        script = await answer.text()
    found = re.search("/b/([0-9a-f]{32})/", script)
    assert found, script
    return Visit(http, base, found[1])


async def whole_boot(http: aiohttp.ClientSession, site: Site, token: str, **told: str) -> Visit:
    """The same, up to the hand-off."""
    machine = await visit(http, site, token, **told)
    await machine.get("image.iso")
    await machine.get("phase/handoff")
    return machine
