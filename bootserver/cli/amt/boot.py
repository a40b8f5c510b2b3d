"""`bootserver amt boot`: one command from a dead machine to a running image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bootserver.amt.nouns import AmtLogin, BootMethod
from bootserver.cli.amt.login import is_somebody_there, login_from_here, with_login
from bootserver.cli.boots import admin_url
from bootserver.cli.shared import as_json, print_json, with_config
from bootserver.config import Config
from bootserver.errors import BootServerError


@click.command()
@click.argument("hosts", metavar="HOST...", nargs=-1)
@click.option("--image", "image_id", required=True, metavar="ID", help="What to boot.")
@click.option(
    "--hosts",
    "hosts_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="A file with more hosts, one a line; # begins a comment.",
)
@click.option(
    "--method",
    type=click.Choice([method.value for method in BootMethod]),
    default=BootMethod.AUTO.value,
    show_default=True,
    help="two-stage: a redirected stub fetches the image. direct: the image itself is redirected. "
    "ocr: One-Click Recovery, by HTTPS. auto: what is expected to be the fastest.",
)
@click.option("--stay", is_flag=True, help="Leave the drive attached, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(1), default=8, show_default=True, help="At once.")
@click.option("--url", default="", metavar="URL", help="Another server's admin plane.")
@with_login
@as_json
@with_config
async def boot(
    config: Config,
    hosts: tuple[str, ...],
    image_id: str,
    hosts_file: Path | None,
    method: str,
    stay: bool,
    limit: int,
    url: str,
    login: AmtLogin,
    as_json: bool,
) -> None:
    """Boot machines into an image, through their AMT, and watch until they run it.

    The server that runs (`bootserver serve`) does it. Ctrl-C gives up what goes on.
    """
    from rich.console import Console

    from bootserver.cli.amt.boot_watch import (
        AtTheTerminal,
        NobodyThere,
        boot_all,
        screen_for,
        table_of,
        table_of_all,
    )
    from bootserver.cli.api import open_api

    wanted = list(dict.fromkeys([*hosts, *(_read_hosts(hosts_file) if hosts_file else [])]))
    if not wanted:
        raise click.UsageError("give a HOST, or --hosts FILE")
    output = Console(soft_wrap=True)
    screen, shown = screen_for(output, as_json=as_json)
    attended = is_somebody_there() and not as_json
    asking = AtTheTerminal(screen) if attended else NobodyThere()
    order = {"image": image_id, "method": method, "stay": stay, "attended": attended}
    order |= {"at_once": limit, **_login_body(login)}
    async with open_api(url.rstrip("/") or admin_url(config)) as api:
        with shown:
            outcomes = await boot_all(api, wanted, order, screen, asking)
    if as_json:
        print_json([outcome.as_json() for outcome in outcomes])
    elif len(outcomes) == 1:
        output.print(table_of(outcomes[0]))
    else:
        output.print(table_of_all(outcomes))
    if not all(outcome.is_good for outcome in outcomes):
        raise SystemExit(1)


def _login_body(login: AmtLogin) -> dict[str, Any]:
    """The login for the API: only what was given."""
    given = login_from_here(login)
    values = {"user": given.user, "password": given.password, "tls": given.tls}
    return {name: value for name, value in values.items() if value not in ("", None)} | (
        {"legacy_tls": True} if given.legacy_tls else {}
    )


def _read_hosts(path: Path) -> list[str]:
    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            lines = [line.partition("#")[0].strip() for line in file]
    except (OSError, UnicodeDecodeError) as err:
        raise BootServerError(
            f"{path} cannot be read: {err}", hint="it is to be a text, one host a line"
        ) from err
    return [line for line in lines if line]
