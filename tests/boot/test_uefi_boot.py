"""UEFI machines boot recovery ISOs from RAM, started by the same stub: the whole way, for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, CdBus, Nic, NicModel, QemuSpec, nic_mac
from bootserver.model import Firmware
from tests.fixtures.linux_iso import linux_iso
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize(
    ("format", "medium"),
    [("iso", "cd"), ("iso", "usb-cd"), ("iso", "usb-stick"), ("img", "usb-stick")],
)
async def test_the_same_stub_starts_every_machine_from_every_medium(
    qemu: Qemu, site: Site, firmware: Firmware, medium: str, format: str
):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image, "--format", format)
    async with serving(site):
        await qemu(
            QemuSpec(
                firmware,
                cdrom=None if medium == "usb-stick" else stub,
                cdrom_bus=CdBus.USB if medium == "usb-cd" else CdBus.IDE,
                usb_disk=stub if medium == "usb-stick" else None,
                boot_from=BootDevice.DISK if medium == "usb-stick" else BootDevice.CD,
            )
        )
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["firmware"] == firmware
    assert boot["sent_bytes"] == boot["image_bytes"]


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "plain"])
async def test_a_linux_disc_runs_from_memory_and_finds_itself(
    qemu: Qemu, tmp_path: Path, pack: bool
):
    site = Site(tmp_path / "site", stub=f"pack = {str(pack).lower()}\n")
    disc = linux_iso()
    stub = await site.build_stub(site.add(disc.path))
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        seen = await machine.wait_for("GUEST DONE", timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
    assert boot["sent_bytes"] == boot["image_bytes"] == disc.path.stat().st_size


async def test_a_card_that_the_firmware_drives_but_that_gets_nowhere_is_tried_with_the_full_ipxe(
    qemu: Qemu, site: Site
):
    stub = await site.build_stub(site.add(packaged(MEMTEST)))
    dead_end = Nic(NicModel.VIRTIO, linked=False)
    async with serving(site):
        # OVMF drives the first card only, whose cable is out; iPXE's own drivers find the second.
        await qemu(QemuSpec(Firmware.UEFI, cdrom=stub, nics=(dead_end, Nic())))
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(1)
