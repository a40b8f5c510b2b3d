"""The loader's SHA-256 is hashlib's, with the processor's instructions and without."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Library

pytestmark = pytest.mark.parametrize("portably", [False, True], ids=["fastest", "portable"])


@pytest.mark.parametrize("length", [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 10_000])
def test_digest_is_right_around_the_edges_of_blocks(library: Library, length: int, portably: bool):
    data = bytes(i * 7 % 256 for i in range(length))

    assert library.sha256(data, portably=portably) == hashlib.sha256(data).digest()


@given(pieces=st.lists(st.binary(max_size=200), max_size=12))
def test_digest_does_not_depend_on_how_the_data_comes_in_pieces(
    library: Library, pieces: list[bytes], portably: bool
):
    expected = hashlib.sha256(b"".join(pieces)).digest()

    assert library.sha256(*pieces, portably=portably) == expected


@pytest.mark.slow
def test_length_in_bits_may_exceed_32_bits(library: Library, portably: bool):
    piece = bytes(64 << 20)
    pieces = [piece] * 8 + [b"x"]  # 2^32 bits, and a byte

    expected = hashlib.sha256()
    for one in pieces:
        expected.update(one)

    assert library.sha256(*pieces, portably=portably) == expected.digest()
