"""The admin plane over HTTP: a page with images and boots, and a health check.

It has no login: config.py lets it listen on loopback only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bootserver.images.library import Library
from bootserver.sessions.store import SessionStore

BOOTS_SHOWN = 50

LIBRARY = web.AppKey("library", Library)
SESSIONS = web.AppKey("sessions", SessionStore)
STUBS = web.AppKey("stubs", Mapping[str, Path])
IMAGES_PATH = web.AppKey("images_path", Path)
PAGES = web.AppKey("pages", Environment)


def make_admin_app(
    library: Library,
    sessions: SessionStore,
    stubs: Mapping[str, Path],
    images_path: Path,
) -> web.Application:
    """The admin plane's application; `stubs` has each image's stub file, by image id."""
    app = web.Application()
    app[LIBRARY] = library
    app[SESSIONS] = sessions
    app[STUBS] = stubs
    app[IMAGES_PATH] = images_path
    app[PAGES] = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
    )
    app.add_routes([web.get("/", _index), web.get("/healthz", _healthz)])
    return app


async def _index(request: web.Request) -> web.Response:
    app = request.app
    page = app[PAGES].get_template("index.html")
    text = page.render(
        images=app[LIBRARY].images(),
        images_path=app[IMAGES_PATH],
        boots=await app[SESSIONS].recent(BOOTS_SHOWN),
        stubs=app[STUBS],
    )
    return web.Response(text=text, content_type="text/html")


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
