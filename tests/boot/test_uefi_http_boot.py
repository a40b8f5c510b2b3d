"""UEFI HTTP boot: the firmware itself fetches the stub as one program, and boots.

Over HTTPS it is what AMT One-Click Recovery has the firmware do. OVMF's OpenSSL knows no elliptic
curves, like that of many PCs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.ports import free_port
from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import OVMF_VARS, NicModel, QemuNic, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.booted import Door, Proven
from tests.fixtures.linux_iso import linux_iso
from tests.fixtures.secure_boot import OWNER
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def vars_that_boot(url: str, path: Path) -> Path:
    """OVMF's variables with that URL as the next thing to boot."""
    tool = Path(sys.executable).with_name("virt-fw-vars")
    command = [str(tool), "--input", str(OVMF_VARS), "--set-boot-uri", url, "--output", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def trusting(root: Path, path: Path) -> tuple[str, ...]:
    """What makes OVMF trust that CA over HTTPS: an EFI signature list with its certificate."""
    tool = Path(sys.executable).with_name("virt-fw-sigdb")
    command = [str(tool), "--add-cert", OWNER, str(root), "--output", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return ("-fw_cfg", f"name=etc/edk2/https/cacerts,file={path}")


async def test_the_firmware_fetches_the_stub_and_boots_the_image_from_memory(
    qemu: Qemu, site: Site, tmp_path: Path, proven: Proven
):
    disc = linux_iso()
    stub = await site.query("stub", "build", site.add(disc.path), "--format", "efi")
    uefi_vars = vars_that_boot(stub["urls"]["stub"], tmp_path / "vars.fd")
    async with serving(site):
        nics = (QemuNic(NicModel.VIRTIO),)
        machine = await qemu(QemuSpec(Firmware.UEFI, nics=nics, uefi_vars=uefi_vars))
        seen, boot = await proven(site, machine, "GUEST DONE", door=Door.HTTP_BOOT)

    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
    assert boot["sent_bytes"] == boot["image_bytes"]


@pytest.fixture
def https_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", https_port=free_port())


async def test_firmware_that_trusts_our_root_fetches_the_stub_over_https(
    qemu: Qemu, https_site: Site, tmp_path: Path
):
    site, disc = https_site, linux_iso()
    stub = await site.query("stub", "build", site.add(disc.path), "--format", "efi")
    uefi_vars = vars_that_boot(site.https(stub["urls"]["stub"]), tmp_path / "vars.fd")
    async with serving(site):
        trust = trusting(site.root, tmp_path / "cacerts")
        nics = (QemuNic(NicModel.VIRTIO),)
        spec = QemuSpec(Firmware.UEFI, nics=nics, uefi_vars=uefi_vars, extra_args=trust)
        machine = await qemu(spec)
        seen = await machine.wait_for("GUEST DONE", timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
    assert boot["sent_bytes"] == boot["image_bytes"]


@pytest.mark.reach
async def test_firmware_boots_the_whole_image_over_https_without_any_stub(
    qemu: Qemu, https_site: Site, tmp_path: Path
):
    site, disc = https_site, linux_iso()
    stub = await site.query("stub", "build", site.add(disc.path))
    uefi_vars = vars_that_boot(site.https(stub["urls"]["image"]), tmp_path / "vars.fd")
    async with serving(site):
        trust = trusting(site.root, tmp_path / "cacerts")
        nics = (QemuNic(NicModel.VIRTIO),)
        spec = QemuSpec(Firmware.UEFI, nics=nics, uefi_vars=uefi_vars, extra_args=trust)
        machine = await qemu(spec)
        seen = await machine.wait_for("GUEST DONE", timeout_s=BOOT_S)

    assert f"GUEST PAYLOAD {disc.payload_sha256}" in seen.serial
