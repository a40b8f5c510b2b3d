"""The machines whose AMT this site knows: which they are, what is remembered, how to reach them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import Field, ValidationError, computed_field
from sqlalchemy import Row, Select, or_, select
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.amt.access import AmtAccess, access_to, host_of
from bootserver.amt.armed import ArmedRecords, BeingArmedError
from bootserver.amt.control.boot_options import clear_boot_options
from bootserver.amt.control.facts import AmtFacts
from bootserver.amt.control.probe import probe
from bootserver.amt.errors import (
    AmtError,
    AmtFaultError,
    AmtInDoubtError,
    AmtOverloadedError,
    AmtRefusedError,
    AmtUnreachableError,
)
from bootserver.amt.types import AmtLogin
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import Config
from bootserver.database import DatabaseEngine
from bootserver.errors import BootServerError
from bootserver.fields import parse_host
from bootserver.json_values import Timestamp, adapter_of, to_json
from bootserver.schema import AMT_HOSTS
from bootserver.selector import Selector

LEFT_ARMED_AGAIN_S = 300.0
# After these, what is armed at the machine is not known, and another try may do better.
_MAY_BE_ARMED = (AmtUnreachableError, AmtInDoubtError, AmtOverloadedError)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class UnknownMachineError(AmtError):
    """The address of this machine's AMT is unknown."""


@dataclass(frozen=True, slots=True)
class RememberedHost:
    """AMT on one host as it last answered; `facts` are AmtFacts as JSON, or empty."""

    host: str
    seen_at: datetime
    certificate_sha256: str = ""  # pinned; "" where nothing is
    facts: Mapping[str, Any] = field(default_factory=dict)
    uuid: str = ""
    mac: str = ""
    bytes_per_s: int = 0  # of redirection, the last time; 0 where that is unknown


class HostStore:
    """What is remembered of AMT hosts: a table of the database."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine

    async def list(self) -> list[RememberedHost]:
        """All of them, by name."""
        query = select(AMT_HOSTS).order_by(AMT_HOSTS.c.host)
        async with self._engine.connect() as connection:
            return [_of_row(row) for row in await connection.execute(query)]

    async def get(self, host: str) -> RememberedHost | None:
        """What is remembered of that host."""
        return await self._first(select(AMT_HOSTS).where(AMT_HOSTS.c.host == host))

    async def find(self, name: str) -> RememberedHost | None:
        """The host of the machine with this UUID or MAC address; the one that answered last."""
        of_machine = or_(AMT_HOSTS.c.uuid == name, AMT_HOSTS.c.mac == name)
        return await self._first(
            select(AMT_HOSTS).where(of_machine).order_by(AMT_HOSTS.c.seen_at.desc())
        )

    async def remember(self, host: str, **values: Any) -> None:
        """Remember these fields of RememberedHost of that host; the others stay."""
        values["seen_at"] = clock.now().timestamp()
        fresh = {"certificate_sha256": "", "facts": {}, "uuid": "", "mac": "", "bytes_per_s": 0}
        with suppress(IntegrityError):  # the host is there already
            async with self._engine.begin() as connection:
                await connection.execute(AMT_HOSTS.insert().values(**fresh | values, host=host))
            return
        async with self._engine.begin() as connection:
            update = AMT_HOSTS.update().where(AMT_HOSTS.c.host == host)
            await connection.execute(update.values(**values))

    async def forget(self, host: str) -> bool:
        """Forget a host with its pinned certificate; False if it was not remembered."""
        async with self._engine.begin() as connection:
            gone = await connection.execute(AMT_HOSTS.delete().where(AMT_HOSTS.c.host == host))
        return bool(gone.rowcount)

    async def _first(self, query: Select[Any]) -> RememberedHost | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _of_row(row)


def _of_row(row: Row[Any]) -> RememberedHost:
    values = dict(row._mapping)
    seen_at = datetime.fromtimestamp(values.pop("seen_at"), UTC)
    return RememberedHost(seen_at=seen_at, **values)


@dataclass(frozen=True, slots=True)
class AmtHost:
    """AMT on a host: the names that config.toml has for its machine, and what is remembered."""

    host: str
    names: Mapping[str, str]
    remembered: Annotated[RememberedHost | None, Field(exclude=True)]

    @computed_field
    @property
    def certificate_sha256(self) -> str:
        """The certificate that is pinned; "" where none is."""
        return self.remembered.certificate_sha256 if self.remembered else ""

    @computed_field
    @property
    def facts(self) -> AmtFacts | None:
        """What AMT last said; None before, and for facts that another version kept."""
        with suppress(ValidationError):
            if self.remembered and self.remembered.facts:
                facts: AmtFacts = adapter_of(AmtFacts).validate_python(self.remembered.facts)
                return facts
        return None

    @computed_field
    @property
    def bytes_per_s(self) -> int:
        """The rate of redirection, the last time; 0 where that is unknown."""
        return self.remembered.bytes_per_s if self.remembered else 0

    @computed_field
    @property
    def seen_at(self) -> Timestamp | None:
        """When AMT last answered there."""
        return self.remembered.seen_at if self.remembered else None


@dataclass(frozen=True, slots=True)
class LineSpeeds:
    """How fast the ways to a machine are, in bytes per second."""

    slow_bytes_per_s: int  # redirection
    fast_bytes_per_s: int  # HTTP


class AmtHosts:
    """What config.toml says of AMT and what is remembered of it, as one."""

    def __init__(self, config: Config, engine: DatabaseEngine) -> None:
        self._config = config
        self._store = HostStore(engine)
        self._armed = ArmedRecords(config.state.path / "amt-armed")

    async def list(self) -> list[AmtHost]:
        """All of them, those of config.toml first."""
        remembered = {host.host: host for host in await self._store.list()}
        tables = {m.amt.host: m.selector.names for m in self._config.machines if m.amt}
        return [
            AmtHost(host, tables.get(host, {}), remembered.get(host))
            for host in dict.fromkeys([*tables, *remembered])
        ]

    async def resolve(self, machine: str) -> str:
        """The host of a machine that is named by host, MAC address, UUID, `serial=` or `asset=`.

        Raises UnknownMachineError for a machine whose AMT is not known.
        """
        if host := host_of(self._config, machine):
            return host
        try:
            names = Selector.parse([machine]).names
        except ValueError:
            names = {}
        for name in (names.get("uuid"), names.get("mac")):
            if name and (remembered := await self._store.find(name)):
                return remembered.host
        if names:
            raise UnknownMachineError(
                f"the address of the AMT of {machine} is unknown",
                hint="name its AMT's host or address instead; from then on it is known",
            )
        try:
            return parse_host(machine)
        except ValueError as err:
            raise UnknownMachineError(
                str(err), hint="give a host, MAC address, UUID, serial=... or asset=..."
            ) from err

    async def access(self, host: str, login: AmtLogin | None = None) -> AmtAccess:
        """How to reach AMT there, with the certificate that it showed before."""
        remembered = await self._store.get(host)
        pinned = remembered.certificate_sha256 if remembered else ""
        return access_to(host, self._config, login=login, pin_sha256=pinned or None)

    @asynccontextmanager
    async def client(
        self, host: str, login: AmtLogin | None = None
    ) -> AsyncIterator[tuple[WsmanClient, AmtAccess]]:
        """A WS-MAN client, and how else AMT is reached there; a first certificate is remembered."""
        access = await self.access(host, login)
        async with access.client() as client:
            if access.tls and not access.tls.ca_file and not access.tls.pin_sha256:
                await self._store.remember(host, certificate_sha256=client.certificate_sha256)
                access = replace(
                    access, tls=replace(access.tls, pin_sha256=client.certificate_sha256)
                )
            yield client, access

    async def probe(self, client: WsmanClient) -> AmtFacts:
        """What AMT says of its machine, remembered."""
        facts = await probe(client)
        mac = facts.network.mac if facts.network else ""
        await self._store.remember(
            client.host, facts=to_json(facts), uuid=facts.uuid or "", mac=mac or ""
        )
        return facts

    @asynccontextmanager
    async def arming(
        self,
        client: WsmanClient,
        arm: Callable[[], Awaitable[T]],
        is_used: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[T]:
        """Set the next boot by `arm`; take that back if the block fails before it `is_used`.

        `arm` is of `boot_options`, which take back what they do not finish. If the machine does not
        answer, or this process is killed, `take_back_left` does it later. Raises BeingArmedError if
        the machine is being armed already.
        """
        is_armed = False
        with self._armed.hold(client.host) as record:
            try:
                armed = await arm()
                is_armed = True
                yield armed
            except BaseException as err:
                if not is_armed:
                    is_over = not isinstance(err, _MAY_BE_ARMED)
                else:
                    is_over = is_used() or await _taken_back(client)
                if is_over:
                    record.drop()
                raise
            record.drop()

    async def keep_taking_back(self) -> None:
        """Take back what was left armed, now and every few minutes."""
        while True:
            await self.take_back_left()
            await asyncio.sleep(LEFT_ARMED_AGAIN_S)

    async def take_back_left(self) -> None:
        """Take back what was armed by processes that are gone; what cannot be is kept for later."""
        for host in self._armed.left():
            try:
                await self._take_back(host)
            except BeingArmedError:
                continue  # by a boot that goes on
            except BootServerError as err:
                log.warning("amt.still_armed", host=host, reason=err.message, hint=err.hint)

    async def _take_back(self, host: str) -> None:
        with self._armed.hold(host) as record:
            async with self.client(host) as (client, _):
                if not await _taken_back(client):
                    return
            record.drop()
        log.warning("amt.taken_back", host=host, what="a boot that was armed, and never came")

    async def line_speeds(self, host: str) -> LineSpeeds:
        """How fast the ways to that host are: as measured last, else as config.toml expects."""
        remembered, amt = await self._store.get(host), self._config.amt
        measured = remembered.bytes_per_s if remembered else 0
        return LineSpeeds(measured or amt.slow_path_kb_s * 1000, amt.fast_path_kb_s * 1000)

    async def remember_speed(self, host: str, bytes_per_s: int) -> None:
        """Remember how fast redirection to that host was."""
        await self._store.remember(host, bytes_per_s=bytes_per_s)

    async def forget(self, host: str) -> bool:
        """Forget the host, its certificate too; False if it was not remembered."""
        return await self._store.forget(host)


async def _taken_back(client: WsmanClient) -> bool:
    """False where it is worth another try later."""
    try:
        await clear_boot_options(client)
    except (AmtFaultError, AmtRefusedError) as err:  # AMT says no, and will
        log.warning("amt.not_taken_back", host=client.host, reason=err.message)
    except AmtError as err:  # a wrong password too: the next try may have another
        log.warning("amt.still_armed", host=client.host, reason=err.message)
        return False
    return True
