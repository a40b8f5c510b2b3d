"""What an address gets before it has answered: simulated floods against the bound."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.limits import Limit
from bootserver.tftp.first_answers import ADDRESSES_MAX, KNOWN_S, FirstAnswers

BLOCK = 516
OWED_BY_ONE, OWED_BY_ALL = 2 * BLOCK, 128 * BLOCK


def may(answers: FirstAnswers, address: str, size: int, at: float) -> bool:
    """Whether a request of this size is answered with a block."""
    answers.requested(address, size, at)
    return answers.may_send_block(address, at)


def blocks_for(answers: FirstAnswers, requests, at=0.0) -> int:
    """How many of these (address, bytes) are answered by a block, all at one time."""
    return sum(may(answers, address, size, at) for address, size in requests)


def test_firmware_that_knows_no_options_is_answered_at_once():
    assert may(FirstAnswers(Limit(128)), "192.0.2.1", 16, 0.0)


def test_hundred_machines_without_options_are_answered_at_once():
    answers = FirstAnswers(Limit(128))

    assert blocks_for(answers, [(f"192.0.2.{i}", 22) for i in range(100)]) == 100


def test_thousand_machines_that_answer_are_no_flood():
    answers = FirstAnswers(Limit(128))
    for i in range(1000):
        address = f"192.0.{i // 250}.{i % 250}"

        assert may(answers, address, 22, i / 100)

        answers.heard_from(address, i / 100)


def test_known_address_is_answered_64_times_until_it_answers_again_or_is_forgotten():
    answers = FirstAnswers(Limit(128))
    for at in (0.0, 1.0):
        answers.heard_from("192.0.2.1", at)

        assert blocks_for(answers, [("192.0.2.1", 16)] * 1000, at) == 64

    assert blocks_for(answers, [("192.0.2.1", 16)] * 1000, at=1.0 + KNOWN_S) == 2


def test_known_address_that_lets_its_answers_lie_gets_each_only_once():
    answers = FirstAnswers(Limit(128))
    assert not answers.is_trusted("192.0.2.1", 0.0)

    answers.heard_from("192.0.2.1", 0.0)
    assert answers.is_trusted("192.0.2.1", 0.0)

    for at in range(1, 100):
        blocks_for(answers, [("192.0.2.1", 16)] * 1000, float(at))
        assert not answers.is_trusted("192.0.2.1", at)

    answers.heard_from("192.0.2.1", 100.0)
    assert answers.is_trusted("192.0.2.1", 100.0)


@settings(max_examples=100)
@given(
    happens=st.lists(
        st.tuples(
            st.integers(0, 3),  # which address
            st.integers(1, 100),  # how many requests it sends; and then it may answer one
            st.booleans(),
            st.sampled_from([0.0, 0.01, 1.0, 60.0]),  # after so many seconds
            st.integers(10, 70),  # with so many bytes
        ),
        max_size=30,
    )
)
def test_no_address_gets_more_than_eight_times_its_bytes_and_its_credit_whatever_happens(happens):
    """Since it last answered, if it ever did: 2 blocks in ten minutes, and then 64."""
    answers, at = FirstAnswers(Limit(128)), 0.0
    received, sent = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    since: dict[int, float] = {}
    for address, requests, may_answer, pause_s, size in happens:
        at += pause_s
        received[address] += requests * size
        sent[address] += BLOCK * blocks_for(answers, [(str(address), size)] * requests, at)

        owed = 64 * BLOCK if address in since else OWED_BY_ONE
        intervals = 1 + (at - since.get(address, 0.0)) / KNOWN_S
        assert sent[address] <= 8 * received[address] + owed * intervals
        if may_answer and sent[address]:
            answers.heard_from(str(address), at)
            received[address], sent[address], since[address] = 0, 0, at


@settings(max_examples=50)
@given(
    addresses=st.sampled_from([1, 2, 100, 5000]),
    per_s=st.sampled_from([1, 10, 100, 10_000]),
    size=st.integers(10, 70),
    seed=st.integers(0, 2**32),
)
def test_flood_gets_no_more_than_eight_times_its_bytes_and_what_may_be_owed(
    addresses, per_s, size, seed
):
    answers, chance = FirstAnswers(Limit(128)), random.Random(seed)
    received, sent = [0] * addresses, [0] * addresses
    for i in range(10_000):
        address = chance.randrange(addresses)
        received[address] += size
        if may(answers, str(address), size, i / per_s):
            sent[address] += BLOCK

    intervals = 1 + 10_000 / per_s / KNOWN_S
    assert sum(sent) <= 8 * sum(received) + OWED_BY_ALL * intervals
    if addresses < ADDRESSES_MAX:
        assert all(
            out <= 8 * came + OWED_BY_ONE * intervals
            for out, came in zip(sent, received, strict=True)
        )


@pytest.mark.parametrize("addresses", [1, 5000])
def test_flood_leaves_credit_to_who_comes_a_second_behind_it(addresses):
    answers = FirstAnswers(Limit(128))
    for i in range(5000):
        may(answers, f"flood {i % addresses}", 16, i / 5000)

    assert may(answers, "flood 0" if addresses == 1 else "192.0.2.1", 16, 2.0)


def test_flood_from_one_address_takes_nothing_from_others():
    answers = FirstAnswers(Limit(128))
    for i in range(5000):
        may(answers, "192.0.2.1", 16, i / 5000)

    assert may(answers, "192.0.2.2", 16, 1.0)


def test_what_is_remembered_of_addresses_is_bounded():
    answers = FirstAnswers(Limit(128))
    for i in range(3 * ADDRESSES_MAX):
        may(answers, f"unknown {i}", 16, 0.0)
        answers.heard_from(f"known {i}", 0.0)

    assert len(answers._known) == len(answers._credits) == ADDRESSES_MAX


def test_requests_that_have_waited_leave_half_to_those_that_come_after_them():
    answers = FirstAnswers(Limit(128))
    waited = [answers.may_send_block(f"flood {i}", float(i), has_waited=True) for i in range(200)]

    assert 64 <= sum(waited) <= 64 + 200 / KNOWN_S * 128
    assert not waited[-1] or not waited[-2]
    assert blocks_for(answers, [(f"192.0.2.{i}", 16) for i in range(60)], at=200.0) == 60


def test_debts_are_forgotten_in_time():
    answers = FirstAnswers(Limit(128))
    assert blocks_for(answers, [(f"flood {i}", 10) for i in range(1000)]) == 128

    assert blocks_for(answers, [("192.0.2.1", 10)], at=KNOWN_S / 10) == 1
