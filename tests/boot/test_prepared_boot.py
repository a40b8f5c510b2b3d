"""Machines boot a disc of Windows PE with their driver put in, and read it as firmware shows it.

The disc's boot program is ours (winpe_guest.c): Windows cannot be here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec, nic_mac
from bootserver.model import Firmware, Prepare
from bootserver.windows.inspect import inspect_winpe
from tests.fixtures.server import BOOT_S, Site, boot_record, serving
from tests.fixtures.winpe import INTEL, FakeDriver, WinPeSpec, disc_content
from tests.fixtures.winpe_guest import GUEST_DONE, bootable_winpe, guest_report

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

E1000 = FakeDriver("e1g6032e", "Intel", ("PCI\\VEN_8086&DEV_100E",))  # QEMU's card
LACK = "its Windows PE has no driver for this machine's network (Intel 8086:100e)"


@pytest.mark.parametrize(
    ("firmware", "prepare"),
    [
        pytest.param(Firmware.BIOS, Prepare.ASK, id="bios-memdisk-asked"),
        pytest.param(Firmware.UEFI, Prepare.AUTO, id="uefi-ramdisk"),
    ],
)
async def test_the_guest_finds_the_driver_in_its_own_boot_wim(
    qemu: Qemu, tmp_path: Path, firmware: Firmware, prepare: Prepare
):
    site = Site(tmp_path / "site", extra=f'[boot]\nprepare = "{prepare}"\n')
    disc = bootable_winpe(tmp_path / "pe.iso", WinPeSpec(drivers=(INTEL,), extra_disc_bytes=5000))
    stub = await site.build_stub(site.add(disc))
    files = E1000.files("amd64")
    folder = site.path / "drivers" / "e1000"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    old_wim_bytes = inspect_winpe(disc_content(disc)).wim_bytes
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        if prepare is Prepare.ASK:
            await machine.wait_for("bootserver: d puts it in", timeout_s=BOOT_S)
            await machine.send_keys("d")
        await machine.wait_for("e1g6032e.inf 12.15.31.4 is put into the disc", timeout_s=BOOT_S)
        shown = await machine.wait_for(GUEST_DONE, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")
        told = await site.command("boots", "show", boot["id"])
        beforehand = await site.command("images", "explain", "pe", "--client", nic_mac(0))

    assert boot["variant"] == f"e1g6032e.inf 12.15.31.4 is put into the disc: {LACK}"
    assert f"  prepared: {boot['variant']}\n" in told
    if prepare is Prepare.AUTO:
        assert f"Prepared: {boot['variant']}.\n" in beforehand
    else:
        offer = "a key on its screen puts e1g6032e.inf 12.15.31.4 into the disc"
        assert f"Prepared: {offer}.\n" in beforehand
    assert boot["sent_bytes"] == boot["image_bytes"] > disc.stat().st_size
    report = guest_report(shown.serial)
    assert report.wim_bytes > report.table_start > old_wim_bytes
    assert set(report.files.values()) == {"good"}
    for driver in (files, INTEL.files("amd64")):
        for name, data in driver.items():
            if name.endswith((".sys", ".cat")):
                assert hashlib.sha1(data).hexdigest() in report.files
