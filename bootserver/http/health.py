"""/healthz: a plane answers."""

from __future__ import annotations

from aiohttp import web


async def healthz(_request: web.Request) -> web.Response:
    """GET /healthz"""
    return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})
