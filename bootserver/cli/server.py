"""`bootserver serve`, `config` and `doctor`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress

import click
import tomli_w

from bootserver.cli.shared import as_json, echo, print_json, with_config
from bootserver.config import Config
from bootserver.configfile import in_force


@click.command()
@with_config
async def serve(config: Config) -> None:
    """Serve stubs, boot scripts and images until told to stop."""
    from bootserver.service import run

    with suppress(asyncio.CancelledError):  # SIGTERM or Ctrl-C before it was up
        await run(config, _announce)
    # A thread may still pack a loader, or wait for a dead NFS server. Python would wait for it, and
    # nothing is lost with it.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a pipe without a reader
            stream.flush()
    os._exit(0)


def _announce(places: Mapping[str, str]) -> None:
    width = max(map(len, places))
    with suppress(OSError):  # a pipe without a reader
        echo("bootserver is up; end it with Ctrl-C")
        for what, where in places.items():
            echo(f"  {what:<{width}}  {where}")


@click.command()
@as_json
@with_config
def config(config: Config, as_json: bool) -> None:
    """Print the configuration in force, secrets masked."""
    values = in_force(config)
    if as_json:
        print_json(values)
    else:
        for line in tomli_w.dumps(values).splitlines():
            echo(line)


@click.command()
@as_json
@with_config
def doctor(config: Config, as_json: bool) -> None:
    """Say what is missing on this machine, and how to get it."""
    from bootserver.stub.loaders import problems, read_manifest
    from bootserver.stub.sign import secure_boot_advice, signing_problem
    from bootserver.tls.authority import SiteAuthority

    found = problems(config.stub)
    if unsigned := signing_problem(config.stub.signing):
        found.append(f"{unsigned.message}; {unsigned.hint}")
    authority = SiteAuthority(config)
    found += [*authority.problems(), *config.warnings]
    if not config.images.path.is_dir():
        found.append(f"{config.images.path} is not there; make it, or set [images] path")
    elif shutil.disk_usage(config.images.path).free < 1e9:
        found.append(f"{config.images.path} has less than 1 GB free: delete images, or move it")
    if as_json:
        print_json(
            {
                "problems": found,
                "secure_boot": secure_boot_advice(config.stub),
                "https": authority.advice(),
            }
        )
    else:
        for loader in read_manifest(config.stub.build).values():
            echo(f"{loader.name:<16} {loader.package} {loader.version}")
        echo(secure_boot_advice(config.stub))
        echo(authority.advice())
        for problem in found:
            echo(problem, fg="red")
        echo("nothing is missing" if not found else f"{len(found)} to put right")
    if found:
        raise SystemExit(1)
