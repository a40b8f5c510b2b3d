"""How one machine's AMT is reached: host, ports, user, password, and whom to trust over TLS."""

from __future__ import annotations

from dataclasses import dataclass, field

from bootserver.amt.credentials import find_password
from bootserver.amt.tls import Tls
from bootserver.amt.types import AmtLogin
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import Config, MachineAmtConfig
from bootserver.selector import Selector


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
    wants_tls = _first(login.tls, own.tls if own else None, site.tls)
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
    """The AMT host of the machine that somebody names as `bootserver machines` does, if known."""
    try:
        wanted = Selector.parse([machine]).names.items()
    except ValueError:
        return None
    for table in config.machines:
        if table.amt and wanted <= table.selector.names.items():
            return table.amt.host
    return None


def _first(*values: bool | None) -> bool:
    return next(value for value in values if value is not None)
