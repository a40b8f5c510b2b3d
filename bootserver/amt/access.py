"""How one machine's AMT is reached: host, ports, login, and how to trust its certificate.

Passwords never come from config.toml, a command line, or the database. The first of these that is
there counts, the more special ones first:

| place                                                  | for                              |
|--------------------------------------------------------|----------------------------------|
| `amt.password_file` in the machine's table             | this machine                     |
| the systemd credential `amt-password-HOST`             | this machine                     |
| the environment variable BOOTSERVER_AMT_PASSWORD       | all                              |
| the systemd credential `amt-password`                  | all                              |
| `[amt] password_file`                                  | all                              |

A file's first line is the password, without the line end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bootserver.amt.errors import AmtError
from bootserver.amt.tls import Tls
from bootserver.amt.types import AmtLogin
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import PASSWORD_VARIABLE, AmtConfig, Config, MachineAmtConfig
from bootserver.selector import Selector

# systemd.exec(5), LoadCredential=: where the service finds its credentials.
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIAL = "amt-password"
PASSWORD_BYTES_MAX = 1024  # AMT takes 32 characters; a larger file is not the one that was meant

log = structlog.get_logger(__name__)


class NoPasswordError(AmtError):
    """No password is kept for this machine's AMT; a person may know it."""


@dataclass(frozen=True, slots=True)
class AmtAccess:
    """All that is needed to speak to a machine's AMT; `None` ports are AMT's own."""

    host: str
    user: str
    password: str = field(repr=False)
    tls: Tls | None
    wsman_port: int | None = None
    redirection_port: int | None = None

    def client(self) -> WsmanClient:
        """A WS-MAN client, to be entered."""
        return WsmanClient(self.host, self.user, self.password, tls=self.tls, port=self.wsman_port)


def access_to(
    host: str, config: Config, *, login: AmtLogin | None = None, pin_sha256: str | None = None
) -> AmtAccess:
    """How to reach AMT on that host; `pin_sha256` is the certificate that it showed before.

    Raises NoPasswordError where no password is given or kept, AmtError for a bad password file.
    """
    login = login or AmtLogin()
    own, site = machine_amt(config, host), config.amt
    choices = (login.tls, own.tls if own else None, site.tls)
    wants_tls = next(choice for choice in choices if choice is not None)
    ca = (own.ca if own else None) or site.ca
    tls = None
    if wants_tls:
        legacy = login.legacy_tls or bool(own and own.legacy_tls)
        tls = Tls(None if ca else pin_sha256, ca, legacy)
    return AmtAccess(
        host=host,
        user=login.user or (own and own.user) or site.user,
        password=login.password or find_password(host, site, own),
        tls=tls,
        wsman_port=(own and own.wsman_port) or None,
        redirection_port=(own and own.redirection_port) or None,
    )


def machine_amt(config: Config, host: str) -> MachineAmtConfig | None:
    """What config.toml says of AMT on that host."""
    return next((m.amt for m in config.machines if m.amt and m.amt.host == host), None)


def host_of(config: Config, machine: str) -> str | None:
    """The AMT host of a machine, named as `bootserver machines` names it; None if unknown."""
    try:
        wanted = Selector.parse([machine]).names.items()
    except ValueError:
        return None
    for table in config.machines:
        if table.amt and wanted <= table.selector.names.items():
            return table.amt.host
    return None


def find_password(
    host: str,
    amt: AmtConfig,
    machine: MachineAmtConfig | None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The password for that host's AMT; NoPasswordError where none is kept.

    Raises AmtError for a file that is there and cannot be used.
    """
    environment = os.environ if environment is None else environment
    if machine and machine.password_file:
        return read_password(machine.password_file)
    credentials = environment.get(CREDENTIALS_VARIABLE)
    own, common = (
        (Path(credentials) / name if credentials else None)
        for name in (f"{CREDENTIAL}-{host}", CREDENTIAL)
    )
    if own and own.exists():
        return read_password(own)
    if password := environment.get(PASSWORD_VARIABLE):
        return password
    if common and common.exists():
        return read_password(common)
    if amt.password_file:
        return read_password(amt.password_file)
    raise NoPasswordError(
        f"no password is kept for AMT on {host}",
        hint=f"set {PASSWORD_VARIABLE}, or password_file in [amt] or in the machine's table",
    )


def read_password(path: Path) -> str:
    """The password in the file's first line; AmtError if there is none to be had."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(PASSWORD_BYTES_MAX + 1)
    except OSError as err:
        raise AmtError(
            f"the password file {path} cannot be read: {err.strerror}",
            hint="check password_file, and who may read it",
        ) from err
    if mode & stat.S_IROTH:  # as container secrets often are, so no reason to refuse
        log.warning("amt.password_file_readable_by_all", path=str(path))
    try:
        password = text.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        password = ""
    if not password or len(text) > PASSWORD_BYTES_MAX:
        raise AmtError(
            f"the password file {path} has no password in its first line",
            hint="write the password there, and nothing else",
        )
    return password
