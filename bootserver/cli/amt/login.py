"""How a command gets to a machine's AMT: options for the login, and what is asked for instead."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootserver.amt.types import AmtLogin
from bootserver.cli.shared import echo, open_state
from bootserver.config import PASSWORD_VARIABLE, Config
from bootserver.errors import BootServerError

if TYPE_CHECKING:
    from bootserver.amt.access import AmtAccess
    from bootserver.amt.hosts import AmtHosts
    from bootserver.amt.wsman.client import WsmanClient

_OPTIONS = (
    click.option("--user", default="", help="AMT's user; else [amt] user, admin."),
    click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"The password in its first line; else {PASSWORD_VARIABLE} and other places.",
    ),
    click.option("--tls/--plain", "tls", default=None, help="TLS, or plain; else [amt] tls."),
    click.option("--legacy-tls", is_flag=True, help="TLS 1.0 as well, for AMT without TLS 1.2."),
)


def with_login(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `login`, what the command line says of it."""

    def run(
        *arguments: Any,
        user: str,
        password_file: Path | None,
        tls: bool | None,
        legacy_tls: bool,
        **named: Any,
    ) -> Any:
        password = ""
        if password_file:
            from bootserver.amt.access import read_password

            password = read_password(password_file)
        login = AmtLogin(user, password, tls, legacy_tls)
        return command(*arguments, login=login, **named)

    wrapped: Callable[..., Any] = update_wrapper(run, command)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def login_from_here(login: AmtLogin) -> AmtLogin:
    """The login with the password of this process's environment, for a server in another one."""
    return replace(login, password=login.password or os.environ.get(PASSWORD_VARIABLE, ""))


def is_interactive() -> bool:
    """True if a person can be asked: both ends are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@asynccontextmanager
async def open_hosts(config: Config) -> AsyncIterator[AmtHosts]:
    """The machines whose AMT is known here."""
    from bootserver.amt.hosts import AmtHosts

    async with open_state(config) as engine:
        yield AmtHosts(config, engine)


@asynccontextmanager
async def open_amt(
    config: Config, machine: str, login: AmtLogin, *, consents: bool = False
) -> AsyncIterator[tuple[AmtHosts, WsmanClient, AmtAccess]]:
    """A word with one machine's AMT; its password is asked for where none is kept.

    With `consents` so is the code on its screen, where AMT demands a user's consent.
    """
    async with open_hosts(config) as hosts:
        host = await hosts.resolve(machine)
        login = await with_password(hosts, [host], login)
        async with hosts.client(host, login) as (client, access):
            if consents:
                await have_consent(client)
            yield hosts, client, access


async def with_password(hosts: AmtHosts, machines: Sequence[str], login: AmtLogin) -> AmtLogin:
    """The login with a password that is asked for, if one of the machines has none kept."""
    if not is_interactive():
        return login
    lacking = []
    for machine in machines:
        try:
            host = await hosts.resolve(machine)
        except BootServerError:
            continue  # it is told in its turn
        if await lacks_password(hosts, host, login):
            lacking.append(host)
    if not lacking:
        return login
    whose = lacking[0] if len(lacking) == 1 else f"{len(lacking)} hosts"
    password = click.prompt(f"password of AMT on {whose}", hide_input=True, err=True)
    return replace(login, password=password)


async def lacks_password(hosts: AmtHosts, host: str, login: AmtLogin) -> bool:
    """True if none is given, and none is kept for that host."""
    from bootserver.amt.access import NoPasswordError

    try:
        await hosts.access(host, login)
    except NoPasswordError:
        return True
    return False


async def have_consent(client: WsmanClient) -> None:
    """Have the user here ask the one at the machine, if AMT wants that."""
    from bootserver.amt.control.consent import ConsentPrompt, consent_is_missing
    from bootserver.amt.errors import AmtConsentRequiredError
    from bootserver.cli.amt.typed import typed_line

    if not await consent_is_missing(client):
        return
    if not is_interactive():
        raise AmtConsentRequiredError(
            f"AMT on {client.host} wants a user's consent, and no user can be asked",
            hint="run the command in a terminal, with a person at the machine",
        )
    question = ConsentPrompt(lambda sentence: echo(sentence, err=True))
    asking = asyncio.create_task(question.ask(client))
    try:
        while not asking.done():
            if question.is_open:
                question.answer((await typed_line("code", hide=False) or "").strip())
            await asyncio.wait({asking}, timeout=0.1)
        await asking
    finally:
        asking.cancel()
