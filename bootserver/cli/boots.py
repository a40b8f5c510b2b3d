"""`bootserver boots`: the ledger of boots."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from bootserver.cli.shared import (
    as_json,
    echo,
    open_state,
    print_json,
    until_interrupted,
    with_config,
)
from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.quoting import url_host
from bootserver.sessions.shape import BootJson, nic_label
from bootserver.units import megabytes, speed

FORMATS = ("csv", "json", "openmetrics")


@click.group()
def boots() -> None:
    """What booted, how far it came, how long each phase took."""


@boots.command("list")
@click.option("--limit", default=50, show_default=True, help="How many, newest first.")
@as_json
@with_config
async def list_boots(config: Config, limit: int, as_json: bool) -> None:
    """List boots, newest first."""
    from bootserver.sessions.export import boots_json
    from bootserver.sessions.store import SessionStore

    async with open_state(config) as engine:
        store = SessionStore(engine)
        found = await boots_json(store, await store.recent(limit))
    if as_json:
        print_json(found)
        return
    if not found:
        echo("No boots yet: start a machine from a stub.")
    for boot in found:
        echo(
            f"{boot['id']}  {_local(boot['created_at']):%Y-%m-%d %H:%M:%S}  "
            f"{boot['machine']['name'] or '-':<17}  {boot['image']:<24}  {boot['phase']:<13}  "
            f"{megabytes(boot['sent_bytes']):>10}  {boot['error'] or boot['stalled']}".rstrip()
        )


@boots.command("show")
@click.argument("session_id", metavar="ID")
@as_json
@with_config
async def show_boot(config: Config, session_id: str, as_json: bool) -> None:
    """Show one boot with the time of each phase; the beginning of its id will do."""
    from bootserver.sessions.export import boots_json
    from bootserver.sessions.store import SessionStore

    async with open_state(config) as engine:
        store = SessionStore(engine)
        session = await store.by_id(session_id)
        if session is None:
            raise BootServerError(
                f"no boot has the id {session_id}, or more than one begins so",
                hint="run: bootserver boots list",
            )
        [boot] = await boots_json(store, [session])
    if as_json:
        print_json(boot)
        return
    _show(boot)


@boots.command("watch")
@click.option("--url", default="", metavar="URL", help="Another server's admin plane.")
@as_json
@with_config
async def watch_boots(config: Config, url: str, as_json: bool) -> None:
    """Watch machines boot, live, from the server that runs; ends with Ctrl-C."""
    from bootserver.cli.terminal import PrintableConsole
    from bootserver.cli.watch import screen_for, watch_server

    with screen_for(PrintableConsole(), as_json=as_json) as screen:
        await until_interrupted(watch_server(url.rstrip("/") or admin_url(config), screen))


@boots.command("export")
@click.option(
    "--format",
    "export_format",
    type=click.Choice(FORMATS),
    default="csv",
    show_default=True,
    help="csv: one row a boot. json: all of each boot. openmetrics: counters and histograms.",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Only boots that began then or later, in local time.",
)
@click.option("--image", default="", metavar="ID", help="Only boots of that image.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@with_config
async def export_boots(
    config: Config, export_format: str, since: datetime | None, image: str, output: Path | None
) -> None:
    """Write all boots, newest first; docs/api.md says what is in each column."""
    from bootserver.sessions.export import FORMATS as WRITERS
    from bootserver.sessions.export import Wanted
    from bootserver.sessions.store import SessionStore

    wanted = Wanted(since.astimezone(UTC) if since else None, image)
    async with open_state(config) as engine:
        pieces = WRITERS[export_format].write(SessionStore(engine), wanted)
        try:
            # Line ends are the format's own; "-" is standard output.
            with click.open_file(str(output or "-"), "wb") as file:
                async for text in pieces:
                    file.write(text.encode())
        except BrokenPipeError:
            raise SystemExit(0) from None  # the reader has seen enough
        except OSError as err:
            raise BootServerError(
                f"{output} cannot be written: {err.strerror}", hint="choose another file with -o"
            ) from err


def admin_url(config: Config) -> str:
    """Where the admin plane of a server with this configuration is."""
    return f"http://{url_host(config.server.admin_address)}:{config.server.admin_port}"


def _show(boot: BootJson) -> None:
    machine = boot["machine"]
    echo(f"{boot['id']}  {boot['image']} on {machine['name'] or '-'}")
    details = [machine[key] for key in ("manufacturer", "product", "serial", "uuid")]
    echo(f"  {' '.join(filter(None, details)) or 'a machine that says nothing of itself'}")
    for nic in machine["nics"]:
        echo(f"  network card {nic_label(nic)}")
    if boot["method"]:
        echo(f"  taken for {boot['recipe']}, booted by {boot['method']}")
    echo(f"  {megabytes(boot['sent_bytes'])} of {megabytes(boot['image_bytes'])} sent")
    for phase in boot["phases"]:
        echo(
            f"  {_local(phase['at']):%H:%M:%S.%f}  {phase['seconds']:>9.3f} s  "
            f"{phase['phase']:<13}  {phase['detail']}".rstrip()
        )
    for transfer in boot["transfers"]:
        rate = speed(transfer["bytes_per_s"])
        outcome = [transfer["outcome"] or "under way", transfer["link"]]
        echo(
            f"  {megabytes(transfer['sent_bytes']):>12}  {rate:>13}  {transfer['name']}  "
            f"({', '.join(filter(None, outcome))})"
        )
    for trouble in filter(None, (boot["error"], boot["stalled"], boot["warning"])):
        echo(f"  {trouble}", fg="red")
    if boot["variant"]:
        echo(f"  prepared: {boot['variant']}")


def _local(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone()
