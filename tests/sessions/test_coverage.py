"""How much of a file a machine has, against a set of its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.sessions import coverage
from bootserver.sessions.coverage import Coverage

PARTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=30)


@given(PARTS)
def test_parts_in_any_order_cover_what_they_hold(parts: list[tuple[int, int]]):
    covered, held = Coverage(), set[int]()
    for start, length in parts:
        covered.add(start, start + length)
        held |= set(range(start, start + length))

    gaps = sum(1 for byte in held if byte + 1 not in held and byte != max(held))
    assert covered.holes == gaps
    for size in range(62):
        assert covered.has_all(size) == held.issuperset(range(size))


def test_of_too_many_parts_only_the_beginning_is_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coverage, "PARTS_MAX", 3)
    covered = Coverage()
    for start in (0, 20, 40, 60, 80):
        covered.add(start, start + 10)
    assert covered.holes is None

    covered.add(5, 70)
    assert not covered.has_all(100)
    covered.add(70, 100)

    assert covered.has_all(100)
    assert covered.holes is None
