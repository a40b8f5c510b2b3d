"""One question to many machines' AMT: side by side, and one answer for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootserver.amt.boot.turns import ASKED_AT_ONCE
from bootserver.amt.types import AmtLogin
from bootserver.cli.amt.login import (
    have_consent,
    lacks_password,
    open_hosts,
    with_password,
)
from bootserver.cli.shared import echo, print_json
from bootserver.config import Config
from bootserver.errors import BootServerError

if TYPE_CHECKING:
    from bootserver.amt.access import AmtAccess
    from bootserver.amt.hosts import AmtHosts
    from bootserver.amt.wsman.client import WsmanClient

Json = dict[str, Any]
Ask = Callable[["AmtHosts", "WsmanClient", "AmtAccess"], Awaitable[Json]]


@dataclass(frozen=True)
class Named:
    """The machines of a command line; a list is answered by one, even of one machine."""

    machines: tuple[str, ...]
    is_list: bool


@dataclass(frozen=True)
class HostAnswer:
    """What one machine's AMT has answered, or why it has not."""

    host: str
    value: Json | None = None
    problem: BootServerError | None = None

    def as_json(self) -> Json:
        """For --json: the host beside the answer or the error."""
        if self.problem is None:
            return {"host": self.host, **(self.value or {})}
        from bootserver.amt.errors import failure_of

        problem = self.problem
        failure = {"error": problem.message, "hint": problem.hint, "failure": failure_of(problem)}
        return {"host": self.host, **failure}


def with_hosts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `named`: the machines of its arguments, and those in the file of --hosts."""

    def run(
        *arguments: Any, machines: tuple[str, ...], hosts_file: Path | None, **others: Any
    ) -> Any:
        found = tuple(dict.fromkeys([*machines, *(_read(hosts_file) if hosts_file else [])]))
        if not found:
            raise click.UsageError("give a HOST, or --hosts FILE")
        named = Named(found, is_list=hosts_file is not None or len(found) > 1)
        return command(*arguments, named=named, **others)

    wrapped: Callable[..., Any] = update_wrapper(run, command)
    wrapped = click.option(
        "--hosts",
        "hosts_file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
        help="A file with more hosts, one a line; # begins a comment.",
    )(wrapped)
    return click.argument("machines", metavar="HOST...", nargs=-1)(wrapped)


async def ask_each(
    config: Config, named: Named, login: AmtLogin, ask: Ask, *, consents: bool = False
) -> list[HostAnswer]:
    """The answer of each machine's AMT, in their order; the problem of a single one is raised.

    A password that is kept nowhere is asked for once, for all that need it.
    """
    room, one_question = asyncio.Semaphore(ASKED_AT_ONCE), asyncio.Lock()
    async with open_hosts(config) as hosts:
        asked_login = await with_password(hosts, named.machines, login)

        async def answer(machine: str) -> HostAnswer:
            host = machine
            try:
                async with room:
                    host = await hosts.resolve(machine)
                    its_login = asked_login if await lacks_password(hosts, host, login) else login
                    async with hosts.client(host, its_login) as (client, access):
                        if consents:
                            async with one_question:
                                await have_consent(client)
                        return HostAnswer(host, await ask(hosts, client, access))
            except BootServerError as err:
                if not named.is_list:
                    raise
                return HostAnswer(host, problem=err)

        return await asyncio.gather(*map(answer, named.machines))


def show(
    named: Named, answers: list[HostAnswer], sentence: Callable[[Json], str], *, as_json: bool
) -> None:
    """Print the answers; raises SystemExit if any machine has none."""
    if as_json:
        shown = [answer.as_json() for answer in answers]
        print_json(shown if named.is_list else shown[0])
    else:
        for answer in answers:
            if answer.problem is None:
                for line in sentence(answer.as_json()).split("\n"):
                    echo(line)
            else:
                hint = f" ({answer.problem.hint})" if answer.problem.hint else ""
                echo(f"{answer.host}: {answer.problem.message}{hint}", err=True)
    if any(answer.problem for answer in answers):
        raise SystemExit(1)


def _read(path: Path) -> list[str]:
    try:
        with click.open_file(str(path), encoding="utf-8") as file:
            lines = [line.partition("#")[0].strip() for line in file]
    except (OSError, UnicodeDecodeError) as err:
        raise BootServerError(
            f"{path} cannot be read: {err}", hint="write one host in each line, as UTF-8 text"
        ) from err
    return [line for line in lines if line]
