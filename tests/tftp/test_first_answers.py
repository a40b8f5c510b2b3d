"""What an address gets before it has answered: simulated floods against the bound."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.tftp.first_answers import ADDRESSES_MAX, KNOWN_S, FirstAnswers

BLOCK = 516
OWED_BY_ONE, OWED_BY_ALL = 2 * BLOCK, 128 * BLOCK


def blocks_for(answers: FirstAnswers, requests, at=0.0) -> int:
    """How many of these (address, bytes) are answered by a block, all at one time."""
    return sum(answers.may_send_block(address, size, at) for address, size in requests)


def test_firmware_that_knows_no_options_is_answered_at_once():
    assert FirstAnswers().may_send_block("192.0.2.1", 16, 0.0)


def test_hundred_machines_without_options_are_answered_at_once():
    answers = FirstAnswers()

    assert blocks_for(answers, [(f"192.0.2.{i}", 22) for i in range(100)]) == 100


def test_thousand_machines_that_answer_are_no_flood():
    answers = FirstAnswers()
    for i in range(1000):
        address = f"192.0.{i // 250}.{i % 250}"

        assert answers.may_send_block(address, 22, i / 100)

        answers.heard_from(address, i / 100)


def test_known_address_gets_what_it_asks_for_until_it_is_forgotten():
    answers = FirstAnswers()
    answers.heard_from("192.0.2.1", 0.0)

    assert blocks_for(answers, [("192.0.2.1", 16)] * 1000, at=KNOWN_S - 1) == 1000
    assert blocks_for(answers, [("192.0.2.1", 16)] * 1000, at=KNOWN_S) == 2


@settings(max_examples=50, deadline=None)
@given(
    addresses=st.sampled_from([1, 2, 100, 5000]),
    per_s=st.sampled_from([1, 10, 100, 10_000]),
    size=st.integers(10, 70),
    seed=st.integers(0, 2**32),
)
def test_flood_gets_no_more_than_eight_times_its_bytes_and_what_may_be_owed(
    addresses, per_s, size, seed
):
    answers, chance = FirstAnswers(), random.Random(seed)
    received, sent = [0] * addresses, [0] * addresses
    for i in range(10_000):
        address = chance.randrange(addresses)
        received[address] += size
        if answers.may_send_block(str(address), size, i / per_s):
            sent[address] += BLOCK

    assert sum(sent) <= 8 * sum(received) + OWED_BY_ALL
    if addresses < ADDRESSES_MAX:
        assert all(out <= 8 * came + OWED_BY_ONE for out, came in zip(sent, received, strict=True))


@pytest.mark.parametrize("addresses", [1, 5000])
def test_flood_leaves_credit_to_who_comes_a_second_behind_it(addresses):
    answers = FirstAnswers()
    for i in range(5000):
        answers.may_send_block(f"flood {i % addresses}", 16, i / 5000)

    assert answers.may_send_block("flood 0" if addresses == 1 else "192.0.2.1", 16, 2.0)


def test_flood_from_one_address_takes_nothing_from_others():
    answers = FirstAnswers()
    for i in range(5000):
        answers.may_send_block("192.0.2.1", 16, i / 5000)

    assert answers.may_send_block("192.0.2.2", 16, 1.0)


def test_what_is_remembered_of_addresses_is_bounded():
    answers = FirstAnswers()
    for i in range(3 * ADDRESSES_MAX):
        answers.may_send_block(f"unknown {i}", 16, 0.0)
        answers.heard_from(f"known {i}", 0.0)

    assert len(answers._known) == len(answers._credits) == ADDRESSES_MAX
