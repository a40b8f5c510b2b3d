"""AMT's hand on the power switch: what is refused, and what happens from reset to first reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from time import monotonic

import structlog

from bootserver.bench.fake_amt import event_log
from bootserver.bench.fake_amt.boot import BootFrom, ConfiguredBoot
from bootserver.bench.fake_amt.computer import Computer, try_boot
from bootserver.bench.fake_amt.drive import RedirectedDrive
from bootserver.bench.fake_amt.ider_session import DriveSwitch, HostResetError, NoDriveError
from bootserver.bench.fake_amt.recovery import Fetched, fetch
from bootserver.bench.fake_amt.redirection_port import RedirectionPort
from bootserver.bench.fake_amt.spec import SystemState
from bootserver.bench.fake_amt.state import DeviceState

log = structlog.get_logger()

_POWER_ON, _CYCLE, _OFF, _RESET = 2, 5, 8, 10
_OK, _NOT_SUPPORTED, _IN_USE, _BUSY = 0, 1, 6, 4099
_STATUS_OK, _STATUS_FAILED = 0, 0xFFFF  # AMT_BootSettingData.BIOSLastStatus


class Power:
    """Power over the machine, which is `computer`, or only a state without one.

    `boots` has every boot, with what it really started from. Without a redirected CD, settings for
    it do not help. `fetched` is what One-Click Recovery has fetched.
    """

    def __init__(
        self,
        state: DeviceState,
        port: RedirectionPort,
        drive: RedirectedDrive,
        computer: Computer | None,
    ) -> None:
        self.boots: list[ConfiguredBoot] = []
        self.fetched: list[Fetched] = []
        self._state = state
        self._port = port
        self._drive = drive
        self._computer = computer
        self._acting: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._acted_at_s = float("-inf")
        self._is_rising = False

    def request(self, power: int) -> int:
        """Begin a power action; CIM's return value. It is done some time after the answer."""
        if power not in (_POWER_ON, _CYCLE, _OFF, _RESET):
            return _NOT_SUPPORTED
        if monotonic() - self._acted_at_s < self._state.spec.wsman_manners.power_gap_s:
            return _BUSY
        if power in (_CYCLE, _OFF) and self._state.sessions:
            return _IN_USE
        self._acted_at_s = monotonic()
        # A reset of a machine that sleeps or is off does nothing, as field experience has it.
        # Nor does power for one that is on, even in modern standby.
        was = self._state.power
        if self._is_rising or (power == _POWER_ON) == was.counts_as_on:
            return _OK
        if power == _OFF:
            self._state.power = SystemState.S5
            self._begin(self._power_off())
        elif was in (SystemState.S3, SystemState.S4):
            self._is_rising = True
            self._begin(self._wake(was))
        else:
            self._is_rising = power != _RESET
            self._begin(self._boot(cycle=power == _CYCLE))
        return _OK

    def reset_button(self) -> None:
        """The host is reset by its own button."""
        self._begin(self._boot(cycle=False))

    def guest_reset(self) -> None:
        """The host's software has reset it, and QEMU did: only the console is still to know."""
        self._begin(self._tell_console())

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)

    def _begin(self, action: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(action)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _power_off(self) -> None:
        async with self._one_at_a_time:
            if self._computer:
                await self._computer.power_off()

    async def _wake(self, was: SystemState) -> None:
        """The system goes on where it fell asleep: no boot, though S4 ends in the BIOS's reset.

        What firmware makes of boot options at that is not known: here they are gone.
        """
        async with self._one_at_a_time:
            await self._rise()
            self._state.boot.clear()
            if was is SystemState.S4:
                await self._tell_console()
            if self._computer:
                await try_boot(self._computer, BootFrom.DEFAULT, None)

    async def _rise(self) -> None:
        if self._is_rising:
            await asyncio.sleep(self._state.spec.power_up_s)
        self._state.power = SystemState.S0
        self._is_rising = False

    async def _boot(self, *, cycle: bool) -> None:
        async with self._one_at_a_time:
            if cycle and self._computer:
                await self._computer.power_off()
            await self._rise()
            boot = replace(self._state.boot.take(), link_is_slow=bool(self._state.slow_sessions))
            await self._tell_console()
            boot, disc = await self._really(boot)
            self._state.events.append(event_log.boot_started(self._state.now_s()))
            log.info("fake_amt.boot", source=boot.source.value)
            if self._computer:
                await try_boot(self._computer, boot.source, disc)
            self.boots.append(boot)
        if not self._computer and boot.source is BootFrom.REDIRECTED_CD:
            await self._first_reads()

    async def _tell_console(self) -> None:
        if self._port.ider:
            try:
                await self._port.ider.reset()
            except (NoDriveError, TimeoutError, ConnectionError):
                log.info("fake_amt.console_left_at_reset")

    async def _really(self, boot: ConfiguredBoot) -> tuple[ConfiguredBoot, Path | None]:
        """What the BIOS ends up with, and the disc if that is a local one."""
        session = self._port.ider
        redirected = (BootFrom.REDIRECTED_CD, BootFrom.REDIRECTED_FLOPPY)
        if boot.source in redirected and not (session and session.drives is DriveSwitch.ON):
            return replace(boot, source=BootFrom.DEFAULT), None
        if not boot.recovery:
            return boot, None
        spec = self._state.spec
        fetched = await fetch(boot.recovery, self._state.roots, spec.workdir, spec.network.gateway)
        self.fetched.append(fetched)
        self._state.boot.last_status = (_STATUS_FAILED if fetched.error else _STATUS_OK, 0)
        now_s, events = self._state.now_s(), self._state.events
        if fetched.error:
            events.append(event_log.recovery_failed(now_s, fetched.error))
            return replace(boot, source=BootFrom.DEFAULT), None
        events.append(event_log.recovery_downloaded(now_s))
        return boot, fetched.disc

    async def _first_reads(self) -> None:
        """What a BIOS would read first."""
        try:
            for lba in self._state.spec.first_lbas:
                await self._drive.read_blocks(lba, 1)
        except (NoDriveError, HostResetError) as err:
            log.info("fake_amt.no_boot", reason=err.message)
