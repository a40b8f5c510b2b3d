"""A bare machine of each Debian release sets itself up, and what its gcc makes boots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import NicModel, QemuNic, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.bare_machine import set_up_loaders
from tests.fixtures.linux_iso import linux_iso
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.distributions]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.mark.parametrize("release", ["bookworm", "trixie", "sid"])
async def test_a_bare_machine_sets_itself_up_and_its_loaders_boot(
    qemu: Qemu, tmp_path: Path, release: str
):
    site = Site(tmp_path / "site", loaders=str(set_up_loaders(release, tmp_path / "bare")))
    disc = linux_iso()
    stub = await site.build_stub(site.add(disc.path))
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=stub, nics=(QemuNic(NicModel.VIRTIO),)))
        seen = await machine.wait_for("GUEST DONE", timeout_s=BOOT_S)
        await boot_record(site, "handed_off")

    assert "starting the small iPXE" in seen.serial
    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
