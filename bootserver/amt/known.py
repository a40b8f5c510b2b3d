"""What is remembered of each machine's AMT: its certificate, what it is, how fast its line was."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, or_, select
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.database import AMT_HOSTS, DatabaseEngine


@dataclass(frozen=True, slots=True)
class KnownHost:
    """AMT on one host as it was last met; `facts` as `AmtFacts.as_json` gave them, or empty."""

    host: str
    seen_at: datetime
    certificate_sha256: str = ""  # pinned; "" where nothing is
    facts: Mapping[str, Any] = field(default_factory=dict)
    uuid: str = ""
    mac: str = ""
    bytes_per_s: int = 0  # of redirection, the last time; 0 where that is unknown

    @property
    def pin_sha256(self) -> str | None:
        """The certificate to insist on."""
        return self.certificate_sha256 or None


class KnownHosts:
    """The AMT hosts in the database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    async def list(self) -> list[KnownHost]:
        """All of them, by name."""
        query = select(AMT_HOSTS).order_by(AMT_HOSTS.c.host)
        async with self._engine.connect() as connection:
            return [_of_row(row) for row in await connection.execute(query)]

    async def get(self, host: str) -> KnownHost | None:
        """What is known of that host."""
        query = select(AMT_HOSTS).where(AMT_HOSTS.c.host == host)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _of_row(row)

    async def of_machine(self, name: str) -> KnownHost | None:
        """The host of the machine with this UUID or MAC address; the one that was met last."""
        query = (
            select(AMT_HOSTS)
            .where(or_(AMT_HOSTS.c.uuid == name, AMT_HOSTS.c.mac == name))
            .order_by(AMT_HOSTS.c.seen_at.desc())
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _of_row(row)

    async def met(self, host: str, **values: Any) -> None:
        """Remember `values` (fields of KnownHost) of that host; what is not given stays."""
        values["seen_at"] = clock.now().timestamp()
        fresh = {"certificate_sha256": "", "facts": {}, "uuid": "", "mac": "", "bytes_per_s": 0}
        with suppress(IntegrityError):  # it is known
            async with self._engine.begin() as connection:
                await connection.execute(AMT_HOSTS.insert().values(**fresh | values, host=host))
            return
        async with self._engine.begin() as connection:
            update = AMT_HOSTS.update().where(AMT_HOSTS.c.host == host)
            await connection.execute(update.values(**values))

    async def forget(self, host: str) -> bool:
        """Forget a host with its pinned certificate; False if it was not known."""
        async with self._engine.begin() as connection:
            gone = await connection.execute(AMT_HOSTS.delete().where(AMT_HOSTS.c.host == host))
        return bool(gone.rowcount)


def _of_row(row: Row[Any]) -> KnownHost:
    values = dict(row._mapping)
    seen_at = datetime.fromtimestamp(values.pop("seen_at"), UTC)
    return KnownHost(seen_at=seen_at, **values)
