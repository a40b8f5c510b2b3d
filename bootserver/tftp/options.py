"""Which options a transfer runs under: what the client asked for, bounded by what we allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BLKSIZE_MIN, BLKSIZE_DEFAULT, BLKSIZE_MAX = 8, 512, 65464  # RFC 2348
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 1, 255  # RFC 2349
WINDOWSIZE_MAX = 65535  # RFC 7440 §3


@dataclass(frozen=True, slots=True)
class TftpLimits:
    """What one transfer may take from this server."""

    blksize_max: int = BLKSIZE_MAX
    windowsize_max: int = 64
    # A window must fit into Linux's default socket buffers at both ends, or its tail is lost every
    # time. They have 208 KiB, in which a packet of 1,468 bytes takes 2,304.
    window_bytes_max: int = 128 * 1024
    timeout_s: float = 1.0  # the first wait; then it follows the round trips
    retries: int = 8  # retransmissions without any progress between them


@dataclass(frozen=True, slots=True)
class Terms:
    """What client and server agreed on. `oack` is empty where the client asked for nothing."""

    blksize: int = BLKSIZE_DEFAULT
    windowsize: int = 1
    timeout_s: int | None = None  # None: the server chooses
    oack: Mapping[str, str] = field(default_factory=dict)


def negotiate(asked: Mapping[str, str], size_bytes: int, limits: TftpLimits) -> Terms:
    """The terms for a file of this size.

    The OACK has only what was asked for and accepted, spelled as the client spelled it. Strict boot
    ROMs refuse anything else (RFC 2347). A value that makes no sense drops its option.
    """
    by_name: dict[str, str] = {}
    for name, text in asked.items():
        by_name.setdefault(name.lower(), text)

    accepted: dict[str, int] = {}
    if (blksize := _number(by_name.get("blksize"))) is not None and blksize >= BLKSIZE_MIN:
        accepted["blksize"] = min(blksize, limits.blksize_max)
    block_bytes = accepted.get("blksize", BLKSIZE_DEFAULT)
    if (windowsize := _number(by_name.get("windowsize"))) is not None and windowsize >= 1:
        fitting = max(1, limits.window_bytes_max // block_bytes)
        accepted["windowsize"] = min(windowsize, limits.windowsize_max, fitting, WINDOWSIZE_MAX)
    if (timeout_s := _number(by_name.get("timeout"))) is not None and (
        TIMEOUT_MIN_S <= timeout_s <= TIMEOUT_MAX_S
    ):
        accepted["timeout"] = timeout_s
    if "tsize" in by_name:  # the value sent is a placeholder, whatever it is
        accepted["tsize"] = size_bytes

    return Terms(
        blksize=block_bytes,
        windowsize=accepted.get("windowsize", 1),
        timeout_s=accepted.get("timeout"),
        oack={
            spelling: str(accepted.pop(spelling.lower()))  # once, even if asked for twice
            for spelling in asked
            if spelling.lower() in accepted
        },
    )


def _number(text: str | None) -> int | None:
    """The decimal number, or None: int() would also take `+8`, `1_0` and Arabic digits."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
