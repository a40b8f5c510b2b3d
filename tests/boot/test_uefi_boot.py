"""UEFI machines boot recovery ISOs from RAM, started by the same stub: the whole way, for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, CdBus, NicModel, QemuNic, QemuSpec, nic_mac
from bootserver.model import Firmware
from tests.fixtures.booted import Door, Proven
from tests.fixtures.linux_iso import linux_iso
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, ON_SERIAL, packaged
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


# Each medium with one firmware; a stick with the ISO and a BIOS is in test_bios_boot.py.
MEDIA = [
    pytest.param("iso", Door.USB_CD, Firmware.UEFI, id="iso-on-a-cd-uefi"),
    pytest.param("iso", Door.USB_STICK, Firmware.UEFI, id="iso-on-a-stick-uefi"),
    pytest.param("img", Door.USB_STICK, Firmware.BIOS, id="img-on-a-stick-bios"),
    *(
        pytest.param(format, door, firmware, id=name, marks=pytest.mark.reach)
        for format, door, firmware, name in (
            ("iso", Door.USB_CD, Firmware.BIOS, "iso-on-a-cd-bios"),
            ("iso", Door.USB_STICK, Firmware.BIOS, "iso-on-a-stick-bios"),
            ("img", Door.USB_STICK, Firmware.UEFI, "img-on-a-stick-uefi"),
        )
    ),
]


@pytest.mark.parametrize(("format", "door", "firmware"), MEDIA)
async def test_the_same_stub_starts_every_machine_from_every_medium(
    qemu: Qemu, site: Site, proven: Proven, format: str, door: Door, firmware: Firmware
):
    """Other than a CD on the IDE bus, from which all other tests boot."""
    image = site.add(packaged(MEMTEST), side_car=ON_SERIAL)
    stub = await site.build_stub(image, "--format", format)
    on_stick = door is Door.USB_STICK
    async with serving(site):
        machine = await qemu(
            QemuSpec(
                firmware,
                cdrom=None if on_stick else stub,
                cdrom_bus=CdBus.USB,
                usb_disk=stub if on_stick else None,
                boot_from=BootDevice.DISK if on_stick else BootDevice.CD,
            )
        )
        _, boot = await proven(site, machine, MEMTEST_SAYS, door=door)

    assert boot["sent_bytes"] == boot["image_bytes"]


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(True, id="packed"),
        pytest.param(False, id="plain", marks=pytest.mark.reach),  # see test_uefi_exits.py
    ],
)
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
    dead_end, wired = QemuNic(NicModel.VIRTIO, linked=False), QemuNic(NicModel.E1000E)
    async with serving(site):
        # OVMF drives the first card only, whose cable is out; iPXE's own drivers find the second.
        await qemu(QemuSpec(Firmware.UEFI, cdrom=stub, nics=(dead_end, wired)))
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(1)
    cards = [
        (nic["pci_id"], nic["subsystem"], nic["booted_from"]) for nic in boot["machine"]["nics"]
    ]
    assert cards == [("1af4:1000", "1af4:0001", False), ("8086:10d3", "8086:0000", True)]


TAKES, ASKS = "takes the address", "asking for an address"


async def test_a_known_address_needs_no_dhcp(qemu: Qemu, site: Site):
    known = ("--static-ip", "10.0.2.77/24", "--gateway", "10.0.2.2", "--mac", nic_mac(0))
    stub = await site.build_stub(site.add(packaged(MEMTEST)), *known, "--then-dhcp")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        seen = await machine.wait_for(f"{nic_mac(0)} {TAKES} 10.0.2.77", timeout_s=BOOT_S)
        await boot_record(site, "handed_off")
        seen = await machine.wait_for(TAKES, timeout_s=BOOT_S)

    assert ASKS not in seen.serial


@pytest.mark.parametrize(
    ("address", "gateway", "mac", "nics", "is_tried"),
    [
        # The user-mode network has no 192.0.2.0/24: no machine answers there.
        pytest.param(
            *("192.0.2.77", "192.0.2.1", nic_mac(0), (QemuNic(),), True),
            marks=pytest.mark.reach,
            id="wrong-address",
        ),
        pytest.param(
            *("10.0.2.77", "10.0.2.2", nic_mac(0), (QemuNic(linked=False), QemuNic()), True),
            id="no-cable",
        ),
        pytest.param(
            *("10.0.2.77", "10.0.2.2", "52:54:00:00:00:01", (QemuNic(),), False),
            marks=pytest.mark.reach,
            id="no-such-card",
        ),
    ],
)
async def test_a_known_address_that_leads_nowhere_is_followed_by_dhcp(
    qemu: Qemu,
    site: Site,
    address: str,
    gateway: str,
    mac: str,
    nics: tuple[QemuNic, ...],
    is_tried: bool,
):
    known = ("--static-ip", f"{address}/24", "--gateway", gateway, "--mac", mac)
    stub = await site.build_stub(site.add(packaged(MEMTEST)), *known, "--then-dhcp")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub, nics=nics))
        boot = await boot_record(site, "handed_off")
        seen = await machine.wait_for(ASKS, timeout_s=BOOT_S)

    assert (TAKES in seen.serial) is is_tried
    assert (f"no boot by way of {address}: asking for another address" in seen.serial) is is_tried
    assert boot["machine"]["mac"] == nic_mac(len(nics) - 1)
    assert boot["sent_bytes"] == boot["image_bytes"]
