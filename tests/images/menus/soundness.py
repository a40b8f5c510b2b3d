"""What holds of each menu that was read, and menus that are not what their makers wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from bootserver.model import DiscMenu, EntryKind
from tests.images.menus.shapes import Files, Shape, Start


def start_as_data(menu: DiscMenu) -> Start | str:
    """What a menu starts by itself, or its doubt."""
    if menu.default is None:
        return menu.doubt
    entry = menu.entries[menu.default]
    arguments = " ".join(entry.arguments)
    return Start(entry.name, entry.kernel, entry.initrds, arguments, entry.parents)


def assert_sound(menu: DiscMenu) -> None:
    """A menu keeps its promises, whatever was read."""
    assert len(menu.entries) <= 64
    assert (menu.default is None) == bool(menu.doubt)
    assert menu.default is None or 0 <= menu.default < len(menu.entries)
    assert all(sentence and not sentence.endswith(".") for sentence in menu.unread)
    for entry in menu.entries:
        assert (entry.kind is EntryKind.LINUX) == bool(entry.kernel)
        for path in (entry.kernel, *entry.initrds):
            assert path == path.lower()
            assert not path or (path.startswith("/") and "/../" not in f"{path}/")
        assert all(word and not set(word) & set(" \t\n") for word in entry.arguments)


@st.composite
def mutated(draw: st.DrawFn, shapes: Sequence[Shape]) -> Files:
    """A menu with lines of others, and with pieces that are cut out or put in."""
    shape = draw(st.sampled_from(shapes))
    lines = [line for other in shapes for text in other.files.values() for line in text.split("\n")]
    files = {}
    for path, text in shape.files.items():
        mixed = text.split("\n")
        for _ in range(draw(st.integers(0, 4))):
            place = draw(st.integers(0, len(mixed)))
            piece = draw(st.lists(st.sampled_from(lines) | st.text(max_size=20), max_size=3))
            mixed[place : place + draw(st.integers(0, 2))] = piece
        files[path] = "\n".join(mixed)
    return files


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, which is how much work it is on any machine."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
