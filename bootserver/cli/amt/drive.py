"""`bootserver amt attach`: any ISO in a machine's drive, for as long as this process runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootserver.amt.types import AmtLogin
from bootserver.cli.amt.login import open_amt, with_login
from bootserver.cli.shared import echo, until_interrupted, with_config
from bootserver.config import Config
from bootserver.units import megabytes

if TYPE_CHECKING:
    from bootserver.amt.redirection.drives import RedirectedDrives

SHOW_EVERY_S = 5.0


@click.command()
@click.argument("machine", metavar="HOST")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--boot", is_flag=True, help="Boot the machine from it, this once.")
@with_login
@with_config
async def attach(config: Config, machine: str, file: Path, boot: bool, login: AmtLogin) -> None:
    """Put FILE into a machine's redirected CD drive, until Ctrl-C takes it out.

    Needs no server. Without --boot the machine finds the drive after its next reset. With it a
    machine that is off or asleep is switched on first.
    """
    await until_interrupted(_attach(config, machine, file, boot, login))


async def _attach(config: Config, machine: str, file: Path, boot: bool, login: AmtLogin) -> None:
    from bootserver.amt.boot.remote_boot import attached
    from bootserver.amt.control.boot_options import boot_from_redirected_cd
    from bootserver.amt.control.power import request_power, switch_on, until_on
    from bootserver.amt.control.redirection_switch import enable_redirection
    from bootserver.amt.redirection.media import open_cd
    from bootserver.amt.types import PowerAction

    async with open_amt(config, machine, login, consents=True) as (hosts, client, access):
        facts = await hosts.probe(client)
        await (switch_on if boot else until_on)(client, echo)
        await enable_redirection(client, ider=True)
        async with open_cd(file) as cd, attached(access, cd, facts) as drives:
            echo(f"{file} is in the drive of {access.host}; Ctrl-C takes it out")
            telling = asyncio.create_task(_tell(drives))
            try:
                if boot:
                    async with hosts.arming(
                        client,
                        lambda: boot_from_redirected_cd(client, facts, enforce_secure_boot=False),
                        lambda: drives.stats.reads > 0,
                    ):
                        change = await request_power(client, PowerAction.BOOT)
                        echo(f"the machine was {facts.power.in_words}; asked for: {change.asked}")
                        await drives.wait_until(lambda stats: stats.reads > 0)
                await drives.wait_closed()
            finally:
                telling.cancel()
            echo("AMT has ended the session")


async def _tell(drives: RedirectedDrives) -> None:
    """A line now and then, while the machine reads."""
    shown_bytes = 0
    while True:
        await asyncio.sleep(SHOW_EVERY_S)
        stats = drives.stats
        if stats.read_bytes != shown_bytes:
            shown_bytes = stats.read_bytes
            echo(f"{stats.reads:,} READs, {megabytes(stats.read_bytes)}")
