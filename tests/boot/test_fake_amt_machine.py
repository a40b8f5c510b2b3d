"""The machine behind the fake AMT device: what WS-MAN sets up is what QEMU boots."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bootserver.bench.fake_amt import (
    BootFrom,
    FakeAmtDevice,
    FakeSpec,
    RedirectionManners,
    fake_amt,
)
from bootserver.bench.qemu_command import BootDevice, QemuSpec
from bootserver.model import Firmware
from tests.bench.fake_amt.wire import (
    SETTINGS,
    Wsman,
    attached,
    console,
    order,
    order_cd,
    power,
    role,
    serve,
)
from tests.fixtures import loopback_iso
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ON, RESET = 2, 10
NOTHING_TO_BOOT = r"No bootable device"


@asynccontextmanager
async def fake_with_machine(
    firmware: Firmware, tmp_path: Path, evidence: Path
) -> AsyncIterator[FakeAmtDevice]:
    machine = QemuSpec(firmware, boot_from=BootDevice.DISK, nics=())
    patient = RedirectionManners(rx_timeout_s=3600)  # the console here does not ping
    spec = FakeSpec(tmp_path, machine=machine, redirection_manners=patient)
    async with fake_amt(spec) as device:
        try:
            yield device
        except BaseException:
            if device.machine:
                await device.machine.save_evidence(evidence)
            raise


@asynccontextmanager
async def redirected(device: FakeAmtDevice, disc: Path) -> AsyncIterator[None]:
    """The disc is redirected by a console of the tests' own."""
    async with attached(device, 0x09) as one:
        serving = asyncio.create_task(serve(one, disc.read_bytes()))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize(
    "firmware", [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI]
)
async def test_the_redirected_cd_boots_once(firmware: Firmware, tmp_path: Path, evidence: Path):
    disc = loopback_iso.loopback_iso()
    async with (
        fake_with_machine(firmware, tmp_path, evidence) as device,
        redirected(device, disc),
    ):
        wsman = Wsman(device)
        await order_cd(wsman)
        await power(wsman, ON)
        assert (await device.booted(timeout_s=BOOT_S)).source is BootFrom.REDIRECTED_CD
        assert device.machine
        await device.machine.wait_for(loopback_iso.UP, timeout_s=BOOT_S)
        read = await device.machine.cd_reads()

        await power(wsman, RESET)
        assert (await device.booted(2, timeout_s=BOOT_S)).source is BootFrom.DEFAULT

        assert read.size_bytes > 1_000_000
        assert device.violations == []


@pytest.mark.parametrize("missing", range(4), ids=["clear", "put", "choose", "order"])
async def test_a_machine_does_not_boot_the_cd_when_a_step_is_missing(
    missing: int, tmp_path: Path, evidence: Path
):
    disc = loopback_iso.loopback_iso()
    async with (
        fake_with_machine(Firmware.BIOS, tmp_path, evidence) as device,
        redirected(device, disc),
    ):
        wsman = Wsman(device)
        if missing != 0:
            await order(wsman)
        if missing != 1:
            await wsman.put("AMT_BootSettingData", **SETTINGS)
        if missing != 2:
            await role(wsman)
        if missing != 3:
            await order(wsman)
        await power(wsman, ON)
        await device.booted(timeout_s=BOOT_S)
        assert device.machine

        await device.machine.wait_for(NOTHING_TO_BOOT, timeout_s=BOOT_S)

        assert device.ider
        assert device.ider.reads == 0


async def test_a_machine_that_switches_itself_off_is_off(tmp_path: Path, evidence: Path):
    async with fake_with_machine(Firmware.BIOS, tmp_path, evidence) as device:
        await power(Wsman(device), ON)
        await device.booted(timeout_s=BOOT_S)
        assert device.machine
        await device.machine.wait_for(NOTHING_TO_BOOT, timeout_s=BOOT_S)

        os.kill(device.machine.pid, signal.SIGTERM)

        await device.wait_until(lambda: not device.state.is_on, timeout_s=BOOT_S)
        assert device.machine is None


async def test_a_console_sees_and_types_on_the_machines_serial_line(tmp_path: Path, evidence: Path):
    disc = loopback_iso.loopback_iso()
    async with (
        fake_with_machine(Firmware.BIOS, tmp_path, evidence) as device,
        redirected(device, disc),
        console(device) as serial,
    ):
        await serial.log_in(device, b"SOL ")
        serial.send(b"\x20" + bytes(7) + b"\x10\x27" + bytes(14))
        await serial.expect(23)
        await order_cd(Wsman(device))
        await power(Wsman(device), ON)

        async def seen(what: bytes) -> None:
            shown = b""
            while what not in shown:
                head = await serial.expect(10, timeout_s=BOOT_S)
                assert head[0] == 0x2A
                shown += await serial.expect(int.from_bytes(head[8:10], "little"))

        await seen(b"LOOPBACK-UP")
        serial.send(b"\x28\0\0\0\x01\0\0\0\x06\0rescue")
        await seen(b"rescue")  # the system's terminal echoes it


async def test_a_console_hears_of_the_systems_own_resets(tmp_path: Path, evidence: Path):
    disc = loopback_iso.loopback_iso()
    async with (
        fake_with_machine(Firmware.BIOS, tmp_path, evidence) as device,
        redirected(device, disc),
    ):
        await power(Wsman(device), ON)
        await device.booted(timeout_s=BOOT_S)
        assert device.machine
        assert device.ider
        ider = device.ider
        await device.machine.wait_for(NOTHING_TO_BOOT, timeout_s=BOOT_S)
        assert ider.resets == 1

        await device.machine.send_keys("ctrl-alt-delete")

        # SeaBIOS resets twice.
        await device.wait_until(lambda: ider.resets >= 2, timeout_s=BOOT_S)
