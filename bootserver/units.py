"""Sizes, speeds and times for people. static/format.js has the same rules for browsers."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"


def megabytes(size_bytes: float) -> str:
    """1,234.5 MB: decimal, as disks and networks are measured; 12.3 kB below a tenth of that."""
    if not size_bytes:
        return "0 MB"
    if size_bytes < 100_000:
        return f"{size_bytes / 1e3:,.1f} kB"
    return f"{size_bytes / 1e6:,.1f} MB"


def speed(bytes_per_s: float | None) -> str:
    """84.2 MB/s, or a dash where nothing moves."""
    return f"{megabytes(bytes_per_s)}/s" if bytes_per_s else UNKNOWN


def duration(seconds: float | None) -> str:
    """3.25 s, 12.4 s, 4:05 min, 1:02:03 h; a dash for what is not known."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h"


def rough_duration(seconds: float) -> str:
    """12 s, 34 min, 2.5 h: as exactly as a forecast can be."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def clock(seconds: float | None) -> str:
    """0:07, 12:34, 1:02:03, 3 d 4:05 h: a clock that counts, up or down."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(part: float, whole: float) -> float:
    """How many hundredths of `whole` that is, 0 to 100."""
    return min(100.0, 100.0 * part / whole) if whole else 0.0
