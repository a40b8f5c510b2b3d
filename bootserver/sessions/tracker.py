"""How a boot session moves: a pure state machine, and the one place that measures boot time.

The states are the phases of `BootPhase`, in their order.

- *Who speaks first.* A session begins in CREATED: its stub has called, or a program is about to
  power the machine on. From then on the machine speaks: it asks for its script and for files, and
  it sends beacons.
- *How it moves.* Each request may move the session forward, and none moves it back. Firmware and
  iPXE read everything again, so a repeat changes nothing. Phases that a boot does not have are
  skipped.
- *What is kept.* The phase, since when, and one event for each phase that was reached. All times
  that are shown or exported come from these events.
- *How it ends.* OS_UP ends it well; its system may still fetch files. FAILED ends it when the
  machine starts over, EXPIRED when nothing has moved for `[boot] expire_h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bootserver.model import BootEvent, BootPhase, BootSession, Machine

ORDER = {phase: place for place, phase in enumerate(BootPhase)}
STARTING = frozenset({BootPhase.HANDED_OFF, BootPhase.ROOT_FETCHED})  # the system is on its own
ENDS = frozenset({BootPhase.OS_UP, BootPhase.FAILED, BootPhase.EXPIRED})
BAD_ENDS = frozenset({BootPhase.FAILED, BootPhase.EXPIRED})

# A machine in one of these has not got past our script: asking for it again is the same boot.
_BEFORE_FETCHING = ORDER[BootPhase.FETCHING]


def advance(
    session: BootSession, phase: BootPhase, at: datetime, detail: str = ""
) -> tuple[BootSession, BootEvent | None]:
    """The session in its new phase and the event that says so, or as it was and None.

    Moving on clears the error and what stalled it. A bad end keeps both, and its detail is the
    error.
    """
    if session.phase in ENDS or ORDER[phase] <= ORDER[session.phase]:
        return session, None
    bad = phase in BAD_ENDS
    at = max(at, session.phase_at or session.created_at)  # the clock of an earlier run may be ahead
    moved = replace(
        session,
        phase=phase,
        phase_at=at,
        error=(detail or session.error) if bad else "",
        stalled=session.stalled if bad else "",
    )
    return moved, BootEvent(session.id, phase, at, detail)


def is_same_boot(session: BootSession, machine: Machine, address: str) -> bool:
    """True if `machine`, asking for its script, goes on with `session` rather than starts anew.

    A session that no machine has taken up (it was opened before power-on) fits any.
    """
    if session.phase in ENDS or ORDER[session.phase] >= _BEFORE_FETCHING:
        return False
    unclaimed = ORDER[session.phase] < ORDER[BootPhase.STUB_STARTED]
    return unclaimed or is_same_machine(session, machine, address)


def is_same_machine(session: BootSession, machine: Machine, address: str) -> bool:
    """True if both have the same name; machines that give none are told apart by address."""
    theirs, ours = session.machine, machine
    if theirs.mac and ours.mac:
        return theirs.mac == ours.mac
    if theirs.uuid and ours.uuid:
        return theirs.uuid == ours.uuid
    return session.address == address


def is_before(session: BootSession, phase: BootPhase) -> bool:
    """True if the session has not come to `phase` yet."""
    return ORDER[session.phase] < ORDER[phase]


def was_cut_short(session: BootSession) -> bool:
    """True if the machine was on its way to the hand-off and has not got there."""
    return ORDER[BootPhase.STUB_STARTED] <= ORDER[session.phase] < ORDER[BootPhase.HANDED_OFF]


def seconds_per_phase(events: Sequence[BootEvent]) -> list[float]:
    """For each event, the seconds since the one before it; 0.0 for the first."""
    starts = [events[0], *events] if events else []
    return [max((b.at - a.at).total_seconds(), 0.0) for a, b in zip(starts, events, strict=False)]
