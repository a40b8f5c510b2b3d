"""The fake device: AMT's two ports, and the machine that AMT has power over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from bootserver.bench.fake_amt.boot import ConfiguredBoot
from bootserver.bench.fake_amt.certificate import CLIENT_FILE, Certificate, make_certificate
from bootserver.bench.fake_amt.computer import Computer
from bootserver.bench.fake_amt.drive import RedirectedDrive
from bootserver.bench.fake_amt.ider import ConsoleDrive, DriveAnswer
from bootserver.bench.fake_amt.ider_session import DriveSwitch, IderSession
from bootserver.bench.fake_amt.power import Power
from bootserver.bench.fake_amt.recovery import Fetched
from bootserver.bench.fake_amt.redirection_port import RedirectionPort
from bootserver.bench.fake_amt.spec import FakeSpec, Reach, SystemState
from bootserver.bench.fake_amt.state import DeviceState
from bootserver.bench.fake_amt.wsman import WsmanPort
from bootserver.bench.qemu import QemuMachine


class FakeAmtDevice:
    """A device that runs; `fake_amt` makes it. `state` is what it remembers between requests."""

    def __init__(self, spec: FakeSpec) -> None:
        self.spec = spec
        self.state = DeviceState(spec)
        self.typed = bytearray()  # what came over SOL for the host
        self.certificate: Certificate | None = None
        self._port = RedirectionPort(self.state, self._type, self._drives_lost)
        self._drive = RedirectedDrive(lambda: self._port.ider, spec.line)
        self._computer = self._make_computer()
        self._power = Power(self.state, self._port, self._drive, self._computer)
        self._wsman = WsmanPort(self.state, self)
        self._mute = ExitStack()

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
        return self._port.port

    @property
    def certificate_pem(self) -> str:
        """Its certificate; "" without TLS."""
        return self.certificate.pem if self.certificate else ""

    @property
    def certificate_sha256(self) -> str:
        """The certificate's fingerprint, 64 hex digits; "" without TLS."""
        return self.certificate.sha256 if self.certificate else ""

    @property
    def client_certificate(self) -> Path:
        """Certificate and key, as PEM, of a console that mutual TLS lets in."""
        return self.spec.workdir / CLIENT_FILE

    @property
    def violations(self) -> list[str]:
        """A sentence for each thing that a console did wrong on the redirection port."""
        return self._port.violations

    @property
    def asked(self) -> list[str]:
        """The WS-MAN actions so far: "Get CIM_Chassis", "ChangeBootOrder"."""
        return self._wsman.asked

    @property
    def boots(self) -> list[ConfiguredBoot]:
        """The machine's boots so far, each by what it really started from."""
        return self._power.boots

    @property
    def fetched(self) -> list[Fetched]:
        """What One-Click Recovery has fetched so far, or failed to."""
        return self._power.fetched

    @property
    def ider(self) -> IderSession | None:
        """The storage session that is open now."""
        return self._port.ider

    @property
    def read_bytes(self) -> int:
        """What the machine in QEMU has read of its redirected CD."""
        return self._drive.read_bytes

    @property
    def machine(self) -> QemuMachine | None:
        """QEMU, while the machine is on; None without `FakeSpec.machine`."""
        return self._computer.machine if self._computer else None

    async def scsi(self, cdb: bytes, drive: ConsoleDrive = ConsoleDrive.CD) -> DriveAnswer:
        """What the console's drive answers the host; raises NoDriveError, HostResetError."""
        return await self._drive.scsi(cdb, drive)

    async def read_blocks(self, lba: int, count: int) -> bytes:
        """Blocks of the redirected CD, 2048 bytes each; raises NoDriveError.

        After a reset in the middle the host asks again, as a BIOS that starts over does.
        """
        return await self._drive.read_blocks(lba, count)

    async def capacity(self) -> int:
        """How many blocks the redirected CD has; raises NoDriveError."""
        return await self._drive.capacity()

    async def wait_until(self, come: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Return when `come` is true; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not come():  # noqa: ASYNC110 - of anything that a test can think of
                await asyncio.sleep(0.01)

    async def drives_on(self, *, timeout_s: float = 60.0) -> None:
        """Return when the console's drives are switched on; raises TimeoutError."""
        await self.wait_until(
            lambda: self.ider is not None and self.ider.drives is DriveSwitch.ON,
            timeout_s=timeout_s,
        )

    async def booted(self, count: int = 1, *, timeout_s: float = 60.0) -> ConfiguredBoot:
        """The machine's last boot, once there were `count`; raises TimeoutError."""
        await self.wait_until(lambda: len(self.boots) >= count, timeout_s=timeout_s)
        return self.boots[-1]

    def print_serial(self, data: bytes) -> None:
        """Print on the host's serial line; lost when no SOL session is open."""
        if self._port.sol:
            self._port.sol.show(data)

    def reset_host(self) -> None:
        """Press the reset button of the host: the console is told, and it boots anew."""
        self._power.reset_button()

    def hang_up(self) -> None:
        """Break all redirection connections off: each console has to connect anew."""
        self._port.hang_up()

    async def listen(self, on: bool) -> None:
        """Open or close the redirection port (Hardware)."""
        await self._port.listen(on)

    async def request_power(self, power: int) -> int:
        """Begin a power action (Hardware); CIM's return value."""
        return self._power.request(power)

    def _make_computer(self) -> Computer | None:
        if not self.spec.machine:
            return None
        return Computer(
            self.spec.machine,
            self.spec.workdir,
            self._drive,
            printed=self.print_serial,
            was_reset=lambda: self._power.guest_reset(),
            ended=self._switched_off,
        )

    def _type(self, data: bytes) -> None:
        self.typed += data
        if self._computer:
            self._computer.type(data)

    def _switched_off(self) -> None:
        self.state.power = SystemState.S5

    async def _drives_lost(self) -> None:
        if self._computer:
            await self._computer.lose_disc()

    async def _start(self) -> None:
        self.spec.workdir.mkdir(parents=True, exist_ok=True)
        if self.spec.reach is not Reach.ANSWERS:
            self._wsman.port = self._mute_port(self.spec.wsman_port)
            self._port.port = self._mute_port(self.spec.redirection_port)
            return
        context = None
        if self.spec.tls:
            self.certificate = await asyncio.to_thread(make_certificate, self.spec)
            context = self.certificate.context
        if self._computer:
            await self._computer.start()
            if self.state.power.counts_as_on:
                self._power.reset_button()
        await self._port.start(context)
        await self._port.listen(self.state.listener)
        await self._wsman.start(context)

    def _mute_port(self, port: int) -> int:
        """Listen where no connection is ever accepted; the port's number."""
        is_hole = self.spec.reach is Reach.BLACK_HOLE
        listening = socket.create_server((self.host, port), backlog=0 if is_hole else None)
        self._mute.enter_context(listening)
        if is_hole:
            # This one fills the backlog. Linux drops each SYN after it.
            self._mute.enter_context(socket.create_connection(listening.getsockname()))
        return int(listening.getsockname()[1])

    async def _stop(self) -> None:
        self._mute.close()
        await self._wsman.stop()
        await self._power.stop()
        await self._port.stop()
        if self._computer:
            await self._computer.stop()


@asynccontextmanager
async def fake_amt(spec: FakeSpec) -> AsyncIterator[FakeAmtDevice]:
    """A fake AMT device that answers for as long as the block lasts."""
    device = FakeAmtDevice(spec)
    try:
        await device._start()
        yield device
    finally:
        await device._stop()
