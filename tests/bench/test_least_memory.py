"""The least memory is found whatever the guess, and has come up twice."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.least_memory import STEP_MIB, least_near

SIZES = st.integers(min_value=STEP_MIB, max_value=4096)


@given(needed_mib=SIZES, guess_mib=SIZES)
def test_the_least_is_the_first_step_that_suffices(needed_mib: int, guess_mib: int):
    tried: list[int] = []

    async def comes_up(memory_mib: int) -> bool:
        tried.append(memory_mib)
        return memory_mib >= needed_mib

    least_mib = asyncio.run(least_near(guess_mib, comes_up))

    assert needed_mib <= least_mib < needed_mib + STEP_MIB
    assert tried.count(least_mib) == 2
    assert least_mib == STEP_MIB or least_mib - STEP_MIB in tried


def test_memory_in_which_it_comes_up_only_now_and_then_is_too_little():
    tried: list[int] = []

    async def comes_up(memory_mib: int) -> bool:
        tried.append(memory_mib)
        return memory_mib > 320 or (memory_mib == 320 and tried.count(320) == 1)

    assert asyncio.run(least_near(320, comes_up)) == 320 + STEP_MIB
