"""The progress line: percent, megabytes, rate and time left, for any numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import PROGRESS_MAX, Library

U64 = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("done", "total", "elapsed_ms", "line"),
    [
        (0, 80_000_000, 0, "  0%  0 of 80 MB  0.0 MB/s"),
        (20_000_000, 80_000_000, 1000, " 25%  20 of 80 MB  20.0 MB/s  0:03 left"),
        (1_234_000_000, 2_938_000_000, 32_388, " 42%  1234 of 2938 MB  38.1 MB/s  0:44 left"),
        (10_000_000, 4_730_000_000, 10_000, "  0%  10 of 4730 MB  1.0 MB/s  78:40 left"),
        (79_999_999, 80_000_000, 1000, " 99%  79 of 80 MB  79.9 MB/s  0:00 left"),
        (80_000_000, 80_000_000, 2000, "100%  80 of 80 MB  40.0 MB/s"),
    ],
)
def test_line_says_how_far_it_is(
    library: Library, done: int, total: int, elapsed_ms: int, line: str
):
    assert library.progress(done, total, elapsed_ms).rstrip() == line


def test_nothing_is_promised_for_a_download_that_hardly_moves(library: Library):
    assert "left" not in library.progress(10_000, 10**15, 1000)


@given(done=U64, total=U64, elapsed_ms=U64)
def test_line_fills_its_width_and_never_claims_more_than_all(
    library: Library, done: int, total: int, elapsed_ms: int
):
    line = library.progress(done, total, elapsed_ms)

    assert len(line) == PROGRESS_MAX - 1
    percent = int(line[:3])
    assert percent <= 100
    assert (percent == 100) == (done >= total)
