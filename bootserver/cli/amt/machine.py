"""`bootserver amt list|probe|power|pxe|kvm|events|forget`: one question, one answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootserver.amt.types import AmtLogin, BootTarget, PowerAction, PowerState
from bootserver.cli.amt.boot import boot_into_target
from bootserver.cli.amt.login import open_amt, open_hosts, with_login
from bootserver.cli.amt.many import Json, Named, ask_each, show, with_hosts
from bootserver.cli.shared import as_json, echo, print_json, with_config
from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.json_values import to_json
from bootserver.quoting import printable
from bootserver.units import speed

if TYPE_CHECKING:
    from bootserver.amt.access import AmtAccess
    from bootserver.amt.control.facts import AmtFacts
    from bootserver.amt.hosts import AmtHosts
    from bootserver.amt.wsman.client import WsmanClient

_host = click.argument("machine", metavar="HOST")


@click.command("list")
@as_json
@with_config
async def list_hosts(config: Config, as_json: bool) -> None:
    """List the machines whose AMT is known: from config.toml, and from being met."""
    async with open_hosts(config) as hosts:
        found = [to_json(host) for host in await hosts.list()]
    if as_json:
        print_json(found)
        return
    if not found:
        echo("No AMT is known yet: run bootserver amt probe HOST")
    for host in found:
        facts = host["facts"] or {}
        names = " ".join(host["names"].values()) or facts.get("uuid") or "-"
        version = f"AMT {facts['amt_version']}" if facts.get("amt_version") else "not met yet"
        rate = speed(host["bytes_per_s"]) if host["bytes_per_s"] else ""
        echo(f"{host['host']:<32}  {version:<16}  {names:<40}  {rate}".rstrip())


@click.command()
@with_hosts
@with_login
@as_json
@with_config
async def probe(config: Config, named: Named, login: AmtLogin, as_json: bool) -> None:
    """Ask AMT what it is, what it can do, and what stands in the way of booting from here."""

    async def ask(hosts: AmtHosts, client: WsmanClient, access: AmtAccess) -> Json:
        facts = await hosts.probe(client)
        rows = "".join(f"\n  {name:<16} {printable(str(value))}" for name, value in _rows(facts))
        over = f", over {'TLS' if access.tls else 'plain HTTP'}"
        return {"facts": to_json(facts)} if as_json else {"text": f"{access.host}{over}{rows}"}

    answers = await ask_each(config, named, login, ask)
    if as_json and not named.is_list:
        print_json(answers[0].as_json()["facts"])
        return
    show(named, answers, lambda answer: str(answer["text"]), as_json=as_json)


@click.command()
@with_hosts
@click.argument("action", type=click.Choice(["state", *(a.value for a in PowerAction)]))
@with_login
@as_json
@with_config
async def power(config: Config, named: Named, action: str, login: AmtLogin, as_json: bool) -> None:
    """Tell machines' power state, or change it; `boot` is a reset, or power-on if it is off."""

    async def ask(_: AmtHosts, client: WsmanClient, _access: AmtAccess) -> Json:
        from bootserver.amt.control.power import power_state, request_power

        if action == "state":
            return {"state": (await power_state(client)).value}
        change = await request_power(client, PowerAction(action))
        return {"before": change.before.value, "asked": change.asked.value}

    def sentence(answer: Json) -> str:
        if action == "state":
            return f"{answer['host']} is {PowerState(answer['state']).in_words}"
        before = PowerState(answer["before"]).in_words
        return f"{answer['host']} was {before}; asked for: {answer['asked']}"

    show(named, await ask_each(config, named, login, ask), sentence, as_json=as_json)


@click.command()
@with_hosts
@with_login
@as_json
@with_config
async def pxe(config: Config, named: Named, login: AmtLogin, as_json: bool) -> None:
    """Boot machines from the network, this once: see docs/pxe.md for what answers them."""
    await boot_into_target(config, named, login, BootTarget.PXE, as_json=as_json)


@click.command()
@_host
@click.option(
    "--rfb-password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The viewer's password in its first line, 8 characters; else it is asked for.",
)
@with_login
@with_config
async def kvm(
    config: Config, machine: str, rfb_password_file: Path | None, login: AmtLogin
) -> None:
    """Switch a machine's remote screen on, and say where a viewer finds it."""
    from bootserver.amt.access import read_password
    from bootserver.amt.control.kvm import enable_kvm

    if rfb_password_file:
        rfb_password = read_password(rfb_password_file)
    else:
        rfb_password = click.prompt(
            "password for the viewer, 8 characters", hide_input=True, err=True
        )
    async with open_amt(config, machine, login, consents=True) as (_, client, _access):
        address = await enable_kvm(client, rfb_password)
    viewer = "any VNC viewer" if address.vnc else "a viewer that knows AMT, such as MeshCommander"
    echo(f"the screen is at {address.host}:{address.port}, for {viewer}")


@click.command()
@_host
@with_login
@as_json
@with_config
async def events(config: Config, machine: str, login: AmtLogin, as_json: bool) -> None:
    """Read AMT's event log, newest first: what the firmware did, One-Click Recovery too."""
    from bootserver.amt.control.event_log import read_event_log

    async with open_amt(config, machine, login) as (_, client, _access):
        found = await read_event_log(client)
    if as_json:
        print_json([asdict(event) for event in found])
        return
    for event in found:
        at = f"{event.at.astimezone():%Y-%m-%d %H:%M:%S}" if event.at else "-"
        echo(f"{at:<19}  {event.severity:<12}  {event.source:<20}  {event.text}")


@click.command()
@_host
@with_config
async def forget(config: Config, machine: str) -> None:
    """Forget what was met at HOST; its certificate too, as after provisioning it anew."""
    async with open_hosts(config) as hosts:
        host = await hosts.resolve(machine)
        if not await hosts.forget(host):
            raise BootServerError(f"nothing was met at {host}", hint="run: bootserver amt list")
        echo(f"forgotten: what was met at {host}")


def _rows(facts: AmtFacts) -> list[tuple[str, str]]:
    """What AMT told, for a person."""
    redirection, boot, network = facts.redirection, facts.boot, facts.network
    rows = [
        ("AMT", f"{facts.amt_version or 'of unknown version'} {facts.sku or ''}".strip()),
        ("machine", f"{facts.host_name or '-'}, UUID {facts.uuid or '-'}"),
        ("power", facts.power.value),
        ("control mode", facts.control_mode.value if facts.control_mode else "unknown"),
        ("consent", _consent(facts)),
    ]
    if redirection:
        switches = {
            "IDE-R": redirection.ider_enabled,
            "SOL": redirection.sol_enabled,
            "listener": redirection.listener_enabled,
        }
        shown = ", ".join(f"{name} {_word(is_on)}" for name, is_on in switches.items())
        rows.append(("redirection", shown))
    rows.append(("KVM", "not there" if not facts.kvm.available else _word(facts.kvm.enabled)))
    if boot:
        can = {
            "redirected CD": boot.ider,
            "PXE": boot.pxe,
            "HTTPS": boot.https,
            "disk": boot.hard_drive,
            "CD": boot.cd,
            "BIOS setup": boot.bios_setup,
        }
        rows.append(("can boot to", ", ".join(name for name, has in can.items() if has) or "-"))
        if unsaid := [name for name, has in can.items() if has is None]:
            rows.append(("not known of", ", ".join(unsaid)))
    else:
        rows.append(("can boot to", "unknown"))
    recovery = "ready" if facts.recovery.ready else f"no: {'; '.join(facts.recovery.obstacles)}"
    rows.append(("1-click recovery", recovery))
    control = {
        True: "AMT may switch it off for one boot",
        False: "AMT may not switch it off",
        None: "AMT does not say whether it may switch it off",
    }
    rows.append(("Secure Boot", control[facts.secure_boot_control]))
    if network:
        link = {True: "link up", False: "no link", None: "link unknown"}[network.link_up]
        how = {True: "by DHCP", False: "static", None: ""}[network.dhcp]
        address = f"{network.address or '-'} {how}".strip()
        rows.append(("network", f"{network.mac} {address}, {link}"))
    return rows


def _consent(facts: AmtFacts) -> str:
    policy = {"none": "never", "kvm": "for KVM only", "all": "for everything"}
    asked = policy.get(facts.consent_policy or "", "unknown")
    needed = "; a redirected boot needs it now" if facts.consent_needed else ""
    return f"asked {asked}{needed}"


def _word(on: bool | None) -> str:
    return {True: "on", False: "off", None: "unknown"}[on]
