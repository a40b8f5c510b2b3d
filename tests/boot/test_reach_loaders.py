"""Discs of other loaders than GRUB and ISOLINUX come up with the entry that their loader starts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures import loader_discs
from tests.fixtures.booted import Proven
from tests.fixtures.packaged import MEMTEST_SAYS, ON_SERIAL
from tests.fixtures.server import BOOT_S, Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.reach]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def arguments_of_the_default(site: Site, image: str) -> list[str]:
    """Of the disc's own menu, as `images explain` reads it."""
    menu = (await site.query("images", "explain", image))["menus"][0]
    assert menu["default"], menu["doubt"]
    return list(menu["entries"][menu["default"] - 1]["arguments"])


def spoken(text: str) -> list[str]:
    """The arguments that the system said it runs by."""
    found = re.search(loader_discs.UP, text)
    assert found is not None
    return found["arguments"].split()


@pytest.mark.parametrize(
    ("firmware", "method"), [(Firmware.BIOS, "kernel"), (Firmware.UEFI, "ramdisk")]
)
async def test_a_systemd_boot_disc_boots_its_default_entry(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven, firmware: Firmware, method: str
):
    """By its entry's kernel on a BIOS machine; under UEFI the disc's own loader starts the same."""
    image = site.add(loader_discs.systemd_boot_disc(tmp_path / "systemd.iso"))
    wanted = await arguments_of_the_default(site, image)
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        seen, boot = await proven(site, machine, loader_discs.UP, timeout_s=2 * BOOT_S)

    assert "entry=live-9" in wanted
    assert spoken(seen.serial)[-len(wanted) :] == wanted
    assert boot["method"] == method


async def test_a_disc_of_unified_kernels_boots_the_newest_from_memory(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven
):
    image = site.add(loader_discs.unified_disc(tmp_path / "unified.iso"))
    wanted = await arguments_of_the_default(site, image)
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        seen, boot = await proven(site, machine, loader_discs.UP, timeout_s=2 * BOOT_S)

    assert "entry=uki-10" in wanted
    assert spoken(seen.serial)[-len(wanted) :] == wanted
    assert boot["method"] == "ramdisk"


async def test_a_unified_kernel_that_was_asked_for_is_started_by_itself(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven
):
    image = site.add(loader_discs.unified_disc(tmp_path / "unified.iso"))
    stub = await site.build_stub(image, "--entry", "Live 9")
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        seen, boot = await proven(site, machine, loader_discs.UP, timeout_s=2 * BOOT_S)

    assert "entry=uki-9" in spoken(seen.serial)
    assert boot["method"] == "kernel"
    assert boot["sent_bytes"] < 20_000_000


async def test_a_refind_disc_boots_its_default_from_memory(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven
):
    image = site.add(loader_discs.refind_disc(tmp_path / "refind.iso"))
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        seen, boot = await proven(site, machine, loader_discs.UP, timeout_s=2 * BOOT_S)

    assert "entry=refind-2" in spoken(seen.serial)
    assert (boot["recipe"], boot["method"]) == ("disc", "ramdisk")


@pytest.mark.parametrize(
    ("firmware", "method"), [(Firmware.BIOS, "memdisk"), (Firmware.UEFI, "ramdisk")]
)
async def test_a_xen_disc_boots_whole_with_its_hypervisor(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven, firmware: Firmware, method: str
):
    image = site.add(loader_discs.xen_disc(tmp_path / "xen.iso"))
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub, memory_mib=2048))
        seen, boot = await proven(site, machine, loader_discs.UP, timeout_s=2 * BOOT_S)

    assert "entry=xen" in spoken(seen.serial)
    assert (boot["recipe"], boot["method"]) == ("disc", method)


@pytest.mark.parametrize(
    ("firmware", "method"), [(Firmware.BIOS, "memdisk"), (Firmware.UEFI, "chain")]
)
async def test_memtest_of_the_newest_release_boots(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware, method: str
):
    disc = loader_discs.package("memtest86+", "sid") / "usr/lib/memtest86+/memtest86+x64.iso"
    image = site.add(disc, side_car=ON_SERIAL)
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        _, boot = await proven(site, machine, MEMTEST_SAYS, timeout_s=2 * BOOT_S)

    assert (boot["recipe"], boot["method"]) == ("memtest86+", method)


@pytest.mark.parametrize(
    ("firmware", "method"), [(Firmware.BIOS, "memdisk"), (Firmware.UEFI, "ramdisk")]
)
async def test_ipxes_own_disc_boots_whole(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware, method: str
):
    """It asks the network what to boot, as our stub never does, and is told nothing."""
    image = site.add(loader_discs.package("ipxe") / "usr/lib/ipxe/ipxe.iso")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        _, boot = await proven(
            site, machine, "Nothing to boot|No more network devices", timeout_s=2 * BOOT_S
        )

    assert (boot["recipe"], boot["method"]) == ("disc", method)
