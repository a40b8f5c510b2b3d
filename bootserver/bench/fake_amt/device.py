"""The fake device: AMT's two ports, and the machine that AMT has power over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import structlog

from bootserver.bench.fake_amt import event_log
from bootserver.bench.fake_amt.boot import Boot, BootFrom
from bootserver.bench.fake_amt.certificate import Certificate, make_certificate
from bootserver.bench.fake_amt.ider import Answer, Drive
from bootserver.bench.fake_amt.ider_session import (
    Drives,
    HostResetError,
    IderSession,
    NoDriveError,
)
from bootserver.bench.fake_amt.redirection_port import RedirectionPort
from bootserver.bench.fake_amt.spec import FakeSpec
from bootserver.bench.fake_amt.state import POWER_OFF, POWER_ON, State
from bootserver.bench.fake_amt.wsman import WsmanPort

log = structlog.get_logger()

SECTOR_BYTES = 2048
_POWER_ON, _CYCLE, _OFF, _RESET = 2, 5, 8, 10
_OK, _NOT_SUPPORTED, _IN_USE, _BUSY = 0, 1, 6, 4099


class FakeAmtDevice:
    """A device that runs; `fake_amt` makes it.

    `boots` has every boot of the machine, as it was set up. `violations` has a sentence for each
    thing that a console did wrong on the redirection port, `asked` every WS-MAN action.
    """

    def __init__(self, spec: FakeSpec) -> None:
        self.spec = spec
        self.state = State(spec)
        self.boots: list[Boot] = []
        self.typed = bytearray()  # what came over SOL for the host
        self.certificate: Certificate | None = None
        self._redirection = RedirectionPort(self.state, self.typed.extend)
        self._wsman = WsmanPort(self.state, self)
        self._booting: set[asyncio.Task[None]] = set()
        self._power_at_s = -1e9

    @property
    def host(self) -> str:
        """The address both ports are on."""
        return self.spec.host

    @property
    def wsman_port(self) -> int:
        """Where WS-MAN is spoken."""
        return self._wsman.port

    @property
    def redirection_port(self) -> int:
        """Where sessions are opened."""
        return self._redirection.port

    @property
    def certificate_pem(self) -> str:
        """Its certificate; "" without TLS."""
        return self.certificate.pem if self.certificate else ""

    @property
    def certificate_sha256(self) -> str:
        """The certificate's fingerprint, 64 hex digits; "" without TLS."""
        return self.certificate.sha256 if self.certificate else ""

    @property
    def violations(self) -> list[str]:
        """What consoles did wrong on the redirection port."""
        return self._redirection.violations

    @property
    def asked(self) -> list[str]:
        """The WS-MAN actions so far: "Get CIM_Chassis", "ChangeBootOrder"."""
        return self._wsman.asked

    @property
    def ider(self) -> IderSession | None:
        """The storage session that is open now."""
        return self._redirection.ider

    async def scsi(self, cdb: bytes, drive: Drive = Drive.CD) -> Answer:
        """What the console's drive answers the host; raises NoDriveError, HostResetError."""
        if not self.ider:
            raise NoDriveError("no storage session is open")
        return await self.ider.scsi(cdb, drive)

    async def read_blocks(self, lba: int, count: int, drive: Drive = Drive.CD) -> bytes:
        """Blocks of the console's drive; raises NoDriveError when it does not give them.

        After a reset in the middle the host asks again, as a BIOS that starts over does.
        """
        cdb = b"\x28\0" + lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + b"\0"
        try:
            answer = await self.scsi(cdb, drive)
        except HostResetError:
            answer = await self.scsi(cdb, drive)
        if not answer.is_good:
            raise NoDriveError(f"READ of {count} blocks from {lba}: sense {answer.sense}")
        return answer.data

    async def capacity(self, drive: Drive = Drive.CD) -> tuple[int, int]:
        """How many blocks the console's drive has, and of how many bytes."""
        answer = await self.scsi(b"\x25" + bytes(9), drive)
        if not answer.is_good or len(answer.data) != 8:
            raise NoDriveError(f"READ CAPACITY: {answer}")
        last, size = answer.data[:4], answer.data[4:]
        return int.from_bytes(last, "big") + 1, int.from_bytes(size, "big")

    async def wait_until(self, come: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Return when `come` is true; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not come():  # noqa: ASYNC110 - of anything that a test can think of
                await asyncio.sleep(0.01)

    async def drives_on(self, *, timeout_s: float = 60.0) -> None:
        """Return when the console's drives are switched on."""
        await self.wait_until(
            lambda: self.ider is not None and self.ider.drives is Drives.ON, timeout_s=timeout_s
        )

    def print_serial(self, data: bytes) -> None:
        """Print on the host's serial line; lost when no SOL session is open."""
        if self._redirection.sol:
            self._redirection.sol.show(data)

    async def reset_host(self) -> None:
        """Reset the host by its own button: the console is told, what it boots is decided anew."""
        await self._boot()

    async def listen(self, on: bool) -> None:
        """Open or close the redirection port (Hardware)."""
        await self._redirection.listen(on)

    async def request_power(self, power: int) -> int:
        """Begin a power action (Hardware); CIM's return value."""
        if power not in (_POWER_ON, _CYCLE, _OFF, _RESET):
            return _NOT_SUPPORTED
        if monotonic() - self._power_at_s < self.spec.wsman_manners.power_gap_s:
            return _BUSY
        if power in (_CYCLE, _OFF) and self.state.sessions:
            return _IN_USE
        self._power_at_s = monotonic()
        if power == _OFF:
            self.state.power = POWER_OFF
        elif (power == _POWER_ON) != self.state.is_on:
            # Power on when it is off, reset or cycle when it is on; the others do nothing.
            self.state.power = POWER_ON
            task = asyncio.create_task(self._boot())
            self._booting.add(task)
            task.add_done_callback(self._booting.discard)
        return _OK

    async def _boot(self) -> None:
        boot = self.state.boot.take()
        self.state.events.append(event_log.boot_started(self.state.now_s()))
        self.boots.append(boot)
        log.info("fake_amt.boot", source=boot.source.value)
        try:
            if self.ider:
                await self.ider.reset()
            if boot.source is BootFrom.REDIRECTED_CD:
                for lba in self.spec.first_lbas:
                    await self.read_blocks(lba, 1)
        except (NoDriveError, TimeoutError) as err:
            log.info("fake_amt.no_boot", reason=str(err))

    async def _start(self) -> None:
        self.spec.workdir.mkdir(parents=True, exist_ok=True)
        context = None
        if self.spec.tls:
            self.certificate = await asyncio.to_thread(
                make_certificate, self.spec.host, self.spec.workdir
            )
            context = self.certificate.context
        await self._redirection.start(context)
        await self._redirection.listen(self.state.listener)
        await self._wsman.start(context)

    async def _stop(self) -> None:
        for task in self._booting:
            task.cancel()
        await asyncio.gather(*self._booting, return_exceptions=True)
        await self._wsman.stop()
        await self._redirection.stop()


@asynccontextmanager
async def fake_amt(spec: FakeSpec) -> AsyncIterator[FakeAmtDevice]:
    """A fake AMT device that answers for as long as the block lasts."""
    device = FakeAmtDevice(spec)
    try:
        await device._start()
        yield device
    finally:
        await device._stop()
