"""Why a boot does not move: one sentence for each thing that can be known, else none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootserver.model import REDIRECTION, BootEvent, BootPhase, BootSession, Transfer
from bootserver.sessions.diagnosis import Cause, Look, TcpFacts, diagnose, link_sentence

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FINE = TcpFacts(
    unacknowledged_segments=0,
    probes=0,
    retransmits=0,
    acknowledged_s_ago=0.01,
    mss_bytes=1448,
    window_bytes=65_000,
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def boot(phase: BootPhase, since_s: float) -> tuple[BootSession, list[BootEvent]]:
    session = BootSession("1", "k", "t", "rescue", ago(3600), phase=phase, phase_at=ago(since_s))
    return session, [BootEvent("1", phase, ago(since_s))]


def transfer(still_s: float, **values: Any) -> Transfer:
    moved = ago(still_s)
    base = Transfer(
        "1", 1, "image.iso", "http", ago(100), 281_000_000, moved, sent_bytes=140_500_000
    )
    return replace(base, **values)


def cause_of(
    phase: BootPhase,
    since_s: float = 60,
    transfers: list[Transfer] | None = None,
    look: Look | None = None,
) -> tuple[Cause | None, str]:
    session, events = boot(phase, since_s)
    stall = diagnose(session, events, transfers or [], {1: look or Look()}, NOW)
    return (stall.cause, stall.sentence) if stall else (None, "")


def fetching(still_s: float, **facts: Any) -> tuple[Cause | None, str]:
    look = Look(replace(FINE, **facts))
    return cause_of(BootPhase.FETCHING, 100, [transfer(still_s)], look)


@pytest.mark.parametrize("phase", [BootPhase.ATTACHED, BootPhase.POWERED])
def test_a_stub_that_never_calls_is_a_matter_of_its_start_its_cable_or_dhcp(phase: BootPhase):
    assert cause_of(phase, 119) == (None, "")

    cause, words = cause_of(phase, 121)

    assert cause is Cause.NO_CALL
    assert "DHCP" in words


@pytest.mark.parametrize(
    ("rate", "told", "cause"),
    [
        (1.3e6, None, None),
        (1.3e6, Cause.SLOW_LINK, Cause.SLOW_LINK),
        (0.9e6, Cause.SLOW_LINK, Cause.SLOW_LINK),
        (1.6e6, Cause.SLOW_LINK, None),
        (1.3e6, Cause.WINDOW_CLOSED, None),
        (None, Cause.SLOW_LINK, None),
    ],
)
def test_a_slow_link_is_not_said_anew_with_every_wave_of_its_rate(
    rate: float | None, told: Cause | None, cause: Cause | None
):
    session, events = boot(BootPhase.FETCHING, 100)
    stall = diagnose(session, events, [transfer(0)], {1: Look(FINE, rate)}, NOW, told)

    assert (stall.cause if stall else None) is cause


@pytest.mark.parametrize("phase", [BootPhase.ATTACHED, BootPhase.POWERED])
def test_a_stub_that_was_read_and_does_not_call_has_no_network(phase: BootPhase):
    stub = {"name": "stub.iso", "protocol": REDIRECTION, "sent_bytes": 528_384}

    assert cause_of(phase, 600, [transfer(59, **stub)]) == (None, "")

    cause, words = cause_of(phase, 600, [transfer(61, **stub)])

    assert cause is Cause.NO_DHCP
    assert "0.5 MB" in words
    assert "DHCP" in words


def test_a_script_after_which_nothing_is_fetched():
    assert cause_of(BootPhase.SCRIPT_SERVED, 29) == (None, "")

    cause, words = cause_of(BootPhase.SCRIPT_SERVED, 31)

    assert cause is Cause.NO_FETCH
    assert "nothing has been fetched in 31 s" in words


def test_a_file_after_which_nothing_comes():
    done = transfer(40, ended_at=ago(40), outcome="complete")

    assert cause_of(BootPhase.FETCHED, 35, [done])[0] is Cause.NO_HAND_OFF
    assert cause_of(BootPhase.FETCHING, 100, [done])[0] is Cause.NO_HAND_OFF
    assert cause_of(BootPhase.FETCHING, 100, [replace(done, ended_at=ago(20))])[0] is None


def test_a_machine_that_does_not_come_back_after_a_broken_download():
    broken = transfer(40, ended_at=ago(40), outcome="client_left")

    cause, words = cause_of(BootPhase.FETCHING, 100, [broken])

    assert cause is Cause.NO_FETCH
    assert "has not come back in 40 s" in words


def test_bytes_that_flow_are_no_stall_whatever_tcp_says():
    assert fetching(9, unacknowledged_segments=5, retransmits=9, window_bytes=0) == (None, "")


def test_a_closed_window_is_a_machine_that_is_busy_or_hung():
    cause, words = fetching(11, window_bytes=0)

    assert cause is Cause.WINDOW_CLOSED
    assert "image.iso stands at 140.5 MB: the machine's receive window is closed" in words


def test_a_window_smaller_than_a_segment_is_closed():
    assert fetching(11, window_bytes=1447)[0] is Cause.WINDOW_CLOSED
    assert fetching(11, window_bytes=1448)[0] is Cause.STANDS_STILL


def test_acknowledgements_that_stay_away_are_a_dead_link():
    cause, words = fetching(12, unacknowledged_segments=3, retransmits=4, acknowledged_s_ago=12)

    assert cause is Cause.LINK_DEAD
    assert "nothing has been acknowledged for 12 s" in words


def test_probes_of_a_closed_window_without_an_answer_are_a_dead_link():
    assert fetching(40, window_bytes=0, probes=3, acknowledged_s_ago=40)[0] is Cause.LINK_DEAD


def test_segments_sent_again_and_again_are_lost_packets():
    cause, words = fetching(11, unacknowledged_segments=3, retransmits=17)

    assert cause is Cause.PACKETS_LOST
    assert "17 retransmissions" in words


def test_where_tcp_tells_nothing_only_the_pause_is_told():
    cause, words = cause_of(BootPhase.FETCHING, 100, [transfer(15, protocol="tftp")])

    assert cause is Cause.STANDS_STILL
    assert "acknowledged nothing for 15 s" in words


def test_one_of_two_files_that_moves_is_a_boot_that_moves():
    session, events = boot(BootPhase.FETCHING, 100)
    both = [transfer(50), transfer(1, number=2)]

    assert diagnose(session, events, both, {}, NOW) is None


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.99e6, ""),
        (1.0e6, "about 1.0 MB/s: the link is at 10 Mb/s"),
        (1.17e6, "about 1.2 MB/s: the link is at 10 Mb/s"),
        (1.26e6, ""),
        (10.4e6, ""),
        (11.7e6, "about 11.7 MB/s: the link is at 100 Mb/s"),
        (12.6e6, ""),
        (117e6, ""),
        (None, ""),
    ],
)
def test_a_plateau_tells_the_speed_of_the_link(rate: float | None, words: str):
    assert link_sentence(transfer(0), Look(FINE, rate)) == words


def test_a_link_at_10_mbit_is_a_cause_and_one_at_100_mbit_is_none():
    moving = [transfer(0)]

    assert cause_of(BootPhase.FETCHING, 60, moving, Look(FINE, 1.1e6)) == (
        Cause.SLOW_LINK,
        "about 1.1 MB/s: the link is at 10 Mb/s",
    )
    assert cause_of(BootPhase.FETCHING, 60, moving, Look(FINE, 11e6)) == (None, "")


@pytest.mark.parametrize(
    "look_and_values",
    [
        (Look(None, 1.1e6), {"protocol": "tftp"}),  # there the round trip sets the pace
        (Look(FINE, 1.1e6), {"size_bytes": 1_000_000}),
        (Look(replace(FINE, window_bytes=0), 1.1e6), {}),  # the machine takes no more
    ],
)
def test_a_rate_that_has_another_reason_tells_nothing_of_the_link(
    look_and_values: tuple[Look, dict[str, object]],
):
    look, values = look_and_values

    assert "the link is at" not in link_sentence(transfer(0, **values), look)
    assert cause_of(BootPhase.FETCHING, 60, [transfer(0, **values)], look) == (None, "")


def test_after_the_hand_off_only_what_the_system_fetches_can_stall():
    closed = Look(replace(FINE, window_bytes=0))

    assert cause_of(BootPhase.HANDED_OFF, 10_000) == (None, "")
    assert cause_of(BootPhase.HANDED_OFF, 10_000, [transfer(9)], closed) == (None, "")
    assert cause_of(BootPhase.HANDED_OFF, 50, [transfer(11)], closed)[0] is Cause.WINDOW_CLOSED


@pytest.mark.parametrize(
    "phase",
    [
        BootPhase.CREATED,
        BootPhase.STUB_STARTED,  # a menu may wait for a person
        BootPhase.OS_UP,
        BootPhase.FAILED,
        BootPhase.EXPIRED,
    ],
)
def test_where_nothing_can_be_known_nothing_is_said(phase: BootPhase):
    assert cause_of(phase, 10_000) == (None, "")
    assert cause_of(phase, 10_000, [transfer(9_000)]) == (None, "")


@pytest.mark.parametrize("phase", [BootPhase.SCRIPT_SERVED, BootPhase.FETCHING])
def test_what_was_redirected_before_is_no_download_that_broke_off(phase: BootPhase):
    stub = transfer(20, name="stub.iso", protocol=REDIRECTION, ended_at=None)

    assert cause_of(phase, 20, [stub]) == (None, "")


def test_a_disc_that_is_redirected_after_the_hand_off_may_rest():
    disc = transfer(300, protocol=REDIRECTION, ended_at=None)

    assert cause_of(BootPhase.HANDED_OFF, 300, [disc]) == (None, "")
