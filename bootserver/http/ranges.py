"""Which bytes a request asks for, and whether it wants them at all: RFC 9110 §13 and §14.

Header values in, a decision and the answer as data out. No sockets, no clock, no files.
"""

from __future__ import annotations

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from enum import StrEnum
from functools import lru_cache

from bootserver.errors import BootServerError

MAX_RANGES = 64  # a header that lists more is ignored, as RFC 9110 §14.2 permits

# ASCII only: `\d` and str.isdigit() take other alphabets' digits for numbers.
_RANGE_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_RANGE_UNIT = re.compile(r"bytes=", re.IGNORECASE)  # RFC 9110 §14.1: case-insensitive
_OWS = " \t"
_MAX_DIGITS = 18  # no file is that long, and int() refuses more than 4,300 digits

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


class UnsatisfiableRangeError(BootServerError):
    """Every range asked for lies past the end: 416."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"no range asked for lies within the {size_bytes} bytes there are",
            hint="ask for the size with HEAD",
        )
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, stop): half-open and never empty."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def content_range(self, size_bytes: int) -> str:
        """The value of Content-Range, whose last position is inclusive (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size_bytes}"


# ---- Range ------------------------------------------------------------------------------------


def parse_ranges(
    header: str | None, size_bytes: int, *, max_ranges: int = MAX_RANGES
) -> tuple[ByteRange, ...] | None:
    """The ranges to send, in the order asked for; None if the header is to be ignored.

    Ignored: no header, another unit, a syntax error, more than `max_ranges` ranges. Ranges that
    overlap or touch are sent as one. Raises UnsatisfiableRangeError if nothing is left to send.
    """
    unit = _RANGE_UNIT.match(header.strip(_OWS)) if header else None
    if unit is None:
        return None
    specs = [spec for part in unit.string[unit.end() :].split(",") if (spec := part.strip(_OWS))]
    if not 1 <= len(specs) <= max_ranges:
        return None

    wanted = []
    for spec in specs:
        parsed = _parse_spec(spec, size_bytes)
        if parsed is None:
            return None
        if len(parsed):
            wanted.append(parsed)
        elif spec.startswith("-") and spec.strip("-0"):
            return None  # the end of an empty file: satisfiable, but Content-Range cannot say it
    if not wanted:
        raise UnsatisfiableRangeError(size_bytes)
    return _coalesce(wanted)


def _parse_spec(spec: str, size_bytes: int) -> ByteRange | None:
    """One range-spec cut to the file's size; empty if it lies past the end, None if malformed."""
    match = _RANGE_SPEC.fullmatch(spec)
    if match is None:
        return None
    first, last = (digits.lstrip("0") or "0" if digits else "" for digits in match.groups())
    if not first and not last:
        return None
    if not first:
        return ByteRange(max(0, size_bytes - _clamped(last, size_bytes)), size_bytes)
    if last and (len(last), last) < (len(first), first):
        return None  # last-pos less than first-pos is invalid, not unsatisfiable (§14.1.1)
    start = _clamped(first, size_bytes)
    stop = min(_clamped(last, size_bytes) + 1, size_bytes) if last else size_bytes
    return ByteRange(start, stop)


def _clamped(digits: str, size_bytes: int) -> int:
    """The number, or `size_bytes` if it is larger: a thousand digits cost nothing."""
    return size_bytes if len(digits) > _MAX_DIGITS else min(int(digits), size_bytes)


def _coalesce(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """The ranges with those that overlap or touch made one, where the first of them was asked for.

    RFC 9110 §15.3.7.2 permits it, and asks that the rest keep their order. It bounds what one
    request can make us send to the size of the file.
    """
    merged: list[tuple[int, ByteRange]] = []  # (place in the request, range)
    for place, part in sorted(enumerate(ranges), key=lambda item: item[1].start):
        if merged and part.start <= merged[-1][1].stop:
            first_place, left = merged[-1]
            joined = ByteRange(left.start, max(left.stop, part.stop))
            merged[-1] = (min(first_place, place), joined)
        else:
            merged.append((place, part))
    return tuple(part for _, part in sorted(merged, key=lambda item: item[0]))


# ---- Conditions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Representation:
    """What the conditions are judged against: the version of the file that would be sent."""

    size_bytes: int
    etag: str  # strong, with its quotes
    last_modified_s: int  # whole seconds since 1970, as Last-Modified tells it


@dataclass(frozen=True, slots=True)
class Conditions:
    """The header values that decide what is sent; None where the header is absent."""

    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


class Answer(StrEnum):
    """The five ways to answer a GET or HEAD."""

    FULL = "full"  # 200
    RANGES = "ranges"  # 206
    NOT_MODIFIED = "not_modified"  # 304
    PRECONDITION_FAILED = "precondition_failed"  # 412
    UNSATISFIABLE = "unsatisfiable"  # 416


@dataclass(frozen=True, slots=True)
class Decision:
    """How to answer, and with RANGES the ranges to send."""

    answer: Answer
    ranges: tuple[ByteRange, ...] = ()


def decide(method: str, conditions: Conditions, current: Representation) -> Decision:
    """How to answer a GET or HEAD, in the order of precedence of RFC 9110 §13.2.2."""
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, current.etag, weak=False):
            return Decision(Answer.PRECONDITION_FAILED)
    elif (limit := _date(conditions.if_unmodified_since)) is not None and (
        current.last_modified_s > limit
    ):
        return Decision(Answer.PRECONDITION_FAILED)

    if conditions.if_none_match is not None:
        if _matches(conditions.if_none_match, current.etag, weak=True):
            return Decision(Answer.NOT_MODIFIED)
    elif (limit := _date(conditions.if_modified_since)) is not None and (
        current.last_modified_s <= limit
    ):
        return Decision(Answer.NOT_MODIFIED)

    # Only GET has ranges (§14.2), and a stale If-Range makes it a plain GET (§13.1.5).
    if method != "GET" or not _if_range_holds(conditions.if_range, current):
        return Decision(Answer.FULL)
    try:
        ranges = parse_ranges(conditions.range, current.size_bytes)
    except UnsatisfiableRangeError:
        return Decision(Answer.UNSATISFIABLE)
    return Decision(Answer.FULL) if ranges is None else Decision(Answer.RANGES, ranges)


def _if_range_holds(header: str | None, current: Representation) -> bool:
    """True if what the client has a part of is what we would send the rest of (§13.1.5)."""
    if header is None:
        return True
    validator = header.strip(_OWS)
    if validator.startswith(('"', "W/")):
        return validator == current.etag  # strong comparison: a weak tag matches nothing
    return parse_http_date(validator) == current.last_modified_s


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    """True if the list of entity tags is `*` or names `etag` (§8.8.3.2); `etag` is strong."""
    if header.strip(_OWS) == "*":
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
    return None if header is None else parse_http_date(header.strip(_OWS))


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


# ---- The answer, as data ----------------------------------------------------------------------

Body = tuple[bytes | ByteRange, ...]  # text of ours and ranges of the file, in order


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: Body = ()


def plan_reply(
    method: str, decision: Decision, current: Representation, *, content_type: str, boundary: str
) -> Reply:
    """The answer to a GET or HEAD, with its exact Content-Length.

    `boundary` parts several ranges, and must not occur in the file.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": current.etag,
        "Last-Modified": http_date(current.last_modified_s),
        "Cache-Control": "no-transform",
    }
    body: Body
    match decision.answer:
        case Answer.NOT_MODIFIED:
            return Reply(304, headers)
        case Answer.PRECONDITION_FAILED:
            return Reply(412, headers)
        case Answer.UNSATISFIABLE:
            return Reply(416, {**headers, "Content-Range": f"bytes */{current.size_bytes}"})
        case Answer.FULL:
            status, body = 200, (ByteRange(0, current.size_bytes),)
        case Answer.RANGES:
            status, body = 206, decision.ranges
            if len(decision.ranges) == 1:
                headers["Content-Range"] = decision.ranges[0].content_range(current.size_bytes)
            else:
                body = _multipart(decision.ranges, current.size_bytes, content_type, boundary)
                content_type = f"multipart/byteranges; boundary={boundary}"
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(sum(map(len, body)))
    return Reply(status, headers, () if method == "HEAD" else body)


def _multipart(
    ranges: tuple[ByteRange, ...], size_bytes: int, content_type: str, boundary: str
) -> Body:
    """The body of a multipart/byteranges answer (RFC 9110 §14.6)."""
    body: list[bytes | ByteRange] = []
    line_break = ""  # it belongs to the delimiter, and there is none before the first
    for part in ranges:
        delimiter = (
            f"{line_break}--{boundary}\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Range: {part.content_range(size_bytes)}\r\n\r\n"
        )
        body += (delimiter.encode(), part)
        line_break = "\r\n"
    return (*body, f"\r\n--{boundary}--\r\n".encode())


def hold_back(body: Body, size_bytes: int) -> tuple[Body, Body]:
    """The body in two: what may leave at once, and the last piece, with bytes of the file in it.

    Of the file the last piece has `size_bytes` at most; a body no longer than that is all last.
    """
    if sum(map(len, body)) <= size_bytes:
        return (), body
    place, last = [(n, piece) for n, piece in enumerate(body) if isinstance(piece, ByteRange)][-1]
    cut = max(last.start, last.stop - size_bytes)
    rest = (*body[:place], ByteRange(last.start, cut))
    return rest, (ByteRange(cut, last.stop), *body[place + 1 :])
