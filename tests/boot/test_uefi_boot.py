"""UEFI machines boot recovery ISOs from RAM, started by the same stub: the whole way, for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, CdBus, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import Site, boot_record, serving

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
