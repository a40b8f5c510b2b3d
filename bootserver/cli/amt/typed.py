"""Reads a line from the terminal while the program goes on."""

from __future__ import annotations

import asyncio
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from bootserver.cli.shared import echo


async def typed_line(prompt: str, *, hide: bool) -> str | None:
    """The line; None at the end of the input. Can be cancelled, which click.prompt cannot."""
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    *before, last = prompt.split("\n")
    for line in before:
        echo(line, err=True)
    echo(f"{last}: ", nl=False, err=True)
    with _echo(not hide):
        # The terminal hands over whole lines, so that there is one to be read then.
        loop.add_reader(sys.stdin.fileno(), typed.set)
        try:
            await typed.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())
        line = sys.stdin.readline()
    if hide:
        echo(err=True)
    return line.rstrip("\r\n") if line else None


@contextmanager
def _echo(on: bool) -> Iterator[None]:
    """What is typed is shown, or not; put right again afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    within = termios.tcgetattr(sys.stdin)
    within[3] = within[3] | termios.ECHO if on else within[3] & ~termios.ECHO
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, within)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
