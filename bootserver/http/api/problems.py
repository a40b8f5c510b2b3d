"""Problem JSON (RFC 9457): what every error of the API is answered with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bootserver.amt.access import NoPasswordError
from bootserver.amt.armed import BeingArmedError
from bootserver.amt.boot.boots import (
    HostIsBusyError,
    NoCodeWantedError,
    NoSuchBootError,
    TooManyBootsError,
)
from bootserver.amt.errors import AmtError, AmtWrongPasswordError
from bootserver.amt.hosts import UnknownMachineError
from bootserver.errors import (
    BootServerError,
    CertificateError,
    ImageError,
    LoaderMissingError,
    StubError,
)
from bootserver.http.errors import STATUS

API = "/api/"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python's are older
PROBLEM_TYPE = "application/problem+json"

# What a person can mend in the request is no failure of the server's.
_STATUS = {
    **STATUS,
    ImageError: 422,
    StubError: 422,
    CertificateError: 422,
    LoaderMissingError: 503,
    AmtError: 502,  # it is the machine that cannot, or does not want to
    AmtWrongPasswordError: 422,
    BeingArmedError: 409,
    UnknownMachineError: 404,
    NoPasswordError: 422,
    NoSuchBootError: 404,
    HostIsBusyError: 409,
    NoCodeWantedError: 409,
    TooManyBootsError: 503,
}

log = structlog.get_logger(__name__)


class ProblemError(Exception):
    """Ends a request with a problem: a status, a sentence, and what to do about it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        hint: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.errors = errors
        self.headers = headers or {}

    @classmethod
    def of(cls, err: BootServerError) -> ProblemError:
        """The problem that an error of ours is to a client."""
        status = next((_STATUS[kind] for kind in type(err).__mro__ if kind in _STATUS), 500)
        retry = {"Retry-After": "5"} if status == 503 else {}
        return cls(status, err.message, hint=err.hint, headers=retry)

    def response(self) -> web.Response:
        """The answer."""
        values: dict[str, Any] = {
            "type": "about:blank",  # RFC 9457 §4.2.1: the status says what kind it is
            "title": _title(self.status),
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
        }
        if self.errors:
            values["errors"] = list(self.errors)
        return web.Response(
            status=self.status,
            body=json.dumps(values).encode(),
            content_type=PROBLEM_TYPE,
            headers=self.headers,
        )


def mistake(field: str, message: str) -> ProblemError:
    """The problem with one member of a body, found after its form was right."""
    return ProblemError(422, f"{field}: {message}", errors=[{"field": field, "message": message}])


@web.middleware
async def problem_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error below /api/ with problem JSON, also routes and methods there are not."""
    if not request.path.startswith(API):
        return await handler(request)
    try:
        return await handler(request)
    except ConnectionError:  # the client has left
        raise
    except ProblemError as err:
        return err.response()
    except BootServerError as err:
        return ProblemError.of(err).response()
    except web.HTTPException as err:
        if err.status < 400:
            raise
        return _of_http(request, err).response()
    except Exception:
        log.exception("http.failed", method=request.method, path=request.path)
        return ProblemError(500, "the server failed", hint="its log says how").response()


def _of_http(request: web.Request, err: web.HTTPException) -> ProblemError:
    """The problem that one of aiohttp's own refusals is."""
    headers: dict[str, str] = {}
    match err:
        case web.HTTPNotFound():
            detail = f"there is nothing at {request.path}"
        case web.HTTPMethodNotAllowed():
            allowed = sorted(err.allowed_methods)
            headers = {"Allow": ", ".join(allowed)}  # RFC 9110 §15.5.6
            detail = f"{request.path} knows no {request.method}, only {_words(allowed)}"
        case web.HTTPRequestEntityTooLarge():
            detail = "the body is too large"
        case _:
            detail = err.text or err.reason
    return ProblemError(err.status, detail, hint="see /api/v1/openapi.json", headers=headers)


def _words(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _title(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase
