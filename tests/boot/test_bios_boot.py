"""BIOS machines boot recovery ISOs from RAM, started by the stub: the whole way, for real."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, NicModel, QemuNic, QemuSpec, nic_mac
from bootserver.model import Firmware
from tests.fixtures.booted import Door, Proven
from tests.fixtures.packaged import GRUB, MEMTEST, MEMTEST_SAYS, packaged
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

REDIRECTED_BYTES_MAX = 560_000

GRUB_RUNS = "GNU GRUB"

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def cd(stub: Path) -> QemuSpec:
    return QemuSpec(
        Firmware.BIOS,
        cdrom=stub,
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        serial="SN 42",
        manufacturer="ACME",
        product="Box & One",
    )


async def test_memtest_boots_from_the_stub_on_a_cd(qemu: Qemu, site: Site, proven: Proven):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image)
    async with serving(site):
        cards = (QemuNic(NicModel.E1000E), QemuNic(NicModel.VIRTIO))
        machine = await qemu(replace(cd(stub), nics=cards))
        _, boot = await proven(site, machine, MEMTEST_SAYS)
        redirected = await machine.cd_bytes_read()

    assert redirected <= REDIRECTED_BYTES_MAX
    assert [phase["phase"] for phase in boot["phases"]] == [
        "created",
        "stub_started",
        "script_served",
        "fetching",
        "fetched",
        "handed_off",
    ]
    assert boot["sent_bytes"] == boot["image_bytes"] == packaged(MEMTEST).stat().st_size
    assert boot["error"] == ""
    assert boot["machine"] == {
        "name": "52:54:00:12:34:56",
        "mac": "52:54:00:12:34:56",
        "uuid": "00112233-4455-6677-8899-aabbccddeeff",
        "serial": "SN 42",
        "asset": "",
        "manufacturer": "ACME",
        "product": "Box & One",
        "firmware": "bios",
        "architecture": "i386",
        "memory_mib": 1024,
        "nics": [
            {
                "mac": nic_mac(0),
                "pci_id": "8086:10d3",
                "subsystem": "8086:0000",
                "revision": "00",
                "vendor": "Intel",
                "booted_from": True,
            },
            {
                "mac": nic_mac(1),
                "pci_id": "1af4:1000",
                "subsystem": "1af4:0001",
                "revision": "00",
                "vendor": "virtio",
                "booted_from": False,
            },
        ],
    }


async def test_grub_rescue_boots_from_the_stub_on_a_usb_stick(
    qemu: Qemu, site: Site, proven: Proven
):
    image = site.add(packaged(GRUB))
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(
            replace(cd(stub), cdrom=None, usb_disk=stub, boot_from=BootDevice.DISK)
        )
        _, boot = await proven(site, machine, GRUB_RUNS, door=Door.USB_STICK)

    assert boot["sent_bytes"] == boot["image_bytes"]


async def test_a_second_server_is_tried_and_a_static_address_needs_no_dhcp(
    qemu: Qemu, site: Site, closed_port: int
):
    servers = [f"http://10.0.2.2:{port}" for port in (closed_port, site.boot_port)]
    network = ("--static-ip", "10.0.2.77/24", "--gateway", "10.0.2.2", "--mac", nic_mac(1))
    stub = await site.build_stub(
        site.add(packaged(MEMTEST)), "--server", servers[0], "--server", servers[1], *network
    )
    async with serving(site):
        machine = await qemu(replace(cd(stub), nics=(QemuNic(), QemuNic())))
        await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(1)  # the second card, as ordered


async def test_an_address_that_is_known_beforehand_is_tried_before_dhcp(qemu: Qemu, site: Site):
    known = ("--static-ip", "10.0.2.77/24", "--gateway", "10.0.2.2", "--mac", nic_mac(1))
    stub = await site.build_stub(site.add(packaged(MEMTEST)), *known, "--then-dhcp")
    async with serving(site):
        await qemu(replace(cd(stub), nics=(QemuNic(), QemuNic())))
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(1)  # DHCP would have begun with the first card


@pytest.mark.reach
async def test_a_known_address_that_is_wrong_is_followed_by_dhcp(qemu: Qemu, site: Site):
    # The user-mode network has no 192.0.2.0/24: no machine answers there.
    known = ("--static-ip", "192.0.2.77/24", "--gateway", "192.0.2.1", "--mac", nic_mac(1))
    stub = await site.build_stub(site.add(packaged(MEMTEST)), *known, "--then-dhcp")
    async with serving(site):
        await qemu(replace(cd(stub), nics=(QemuNic(), QemuNic())))
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(0)


async def test_the_stub_goes_on_to_the_card_that_has_a_cable(qemu: Qemu, site: Site):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(replace(cd(stub), nics=(QemuNic(linked=False), QemuNic())))
        await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert boot["machine"]["mac"] == nic_mac(1)


async def test_the_stub_waits_for_its_server_and_says_so(qemu: Qemu, site: Site):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image)
    machine = await qemu(cd(stub))
    await machine.wait_for(
        rf"bootserver: no boot from http://10\.0\.2\.2:{site.boot_port}, for the reason above",
        timeout_s=BOOT_S,
    )
    async with serving(site):
        await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)


async def test_a_key_opens_a_shell_and_exit_comes_back_to_the_way_over_tftp(
    qemu: Qemu, site: Site, closed_port: int
):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image, "--server", f"http://10.0.2.2:{closed_port}")
    machine = await qemu(cd(stub))
    await machine.wait_for("s opens a shell", timeout_s=BOOT_S)
    await machine.send_keys("s")
    await machine.wait_for(r"iPXE>", timeout_s=BOOT_S)
    await machine.send_keys(*"exit", "ret")
    async with serving(site):
        await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert boot["sent_bytes"] == boot["image_bytes"]  # its HTTP address has no server


async def test_an_image_that_cannot_fit_is_refused_on_screen_before_the_download(
    qemu: Qemu, site: Site
):
    large = site.path / "images" / "large.iso"
    large.write_bytes(packaged(MEMTEST).read_bytes())
    with large.open("r+b") as file:
        file.truncate(600 << 20)
    stub = await site.build_stub("large")
    async with serving(site):
        machine = await qemu(replace(cd(stub), memory_mib=512))
        await machine.wait_for(r"large needs 664 MiB of memory", timeout_s=BOOT_S)
        boot = await boot_record(site, "stub_started")

    assert boot["sent_bytes"] == 0
    assert "needs 664 MiB" in boot["error"]


async def test_an_unknown_stub_is_told_so_on_screen(qemu: Qemu, site: Site):
    image = site.add(packaged(MEMTEST))
    stub = await site.build_stub(image)
    shutil.rmtree(site.path / "var")  # its secret as well: the server is another one now
    async with serving(site):
        machine = await qemu(cd(stub))
        await machine.wait_for("this stub is not known to this server", timeout_s=BOOT_S)
