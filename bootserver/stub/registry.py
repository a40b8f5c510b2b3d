"""The registry of stubs: which token stands for what, and the secret that tokens come from.

A token is a keyed hash of the stub's spec: it cannot be guessed, and the same stub built twice is
the same stub, to the byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
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
REMEMBERED = 10_000  # stubs, for a database that is lost


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
    """The stubs that this server has issued; tokens are made with the secret in `state`."""

    def __init__(self, engine: DatabaseEngine, state: Path) -> None:
        self._engine = engine
        self._state = state
        self._used: dict[str, dict[str, Any]] = {}  # rows of STUBS by token, the latest last

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
        self._remember(row)
        return stub

    async def find(self, token: str) -> IssuedStub | None:
        """The stub of that token, if it was issued here."""
        row = self._used.get(token)
        if row is None:
            query = select(STUBS).where(STUBS.c.token == token)
            async with self._engine.connect() as connection:
                found = (await connection.execute(query)).one_or_none()
            if found is None:
                return None
            row = found._asdict()
        self._remember(row)
        return IssuedStub(token, _spec(json.loads(row["spec"])))

    async def write_anew(self) -> None:
        """Write down again those that this run has seen: the database is a new one, and empty."""
        rows = list(self._used.values())
        async with self._engine.begin() as connection:
            if rows:  # some may have been issued again since
                await connection.execute(STUBS.delete().where(STUBS.c.token.in_(list(self._used))))
                await connection.execute(STUBS.insert(), rows)

    def _remember(self, row: dict[str, Any]) -> None:
        self._used.pop(row["token"], None)
        self._used[row["token"]] = row
        if len(self._used) > REMEMBERED:
            del self._used[next(iter(self._used))]

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

    A key that older stubs did not have is there only where it says something, so that what has been
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
