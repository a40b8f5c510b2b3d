"""What the API reads of a request: bodies and queries, checked strictly, all mistakes at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from aiohttp import ClientError, hdrs, web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from bootserver.http.api.services import services_of
from bootserver.http.conditions import matches_strongly
from bootserver.http.errors import (
    BodyTooLargeError,
    BodyTooSlowError,
    ChangedError,
    IfMatchMissingError,
    MalformedError,
    MediaTypeError,
    MistakeError,
)
from bootserver.selector import Selector

JSON_TYPE = "application/json"
UPLOAD_TYPE = "application/octet-stream"
PAGE_MAX = 200
LINE_MAX = 200
ENTRY = "An entry of the disc's own menu: its name, its title, or # and a number"

# What `read_body` may raise.
BODY_ERRORS = (MalformedError, BodyTooSlowError, BodyTooLargeError, MediaTypeError, MistakeError)

_Model = TypeVar("_Model", bound=BaseModel)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("is not printable text in one line")
    return text.strip()


def _mac_or_uuid(text: str) -> str:
    names = Selector.parse([text]) if text else None
    if names and not (names.mac or names.uuid):
        raise ValueError("is neither a MAC address nor a UUID")
    return names.mac or names.uuid if names else ""


def _in_utc(text: object) -> object:
    """A date alone is its midnight in UTC."""
    if isinstance(text, str) and len(text) == len("2026-01-31"):
        return f"{text}T00:00:00Z"
    return text


OneLine = Annotated[str, Field(max_length=LINE_MAX), AfterValidator(_one_line)]
MacOrUuid = Annotated[str, AfterValidator(_mac_or_uuid)]  # "" is none
When = Annotated[AwareDatetime, BeforeValidator(_in_utc)]


class JsonBody(BaseModel):
    """A JSON body: exactly these members, of exactly these types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UrlQuery(BaseModel):
    """The parameters of a URL, which are all texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(UrlQuery):
    """Which page of a list, newest first."""

    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    before: When | None = Field(default=None, description="What was before this time")


async def read_body(request: web.Request, model: type[_Model]) -> _Model:
    """The JSON body as `model`; one of BODY_ERRORS, with all mistakes that it has."""
    require_type(request, JSON_TYPE)
    body_s = services_of(request).limits.config.body_s
    try:
        async with asyncio.timeout(body_s):
            data = await request.read()
    except TimeoutError as err:
        raise BodyTooSlowError(f"the body has not come within {body_s:g} seconds") from err
    except web.HTTPRequestEntityTooLarge as err:
        raise BodyTooLargeError("the body is too large") from err
    except web.RequestPayloadError as err:
        raise MalformedError("the body is not sent as HTTP has it") from err
    try:
        json.loads(data)
    except (ValueError, RecursionError) as err:
        raise MalformedError(f"the body is not JSON: {err}") from err
    return _checked(lambda: model.model_validate_json(data), "body", MistakeError)


def read_query(request: web.Request, model: type[_Model]) -> _Model:
    """The URL's parameters as `model`; MalformedError with all their mistakes."""
    values: dict[str, Any] = {}
    for name in request.query:
        texts = request.query.getall(name)
        field = model.model_fields.get(name)
        is_list = field is not None and "list" in str(field.annotation)
        values[name] = texts if is_list else texts[-1]
    return _checked(lambda: model.model_validate(values), "query", MalformedError)


def require_type(request: web.Request, *types: str) -> None:
    """Refuses a body of another media type, as a page's form could send, or a packed one."""
    if hdrs.CONTENT_TYPE not in request.headers or request.content_type not in types:
        raise MediaTypeError(
            f"the body must be {' or '.join(types)}",
            hint=f"send the header Content-Type: {types[0]}",
            headers={"Accept-Post": ", ".join(types)} if request.method == "POST" else None,
        )
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise MediaTypeError(
            "the body must not be compressed",
            hint="send it without Content-Encoding",
            headers={"Accept-Encoding": "identity"},  # RFC 9110 §15.5.16
        )


async def upload_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it comes, never whole in memory; BodyTooSlowError, or MalformedError."""
    body_s = services_of(request).limits.config.body_s
    got_bytes, data = 0, b" "
    try:
        while data:
            async with asyncio.timeout(body_s):
                data = await request.content.readany()
            got_bytes += len(data)
            if data:
                yield data
    except TimeoutError as err:
        raise BodyTooSlowError(
            f"nothing more of the upload has come for {body_s:g} seconds", hint="send it again"
        ) from err
    except (ClientError, web.RequestPayloadError, OSError) as err:
        raise MalformedError(
            f"the upload broke off after {got_bytes:,} bytes", hint="send it again"
        ) from err


def _checked(
    read: Callable[[], _Model], what: str, error: type[MalformedError] | type[MistakeError]
) -> _Model:
    try:
        return read()
    except ValidationError as err:
        mistakes = [
            (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
            for e in err.errors()
        ]
        text = "; ".join(f"{field}: {message}".removeprefix(": ") for field, message in mistakes)
        raise error(f"the {what} has mistakes: {text}", mistakes=mistakes) from err


# ---- Pages ----


def next_page(request: web.Request, query: PageQuery, before: datetime) -> str:
    """The URL of the page that begins before that time."""
    # Without a plus sign, which would be a blank in a URL.
    text = before.astimezone(UTC).isoformat().replace("+00:00", "Z")
    values = query.model_dump(mode="json", exclude_unset=True) | {"before": text}
    return f"{request.path}?{urlencode(values, doseq=True)}"


def next_link(url: str | None) -> dict[str, str]:
    """The header that says where the next page is (RFC 8288); none after the last."""
    return {"Link": f'<{url}>; rel="next"'} if url else {}


# ---- Conditional writes (RFC 9110 §13) ----


def require_match(request: web.Request, etag: str) -> None:
    """Goes on if If-Match names the present version; IfMatchMissingError, else ChangedError."""
    values = request.headers.getall(hdrs.IF_MATCH, [])
    if not values:
        raise IfMatchMissingError(
            "this takes If-Match, so that no change of another client is lost",
            hint="get it first, and send its ETag in If-Match",
        )
    if not matches_strongly(", ".join(values), etag):
        raise changed()


def changed() -> ChangedError:
    """Another client was quicker."""
    return ChangedError(
        "it has changed since you got it",
        hint="get it again, look at what is different, and try again",
    )


def etag_of(version: str) -> str:
    """A strong entity tag (RFC 9110 §8.8.3)."""
    return f'"{version}"'
