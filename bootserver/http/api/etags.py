"""Conditional writes: who changes something says what it was when they looked (RFC 9110 §13)."""

from __future__ import annotations

from aiohttp import hdrs, web

from bootserver.http.api.problems import ProblemError
from bootserver.http.conditions import matches_strongly


def require_match(request: web.Request, etag: str) -> None:
    """Goes on if If-Match names the present version; 428 without it (RFC 6585 §3), else 412."""
    told = request.headers.getall(hdrs.IF_MATCH, [])
    if not told:
        raise ProblemError(
            428,
            "this takes If-Match, so that nobody's change is lost",
            hint="get it first, and send its ETag in If-Match",
        )
    if not matches_strongly(", ".join(told), etag):
        raise changed()


def changed() -> ProblemError:
    """Somebody else was quicker."""
    return ProblemError(
        412,
        "it has changed since you got it",
        hint="get it again, look at what is different, and try again",
    )


def etag_of(version: str) -> str:
    """A strong entity tag (RFC 9110 §8.8.3)."""
    return f'"{version}"'
