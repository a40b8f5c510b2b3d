"""What a machine writes on its serial line, as a terminal shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.amt.serial.terminal import (
    COLUMNS,
    ROWS,
    SCROLLED_MAX,
    Row,
    SerialTerminal,
    StyledRun,
)


def shown(*written: bytes) -> SerialTerminal:
    terminal = SerialTerminal()
    for data in written:
        terminal.feed(data)
    return terminal


def text(row: Row) -> str:
    return "".join(run.text for run in row)


def test_lines_stand_where_the_machine_wrote_them():
    rows = shown(b"iPXE initialising devices...ok\r\n\r\nhttp://192.0.2.1... 42%").rows

    assert rows[0] == (StyledRun("iPXE initialising devices...ok"),)
    assert rows[1] == ()
    assert rows[2] == (StyledRun("http://192.0.2.1... 42%"),)
    assert len(rows) == ROWS


def test_colours_are_words():
    rows = shown(b"\x1b[31mred\x1b[1mbright\x1b[0m \x1b[44;97mon blue\x1b[m.").rows

    assert rows[0] == (
        StyledRun("red", "f1"),
        StyledRun("bright", "f9 bold"),
        StyledRun(" "),
        StyledRun("on blue", "f15 b4"),
        StyledRun("."),
    )


def test_reverse_video_swaps_the_two_colours():
    rows = shown(b"\x1b[7m Boot \x1b[33;44m menu ").rows

    assert rows[0] == (StyledRun(" Boot ", "fb bi"), StyledRun(" menu ", "f4 b3"))


def test_colours_of_larger_palettes_become_the_nearest():
    rows = shown(b"\x1b[38;5;203mr\x1b[48;2;10;10;160mb\x1b[105mm").rows

    assert rows[0] == (StyledRun("r", "f9"), StyledRun("b", "f9 b4"), StyledRun("m", "f9 b13"))


def test_a_progress_bar_overwrites_itself():
    rows = shown(b"10%", b"\r100%\r\nok").rows

    assert [text(row) for row in rows[:2]] == ["100%", "ok"]


def test_a_setup_screen_is_drawn_by_positions():
    terminal = shown(b"\x1b[2J\x1b[1;30HSetup\x1b[25;1HF10 Save\x1b[3;2H")

    assert text(terminal.rows[0]) == " " * 29 + "Setup"
    assert text(terminal.rows[24]) == "F10 Save"
    assert terminal.cursor == (1, 2)


def test_what_scrolls_away_is_kept():
    terminal = shown(b"".join(b"line %d\r\n" % number for number in range(30)))

    assert text(terminal.rows[0]) == "line 6"
    assert [text(row) for row in terminal.scrolled] == [f"line {n}" for n in range(6)]
    assert terminal.scrolled_count == 6


def test_a_part_of_the_screen_that_scrolls_is_not_kept():
    terminal = shown(b"title\x1b[2;5r\x1b[5;1H" + b"\r\n" * 10)

    assert text(terminal.rows[0]) == "title"
    assert terminal.scrolled_count == 0


def test_not_more_is_kept_than_one_would_look_for():
    terminal = shown(b"\n" * 5000)

    assert len(terminal.scrolled) == SCROLLED_MAX


def test_frames_of_a_bios_are_drawn_in_the_pcs_own_characters():
    single = shown(
        b"\xda\xc4\xc4\xbf", b"\r\n\xb3 \xb0\xb1\xb3\r\n\xc3\xc4\xb4\r\n\xc0\xc4\xd9\r\n"
    ).rows
    double = shown(b"\xc9\xcd\xcd\xbb\r\n\xba \xba\r\n\xcc\xcd\xb9\r\n\xc8\xcd\xbc").rows

    assert [text(row) for row in single[:4]] == ["┌──┐", "│ ░▒│", "├─┤", "└─┘"]
    assert [text(row) for row in double[:4]] == ["╔══╗", "║ ║", "╠═╣", "╚═╝"]


def test_frames_of_a_vt100_are_drawn_too():
    assert text(shown(b"\x1b(0lqqk\x1b(B lqqk").rows[0]) == "┌──┐ lqqk"


def test_characters_may_come_in_parts():
    rows = shown(b"na\xc3", b"\xafve \xe2\x94", b"\x82").rows

    assert text(rows[0]) == "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve │"


def test_a_question_after_the_cursor_is_answered():
    terminal = SerialTerminal()

    assert terminal.feed(b"ab\x1b[6n") == b"\x1b[1;3R"
    assert terminal.feed(b"c") == b""


def test_the_hidden_cursor_is_nowhere():
    assert shown(b"\x1b[?25l").cursor is None
    assert shown(b"x" * COLUMNS).cursor == (COLUMNS - 1, 0)


def test_application_keys_are_noticed():
    assert shown(b"\x1b[?1h").sends_application_keys
    assert not shown(b"\x1b[?1h\x1b[?1l").sends_application_keys


def test_the_screen_keeps_its_size():
    terminal = shown(b"\x1b[?3h" + b"w" * (COLUMNS + 1))

    assert text(terminal.rows[0]) == "w" * COLUMNS
    assert text(terminal.rows[1]) == "w"


def test_control_codes_that_mean_nothing_take_no_text_with_them():
    assert text(shown(b"a\x01b\x00c\x18d\x7fe\xc2\x85f").rows[0]) == "abcdef"


def test_marks_do_not_pile_up_on_one_place():
    terminal = shown(("e" + "\N{COMBINING ACUTE ACCENT}" * 10_000).encode())

    assert text(terminal.rows[0]) == "e"


def test_malformed_sequences_are_passed_over():
    assert (
        text(shown(b"\x1b[1;2;3;4;5A\x1b[?7A\x1b[?0K\x1b[999999999999Bok").rows[ROWS - 1]) == "ok"
    )


def test_a_title_without_end_ends_all_the_same():
    terminal = shown(b"\x1b]0;" + b"title" * 2000, b"\x1b[Hback")

    assert any(text(row).startswith("back") for row in terminal.rows)


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"\x1b[",
            b"\x1b]",
            b"?",
            b";",
            b"\x1b#8",
            b"\x1bM",
            b"\x1bD",
            b"\x1b[2;1r",
            b"\x1b[?6h",
            b"L",
        ]
    ),
    st.builds(lambda n, end: b"\x1b[%d%c" % (n, end), st.integers(0, 99999), st.integers(64, 126)),
)


@pytest.mark.slow
@given(st.lists(PIECES, max_size=60))
def test_no_bytes_do_any_harm(pieces: list[bytes]):
    terminal = SerialTerminal()

    for piece in pieces:
        terminal.feed(piece)
        for row in terminal.rows:
            assert len(text(row)) <= COLUMNS
        cursor = terminal.cursor
        assert cursor is None or (0 <= cursor[0] < COLUMNS and 0 <= cursor[1] < ROWS)
