"""Operations of the API: what one method does at one path, each thing said once.

A handler takes the request and, by these names, its `query` and its `body`. It returns its answer,
or an `ApiAnswer` where that has headers. Route, JSON and the entry in openapi.json are made of its
annotations, its docstring's first line and its declared errors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from aiohttp import web

from bootserver.errors import BootServerError
from bootserver.http.api.requests import (
    BODY_ERRORS,
    JSON_TYPE,
    JsonBody,
    UrlQuery,
    read_body,
    read_query,
)
from bootserver.http.errors import (
    API_STATUS,
    BodyTooSlowError,
    ChangedError,
    ForeignHostError,
    ForeignPageError,
    MalformedError,
    MediaTypeError,
    status_of,
)
from bootserver.json_values import adapter_of

Handler = Callable[..., Awaitable[Any]]
T = TypeVar("T")
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class ApiAnswer(Generic[T]):
    """An answer with headers; `status` where it is not the first that the operation has."""

    value: T
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method does at one path."""

    method: str
    path: str
    handler: Handler
    raises: tuple[type[BootServerError], ...]  # beside what any operation may raise
    statuses: tuple[int, ...]  # of good answers, the usual one first
    headers: tuple[str, ...]  # of good answers
    media_types: tuple[str, ...]  # of an answer that the handler sends itself
    query: type[UrlQuery] | None
    body: type[JsonBody] | None
    answer: Any  # the type of the answer's value; None where it has no JSON
    takes_upload: bool  # the handler reads query and body itself

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def is_conditional(self) -> bool:
        """True if it takes If-Match."""
        return ChangedError in self.raises

    @property
    def problems(self) -> list[int]:
        """The statuses of all that it may raise; 500 is a mistake of ours."""
        errors: set[type[BootServerError]] = {ForeignHostError, *self.raises}
        if self.method != "GET":
            errors.add(ForeignPageError)
        if self.body:
            errors.update(BODY_ERRORS)
        if self.takes_upload:
            errors |= {MediaTypeError, BodyTooSlowError, MalformedError}
        if self.query:
            errors.add(MalformedError)
        return sorted({500, *(status_of(error, API_STATUS) for error in errors)})

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Reads the request, and writes what the handler returns."""
        read: dict[str, Any] = {}
        if self.query and not self.takes_upload:
            read["query"] = read_query(request, self.query)
        if self.body and not self.takes_upload:
            read["body"] = await read_body(request, self.body)
        answer = await self.handler(request, **read)
        if isinstance(answer, web.StreamResponse):
            return answer
        if not isinstance(answer, ApiAnswer):
            answer = ApiAnswer(answer)
        status = answer.status or self.statuses[0]
        if self.answer is None:
            return web.Response(status=status, headers=answer.headers)
        data = adapter_of(self.answer).dump_json(answer.value, by_alias=True)
        return web.Response(
            body=data,
            status=status,
            headers=answer.headers,
            content_type=JSON_TYPE,
            charset="utf-8",
        )


class Operations(list[Operation]):
    """The operations of a module, in the order in which they are described."""

    def add(
        self,
        method: str,
        path: str,
        *raises: type[BootServerError],
        statuses: tuple[int, ...] = (200,),
        headers: tuple[str, ...] = (),
        media_types: tuple[str, ...] = (),
        upload: tuple[type[UrlQuery], type[JsonBody] | None] | None = None,
    ) -> Callable[[H], H]:
        """The decorator of a handler.

        `upload` is for one that reads its body itself: bytes with a query, or JSON if there is a
        type for it.
        """

        def decorate(handler: H) -> H:
            hints = get_type_hints(handler)
            query, body = upload or (hints.get("query"), hints.get("body"))
            answer = hints["return"]
            if get_origin(answer) is ApiAnswer:
                [answer] = get_args(answer)
            has_json = answer not in (type(None), web.StreamResponse)
            self.append(
                Operation(
                    method=method,
                    path=path,
                    handler=handler,
                    raises=raises,
                    statuses=statuses,
                    headers=headers,
                    media_types=media_types,
                    query=query,
                    body=body,
                    answer=answer if has_json else None,
                    takes_upload=upload is not None,
                )
            )
            return handler

        return decorate
