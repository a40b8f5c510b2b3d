"""GRUB's menus: hostile and broken ones end soon, and within what may be read of a disc."""

from __future__ import annotations

import random
import re
from itertools import islice

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bootserver.images.menus import grub_commands, grub_run
from bootserver.images.menus.grub import read_grub
from bootserver.images.menus.grub_script import parse
from bootserver.model import Firmware
from tests.fixtures.menu_files import FakeMenuFiles

PATH = "/boot/grub/grub.cfg"
MUTANTS = 300

# Every construct of the language that menus use, for mutants of it.
MENU = """
set default="two>1" ; timeout=5
export opts
opts='quiet  splash'
if [ "${grub_platform}" = "efi" -a ! -e /x ]; then insmod efi_gop; elif loadfont $prefix/u.pf2
then terminal_output gfxterm; else set a=$? ; fi
function entry { menuentry "$1 > $2" --id $2 { linux ($root)/k/$1 $opts "$@" ; initrd /i* } }
for n in one 'two three' \\
  four; do entry $n ${n} ; done
while [ "$w" != "111" ]; do w=1$w; done
load_env --file /env saved_entry ; search --no-floppy --set=root --label X --hint hd0
submenu "More" --id=two { menuentry 'M1' { chainloader +1 }
menuentry $"M2" --hotkey=m { configfile /other.cfg } }
source /other.cfg
menuentry Broken { linux $nothing/k a\\ b "c d" ; regexp --set 1:q x y ; initrd /$q }
menuentry Loop { loopback loop $iso_path ; linux16 (loop)/k iso=$iso_path ; eval 'initrd /i' }
"""
FILES = {"/other.cfg": f"configfile {PATH}", "/i1": "", "/env": "saved_entry=x\\\nno=1"}

SIGNS = ("\n", " ", "{", "}", "'", '"', ";", "\\\n", "\0")
WORDS = [*sorted(set(re.findall(r"\S+", MENU))), *SIGNS]


def check(text: str, reads: int = 20) -> None:
    files = FakeMenuFiles({**FILES, PATH: text}, reads=reads)

    menu = read_grub(files, PATH, Firmware.UEFI)

    assert len(menu.entries) <= grub_commands.MAX_ENTRIES
    assert menu.default is None or menu.default < len(menu.entries)
    assert (menu.default is None) == bool(menu.doubt)
    for entry in menu.entries:
        assert all(path.startswith("/") for path in (entry.kernel, *entry.initrds) if path)
        assert max(map(len, (entry.title, entry.name, *entry.parents))) <= grub_run.MAX_TEXT
        assert "\0" not in "".join((entry.title, entry.kernel, *entry.initrds, *entry.arguments))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), st.integers(0, 20))
def test_words_of_the_language_in_any_order_are_read(text: str, reads: int) -> None:
    check(text, reads)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    check(text)


def test_mutants_of_a_menu_are_read() -> None:
    chance = random.Random(11)
    for _ in range(MUTANTS):
        text = MENU
        for _ in range(chance.randrange(1, 6)):
            start = chance.randrange(len(text))
            end = start + chance.randrange(12)
            put = chance.choice([*WORDS, text[end : end + 40], ""])
            text = text[:start] + put + text[end:]
        check(text)


def test_long_menus_cost_no_more_steps_than_there_are() -> None:
    """Each of them would take minutes if its cost grew with the square of its length."""
    for piece in (
        "'",
        '"',
        "\\\n",
        "a=$a'b'\n",
        "menuentry a {\n",
        "if ",
        "$",
        "{",
        "x ",
        "[ ( ",
        "a*",
    ):
        check(piece * (200_000 // len(piece)))
        check("menuentry a { linux " + piece * (60_000 // len(piece)) + "\n}\n")


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="$\"'\\;{}[]|&<>=# \n\tab", max_size=60))
@example("\n$ a\n")  # a line that begins with what is neither a word nor a symbol
def test_each_unit_of_a_script_takes_a_line_at_least(text: str) -> None:
    lines = text.count("\n") + 1

    assert len(list(islice(parse(text), lines + 1))) <= lines
