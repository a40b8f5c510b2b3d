"""The discs that the boot tests use boot by themselves, without a boot server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, QemuSpec
from bootserver.model import Firmware
from tests.fixtures import dos_disc, loopback_iso
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


async def test_the_floppy_disc_boots_as_a_floppy_and_reads_beyond_its_first_sectors(
    qemu: Qemu, tmp_path: Path
):
    disc = dos_disc.floppy_disc(tmp_path / "floppy.iso", "FLOPPY-UP")

    machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=disc))

    seen = await machine.wait_for(dos_disc.FLOPPY_READ, timeout_s=BOOT_S)
    assert "FLOPPY-UP" in seen.serial


@pytest.mark.parametrize(
    ("firmware", "says"),
    [(Firmware.BIOS, dos_disc.DISK_READ), (Firmware.UEFI, dos_disc.EFI_STARTED)],
)
async def test_the_plain_disk_boots(qemu: Qemu, tmp_path: Path, firmware: Firmware, says: str):
    disk = dos_disc.plain_disk(tmp_path / "plain.img", "DISK-UP")

    machine = await qemu(QemuSpec(firmware, usb_disk=disk, boot_from=BootDevice.DISK))

    await machine.wait_for(says, timeout_s=BOOT_S)


@pytest.mark.parametrize("firmware", Firmware)
async def test_the_loopback_disc_boots_by_its_own_menus(qemu: Qemu, firmware: Firmware):
    machine = await qemu(QemuSpec(firmware, cdrom=loopback_iso.loopback_iso()))

    seen = await machine.wait_for(loopback_iso.UP, timeout_s=BOOT_S)
    assert "iso-scan/filename" not in seen.serial  # which only loopback.cfg gives
