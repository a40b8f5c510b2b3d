"""The command line prints text from outside as text."""

from __future__ import annotations

import asyncio
import io
import re
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from bootserver.cli.main import main
from bootserver.cli.shared import echo
from bootserver.cli.terminal import PrintableConsole
from tests.fixtures.isos import make_iso
from tests.fixtures.readers import hostile_names
from tests.fixtures.server import Site

UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def unprintable(text: str) -> set[str]:
    """The characters of a text that a terminal would not show but do."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in UNPRINTABLE}


def test_a_line_stays_a_line_and_only_our_own_colour_moves_the_terminal():
    @click.command()
    def say() -> None:
        for name in hostile_names(2_000):
            echo(name)
        echo("a\x1b[2J", fg="red")

    output = CliRunner().invoke(say, color=True).output.removesuffix("\x1b[31ma\\x1b[2J\x1b[0m\n")

    assert unprintable(output) == set()
    assert output.count("\n") == 2_000


def test_tables_panels_and_bars_show_names_as_text():
    screen = io.StringIO()
    terminal = PrintableConsole(file=screen, width=400)
    for name in hostile_names(500):
        table = Table("name", "[red]", title=name)
        table.add_row(name, Text(name))
        bars = Progress(TextColumn("{task.description}", markup=False), console=terminal)
        bars.add_task(name)
        for shown in (name, Text(name), table, Panel(name), bars.get_renderable()):
            terminal.print(shown)

    assert unprintable(screen.getvalue()) == set()
    assert "[red]" in screen.getvalue()


async def test_what_a_server_answers_moves_no_terminal(tmp_path: Path):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 \x1b[31mred\x9b2J\x07\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    site = Site(tmp_path)
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.iso"
        said = await site.command("images", "add", url, expect=1)

    assert r"\x1b[31mred" in said
    assert unprintable(said) == set()


@pytest.mark.parametrize(
    "arguments", [["images", "show", "\x1b[31m"], ["stub", "show", "\x1b[31m"], ["\x1b[31m"]]
)
def test_what_was_typed_comes_back_as_text(tmp_path: Path, arguments: list[str]):
    config = tmp_path / "config.toml"
    config.write_text("")
    (tmp_path / "images").mkdir()

    result = CliRunner().invoke(main, ["--config", str(config), *arguments])

    assert result.exit_code
    assert re.search(r"\\x1b\[31m", result.output)
    assert unprintable(result.output) == set()


def test_a_list_has_a_line_for_each_of_its_items(tmp_path: Path):
    config = tmp_path / "config.toml"
    config.write_text("")
    (tmp_path / "images").mkdir()
    make_iso(tmp_path / "images" / "x.iso", {"live/vmlinuz": b"1", "live/initrd.img": b"2"})

    shown = CliRunner().invoke(main, ["--config", str(config), "images", "show", "x"]).output

    assert re.search(r"^markers           /\S+\n( {18}/\S+\n)+", shown, re.MULTILINE)
    assert "\\n" not in shown
