"""`bootserver amt boots|stop`: the boots over AMT that the running server has, and their end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from bootserver.cli.boots import admin_url
from bootserver.cli.shared import as_json, echo, print_json, with_config
from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.units import megabytes

_url = click.option("--url", default="", metavar="URL", help="Another server's admin plane.")


@click.command()
@click.option("--all", "with_ended", is_flag=True, help="Those that have ended as well.")
@_url
@as_json
@with_config
async def boots(config: Config, with_ended: bool, url: str, as_json: bool) -> None:
    """List the boots over AMT that go on, newest first, those of other users too."""
    from rich.table import Table
    from rich.text import Text

    from bootserver.cli.api import open_api
    from bootserver.cli.terminal import PrintableConsole

    async with open_api(url.rstrip("/") or admin_url(config)) as api:
        found = (await api.get("/amt/boots"))["amt_boots"]
    shown = [boot for boot in found if with_ended or not boot["ended_at"]]
    if as_json:
        print_json(shown)
        return
    if not shown:
        echo("No boot over AMT goes on.")
        return
    table = Table(box=None, header_style="bold")
    for title in ("id", "host", "image", "began", "doing", "redirected", ""):
        table.add_column(title, no_wrap=bool(title))
    for boot in shown:
        table.add_row(
            boot["id"],
            boot["host"],
            boot["image"],
            f"{datetime.fromisoformat(boot['created_at']).astimezone():%H:%M:%S}",
            boot["doing"],
            megabytes(boot["redirected_bytes"]),
            Text(boot["error"] or boot["sentence"]),
        )
    PrintableConsole(soft_wrap=True).print(table)


@click.command()
@click.argument("names", metavar="ID|HOST...", nargs=-1, required=True)
@_url
@as_json
@with_config
async def stop(config: Config, names: tuple[str, ...], url: str, as_json: bool) -> None:
    """End boots over AMT: give them up, or take a drive away that stays.

    What was armed at a machine that has not read anything is taken back.
    """
    from bootserver.cli.api import open_api

    async with open_api(url.rstrip("/") or admin_url(config)) as api:
        going_on = [b for b in (await api.get("/amt/boots"))["amt_boots"] if not b["ended_at"]]
        wanted = [_wanted(going_on, name) for name in names]  # all, before the first is ended
        ended = [await api.delete(f"/amt/boots/{boot['id']}") for boot in wanted]
    if as_json:
        print_json(ended)
        return
    for boot in ended:
        echo(f"{boot['host']}: {boot['sentence']}")


def _wanted(going_on: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The boot of that id, or of the machine of that host."""
    for boot in going_on:
        if name in (boot["id"], boot["host"]):
            return boot
    raise BootServerError(
        f"no boot over AMT has the id or host {name!r}", hint="see: bootserver amt boots"
    )
