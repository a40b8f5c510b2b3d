"""Which bytes of a file a request selects: RFC 9110 §13. Header values in, a status out."""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from functools import lru_cache

from bootserver.http.ranges import OWS, UnsatisfiableRangeError, parse_ranges
from bootserver.model import ByteRange

# RFC 9110 §8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
# A tag may hold commas, so the list cannot be split at them; each must end in one, or end it.
_LISTED_TAG = re.compile(r'[ \t,]*(W/)?("[^"\x00-\x20\x7f]*")[ \t]*(?:,[ \t,]*|\Z)')

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# RFC 9110 §5.6.7: one form to send, two old ones to accept.
_HTTP_DATES = (
    re.compile(
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}})"
        rf" {_TIME} GMT"
    ),
    re.compile(
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{{2}})-{_MONTH}"
        rf"-(?P<year>[0-9]{{2}}) {_TIME} GMT"
    ),
    re.compile(
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME}"
        rf" (?P<year>[0-9]{{4}})"
    ),
)


@dataclass(frozen=True, slots=True)
class Representation:
    """What the conditions are judged against: the version of the file that would be sent."""

    size_bytes: int
    etag: str  # strong, with its quotes
    last_modified_s: int | None  # whole seconds since 1970, as Last-Modified tells it; None: not


@dataclass(frozen=True, slots=True)
class Conditions:
    """The header values that decide what is sent; None where the header is absent."""

    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the file is sent: all with 200, `ranges` with 206, nothing with 304, 412 and 416."""

    status: int
    ranges: tuple[ByteRange, ...] = ()


def select_ranges(method: str, conditions: Conditions, current: Representation) -> Selection:
    """What a GET or HEAD selects, in the order of precedence of RFC 9110 §13.2.2."""
    modified_s = current.last_modified_s  # without it dates are ignored (§13.1.3, §13.1.4)
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, current.etag, weak=False):
            return Selection(412)
    elif (
        modified_s is not None
        and (limit := _date(conditions.if_unmodified_since)) is not None
        and modified_s > limit
    ):
        return Selection(412)

    if conditions.if_none_match is not None:
        if _matches(conditions.if_none_match, current.etag, weak=True):
            return Selection(304)
    elif (
        modified_s is not None
        and (limit := _date(conditions.if_modified_since)) is not None
        and modified_s <= limit
    ):
        return Selection(304)

    # Only GET has ranges (§14.2), and a stale If-Range makes it a plain GET (§13.1.5).
    if method != "GET" or not _if_range_holds(conditions.if_range, current):
        return Selection(200)
    try:
        ranges = parse_ranges(conditions.range, current.size_bytes)
    except UnsatisfiableRangeError:
        return Selection(416)
    return Selection(200) if ranges is None else Selection(206, ranges)


def matches_strongly(if_match: str, etag: str) -> bool:
    """True if the value of If-Match is `*` or names `etag` itself (§13.1.1)."""
    return _matches(if_match, etag, weak=False)


def _if_range_holds(header: str | None, current: Representation) -> bool:
    """True if what the client has a part of is what we would send the rest of (§13.1.5)."""
    if header is None:
        return True
    validator = header.strip(OWS)
    if validator.startswith(('"', "W/")):
        return validator == current.etag  # strong comparison: a weak tag matches nothing
    modified_s = current.last_modified_s
    return modified_s is not None and parse_http_date(validator) == modified_s


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    """True if the list of entity tags is `*` or names `etag` (§8.8.3.2); `etag` is strong."""
    if header.strip(OWS) == "*":
        return True
    return any(tag == etag and (weak or not is_weak) for is_weak, tag in _entity_tags(header))


def _entity_tags(header: str) -> list[tuple[bool, str]]:
    """The tags listed, each with whether it is weak; none if the list is malformed."""
    tags: list[tuple[bool, str]] = []
    position = 0
    while position < len(header):
        match = _LISTED_TAG.match(header, position)
        if match is None:
            return []
        tags.append((match[1] is not None, match[2]))
        position = match.end()
    return tags


def _date(header: str | None) -> int | None:
    """The date of a condition; None if it is absent or no date, which is the same (§13.1.3)."""
    return None if header is None else parse_http_date(header.strip(OWS))


def parse_http_date(text: str) -> int | None:
    """Seconds since 1970 for a valid HTTP-date in any of its three forms, else None."""
    for form in _HTTP_DATES:
        if match := form.fullmatch(text):
            break
    else:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= 70 else 2000  # fixed, as POSIX has it: there is no clock here
    try:
        when = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"]),
        )
    except ValueError:
        return None
    return timegm(when.timetuple())


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """The HTTP-date to send, in the one form that may be sent."""
    return formatdate(seconds, usegmt=True)
