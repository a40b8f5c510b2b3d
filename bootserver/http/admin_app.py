"""The admin plane over HTTP: the dashboard, the REST API, /metrics, and a health check.

It has no login. config.py lets it listen on loopback only, and http/loopback.py keeps the pages of
other sites away.
"""

from __future__ import annotations

from aiohttp import web

from bootserver.http.api.app import add_api
from bootserver.http.api.problems import problem_errors
from bootserver.http.api.services import AdminServices
from bootserver.http.dashboard import add_dashboard
from bootserver.http.errors import plain_errors
from bootserver.http.health import healthz
from bootserver.http.loopback import add_headers, only_from_here
from bootserver.http.metrics import metrics

BODY_MAX_BYTES = 64 * 1024  # of JSON; uploads are read as they come


def make_admin_app(services: AdminServices) -> web.Application:
    """The admin plane's application."""
    app = web.Application(
        middlewares=[plain_errors, problem_errors, only_from_here], client_max_size=BODY_MAX_BYTES
    )
    app.on_response_prepare.append(add_headers)
    add_api(app, services)
    add_dashboard(app)
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
    return app
