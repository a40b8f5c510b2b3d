"""A stub without an image: the screen shows what the machine can boot, and boots what is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures import linux_iso, loopback_iso
from tests.fixtures.isos import make_iso
from tests.fixtures.packaged import GRUB, MEMTEST, packaged
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MENU_IS_UP = "A shell; exit comes back"  # its last line

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.mark.parametrize(
    "firmware", [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI]
)
async def test_what_is_chosen_by_keys_is_booted(qemu: Qemu, tmp_path: Path, firmware: Firmware):
    site = Site(tmp_path / "site")
    site.add(packaged(MEMTEST), "a-memory-test.iso")
    site.add(packaged(GRUB), "grub.iso")
    stub = await site.build_stub("")
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        seen = await machine.wait_for(MENU_IS_UP, timeout_s=BOOT_S)
        await machine.send_keys("up", "ret")  # from the default, its own disk, to the last image
        boot = await boot_record(site, "handed_off")

    assert boot["image"] == "a-memory-test"
    shown = seen.screen + seen.serial
    assert "The machine's own disk" in shown
    assert ("These cannot boot here" in shown) == (firmware is Firmware.UEFI)  # GRUB's is for BIOS


ISOLINUX = """\
DEFAULT local
LABEL local
  LOCALBOOT -1
LABEL auto
  MENU LABEL ERASES ALL DISKS
  KERNEL /vmlinuz
  APPEND autonuke
LABEL shown
  MENU LABEL Show; what ${net0/mac} was said
  KERNEL /vmlinuz
  APPEND initrd=/memory.gz console=ttyS0,115200 homemade.medium=shown
"""


async def test_a_disc_that_would_start_the_machines_disk_has_its_entries_chosen_from(
    qemu: Qemu, tmp_path: Path
):
    site = Site(tmp_path / "site")
    parts = linux_iso.linux_parts()
    files = {
        "isolinux/isolinux.cfg": ISOLINUX.encode(),
        "vmlinuz": parts["vmlinuz"],
        "memory.gz": linux_iso.initramfs(parts, loopback_iso.INIT),
    }
    make_iso(site.path / "images" / "disc.iso", files, bios=True)
    stub = await site.build_stub("disc")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub))
        menu = await machine.wait_for(MENU_IS_UP, timeout_s=BOOT_S)
        await machine.send_keys("ret")  # its own disk, and it has none
        await machine.wait_for("first disk does not start from here", timeout_s=BOOT_S)
        await machine.send_keys("ret")
        await machine.wait_for(lambda seen: MENU_IS_UP in seen.screen, timeout_s=BOOT_S)
        await machine.send_keys("up", "ret")  # from the machine's own disk to the last entry
        up = await machine.wait_for(loopback_iso.UP, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    shown = menu.screen + menu.serial
    assert "ERASES ALL DISKS" in shown
    assert "Show; what $ {net0/mac} was said" in shown
    assert "homemade.medium=shown" in up.serial
    assert "autonuke" not in up.serial
    assert boot["method"] == "kernel"


async def test_the_sites_default_is_booted_when_nobody_chooses(qemu: Qemu, tmp_path: Path):
    site = Site(tmp_path / "site", extra='[boot]\nmenu_default = "memtest"\nmenu_timeout_s = 5\n')
    site.add(packaged(MEMTEST), "memtest.iso")
    site.add(packaged(GRUB), "grub.iso")
    stub = await site.build_stub("")
    async with serving(site):
        await qemu(QemuSpec(Firmware.BIOS, cdrom=stub))
        boot = await boot_record(site, "handed_off")

    assert boot["image"] == "memtest"


async def test_a_profile_for_the_next_boot_needs_no_menu(qemu: Qemu, tmp_path: Path):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")
    site.add(packaged(GRUB), "grub.iso")
    stub = await site.build_stub("")
    await site.command("machines", "set", "52:54:00:12:34:56", "--image", image, "--once")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub))
        await boot_record(site, "handed_off")
        await machine.reset()
        await machine.wait_for(MENU_IS_UP, timeout_s=BOOT_S)


async def test_leaving_the_menu_goes_on_to_the_machines_own_disk(qemu: Qemu, tmp_path: Path):
    site = Site(tmp_path / "site", extra="[boot]\nmenu_timeout_s = 3\n")
    site.add(packaged(MEMTEST), "memtest.iso")
    stub = await site.build_stub("")
    # Not on USB: iPXE 2.0 takes the controllers, and the BIOS can read no disk there any more.
    disk = ("-drive", f"file={packaged(GRUB)},format=raw,if=ide,snapshot=on")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub, extra_args=disk))
        await machine.wait_for("GNU GRUB", timeout_s=BOOT_S)
