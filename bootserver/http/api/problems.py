"""Problem JSON (RFC 9457): what every error of the API is answered with."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bootserver.errors import BootServerError
from bootserver.http.errors import API_STATUS, RETRY_AFTER, RequestError, status_of
from bootserver.json_values import adapter_of

API = "/api/"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python's are older
PROBLEM_TYPE = "application/problem+json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in a body or a query."""

    field: str  # its path, such as `servers.0`; "" for the whole
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error (RFC 9457)."""

    type: str  # about:blank: the status says what kind it is (RFC 9457 §4.2.1)
    title: str
    status: int
    detail: str
    hint: str  # what to do next, or ""
    errors: tuple[FieldError, ...] = ()  # all mistakes at once


@web.middleware
async def problem_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error below /api/ with problem JSON, also routes and methods there are not."""
    if not request.path.startswith(API):
        return await handler(request)
    try:
        return await handler(request)
    except ConnectionError:  # the client has left
        raise
    except BootServerError as err:
        return _response(status_of(type(err), API_STATUS), err)
    except web.HTTPException as err:
        if err.status < 400:
            raise
        return _response(err.status, _of_http(request, err))
    except Exception:
        log.exception("http.failed", method=request.method, path=request.path)
        return _response(500, RequestError("the server failed", hint="its log says how"))


def _response(status: int, error: BootServerError) -> web.Response:
    headers = dict(RETRY_AFTER) if status == 503 else {}
    fields: tuple[FieldError, ...] = ()
    if isinstance(error, RequestError):
        headers |= error.headers
        fields = tuple(FieldError(*mistake) for mistake in error.mistakes)
    title = TITLES.get(status) or HTTPStatus(status).phrase
    problem = Problem("about:blank", title, status, error.message, error.hint, fields)
    data = adapter_of(Problem).dump_json(problem, exclude_defaults=True)
    return web.Response(status=status, body=data, content_type=PROBLEM_TYPE, headers=headers)


def _of_http(request: web.Request, err: web.HTTPException) -> RequestError:
    """The problem that one of aiohttp's own refusals is."""
    headers: dict[str, str] = {}
    match err:
        case web.HTTPNotFound():
            message = f"there is nothing at {request.path}"
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(err.allowed_methods))
            headers = {"Allow": allowed}  # RFC 9110 §15.5.6
            message = f"{request.path} knows no {request.method}, only {allowed or 'nothing'}"
        case _:
            message = err.text or err.reason
    return RequestError(message, hint="see /api/v1/openapi.json", headers=headers)
