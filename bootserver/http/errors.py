"""The one place that picks HTTP status codes."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bootserver.errors import (
    BootServerError,
    DatabaseError,
    ImageNotFoundError,
    ImageNotReadyError,
    LoaderMissingError,
    ServerFullError,
    UnknownTokenError,
)

log = structlog.get_logger(__name__)

STATUS = {
    UnknownTokenError: 404,
    ImageNotFoundError: 404,
    LoaderMissingError: 404,
    ImageNotReadyError: 503,
    DatabaseError: 503,
    ServerFullError: 503,
}


@web.middleware
async def plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers our errors with a sentence as text; 500 and one log line for what nobody foresaw."""
    try:
        return await handler(request)
    except BootServerError as err:
        status = STATUS.get(type(err), 500)
        retry = {"Retry-After": "5"} if status == 503 else {}
        lines = [line for line in (err.message, err.hint) if line]
        return web.Response(status=status, text="\n".join(lines) + "\n", headers=retry)
    except (web.HTTPException, ConnectionError):  # or the client has left
        raise
    except Exception:
        log.exception("http.failed", method=request.method)
        return web.Response(status=500, text="the server failed; its log says how\n")
