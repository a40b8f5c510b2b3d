"""The wait before a retransmission follows the round trips, backs off, and obeys `timeout`."""

import pytest

from bootserver.tftp.timing import RoundTrips


def test_first_wait_is_the_given_one():
    assert RoundTrips(1.0).wait_s == 1.0


def test_wait_follows_the_round_trips():
    round_trips = RoundTrips(1.0)

    for _ in range(100):
        round_trips.answered(0.5)

    assert round_trips.wait_s == pytest.approx(0.5, abs=0.01)


def test_wait_is_not_below_what_busy_firmware_needs():
    round_trips = RoundTrips(1.0)

    round_trips.answered(0.0001)

    assert round_trips.wait_s == 0.1


def test_waits_in_vain_double_up_to_four_seconds():
    round_trips = RoundTrips(1.0)
    waits = []

    for _ in range(4):
        waits.append(round_trips.wait_s)
        round_trips.unanswered()

    assert waits == [1.0, 2.0, 4.0, 4.0]


def test_next_answer_to_a_single_sending_ends_the_backing_off():
    round_trips = RoundTrips(1.0)
    round_trips.answered(0.2)
    round_trips.unanswered()
    round_trips.unanswered()

    round_trips.answered(0.2)  # 0.2 + 4 * 0.075

    assert round_trips.wait_s == pytest.approx(0.5)


def test_negotiated_timeout_is_kept_to_after_each_answer():
    round_trips = RoundTrips(1.0, agreed_s=3)
    round_trips.answered(0.001)
    assert round_trips.wait_s == 3

    for _ in range(3):
        round_trips.unanswered()
        assert round_trips.wait_s == 3.75  # a client that gives up after five is sent it 4 times
    round_trips.answered(0.001)

    assert round_trips.wait_s == 3


def test_repeated_ack_waits_two_round_trips():
    round_trips = RoundTrips(1.0)

    assert round_trips.repeated_wait_s == 1.0

    round_trips.answered(0.02)  # 2 * 0.02 + 4 * 0.01
    assert round_trips.repeated_wait_s == pytest.approx(0.08)
