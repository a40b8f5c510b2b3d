"""The text screen, decoded from bytes written out by hand."""

import pytest

from bootserver.bench.screen import decode_text_memory, strip_escapes

BLANK = b"\x20\x07"


def memory(*cells: bytes) -> bytes:
    """These cells from the top left on; the rest of the 80 x 25 is blank."""
    return b"".join(cells).ljust(4000, b"\0").replace(b"\0\0", BLANK)


def test_characters_are_the_even_bytes():
    assert decode_text_memory(memory(b"i\x07P\x1fX\x70E\x8f")) == "iPXE"


def test_rows_are_80_characters_and_lose_trailing_blanks():
    text = decode_text_memory(memory(b"a\x07" + BLANK * 79, BLANK * 80, BLANK + b"b\x07"))

    assert text == "a\n\n b"


def test_last_cell_is_on_the_25th_line():
    text = decode_text_memory(BLANK * 1999 + b"!\x07")

    assert text == "\n" * 24 + " " * 79 + "!"


def test_empty_screen_is_empty_text():
    assert decode_text_memory(bytes(4000)) == ""


def test_line_drawing_is_code_page_437():
    assert decode_text_memory(memory(b"\xda\x07\xc4\x07\xbf\x07\xb3\x07\xdb\x07")) == "┌─┐│█"


def test_control_codes_are_the_glyphs_the_card_draws():
    text = decode_text_memory(memory(b"\x01\x07\x0a\x07\x0d\x07\x1b\x07\x1f\x07\x7f\x07"))

    assert text == "☺◙♪←▼⌂"


def test_nul_and_hard_space_are_blanks():
    assert decode_text_memory(memory(b"a\x07\x00\x07\xff\x07b\x07\xff\x07")) == "a  b"


@pytest.mark.parametrize("size_bytes", [0, 3999, 4001])
def test_memory_of_another_size_is_refused(size_bytes):
    with pytest.raises(ValueError, match="4000"):
        decode_text_memory(bytes(size_bytes))


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("plain\r\n", "plain\r\n"),
        ("\x1b[2J\x1b[01;01H\x1b[=3h\x1b[0m\x1b[37m\x1b[40mBdsDxe", "BdsDxe"),
        ("\x1b[?25lGNU\x1b[?25h GRUB", "GNU GRUB"),
        ("\x1b(B\x1b7x\x1b8", "x"),
    ],
)
def test_escape_sequences_are_taken_out_of_serial_text(sent, read):
    assert strip_escapes(sent) == read
