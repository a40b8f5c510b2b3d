"""Which bytes a Range header asks for: RFC 9110 §14. A value in, ranges out."""

from __future__ import annotations

import re

from bootserver.errors import BootServerError
from bootserver.model import ByteRange

MAX_RANGES = 64  # a header that lists more is ignored, as RFC 9110 §14.2 permits

# ASCII only: `\d` and str.isdigit() take other alphabets' digits for numbers.
_RANGE_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_RANGE_UNIT = re.compile(r"bytes=", re.IGNORECASE)  # RFC 9110 §14.1: case-insensitive
OWS = " \t"  # RFC 9110 §5.6.3
_MAX_DIGITS = 18  # no file is that long, and int() refuses more than 4,300 digits


class UnsatisfiableRangeError(BootServerError):
    """Every range asked for lies past the end: 416."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"no range asked for lies within the {size_bytes} bytes there are",
            hint="ask for the size with HEAD",
        )
        self.size_bytes = size_bytes


def parse_ranges(
    header: str | None, size_bytes: int, *, max_ranges: int = MAX_RANGES
) -> tuple[ByteRange, ...] | None:
    """The ranges to send, in the order asked for; None if the header is to be ignored.

    Ignored: no header, another unit, a syntax error, more than `max_ranges` ranges. Ranges that
    overlap or touch are sent as one. Raises UnsatisfiableRangeError if nothing is left to send.
    """
    unit = _RANGE_UNIT.match(header.strip(OWS)) if header else None
    if unit is None:
        return None
    specs = [spec for part in unit.string[unit.end() :].split(",") if (spec := part.strip(OWS))]
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


def plain_range(spec: bytes, size_bytes: int) -> ByteRange | None:
    """The range that `first-last` or `first-` asks for, as `parse_ranges` has it, but quickly.

    None for all else: another form, or a range past the end.
    """
    first, dash, last = spec.partition(b"-")
    # bytes.isdigit() is true for ASCII digits alone.
    if not dash or not first.isdigit() or len(spec) > 2 * _MAX_DIGITS:
        return None
    start, stop = int(first), size_bytes
    if last:
        if not last.isdigit():
            return None
        stop = min(int(last) + 1, size_bytes)
    return ByteRange(start, stop) if start < stop else None


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
