"""`bootserver`: the group of commands, and how their errors are shown."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import click

from bootserver.cli.amt import amt
from bootserver.cli.bench import bench
from bootserver.cli.boots import boots
from bootserver.cli.demo import demo
from bootserver.cli.drivers import drivers
from bootserver.cli.images import images
from bootserver.cli.machines import machines
from bootserver.cli.optimize import optimize_image
from bootserver.cli.server import config, doctor, serve
from bootserver.cli.shared import echo
from bootserver.cli.stub import stub
from bootserver.configfile import CONFIG_VARIABLE
from bootserver.errors import BootServerError
from bootserver.quoting import printable


class _Commands(click.Group):
    """A group whose commands end with a sentence and a hint instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as err:
            err.message = printable(err.message)  # type: ignore[misc]  # what was typed is in it
            raise
        except BootServerError as err:
            first, *more = err.message.split("\n")  # every mistake of a configuration has a line
            echo(f"bootserver: {first}", fg="red", err=True)
            for line in more:
                echo(f"  {line.lstrip()}", fg="red", err=True)
            if err.hint:
                echo(f"  {err.hint}", err=True)
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help="config.toml to use; else ./config.toml, else the project's.",
)
@click.version_option(package_name="bootserver")
@click.pass_context
def main(ctx: click.Context, config_path: Path | None) -> None:
    """Boot PCs from a recovery ISO in RAM, started by a tiny stub."""
    ctx.obj = config_path
    # bootserver.__main__ held them back; the server lets the others come once it can ignore them.
    ends = {signal.SIGINT} if ctx.invoked_subcommand == serve.name else signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)


images.add_command(optimize_image)
for command in (serve, doctor, config, images, drivers, stub, machines, amt, boots, bench, demo):
    main.add_command(command)
