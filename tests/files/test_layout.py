"""What a served file consists of: plain bytes and their slices as the model."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bootserver.files.layout import Layout
from bootserver.model import ByteRange, Content, FileVersion, Piece

DISK = bytes(range(60))  # no two ranges of it have equal bytes
SHA256 = "5f" * 32
CONTENT = Content("/x.iso", FileVersion(len(DISK), 1, 1), SHA256)
WHOLE = Layout.whole(len(DISK))


def shown(pieces: tuple[Piece, ...]) -> bytes:
    """What these pieces of DISK serve."""
    return b"".join(
        piece if isinstance(piece, bytes) else DISK[piece.start : piece.stop] for piece in pieces
    )


ranges = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(
    lambda ends: ByteRange(*sorted(ends))
)
# Bytes that are not on the disk, so that what is served tells where it is from.
ours = st.binary(max_size=5).map(lambda data: bytes(byte | 0x80 for byte in data))
layouts = st.lists(ranges | ours, max_size=12).map(lambda pieces: Layout(tuple(pieces)))
parts = st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda ends: ByteRange(*ends))


def in_one_form(pieces: tuple[Piece, ...]) -> bool:
    """True if none is empty, and no two that follow each other could be one."""
    return all(map(len, pieces)) and not any(
        left.stop == right.start
        if isinstance(left, ByteRange) and isinstance(right, ByteRange)
        else type(left) is type(right)
        for left, right in pairwise(pieces)
    )


# ---- cutting ----------------------------------------------------------------------------------


@given(layouts, parts)
def test_a_cut_is_a_slice(layout: Layout, part: ByteRange) -> None:
    cut = layout.cut(part)

    assert shown(cut) == shown(layout.pieces)[part.start : part.stop]
    assert in_one_form(cut)


@given(layouts)
def test_the_size_is_that_of_the_bytes(layout: Layout) -> None:
    assert layout.size_bytes == len(shown(layout.pieces))


@given(st.lists(ranges | ours, max_size=12))
def test_pieces_are_kept_in_one_form_and_order(pieces: list[Piece]) -> None:
    layout = Layout(tuple(pieces))

    assert shown(layout.pieces) == shown(tuple(pieces))
    assert in_one_form(layout.pieces)


def test_a_cut_at_the_edges_of_pieces_has_nothing_empty() -> None:
    layout = Layout((ByteRange(10, 20), b"abc", ByteRange(40, 50)))

    assert layout.cut(ByteRange(0, 10)) == (ByteRange(10, 20),)
    assert layout.cut(ByteRange(10, 13)) == (b"abc",)
    assert layout.cut(ByteRange(13, 23)) == (ByteRange(40, 50),)
    assert layout.cut(ByteRange(9, 14)) == (ByteRange(19, 20), b"abc", ByteRange(40, 41))
    assert layout.cut(ByteRange(11, 12)) == (b"b",)
    assert layout.cut(ByteRange(22, 99)) == (ByteRange(49, 50),)
    assert layout.cut(ByteRange(23, 99)) == ()
    assert layout.cut(ByteRange(5, 5)) == ()


@pytest.mark.slow
def test_a_cut_of_a_hundred_thousand_pieces_looks_at_few() -> None:
    asked = 0  # counted, not timed

    class Watched(ByteRange):
        def __getattribute__(self, name: str) -> object:
            nonlocal asked
            asked += 1
            return super().__getattribute__(name)

    layout = Layout(tuple(Watched(4 * n, 4 * n + 2) for n in range(100_000)))
    asked = 0

    cut = layout.cut(ByteRange(99_999, 100_003))

    assert asked < 100
    assert [(piece.start, piece.stop) for piece in cut if isinstance(piece, ByteRange)] == [
        (199_997, 199_998),
        (200_000, 200_002),
        (200_004, 200_005),
    ]


def test_a_cut_of_many_bytes_of_ours_copies_no_more_than_it_gives() -> None:
    layout = Layout((bytes(10_000_000),))
    tracemalloc.start()

    cut = layout.cut(ByteRange(9_000_000, 9_000_010))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert cut == (bytes(10),)
    assert peak_bytes < 100_000


# ---- changing ---------------------------------------------------------------------------------


@given(layouts, st.integers(-3, 70), ours)
def test_replacing_writes_over_what_is_there(layout: Layout, offset: int, data: bytes) -> None:
    model = shown(layout.pieces)
    if not 0 <= offset <= len(model) - len(data):
        with pytest.raises(ValueError, match="is not within"):
            layout.replaced(offset, data)
        return

    changed = layout.replaced(offset, data)

    assert shown(changed.pieces) == model[:offset] + data + model[offset + len(data) :]
    assert changed.size_bytes == layout.size_bytes


@given(layouts, ours)
def test_appending_adds_to_the_end(layout: Layout, data: bytes) -> None:
    assert shown(layout.appended(data).pieces) == shown(layout.pieces) + data


@given(layouts)
def test_what_is_ours_is_known(layout: Layout) -> None:
    assert layout.has_own_bytes == any(byte >= 0x80 for byte in shown(layout.pieces))


# ---- tags -------------------------------------------------------------------------------------


def test_the_tag_of_the_whole_file_is_its_digest() -> None:
    assert WHOLE.etag(CONTENT) == f'"{SHA256}"'
    assert Layout((ByteRange(0, 7), ByteRange(7, 60))).etag(CONTENT) == f'"{SHA256}"'


def test_the_tag_of_one_extent_names_it() -> None:
    assert Layout((ByteRange(20, 48),)).etag(CONTENT) == f'"{SHA256}-20-48"'


def test_an_empty_file_in_a_disc_is_not_taken_for_the_disc() -> None:
    empty = Content("/empty", FileVersion(0, 1, 1), SHA256)

    assert Layout(()).etag(empty) == f'"{SHA256}"'
    assert Layout(()).etag(CONTENT) != f'"{SHA256}"'


def test_a_tag_changes_with_the_file_that_the_pieces_are_of() -> None:
    other = Content(CONTENT.path, CONTENT.version, "60" * 32)

    for layout in (WHOLE, Layout((ByteRange(1, 9),)), WHOLE.replaced(3, b"x"), Layout((b"x",))):
        assert layout.etag(CONTENT) != layout.etag(other)


@given(layouts, layouts)
def test_layouts_have_one_tag_exactly_if_they_serve_the_same_bytes(
    one: Layout, another: Layout
) -> None:
    same = shown(one.pieces) == shown(another.pieces)

    assert (one.etag(CONTENT) == another.etag(CONTENT)) == same


@given(st.lists(ranges | ours, max_size=8), st.data())
def test_a_tag_does_not_depend_on_how_the_pieces_were_given(
    pieces: list[Piece], data: st.DataObject
) -> None:
    assume(pieces)
    size_bytes = sum(map(len, pieces))
    places = sorted(data.draw(st.lists(st.integers(0, size_bytes), max_size=5)))
    layout = Layout(tuple(pieces))
    ends = [0, *places, size_bytes]
    again = Layout(tuple(p for ends in pairwise(ends) for p in layout.cut(ByteRange(*ends))))

    assert again.etag(CONTENT) == layout.etag(CONTENT)


@given(layouts)
def test_every_tag_is_strong_and_quoted(layout: Layout) -> None:
    assert re.fullmatch(r'"[0-9a-z-]+"', layout.etag(CONTENT))
