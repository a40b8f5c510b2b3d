"""`bootserver amt`: Intel AMT, from a look at it to a booted machine."""

from __future__ import annotations

import click

from bootserver.cli.amt.boot import boot
from bootserver.cli.amt.console import console
from bootserver.cli.amt.drive import attach
from bootserver.cli.amt.machine import events, forget, kvm, list_hosts, power, probe, pxe
from bootserver.cli.amt.running import boots, stop


@click.group()
def amt() -> None:
    """Remote machines through Intel AMT.

    HOST is where a machine's AMT answers. A MAC address, a UUID, serial=NUMBER or asset=TAG will do
    for a machine of config.toml, or one probed before.
    """


_COMMANDS = (list_hosts, probe, power, boot, boots, stop, pxe, attach, console, kvm, events, forget)
for command in _COMMANDS:
    amt.add_command(command)

__all__ = ["amt"]
