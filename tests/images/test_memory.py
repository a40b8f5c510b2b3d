"""The memory that is asked for is what least_memory.py has measured, and little more."""

from __future__ import annotations

import pytest

from tests.bench.least_memory import Least, results
from tests.fixtures.recipe_docs import asked_mib

# Systems of today are larger than our tests' own, and to work takes more than to come up.
SPARE = 1.25
SPARE_MIB = 64


@pytest.mark.parametrize("least", results(), ids=lambda each: f"{each.make}-{each.firmware}")
def test_what_is_asked_for_was_enough_and_hardly_more(least: Least):
    assert least.least_mib <= asked_mib(least) <= SPARE * least.least_mib + SPARE_MIB
