"""The PC itself: QEMU, with the redirected CD in its drive and AMT's hand on its power switch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import structlog

from bootserver.bench.fake_amt.boot import BootFrom
from bootserver.bench.fake_amt.drive import RedirectedDrive
from bootserver.bench.nbd import serve_nbd
from bootserver.bench.qemu import QemuMachine, launch
from bootserver.bench.qemu_command import (
    BootDevice,
    CdBus,
    QemuSpec,
    far_disc,
    local_disc,
)
from bootserver.errors import ServiceError
from bootserver.model import Firmware

log = structlog.get_logger()

_DEVICES = {
    BootFrom.REDIRECTED_CD: BootDevice.CD,
    BootFrom.HTTPS: BootDevice.CD,
    BootFrom.PXE: BootDevice.NETWORK,
    BootFrom.HARD_DRIVE: BootDevice.DISK,
}


class Computer:
    """A PC that is switched off at first; `machine` is QEMU while it is on.

    What its serial line prints goes to `printed`. The redirected CD is an IDE drive under BIOS and
    a USB drive under UEFI. The disc is in it during boots that start from it, until its session
    ends. `was_reset` is called when its own software has reset it, `ended` when that has switched
    it off.
    """

    def __init__(
        self,
        spec: QemuSpec,
        workdir: Path,
        drive: RedirectedDrive,
        *,
        printed: Callable[[bytes], None],
        was_reset: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        is_bios = spec.firmware is Firmware.BIOS
        self._workdir = workdir
        self._serial_socket = workdir / "serial.socket"
        self._cd_socket = workdir / "cd.socket"
        self._spec = replace(
            spec,
            cdrom=None,
            empty_cd_drive=True,
            cdrom_bus=CdBus.IDE if is_bios else CdBus.USB,
            serial_socket=self._serial_socket,
        )
        self._drive = drive
        self._printed = printed
        self._was_reset = was_reset
        self._ended = ended
        self._always = AsyncExitStack()
        self._powered = AsyncExitStack()
        self._switch = asyncio.Lock()
        self._keyboard: asyncio.StreamWriter | None = None
        self._watching: asyncio.Task[None] | None = None
        self._has_disc = False
        self.machine: QemuMachine | None = None

    async def start(self) -> None:
        """Have ready what the PC will be connected to."""
        await self._always.enter_async_context(serve_nbd(self._drive, self._cd_socket))
        serial = await asyncio.start_unix_server(self._serial_line, self._serial_socket)
        self._always.callback(serial.close)

    async def stop(self) -> None:
        """Switch it off for good."""
        await self.power_off()
        await self._always.aclose()

    async def boot(self, source: BootFrom, disc: Path | None = None) -> None:
        """Switch it on, or reset it; it boots from `source`, which `disc` is when it is local."""
        async with self._switch:

            async def prepare(machine: QemuMachine) -> None:
                device = _DEVICES.get(source, self._by_itself)
                try:
                    await self._change_disc(machine, source, disc)
                except ServiceError as err:  # the console has just left: an empty drive
                    log.info("fake_amt.no_disc", reason=err.message)
                    device = self._by_itself
                await machine.restart(device, self._by_itself)

            if self.machine:
                await prepare(self.machine)
                return
            workdir = self._workdir / "machine"
            self.machine = await self._powered.enter_async_context(
                launch(self._spec, workdir, prepare=prepare)
            )
            self._watching = asyncio.create_task(self._watch(self.machine))

    async def power_off(self) -> None:
        """Take its power away."""
        async with self._switch:
            if self._watching:
                self._watching.cancel()
                await asyncio.gather(self._watching, return_exceptions=True)
            await self._gone()

    async def lose_disc(self) -> None:
        """Take the redirected disc out of the drive of a PC that runs."""
        async with self._switch:
            if self.machine and self._has_disc:
                await self._change_disc(self.machine, BootFrom.DEFAULT, None)

    def type(self, data: bytes) -> None:
        """Type on its serial line."""
        if self._keyboard:
            self._keyboard.write(data)

    @property
    def _by_itself(self) -> BootDevice | None:
        """What its BIOS tries by itself: never the redirected CD."""
        own = self._spec.boot_from
        return None if own is BootDevice.CD else own

    async def _change_disc(
        self, machine: QemuMachine, source: BootFrom, local: Path | None
    ) -> None:
        if self._has_disc:
            self._has_disc = False
            await machine.remove_cd()
        if source is BootFrom.REDIRECTED_CD:
            await machine.insert_cd(far_disc(self._cd_socket))
            self._has_disc = True
        elif local:
            await machine.insert_cd(local_disc(local))
            self._has_disc = True

    async def _watch(self, machine: QemuMachine) -> None:
        resets = asyncio.create_task(machine.wait_for_guest_resets(self._was_reset))
        try:
            await machine.wait_for_end()
        finally:
            resets.cancel()
            await asyncio.gather(resets, return_exceptions=True)
        self._watching = None
        async with self._switch:
            await self._gone()
            self._ended()

    async def _gone(self) -> None:
        self.machine = None
        self._has_disc = False
        await self._powered.aclose()

    async def _serial_line(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._keyboard = writer
        try:
            while data := await reader.read(4096):
                self._printed(data)
        except ConnectionError:
            pass
        finally:
            self._keyboard = None
            writer.close()


async def try_boot(computer: Computer, source: BootFrom, disc: Path | None) -> None:
    """Boot it, and say in the log why not, since AMT itself would not say."""
    try:
        await computer.boot(source, disc)
    except ServiceError as err:
        log.warning("fake_amt.machine_failed", reason=err.message)
