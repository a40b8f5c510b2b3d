"""`bootserver amt console`: a machine's serial line in this terminal, by Serial over LAN."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from bootserver.amt.types import AmtLogin
from bootserver.cli.amt.login import open_amt, with_login
from bootserver.cli.shared import echo, with_config
from bootserver.config import Config

if TYPE_CHECKING:
    from bootserver.amt.redirection.serial_line import SerialLine

LEAVE = b"\x1d"  # Ctrl-], as telnet and virsh have it
READ_BYTES = 1024


@click.command()
@click.argument("machine", metavar="HOST")
@with_login
@with_config
async def console(config: Config, machine: str, login: AmtLogin) -> None:
    """A machine's serial line in this terminal: watch its stub work, and type. Ctrl-] leaves.

    The machine must send its console there: the stub does, and so do systems with console=ttyS.
    """
    from bootserver.amt.control.power import until_on
    from bootserver.amt.control.redirection_switch import enable_redirection
    from bootserver.amt.redirection.serial_line import serial_over_lan

    async with open_amt(config, machine, login, consents=True) as (_, client, access):
        await enable_redirection(client, sol=True)
        await until_on(client, _say)
        async with serial_over_lan(
            access.host,
            access.user,
            access.password,
            port=access.redirection_port,
            tls=access.tls,
        ) as line:
            echo(f"the serial line of {access.host}; Ctrl-] leaves", err=True)
            await _talk(line)
    echo(err=True)
    echo("left", err=True)


def _say(sentence: str) -> None:
    echo(sentence, err=True)


async def _talk(line: SerialLine) -> None:
    """Both directions at once, until the person leaves or the line ends."""
    with _raw_terminal():
        typing = asyncio.create_task(_type(line))
        showing = asyncio.create_task(_show(line))
        done, pending = await asyncio.wait({typing, showing}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _show(line: SerialLine) -> None:
    async for data in line:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


async def _type(line: SerialLine) -> None:
    """Keys go to the machine one by one as they are typed; a pipe's end does not end the
    console.
    """
    keys: asyncio.Queue[bytes] = asyncio.Queue()
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        data = os.read(stdin, READ_BYTES)
        if not data:
            loop.remove_reader(stdin)
        keys.put_nowait(data)

    loop.add_reader(stdin, read)
    try:
        while True:
            data = await keys.get()
            if LEAVE in data:
                await line.send(data.partition(LEAVE)[0])
                return
            await line.send(data)
    finally:
        loop.remove_reader(stdin)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Each key as it is typed, Ctrl-C too; put right again afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
