"""The one place that picks HTTP status codes: errors of ours, and the status that each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    DatabaseError,
    ImageError,
    ImageNotFoundError,
    ImageNotReadyError,
    LoaderMissingError,
    ServerFullError,
    ServiceError,
    StubError,
    UnknownTokenError,
)
from bootserver.windows.drivers import NoDriverError
from bootserver.windows.unpack import DriverError
from bootserver.windows.wim import WimlibMissingError

RETRY_AFTER = {"Retry-After": "5"}  # with each 503

log = structlog.get_logger(__name__)


class RequestError(BootServerError):
    """A request to the admin plane that is refused.

    `mistakes` has the fields that are wrong, each with a message; `headers` go with the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        mistakes: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.mistakes = mistakes
        self.headers = headers or {}


class MalformedError(RequestError):
    """A query that makes no sense, or a body that is not JSON."""


class ForeignPageError(RequestError):
    """A page of another site wants to write."""


class NotFoundError(RequestError):
    """There is no such thing."""


class BodyTooSlowError(RequestError):
    """A body that takes too long to come."""


class ConflictError(RequestError):
    """What cannot be done as things stand."""


class ChangedError(RequestError):
    """Something that another client has changed since."""


class BodyTooLargeError(RequestError):
    """A body of more bytes than there may be."""


class MediaTypeError(RequestError):
    """A body of another media type."""


class ForeignHostError(RequestError):
    """A Host header that names another machine."""


class MistakeError(RequestError):
    """A body with mistakes, or one that names what there is not."""


class NoWebSocketError(RequestError):
    """A plain request for what comes over a WebSocket."""


class IfMatchMissingError(RequestError):
    """A change that does not say which version it is about."""


# What a machine or a browser is answered; any other error is a failure of the server's, 500.
STATUS: Mapping[type[BootServerError], int] = {
    UnknownTokenError: 404,
    ImageNotFoundError: 404,
    LoaderMissingError: 404,
    ImageNotReadyError: 503,
    DatabaseError: 503,
    ServerFullError: 503,
    ServiceError: 503,
    ImageError: 422,
    ForeignPageError: 403,
    ForeignHostError: 421,  # RFC 9110 §15.5.20
}
# What a program is answered. Where the request can be put right, the server has not failed.
API_STATUS: Mapping[type[BootServerError], int] = {
    **STATUS,
    MalformedError: 400,
    NotFoundError: 404,
    BodyTooSlowError: 408,
    ConflictError: 409,
    ChangedError: 412,
    BodyTooLargeError: 413,
    MediaTypeError: 415,
    MistakeError: 422,
    NoWebSocketError: 426,  # RFC 9110 §15.5.22
    IfMatchMissingError: 428,  # RFC 6585 §3
    StubError: 422,
    CertificateError: 422,
    LoaderMissingError: 503,
    WimlibMissingError: 503,
    DriverError: 422,
    NoDriverError: 404,
    AmtError: 502,  # it is the machine that cannot, or does not want to
    AmtWrongPasswordError: 422,
    NoPasswordError: 422,
    BeingArmedError: 409,
    HostIsBusyError: 409,
    NoCodeWantedError: 409,
    UnknownMachineError: 404,
    NoSuchBootError: 404,
    TooManyBootsError: 503,
}


def status_of(
    error: type[BootServerError], table: Mapping[type[BootServerError], int] = STATUS
) -> int:
    """The status of that class of errors, or of the nearest of its bases that has one."""
    return next((table[kind] for kind in error.__mro__ if kind in table), 500)


@web.middleware
async def plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers our errors with a sentence as text; 500 and one log line for any other error."""
    try:
        return await handler(request)
    except BootServerError as err:
        status = status_of(type(err))
        lines = [line for line in (err.message, err.hint) if line]
        headers = RETRY_AFTER if status == 503 else None
        return web.Response(status=status, text="\n".join(lines) + "\n", headers=headers)
    except (web.HTTPException, ConnectionError):  # or the client has left
        raise
    except Exception:
        log.exception("http.failed", method=request.method)
        return web.Response(status=500, text="the server failed; its log says how\n")
