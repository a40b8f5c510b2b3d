"""`bootserver amt boot`: one command from a dead machine to a running image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bootserver.amt.types import AmtLogin, BootMethod, BootTarget, PowerState
from bootserver.cli.amt.login import is_interactive, login_from_here, with_login
from bootserver.cli.amt.many import Named, ask_each, show, with_hosts
from bootserver.cli.boots import admin_url
from bootserver.cli.shared import as_json, echo, print_json, with_config
from bootserver.config import Config

if TYPE_CHECKING:
    from bootserver.amt.access import AmtAccess
    from bootserver.amt.hosts import AmtHosts
    from bootserver.amt.wsman.client import WsmanClient

TARGETS = {
    BootTarget.BIOS_SETUP: "into its setup",
    BootTarget.DISK: "from its disk",
    BootTarget.CD: "from its CD drive",
    BootTarget.PXE: "from the network",
}


@click.command()
@with_hosts
@click.option("--image", "image_id", default="", metavar="ID", help="What to boot.")
@click.option(
    "--to",
    "target",
    type=click.Choice([target.value for target in BootTarget]),
    help="Instead of an image: the machine's own setup, disk, CD drive or network, this once. "
    "Needs no server.",
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
    named: Named,
    image_id: str,
    target: str | None,
    method: str,
    stay: bool,
    limit: int,
    url: str,
    login: AmtLogin,
    as_json: bool,
) -> None:
    """Boot machines into an image, through their AMT, and watch until they run it.

    The server that runs (`bootserver serve`) does it. Ctrl-C gives up what goes on. With --to they
    boot their own setup, disk, CD drive or network, and nothing is watched.
    """
    if bool(image_id) == bool(target):
        raise click.UsageError("give --image ID, or --to bios-setup, disk, cd or pxe")
    if target:
        await boot_into_target(config, named, login, BootTarget(target), as_json=as_json)
        return
    from bootserver.cli.amt.boot_watch import boot_all, screen_for, table_of, table_of_all
    from bootserver.cli.api import open_api
    from bootserver.cli.terminal import PrintableConsole

    output = PrintableConsole(soft_wrap=True)
    screen = screen_for(output, as_json=as_json)
    attended = is_interactive() and not as_json
    order = {"image": image_id, "method": method, "stay": stay, "attended": attended}
    order |= {"at_once": limit, **_login_body(login)}
    async with open_api(url.rstrip("/") or admin_url(config)) as api:
        with screen:
            outcomes = await boot_all(api, list(named.machines), order, screen)
    if as_json:
        print_json([outcome.as_json() for outcome in outcomes])
    elif len(outcomes) == 1:
        output.print(table_of(outcomes[0]))
    else:
        output.print(table_of_all(outcomes))
    if not all(outcome.is_good for outcome in outcomes):
        raise SystemExit(1)


async def boot_into_target(
    config: Config, named: Named, login: AmtLogin, target: BootTarget, *, as_json: bool
) -> None:
    """Boot machines into something of their own, once, and say what they did before."""

    async def ask(hosts: AmtHosts, client: WsmanClient, access: AmtAccess) -> dict[str, Any]:
        from bootserver.amt.boot.targets import boot_into

        def on_progress(sentence: str) -> None:
            echo(f"{access.host}: {sentence}", err=True)

        change = await boot_into(hosts, client, target, on_progress)
        return {"before": change.before.value, "asked": change.asked.value, "to": target.value}

    answers = await ask_each(config, named, login, ask, consents=True)
    where = TARGETS[target]
    show(
        named,
        answers,
        lambda a: f"{a['host']} was {PowerState(a['before']).in_words}; it boots {where} now",
        as_json=as_json,
    )


def _login_body(login: AmtLogin) -> dict[str, Any]:
    """The login for the API, without its empty values."""
    login = login_from_here(login)
    values = {"user": login.user, "password": login.password, "tls": login.tls}
    return {name: value for name, value in values.items() if value not in ("", None)} | (
        {"legacy_tls": True} if login.legacy_tls else {}
    )
