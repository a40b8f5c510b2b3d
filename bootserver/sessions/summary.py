"""The one line that is left of a boot in the log: canonical, flat, all figures in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from bootserver.model import BootEvent, BootSession, Method, Transfer
from bootserver.sessions.shape import fetch_bytes_per_s
from bootserver.sessions.tracker import ENDS, STARTING, seconds_per_phase

# How long after the hand-off a boot may still come to more. A system that was started by its kernel
# fetches the rest from us, and may say when it is up. Nothing more is known to come of the others.
MORE_WITHIN = timedelta(seconds=10)
KERNEL_MORE_WITHIN = timedelta(seconds=120)


def is_over(session: BootSession, now: datetime) -> bool:
    """True if nothing more is expected of that boot."""
    if session.phase in ENDS:
        return True
    if session.phase not in STARTING or session.phase_at is None:
        return False
    within = KERNEL_MORE_WITHIN if session.method == Method.KERNEL else MORE_WITHIN
    return now - session.phase_at >= within


def summary(
    session: BootSession, events: Sequence[BootEvent], transfers: Collection[Transfer]
) -> dict[str, Any]:
    """The boot as the fields of a log line; `PHASE_s` is the time from the phase before."""
    machine = session.machine
    seconds = seconds_per_phase(events)
    phases = zip(events, seconds, strict=True)
    problems = {"error": session.error, "stalled": session.stalled}
    return {
        "session": session.id,
        "machine": session.machine_name,
        "image": session.image,
        "recipe": session.recipe,
        "method": session.method,
        "firmware": machine.firmware.value if machine.firmware else "",
        "outcome": session.phase.value,
        **{f"{event.phase}_s": round(took_s, 3) for event, took_s in phases},
        "total_s": round(sum(seconds), 3),
        "bytes": session.sent_bytes,
        "mb_per_s": round(fetch_bytes_per_s(events, list(transfers)) / 1e6, 3),
        "transfers": len(transfers),
        "stalled_s": round(sum(transfer.stalled_s for transfer in transfers), 3),
        "retransmits": sum(transfer.retransmits for transfer in transfers),
        **{name: problem for name, problem in problems.items() if problem},
    }
