"""The registry of stubs: which token stands for what, and the secret that tokens come from.

A token is a keyed hash of the stub's spec. It cannot be guessed, and the same stub built twice is
the same stub, to the byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.database import DatabaseEngine
from bootserver.errors import StubError
from bootserver.files.atomic import create_once
from bootserver.model import Architecture
from bootserver.schema import STUBS
from bootserver.stub.network import NetworkSpec
from bootserver.stub.spec import StubSpec

SECRET_BYTES = 32
TOKEN_BYTES = 16
REMEMBERED = 10_000  # stubs: all that a site's machines have, and for a database that is lost
UNKNOWN_MAX = 1_000  # tokens that are known to be no stub's

_TOKEN = re.compile(f"[0-9a-f]{{{2 * TOKEN_BYTES}}}")


@dataclass(frozen=True, slots=True)
class IssuedStub:
    """A stub that this server knows by its token."""

    token: str
    spec: StubSpec

    @property
    def up_url(self) -> str:
        """What a system asks for when it is up, if its image has that in it."""
        return f"{self.spec.servers[0]}/b/{self.token}/phase/up"


class StubRegistry:
    """The stubs that this server has issued; tokens are made with the secret in `state`.

    A token never stands for another stub, and no stub is ever taken back. So what was found once is
    true for good. A token that no stub has is one until the database changes: the command line
    issues stubs as well.
    """

    def __init__(self, engine: DatabaseEngine, state: Path) -> None:
        self._engine = engine
        self._state = state
        self._rows: dict[str, dict[str, Any]] = {}  # of STUBS by token, the latest last
        self._stubs: dict[str, IssuedStub] = {}  # the same
        self._unknown: dict[str, object] = {}  # by token, with the database's content then

    async def issue(self, spec: StubSpec) -> IssuedStub:
        """The stub for `spec`, written down if it is new."""
        text = _text(spec)
        digest = hmac.digest(self._secret(), text.encode(), hashlib.sha256)
        stub = IssuedStub(digest[:TOKEN_BYTES].hex(), spec)
        row = {
            "token": stub.token,
            "image": spec.image,
            "spec": text,
            "issued_at": clock.now().timestamp(),
        }
        with contextlib.suppress(IntegrityError):  # issued before
            async with self._engine.begin() as connection:
                await connection.execute(STUBS.insert(), row)
        self._remember(row, stub)
        return stub

    async def find(self, token: str) -> IssuedStub | None:
        """The stub of that token, if it was issued here."""
        if (stub := self._stubs.get(token)) or not _TOKEN.fullmatch(token):
            return stub
        content = self._engine.content()  # before it is asked
        if content is not None and self._unknown.get(token) == content:
            return None
        query = select(STUBS).where(STUBS.c.token == token)
        async with self._engine.connect() as connection:
            found = (await connection.execute(query)).one_or_none()
        if found is None:
            self._unknown[token] = content
            if len(self._unknown) > UNKNOWN_MAX:
                del self._unknown[next(iter(self._unknown))]
            return None
        stub = IssuedStub(token, _spec(json.loads(found.spec)))
        self._remember(found._asdict(), stub)
        return stub

    async def write_anew(self) -> None:
        """Write down again those that this run has seen: the database is a new one, and empty."""
        rows = list(self._rows.values())
        async with self._engine.begin() as connection:
            if rows:  # some may have been issued again since
                await connection.execute(STUBS.delete().where(STUBS.c.token.in_(list(self._rows))))
                await connection.execute(STUBS.insert(), rows)

    def _remember(self, row: dict[str, Any], stub: IssuedStub) -> None:
        self._rows.pop(stub.token, None)
        self._rows[stub.token], self._stubs[stub.token] = row, stub
        if len(self._rows) > REMEMBERED:
            oldest = next(iter(self._rows))
            del self._rows[oldest], self._stubs[oldest]

    def _secret(self) -> bytes:
        """The server's secret, made at first use and readable by its owner only."""
        path = self._state / "secret"
        try:
            if not path.exists():
                create_once(path, secrets.token_bytes(SECRET_BYTES))
            secret = path.read_bytes()
        except OSError as err:
            raise StubError(
                f"the secret {path} cannot be read or made: {err.strerror}",
                hint="check [state] path in config.toml, and who may write there",
            ) from err
        if len(secret) < SECRET_BYTES:
            raise StubError(
                f"the secret {path} is cut short", hint="delete it; stubs get new tokens"
            )
        return secret


def _text(spec: StubSpec) -> str:
    """The spec as JSON, from which its token comes.

    A key that older stubs did not have is there only where it says something. So what has been
    ordered before keeps its token.
    """
    values = asdict(spec)
    if not spec.network.then_dhcp:
        del values["network"]["then_dhcp"]
    for key in ("machine", "entry"):
        if not values[key]:
            del values[key]
    return json.dumps(values, sort_keys=True)


def _spec(values: dict[str, Any]) -> StubSpec:
    network = NetworkSpec(**values.pop("network"))
    servers = tuple(values.pop("servers"))
    architectures = tuple(map(Architecture, values.pop("architectures", [Architecture.BIOS])))
    return StubSpec(**values, servers=servers, network=network, architectures=architectures)
