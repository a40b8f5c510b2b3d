"""`bootserver machines`: what single machines boot, and which have been here."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bootserver.cli.shared import (
    as_json,
    checked,
    echo,
    open_library,
    open_state,
    print_json,
    with_config,
)
from bootserver.config import Config, MachineConfig
from bootserver.errors import BootServerError
from bootserver.fields import parse_entry, parse_kernel_arguments, parse_memdisk_arguments
from bootserver.selector import Selector

if TYPE_CHECKING:
    from bootserver.model import SeenMachine
    from bootserver.sessions.profiles import Profile

_selector = click.argument("words", metavar="SELECTOR...", nargs=-1, required=True)


@dataclass(frozen=True, slots=True)
class MachineLine:
    """One line of the listing: what a machine is to boot, or of a machine that was seen, what was.

    `at` is when that was set, or booted; None for what stands in config.toml.
    """

    kind: str  # once, standing, config or seen
    machine: Selector
    at: datetime | None
    image: str
    entry: str = ""
    arguments: str = ""
    memdisk: str = ""

    def for_scripts(self) -> dict[str, Any]:
        values = asdict(self)
        at = self.at.isoformat() if self.at else None
        return {"kind": self.kind, **values.pop("machine"), **values, "at": at}

    def show(self) -> None:
        at = f"{self.at.astimezone():%Y-%m-%d %H:%M:%S}" if self.at else "-"
        echo(f"{self.kind:<8}  {at:<19}  {self.image or '-':<24}  {_words(self.machine)}")
        if self.entry:
            echo(f"{'':<10}entry      {self.entry}")
        if self.arguments:
            echo(f"{'':<10}arguments  {self.arguments}")
        if self.memdisk:
            echo(f"{'':<10}memdisk    {self.memdisk}")
        if self.machine.warning and self.kind != "seen":
            echo(f"{'':<10}beware: {self.machine.warning}", fg="yellow", err=True)


@click.group()
def machines() -> None:
    """What single machines boot, and which have been here.

    A SELECTOR is a MAC address, a UUID, serial=NUMBER or asset=TAG; of more than one, all must
    match.
    """


@machines.command("list")
@as_json
@with_config
async def list_machines(config: Config, as_json: bool) -> None:
    """List what is set for machines, here and in config.toml, and the machines seen so far."""
    from bootserver.sessions.profiles import ProfileStore
    from bootserver.sessions.store import SessionStore

    async with open_state(config) as engine:
        profiles = await ProfileStore(engine).list()
        seen = await SessionStore(engine).machines()
    lines = [
        *map(_of_profile, sorted(profiles, key=lambda profile: not profile.once)),
        *map(_of_table, config.machines),
        *(_of_seen(machine) for machine in seen if machine.machine.name),
    ]
    if as_json:
        print_json([line.for_scripts() for line in lines])
        return
    if not lines:
        echo("No machines yet: start one from a stub, or run: bootserver machines set")
    for line in lines:
        line.show()


@machines.command("set")
@_selector
@click.option(
    "--image", default="", metavar="ID", help="What to boot, where the stub leaves that open."
)
@click.option("--entry", default="", help="An entry of the disc's own menu.")
@click.option("--arguments", default="", help="More kernel arguments.")
@click.option("--memdisk", default="", help="memdisk's arguments.")
@click.option("--once", is_flag=True, help="For the next boot only.")
@with_config
async def set_machine(
    config: Config,
    words: tuple[str, ...],
    image: str,
    entry: str,
    arguments: str,
    memdisk: str,
    once: bool,
) -> None:
    """Say what the machine of SELECTOR boots, in place of what was said before."""
    from bootserver.sessions.profiles import ProfileStore

    selector = checked(Selector.parse, words, "SELECTOR")
    boots = {
        "image": image,
        "entry": checked(parse_entry, entry, "--entry"),
        "arguments": checked(parse_kernel_arguments, arguments, "--arguments"),
        "memdisk": checked(parse_memdisk_arguments, memdisk, "--memdisk"),
    }
    if not any(boots.values()):
        raise click.UsageError("give --image, --entry, --arguments or --memdisk")
    async with open_state(config) as engine:
        if image:
            async with open_library(config, engine, half_copied=True) as library:
                await library.check_entry(image, entry)
        profile = await ProfileStore(engine).set(selector, once=once, **boots)
    echo("for the next boot:" if once else "from the next boot on:")
    _of_profile(profile).show()


@machines.command("forget")
@_selector
@with_config
async def forget_machine(config: Config, words: tuple[str, ...]) -> None:
    """Forget what was set for SELECTOR, one-shot and standing; config.toml stays as it is."""
    from bootserver.sessions.profiles import ProfileStore

    selector = checked(Selector.parse, words, "SELECTOR")
    async with open_state(config) as engine:
        forgotten = await ProfileStore(engine).remove(selector)
    if forgotten:
        echo(f"forgotten: what was set for {_words(selector)}")
        return
    in_file = any(table.selector.key == selector.key for table in config.machines)
    raise BootServerError(
        f"nothing is set for {_words(selector)}",
        hint="config.toml has a [[machines]] table for it: delete that"
        if in_file
        else "run: bootserver machines list",
    )


def _words(selector: Selector) -> str:
    """The selector as it is given on the command line."""
    names = selector.names
    bare = [names.pop(kind) for kind in ("mac", "uuid") if kind in names]
    return shlex.join(bare + [f"{kind}={name}" for kind, name in names.items()])


def _of_profile(profile: Profile) -> MachineLine:
    kind = "once" if profile.once else "standing"
    return MachineLine(kind, profile.selector, profile.set_at, **_said(profile))


def _of_table(table: MachineConfig) -> MachineLine:
    return MachineLine("config", table.selector, None, **_said(table))


def _said(of: Profile | MachineConfig) -> dict[str, str]:
    from bootserver.sessions.profiles import SAID

    return {name: getattr(of, name) for name in SAID}


def _of_seen(seen: SeenMachine) -> MachineLine:
    machine = seen.machine
    names = Selector(machine.mac, machine.uuid, machine.serial, machine.asset)
    return MachineLine("seen", names, seen.seen_at, seen.image)
