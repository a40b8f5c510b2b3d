"""UEFI HTTP boot: the firmware itself fetches the stub as one program, and boots."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import OVMF_VARS, Nic, NicModel, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.linux_iso import linux_iso
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def vars_that_boot(url: str, path: Path) -> Path:
    """OVMF's variables with that URL as the next thing to boot."""
    tool = Path(sys.executable).with_name("virt-fw-vars")
    command = [tool, "--input", OVMF_VARS, "--set-boot-uri", url, "--output", path]
    subprocess.run(command, check=True, capture_output=True)
    return path


async def test_the_firmware_fetches_the_stub_and_boots_the_image_from_memory(
    qemu: Qemu, site: Site, tmp_path: Path
):
    disc = linux_iso()
    stub = await site.query("stub", "build", site.add(disc.path), "--format", "efi")
    uefi_vars = vars_that_boot(stub["urls"]["stub"], tmp_path / "vars.fd")
    async with serving(site):
        nics = (Nic(NicModel.VIRTIO),)
        machine = await qemu(QemuSpec(Firmware.UEFI, nics=nics, uefi_vars=uefi_vars))
        seen = await machine.wait_for("GUEST DONE", timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
    assert boot["machine"]["firmware"] == "uefi"
    assert boot["sent_bytes"] == boot["image_bytes"]
