"""The state machine of a boot."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.model import BootEvent, BootPhase, BootSession, Machine
from bootserver.sessions.tracker import (
    ENDS,
    ORDER,
    advance,
    is_same_boot,
    seconds_per_phase,
    was_cut_short,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEW = BootSession(id="1", key="k", token="t", image="i", created_at=NOW, phase_at=NOW)
HERE = Machine(mac="52:54:00:00:00:01")


def at(phase: BootPhase, **values: Any) -> BootSession:
    return replace(NEW, phase=phase, **values)


def test_a_phase_is_entered_once():
    fetching, event = advance(NEW, BootPhase.FETCHING, NOW)
    again, repeated = advance(fetching, BootPhase.FETCHING, NOW + timedelta(seconds=1))

    assert event == BootEvent("1", BootPhase.FETCHING, NOW)
    assert again is fetching
    assert repeated is None


def test_phases_that_a_boot_does_not_have_are_skipped():
    session, event = advance(NEW, BootPhase.HANDED_OFF, NOW)

    assert session.phase is BootPhase.HANDED_OFF
    assert event is not None


def test_nothing_goes_back():
    session, event = advance(at(BootPhase.FETCHED), BootPhase.SCRIPT_SERVED, NOW)

    assert session.phase is BootPhase.FETCHED
    assert event is None


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("phase", list(BootPhase))
def test_an_end_is_an_end(end: BootPhase, phase: BootPhase):
    assert advance(at(end), phase, NOW) == (at(end), None)


def test_moving_on_clears_the_error_and_what_stalled_it():
    hindered = at(BootPhase.STUB_STARTED, error="no", stalled="the link is dead")
    session, _ = advance(hindered, BootPhase.SCRIPT_SERVED, NOW)

    assert (session.error, session.stalled) == ("", "")


def test_a_failure_says_why():
    session, event = advance(NEW, BootPhase.FAILED, NOW, "the machine started over")

    assert session.error == "the machine started over"
    assert event is not None
    assert event.detail == "the machine started over"


def test_an_expired_boot_keeps_what_stood_in_its_way():
    hindered = at(BootPhase.STUB_STARTED, error="too big", stalled="the link is dead")
    session, _ = advance(hindered, BootPhase.EXPIRED, NOW)

    assert (session.error, session.stalled) == ("too big", "the link is dead")


@given(st.lists(st.sampled_from(BootPhase), max_size=30))
def test_any_order_of_events_only_ever_moves_forward(phases: list[BootPhase]):
    session, places = NEW, [ORDER[NEW.phase]]
    for phase in phases:
        session, event = advance(session, phase, NOW)
        if event:
            places.append(ORDER[event.phase])

    assert places == sorted(set(places))


def test_asking_again_for_the_script_is_the_same_boot():
    served = at(BootPhase.SCRIPT_SERVED, machine=HERE, address="192.0.2.9")

    assert is_same_boot(served, HERE, "192.0.2.9")
    assert not is_same_boot(served, Machine(mac="52:54:00:00:00:02"), "192.0.2.9")


def test_asking_for_the_script_after_the_download_began_is_a_new_boot():
    fetching = at(BootPhase.FETCHING, machine=HERE)

    assert not is_same_boot(fetching, HERE, "")
    assert was_cut_short(fetching)
    assert not was_cut_short(at(BootPhase.HANDED_OFF))


def test_a_session_opened_before_power_on_takes_whoever_comes():
    assert is_same_boot(at(BootPhase.POWERED), HERE, "192.0.2.9")


def test_machines_without_names_are_told_apart_by_address():
    session = at(BootPhase.STUB_STARTED, address="192.0.2.9")

    assert is_same_boot(session, Machine(), "192.0.2.9")
    assert not is_same_boot(session, Machine(), "192.0.2.10")


def test_seconds_are_counted_from_event_to_event():
    events = [BootEvent("1", BootPhase.CREATED, NOW + timedelta(seconds=s)) for s in (0, 2, 5)]

    assert seconds_per_phase(events) == [0, 2, 3]
    assert seconds_per_phase([]) == []
