"""How boots are shown to who watches them in a terminal."""

from __future__ import annotations

import io
import re
from typing import cast

import pytest

from bootserver.cli.terminal import PrintableConsole
from bootserver.cli.watch import BootBars
from bootserver.sessions.shape import BootJson

TROUBLE = "image.iso stands at 6.7 MB: the machine's receive window is closed: it is busy, or hung"


def boot(name: str, phase: str, sent_bytes: int, stalled: str = "") -> BootJson:
    values = {
        "id": name,
        "machine": {"name": name},
        "address": "",
        "image": "rescue",
        "phase": phase,
        "sent_bytes": sent_bytes,
        "image_bytes": 300_000_000 if phase == "fetching" else 0,
        "bytes_per_s": 50_000_000,
        "seconds_left": None if stalled else 2.0,
        "error": "",
        "stalled": stalled,
        "transfers": [],
    }
    return cast("BootJson", values)


def shown(columns: int, *boots: BootJson) -> list[str]:
    """The lines that are left on a terminal of that width."""
    written = io.StringIO()
    console = PrintableConsole(file=written, width=columns, force_terminal=True, color_system="256")
    with BootBars(console) as bars:
        for each in boots:
            bars.show(each)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_trouble_takes_no_room_from_the_bars(columns: int):
    lines = shown(
        columns,
        boot("52:54:00:00:00:01", "fetching", 200_000_000),
        boot("52:54:00:00:00:02", "fetching", 100_000_000, stalled=TROUBLE),
    )

    assert all(len(line) <= columns for line in lines)
    moving, stalled, *trouble = lines[-4:] if columns == 80 else lines[-3:]
    assert moving.startswith("52:54:00:00:00:01 ")
    assert moving.endswith("50.0 MB/s, 2 s left")
    assert len(re.findall("[━╸╺]", moving)) >= 10
    assert len(re.findall("[━╸╺]", stalled)) >= 10
    assert " ".join(trouble) == f"52:54:00:00:00:02: {TROUBLE}"


def test_a_wide_terminal_shows_image_and_sizes():
    [line] = shown(200, boot("52:54:00:00:00:01", "fetching", 200_000_000))[-1:]

    assert "rescue" in line
    assert "200.0/300.0 MB" in line


def test_before_it_is_known_how_much_comes_no_size_is_made_up():
    [line] = shown(200, boot("52:54:00:00:00:01", "stub_started", 0))[-1:]

    assert "/100" not in line
