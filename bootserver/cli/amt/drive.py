"""`bootserver amt attach`: any ISO in a machine's drive, for as long as this process runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bootserver.amt.nouns import AmtLogin
from bootserver.cli.amt.login import open_amt, with_login
from bootserver.cli.shared import megabytes, until_interrupted, with_config
from bootserver.config import Config

TOLD_EVERY_S = 5.0


@click.command()
@click.argument("machine", metavar="HOST")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--boot", is_flag=True, help="Boot the machine from it, this once.")
@with_login
@with_config
async def attach(config: Config, machine: str, file: Path, boot: bool, login: AmtLogin) -> None:
    """Put FILE into a machine's redirected CD drive, until Ctrl-C takes it out.

    Needs no server. Without --boot the machine finds the drive after its next reset.
    """
    await until_interrupted(_attach(config, machine, file, boot, login))


async def _attach(config: Config, machine: str, file: Path, boot: bool, login: AmtLogin) -> None:
    from bootserver.amt.boot.remote_boot import attached
    from bootserver.amt.control.boot_options import boot_from_redirected_cd
    from bootserver.amt.control.power import request_power
    from bootserver.amt.control.redirection_switch import enable_redirection
    from bootserver.amt.nouns import PowerAction
    from bootserver.amt.redirection.media import open_cd

    async with open_amt(config, machine, login, consents=True) as (hosts, client, access):
        facts = await hosts.probe(client)
        await enable_redirection(client)
        async with open_cd(file) as cd, attached(access, cd, facts) as drives:
            click.echo(f"{file} is in the drive of {access.host}; Ctrl-C takes it out")
            if boot:
                await boot_from_redirected_cd(client, facts, enforce_secure_boot=False)
                change = await request_power(client, PowerAction.BOOT)
                click.echo(f"the machine was {change.before}; asked for: {change.asked}")
            told = 0
            closed = asyncio.ensure_future(drives.wait_closed())
            while not closed.done():
                await asyncio.wait({closed}, timeout=TOLD_EVERY_S)
                stats = drives.stats
                if stats.read_bytes != told:
                    told = stats.read_bytes
                    click.echo(f"{stats.reads:,} READs, {megabytes(stats.read_bytes)}")
            await closed
            click.echo("AMT has ended the session")
