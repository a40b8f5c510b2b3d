"""What leaves here in another language says what it was meant to say, to the one who reads it."""

from __future__ import annotations

import csv
import io
import re
import shlex
import subprocess
import unicodedata

import pytest
from aiohttp import content_disposition_filename, parse_content_disposition

from bootserver.quoting import (
    ascii_text,
    attachment,
    batch_word,
    ipxe_arguments,
    ipxe_text,
    printable,
    shell_command,
    spreadsheet_cell,
)
from tests.fixtures.readers import FOREIGN, hostile_names, ipxe_commands


@pytest.fixture(params=[2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def names(request: pytest.FixtureRequest) -> list[str]:
    return list(hostile_names(request.param))


def test_the_model_of_ipxe_reads_as_ipxe_was_seen_to():
    script = (
        "#!ipxe\n:label && echo no\necho A one ; echo B two\necho C ${};${} ${}#x #gone || no\n"
        "echo a;b a#b && echo ${d}{x} ${y ${a b} || echo back\\\nslash\n  # no\n"
    )

    assert ipxe_commands(script, {"d": "$", "x": "1 || 2"}) == [
        ["echo", "A", "one"],
        ["echo", "B", "two"],
        ["echo", "C", ";", "#x"],
        ["echo", "a;b", "a#b"],
        ["echo", "1 || 2", "${y", "${a", "b}"],
        ["echo", "backslash"],
    ]


def test_text_for_ipxe_is_words_of_the_one_command_that_shows_it(names: list[str]):
    for name in names:
        script = f"#!ipxe\necho name: {ipxe_text(name)}\necho next\n"

        [shown, after] = ipxe_commands(script)

        assert after == ["echo", "next"]
        assert " ".join(shown[2:]) == ascii_text(name).replace("${", "$ {"), name


def test_arguments_reach_their_command_exactly_or_are_refused(names: list[str]):
    refused = 0
    for name in names:
        try:
            words = ipxe_arguments(name)
        except ValueError:
            refused += 1
            assert not re.fullmatch(r"[ -~]*", name) or re.search(r"\$\{[^ ]*\}", name), name
            continue
        script = f"#!ipxe\nkernel /x {words} || goto retry\ninitrd /y\n"

        [kernel, goto, after] = ipxe_commands(script)

        assert (goto, after) == (["goto", "retry"], ["initrd", "/y"])
        assert " ".join(kernel[2:]) == name
        assert FOREIGN not in script
    assert 0 < refused < len(names)


@pytest.mark.parametrize(
    "text",
    [
        "console=ttyS0 --- quiet",
        'ds=nocloud;s=http://192.0.2.1/ a ; b && c || d #e "f  g" ${h i} \\',
    ],
)
def test_all_that_a_kernel_may_be_told_can_be_said(text: str):
    [command] = ipxe_commands(f"kernel /x {ipxe_arguments(text)}\n")

    assert " ".join(command[2:]) == text


def test_a_title_is_in_ascii_and_other_scripts_are_transliterated():
    assert ascii_text("Système de secours — Müller") == "Systeme de secours - Muller"
    assert ascii_text("Диск восстановления") == "Disk vosstanovleniya"
    assert ascii_text("e\u0301te\u0301\n  2") == "ete 2"
    assert ascii_text("日本語")
    assert ascii_text("\ue000 \udcff") == ""


def test_a_title_has_one_blank_between_its_words_and_no_other_character(names: list[str]):
    for name in names:
        assert re.fullmatch(r"([!-~]+( [!-~]+)*)?", ascii_text(name)), name


def test_nothing_printed_moves_a_cursor_turns_a_text_or_begins_a_line(names: list[str]):
    assert printable("a\x1b[31m\u202e\udcff\n") == r"a\x1b[31m\u202e\udcff\n"
    assert printable("ein schöner Name, 日本語") == "ein schöner Name, 日本語"
    for name in names:
        shown = printable(name)
        assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, name
        assert shown.encode().decode() == shown


def test_a_shell_reads_every_word_of_a_command_and_none_as_an_option(names: list[str]):
    for name in names:
        words = shlex.split(shell_command("bootserver images explain", name))

        assert words[:3] == ["bootserver", "images", "explain"]
        assert words[3:] in ([name], ["--", name])
        assert words[3] == "--" or not name.startswith("-")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", '""'),
        ("http://a/?b=1&c=2", '"http://a/?b=1&c=2"'),
        ("100% %PATH%", '"100%% %%PATH%%"'),
        ("C:\\a b\\", '"C:\\a b\\\\"'),
    ],
)
def test_word_of_a_batch_file_keeps_what_cmd_would_expand(text: str, word: str):
    assert batch_word(text) == word


@pytest.mark.parametrize("text", ['a"b', "a\nb", "ü", "\x1a"])
def test_what_no_batch_file_can_hand_on_is_refused(text: str):
    with pytest.raises(ValueError, match="has a quote, or characters"):
        batch_word(text)


def test_bash_itself_reads_the_words_back():
    names = [n for n in hostile_names(2_000) if "\0" not in n and n.isascii()]
    show = """show() { [ "$1" = -- ] && shift; printf '%s\\0' "$1"; }\n"""
    script = show + "\n".join(shell_command("show", name) for name in names)

    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout

    assert said.decode().split("\0")[:-1] == names


def test_no_cell_of_a_csv_file_is_a_formula_and_each_keeps_its_text(names: list[str]):
    file = io.StringIO(newline="")
    csv.writer(file).writerow(map(spreadsheet_cell, names))
    file.seek(0)

    [read] = csv.reader(file)

    assert all(cell in (name, f"'{name}") for cell, name in zip(read, names, strict=True))
    assert not [cell for cell in read if re.match(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", cell)]
    assert spreadsheet_cell(-1.5) == -1.5


def test_a_file_name_stays_in_its_header_and_comes_back_from_it(names: list[str]):
    form = re.compile(r"attachment; filename=\"[\w .+-]*\"; filename\*=UTF-8''[\w.~%-]*", re.ASCII)
    assert [name for name in names if not form.fullmatch(attachment(name))] == []
    for name in names[:2_000]:
        header = attachment(name)

        _, told = parse_content_disposition(header)
        readable = name.replace("/", "_").encode(errors="replace").decode()
        assert content_disposition_filename(told) == readable
        assert "/" not in told.get("filename", "")
