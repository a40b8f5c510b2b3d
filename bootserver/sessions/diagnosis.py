"""Why a boot does not move: from what the ledger and the connection know, the most likely cause.

Pure: what is known goes in, a sentence comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bootserver.model import BootEvent, BootPhase, BootSession, Transfer
from bootserver.units import megabytes, speed

STILL_S = 10.0  # a transfer without bytes for so long stands still; a rate is one over so long
SILENT_S = 30.0  # a script asks for its first file at once, and for the next
POWER_ON_S = 120.0  # firmware, and a stub over a slow path, take their time
NETWORK_S = 60.0  # a switch that looks for loops (STP) forwards nothing for half of it
LARGE_BYTES = 16_000_000  # what a link at 10 Mb/s takes at least STILL_S for

# Payload of a full link, from TCP in full frames (94.9 %) to one with some pauses.
_SLOW_LINKS = ((1.0e6, 1.25e6, 10), (10.5e6, 12.5e6, 100))  # bytes/s from, to; Mb/s
_STILL_SLOW = (0.8e6, 1.5e6)  # bytes/s: a boot that was slow stays so within these


class Cause(StrEnum):
    """What keeps a boot from moving on; the sentence about it has the figures."""

    NO_CALL = "no_call"
    NO_DHCP = "no_dhcp"
    NO_FETCH = "no_fetch"
    NO_HAND_OFF = "no_hand_off"
    LINK_DEAD = "link_dead"
    WINDOW_CLOSED = "window_closed"
    PACKETS_LOST = "packets_lost"
    STANDS_STILL = "stands_still"
    SLOW_LINK = "slow_link"


@dataclass(frozen=True, slots=True)
class Stall:
    """A boot does not move, or far too slowly."""

    cause: Cause
    sentence: str


@dataclass(frozen=True, slots=True)
class TcpFacts:
    """What TCP knows of a connection's other end (Linux: struct tcp_info)."""

    unacknowledged_segments: int
    probes: int  # of a closed window that were not answered
    retransmits: int  # segments sent again, since the connection was made
    acknowledged_s_ago: float
    mss_bytes: int
    window_bytes: int | None = None  # what the other end has room for; None before Linux 5.4

    @property
    def window_is_closed(self) -> bool:
        """True if the other end takes nothing: its program does not read."""
        return self.window_bytes is not None and self.window_bytes < self.mss_bytes


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a transfer under way, just now; None for what cannot be seen."""

    tcp: TcpFacts | None = None
    bytes_per_s: float | None = None  # over the last STILL_S; None before


def diagnose(
    session: BootSession,
    events: Sequence[BootEvent],
    transfers: Sequence[Transfer],
    looks: Mapping[int, Look],
    now: datetime,
    known_cause: Cause | None = None,
) -> Stall | None:
    """Why the boot does not move; None while it does, and where nothing can be known.

    `known_cause` is the one that was found the last time. `looks` are at transfers under way, by
    their number. After the hand-off they alone tell anything, of a system that fetches its root.
    """
    redirected = [transfer for transfer in transfers if transfer.is_redirected]
    fetched = [transfer for transfer in transfers if not transfer.is_redirected]
    under_way = [transfer for transfer in fetched if transfer.ended_at is None]
    match session.phase:
        case BootPhase.ATTACHED | BootPhase.POWERED:
            return _no_call(events, redirected, now)
        case BootPhase.SCRIPT_SERVED | BootPhase.FETCHING | BootPhase.FETCHED if not under_way:
            return _no_request(session, events, fetched, now)
        case (
            BootPhase.FETCHING | BootPhase.FETCHED | BootPhase.HANDED_OFF | BootPhase.ROOT_FETCHED
        ) if under_way:
            latest = max(under_way, key=_moved_at)
            look = looks.get(latest.number, Look())
            if now - _moved_at(latest) >= timedelta(seconds=STILL_S):
                return _stands_still(latest, look.tcp, now)
            slow = slow_link_mbit(latest, look) == 10 or (
                known_cause is Cause.SLOW_LINK
                and look.bytes_per_s is not None
                and _STILL_SLOW[0] <= look.bytes_per_s <= _STILL_SLOW[1]
            )
            return Stall(Cause.SLOW_LINK, _slow_link(look, 10)) if slow else None
    return None


def link_sentence(transfer: Transfer, look: Look) -> str:
    """What the connection of a transfer under way tells of itself, in a few words; or ""."""
    if look.tcp and look.tcp.window_is_closed:
        return "receiver window closed"
    speed = slow_link_mbit(transfer, look)
    return _slow_link(look, speed) if speed else ""


def slow_link_mbit(transfer: Transfer, look: Look) -> int:
    """10 or 100 if the rate is just what a link of so many Mb/s gives; else 0.

    Not over TFTP, where the round trip sets the pace, nor if the machine takes no more.
    """
    if transfer.size_bytes < LARGE_BYTES or transfer.protocol != "http":
        return 0
    if look.bytes_per_s is None or (look.tcp and look.tcp.window_is_closed):
        return 0
    rate = look.bytes_per_s
    return next((mbit for low, high, mbit in _SLOW_LINKS if low <= rate <= high), 0)


def _slow_link(look: Look, mbit: int) -> str:
    return f"about {speed(look.bytes_per_s)}: the link is at {mbit} Mb/s"


def _no_call(
    events: Sequence[BootEvent], redirected: Sequence[Transfer], now: datetime
) -> Stall | None:
    if redirected:
        latest = max(redirected, key=_moved_at)
        waited_s = (now - _moved_at(latest)).total_seconds()
        if waited_s < NETWORK_S:
            return None
        return Stall(
            Cause.NO_DHCP,
            f"its stub ({megabytes(latest.sent_bytes)} read) has not called in {waited_s:.0f} s: "
            "no cable, no DHCP answer or no way to this server",
        )
    waited_s = (now - events[-1].at).total_seconds() if events else 0.0
    if waited_s < POWER_ON_S:
        return None
    return Stall(
        Cause.NO_CALL,
        f"its stub has not called in {waited_s:.0f} s: it was not started, or finds no cable or "
        "DHCP answer",
    )


def _no_request(
    session: BootSession,
    events: Sequence[BootEvent],
    transfers: Sequence[Transfer],
    now: datetime,
) -> Stall | None:
    last = max((t.ended_at for t in transfers if t.ended_at), default=None)
    moved_at = max(filter(None, (last, events[-1].at if events else None)), default=now)
    waited_s = (now - moved_at).total_seconds()
    if waited_s < SILENT_S:
        return None
    if session.phase is BootPhase.SCRIPT_SERVED:
        return Stall(
            Cause.NO_FETCH,
            f"the script was served, but nothing has been fetched in {waited_s:.0f} s: the machine "
            "hangs, is off or offline",
        )
    if transfers and transfers[-1].outcome == "complete":
        return Stall(
            Cause.NO_HAND_OFF,
            f"{transfers[-1].name} was fetched, but nothing came after it in {waited_s:.0f} s: "
            "the machine hangs, or was switched off",
        )
    return Stall(
        Cause.NO_FETCH,
        f"the download broke off, and the machine has not come back in {waited_s:.0f} s: it hangs, "
        "is off or offline",
    )


def _stands_still(transfer: Transfer, tcp: TcpFacts | None, now: datetime) -> Stall:
    still_s = (now - _moved_at(transfer)).total_seconds()
    where = f"{transfer.name} stands at {megabytes(transfer.sent_bytes)}"
    if tcp is None:
        return Stall(
            Cause.STANDS_STILL, f"{where}: the machine has acknowledged nothing for {still_s:.0f} s"
        )
    waiting = tcp.unacknowledged_segments > 0 or tcp.probes > 0
    if waiting and tcp.acknowledged_s_ago >= STILL_S:
        return Stall(
            Cause.LINK_DEAD,
            f"{where}: the link is dead: nothing has been acknowledged for "
            f"{tcp.acknowledged_s_ago:.0f} s",
        )
    if tcp.window_is_closed:
        return Stall(
            Cause.WINDOW_CLOSED,
            f"{where}: the machine's receive window is closed: it is busy, or hung",
        )
    if tcp.unacknowledged_segments and tcp.retransmits:
        return Stall(
            Cause.PACKETS_LOST,
            f"{where}: packets are being lost: {tcp.retransmits} retransmissions",
        )
    return Stall(Cause.STANDS_STILL, f"{where}: no bytes for {still_s:.0f} s")


def _moved_at(transfer: Transfer) -> datetime:
    return transfer.progress_at or transfer.started_at
