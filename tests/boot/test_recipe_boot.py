"""Discs of many kinds boot by the recipe that their content calls for: the whole way, for real."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures import dos_disc, installer_iso, loopback_iso
from tests.fixtures.booted import Proven
from tests.fixtures.live_discs import DEBIAN, live_disc
from tests.fixtures.live_systems import LOGIN, PAYLOAD_SHA256, UP
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, ON_SERIAL, packaged
from tests.fixtures.server import BOOT_S, Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

LIVE_BOOT_S = 2 * BOOT_S  # systemd under emulation, on a busy host


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def expected(site: Site, image: str, recipe: str, **methods: str) -> dict[str, Any]:
    """What `images explain` says beforehand, which is what the boots are held to."""
    explanation = await site.query("images", "explain", image)
    assert explanation["recipe"] == recipe
    assert {kind: explanation[kind]["method"] for kind in ("bios", "uefi")} == methods
    return explanation


def say(site: Site, image: str, text: str) -> None:
    (site.path / "images" / f"{image}.toml").write_text(text)


# Under UEFI the serial line shows iPXE, too; with this argument the kernel's first words follow.
FIRST_WORDS = "efi=debug"
HANDED_OFF = "/phase/handoff... ok"
STARTED = r"/phase/handoff\.\.\. ok\s+EFI stub: Loaded initrd"
# After our own script, which is 0000: what the system runs to call home says when it has.
CLOCK = "#!/bin/sh\necho 'echo CALLED-HOME >/dev/console' >>/run/bootserver-up.sh\n"
AGREE_S = 1.0  # both clocks are this host's; what is between them is a look every 20 ms
POLL_S = 0.02


@pytest.mark.parametrize(
    "firmware",
    [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI],
)
async def test_a_debian_live_disc_boots_by_its_kernel_fetches_its_root_and_runs_the_sites_script(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware
):
    """And the ledger's times are those at which its serial line shows the same things."""
    disc = live_disc(DEBIAN)
    image = site.add(disc)
    inject = '[inject]\n"usr/lib/live/boot/0001-clock.sh" = "clock.sh"\n'
    say(site, image, f'arguments = "{FIRST_WORDS}"\n{inject}')
    (site.path / "images" / "clock.sh").write_text(CLOCK)
    await expected(site, image, "debian-live", bios="kernel", uefi="kernel")
    stub = await site.build_stub(image)
    seen_at = {}
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub, memory_mib=2048))
        if firmware is Firmware.UEFI:
            seen_at["handed_off"] = await time_of(machine, HANDED_OFF)
        seen_at["os_up"] = await time_of(machine, "CALLED-HOME")
        seen, boot = await proven(site, machine, UP, phase="os_up", timeout_s=LIVE_BOOT_S)
        await machine.wait_for(LOGIN, timeout_s=LIVE_BOOT_S)

    up = re.search(UP, seen.serial)
    assert up is not None
    assert up["payload"] == PAYLOAD_SHA256
    assert up["type"] == "ramfs"  # it was fetched: there is no medium
    assert boot["sent_bytes"] == boot["image_bytes"] < disc.stat().st_size
    at = {phase["phase"]: datetime.fromisoformat(phase["at"]) for phase in boot["phases"]}
    assert list(at)[-5:] == ["fetching", "fetched", "handed_off", "root_fetched", "os_up"]
    assert machine.switched_on_at < at["created"]
    for phase, when in seen_at.items():
        assert abs((when - at[phase]).total_seconds()) <= AGREE_S, phase
    assert firmware is Firmware.BIOS or re.search(STARTED, seen.serial)


async def time_of(machine: QemuMachine, text: str) -> datetime:
    """When the machine showed this first."""
    await machine.wait_for(
        lambda _: text in machine.serial_text(), timeout_s=LIVE_BOOT_S, poll_s=POLL_S
    )
    return datetime.now(UTC)


@pytest.mark.reach  # test_uefi_boot.py has a small Linux disc that finds itself there
async def test_a_debian_live_disc_finds_its_medium_in_a_uefi_ram_disk(
    qemu: Qemu, site: Site, proven: Proven
):
    disc = live_disc(DEBIAN)
    image = site.add(disc)
    say(site, image, 'recipe = "disc"\n')
    await expected(site, image, "disc", bios="memdisk", uefi="ramdisk")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub, memory_mib=2048))
        seen, boot = await proven(site, machine, UP, timeout_s=LIVE_BOOT_S)

    up = re.search(UP, seen.serial)
    assert up is not None
    assert up["medium"].startswith("/dev/pmem0")
    assert up["payload"] == PAYLOAD_SHA256
    assert boot["sent_bytes"] == disc.stat().st_size


@pytest.mark.parametrize("firmware", Firmware)
async def test_debians_installer_asks_its_first_question(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware
):
    image = site.add(installer_iso.installer_iso())
    say(site, image, f'arguments = "{installer_iso.ARGUMENTS}"\n')
    await expected(site, image, "debian-netboot", bios="kernel", uefi="kernel")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        await proven(site, machine, installer_iso.ASKS, timeout_s=LIVE_BOOT_S)


async def test_memtest_under_uefi_is_started_without_its_disc(
    qemu: Qemu, site: Site, proven: Proven
):
    image = site.add(packaged(MEMTEST), side_car=ON_SERIAL)
    await expected(site, image, "memtest86+", bios="memdisk", uefi="chain")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        _, boot = await proven(site, machine, MEMTEST_SAYS)

    assert 0 < boot["sent_bytes"] == boot["image_bytes"] < 1_000_000


async def test_an_unknown_linux_disc_boots_by_its_own_menu_on_a_bios_machine(
    qemu: Qemu, site: Site, proven: Proven
):
    image = site.add(loopback_iso.loopback_iso())
    await expected(site, image, "unknown-linux", bios="kernel", uefi="ramdisk")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub))
        seen, boot = await proven(site, machine, loopback_iso.UP)

    assert "iso-scan" not in seen.serial
    assert "initrd=memory.gz" in seen.serial  # so our script started it, not the disc's
    assert boot["sent_bytes"] < loopback_iso.loopback_iso().stat().st_size


async def test_an_unknown_linux_disc_boots_from_memory_on_a_uefi_machine(
    qemu: Qemu, site: Site, proven: Proven
):
    image = site.add(loopback_iso.loopback_iso())
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub))
        _, boot = await proven(site, machine, loopback_iso.UP)

    assert boot["sent_bytes"] == loopback_iso.loopback_iso().stat().st_size


async def test_a_dos_like_disc_with_a_floppy_boots_from_memory(
    qemu: Qemu, site: Site, proven: Proven
):
    disc = dos_disc.floppy_disc(site.path / "fd.iso", "FLOPPY-UP")
    image = site.add(disc)
    await expected(site, image, "floppy-disc", bios="memdisk", uefi="")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub))
        seen, _ = await proven(site, machine, dos_disc.FLOPPY_READ)

    assert "FLOPPY-UP" in seen.serial


@pytest.mark.parametrize(
    ("firmware", "says"),
    [(Firmware.BIOS, dos_disc.DISK_READ), (Firmware.UEFI, dos_disc.EFI_STARTED)],
)
async def test_a_plain_disk_image_boots_from_memory(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware, says: str
):
    disk = dos_disc.plain_disk(site.path / "plain.img", "DISK-UP")
    site.add(disk)
    await expected(site, "plain", "disk-image", bios="memdisk", uefi="ramdisk")
    stub = await site.build_stub("plain")
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        await proven(site, machine, says)
