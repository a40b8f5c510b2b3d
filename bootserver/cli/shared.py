"""What commands have in common: the configuration, the database, JSON."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bootserver.config import Config
from bootserver.configfile import load_config
from bootserver.quoting import printable

if TYPE_CHECKING:
    from bootserver.database import DatabaseEngine
    from bootserver.images.library import Library

_Given = TypeVar("_Given")
_Parsed = TypeVar("_Parsed")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def with_config(command: Callable[..., Coroutine[Any, Any, None] | None]) -> Callable[..., None]:
    """Give a command the configuration in force, and run it on a loop if it is asynchronous.

    `--config` may stand before the command or after it.
    """

    def run(own_config_path: Path | None, **arguments: Any) -> None:
        from bootserver.log import configure_logging

        context = click.get_current_context()
        config = load_config(own_config_path or context.obj)
        configure_logging(config.log, quiet=context.info_name != "serve")
        result = command(config, **arguments)
        if result is not None:
            try:
                asyncio.run(_until_killed(result))
            except asyncio.CancelledError:
                raise click.Abort from None

    option = click.option(
        "--config",
        "own_config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="config.toml to use.",
    )
    return option(update_wrapper(run, command))


async def _until_killed(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; SIGTERM and a closed terminal end it as Ctrl-C does, and it tidies up."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # and not ignored, as under nohup
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await work


@asynccontextmanager
async def open_state(config: Config) -> AsyncIterator[DatabaseEngine]:
    """The database, in a state directory that exists."""
    from bootserver.database import open_database
    from bootserver.state import make_state

    make_state(config.state.path)
    async with open_database(config.state.database_url) as engine:
        yield engine


@asynccontextmanager
async def open_library(
    config: Config, engine: DatabaseEngine, *, half_copied: bool = False
) -> AsyncIterator[Library]:
    """The library after one look at its directory; with `half_copied` also what still grows."""
    from bootserver.images.library import SETTLE_S, Library

    settle_s = 0 if half_copied else SETTLE_S
    async with Library(config.images.path, engine, settle_s=settle_s) as library:
        await library.scan()
        yield library


async def until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Does the work; Ctrl-C is its proper end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def echo(line: str = "", *, fg: str = "", err: bool = False, nl: bool = True) -> None:
    """Print a line; what is not printable in it is escaped, for it may come from anywhere."""
    text = printable(line)
    click.echo(click.style(text, fg=fg) if fg else text, err=err, nl=nl)  # noqa: TID251


def print_json(value: Any) -> None:
    """Print JSON for a program."""
    for line in json.dumps(value, indent=2, default=str).split("\n"):
        echo(line)


def checked(parse: Callable[[_Given], _Parsed], given: _Given, name: str) -> _Parsed:
    """What `parse` makes of a parameter, whose mistakes are usage errors."""
    try:
        return parse(given)
    except ValueError as err:
        raise click.BadParameter(str(err), param_hint=name) from err
