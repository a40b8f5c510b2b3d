"""The machines whose AMT this site knows: which they are, and how to get a word with each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

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
from bootserver.amt.known import KnownHost, KnownHosts
from bootserver.amt.types import AmtLogin
from bootserver.amt.wsman.client import WsmanClient
from bootserver.config import Config
from bootserver.errors import BootServerError
from bootserver.fields import parse_host
from bootserver.selector import Selector

LEFT_ARMED_AGAIN_S = 300.0
# After these, what is armed at the machine is not known, and another try may do better.
_MAY_BE_ARMED = (AmtUnreachableError, AmtInDoubtError, AmtOverloadedError)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class UnknownMachineError(AmtError):
    """Nobody knows where this machine's AMT is."""


@dataclass(frozen=True, slots=True)
class AmtHost:
    """AMT on a host: the names that config.toml has for its machine, and what was met there."""

    host: str
    names: Selector | None
    known: KnownHost | None

    def as_json(self) -> dict[str, Any]:
        """For the API and `--json`; `facts` as AmtFacts.as_json gave them, null before."""
        known = self.known
        return {
            "host": self.host,
            "names": self.names.names if self.names else {},
            "certificate_sha256": known.certificate_sha256 if known else "",
            "facts": (dict(known.facts) or None) if known else None,
            "bytes_per_s": known.bytes_per_s if known else 0,
            "seen_at": known.seen_at.isoformat() if known else None,
        }


@dataclass(frozen=True, slots=True)
class Lines:
    """How fast the ways to a machine are, in bytes per second."""

    slow_bytes_per_s: int  # redirection
    fast_bytes_per_s: int  # HTTP
    is_measured: bool = False  # the slow one, when this machine last booted


class AmtHosts:
    """What config.toml says of AMT and what was met of it, as one."""

    def __init__(self, config: Config, known: KnownHosts) -> None:
        self._config = config
        self._known = known
        self._armed = ArmedRecords(config.state.path / "amt-armed")

    async def list(self) -> list[AmtHost]:
        """All of them, those of config.toml first."""
        known = {host.host: host for host in await self._known.list()}
        tables = {m.amt.host: m.selector for m in self._config.machines if m.amt}
        return [
            AmtHost(host, tables.get(host), known.get(host))
            for host in dict.fromkeys([*tables, *known])
        ]

    async def resolve(self, machine: str) -> str:
        """The host of a machine that is named by host, MAC address, UUID, `serial=` or `asset=`.

        Raises UnknownMachineError for a machine whose AMT nobody has told of.
        """
        if host := host_of(self._config, machine):
            return host
        try:
            names = Selector.parse([machine]).names
        except ValueError:
            names = {}
        for name in (names.get("uuid"), names.get("mac")):
            if name and (host_known := await self._known.of_machine(name)):
                return host_known.host
        if names:
            raise UnknownMachineError(
                f"where the AMT of {machine} is, nobody has told",
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
        known = await self._known.get(host)
        return access_to(
            host, self._config, login=login, pin_sha256=known.pin_sha256 if known else None
        )

    @asynccontextmanager
    async def client(
        self, host: str, login: AmtLogin | None = None
    ) -> AsyncIterator[tuple[WsmanClient, AmtAccess]]:
        """A WS-MAN client, and how else AMT is reached there; a first certificate is remembered."""
        access = await self.access(host, login)
        async with access.client() as client:
            if access.tls and not access.tls.ca_file and not access.tls.pin_sha256:
                await self._known.met(host, certificate_sha256=client.certificate_sha256)
                access = replace(
                    access, tls=replace(access.tls, pin_sha256=client.certificate_sha256)
                )
            yield client, access

    async def probe(self, client: WsmanClient) -> AmtFacts:
        """What AMT says of its machine, remembered."""
        facts = await probe(client)
        mac = facts.network.mac if facts.network else ""
        await self._known.met(
            client.host, facts=facts.as_json(), uuid=facts.uuid or "", mac=mac or ""
        )
        return facts

    @asynccontextmanager
    async def arming(
        self,
        client: WsmanClient,
        arm: Callable[[], Awaitable[T]],
        is_used: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[T]:
        """What `arm` tells the next boot is taken back if the block fails before it `is_used`.

        `arm` is of `boot_options`, which take back themselves what they do not finish. Where the
        machine does not answer, `take_back_left` does it later; a process that is killed leaves
        it to that as well. Raises BeingArmedError if the machine is being armed already.
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

    async def lines(self, host: str) -> Lines:
        """How fast the ways to that host are: as it was met, else as config.toml expects."""
        known, amt = await self._known.get(host), self._config.amt
        measured = known.bytes_per_s if known else 0
        return Lines(
            measured or amt.slow_path_kb_s * 1000, amt.fast_path_kb_s * 1000, bool(measured)
        )

    async def measured(self, host: str, bytes_per_s: int) -> None:
        """Remember how fast redirection to that host was."""
        await self._known.met(host, bytes_per_s=bytes_per_s)

    async def forget(self, host: str) -> bool:
        """Forget what was met there, its certificate too; False if nothing was."""
        return await self._known.forget(host)


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
