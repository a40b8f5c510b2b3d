"""Secure Boot enforced: what a site signs with its own key boots, and nothing else does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, QemuSpec
from bootserver.config import SigningConfig
from bootserver.model import Firmware
from bootserver.stub.fat import fat_image
from bootserver.stub.sign import sign_program
from tests.fixtures.linux_iso import efi_loader
from tests.fixtures.secure_boot import (
    GRUB_SAYS,
    grub_iso,
    make_key_pair,
    packaged_shim,
    secure_boot_vars,
    vars_of_a_pc,
)
from tests.fixtures.server import Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOOT_S = 300  # an emulated machine on a busy host; a quiet one takes 15 to 60

GRUB_RUNS = f"{GRUB_SAYS}y"  # it is GRUB that says whether the machine enforces Secure Boot
REFUSED = "Access Denied|Security Violation"  # the firmware's words for it, and shim's

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def signing(tmp_path: Path) -> SigningConfig:
    pair = make_key_pair(tmp_path)
    return SigningConfig(key=pair.key, certificate=pair.certificate)


@pytest.fixture
def own_keys(tmp_path: Path, signing: SigningConfig) -> Path:
    """The variables of a machine that trusts this site's key and nothing else."""
    assert signing.certificate is not None
    return secure_boot_vars(tmp_path / "own.fd", signing.certificate)


@pytest.fixture
def disc(tmp_path: Path, signing: SigningConfig) -> Path:
    """A recovery disc with a signed GRUB."""
    return grub_iso(tmp_path / "disc.iso", sign_program(efi_loader(), signing, tmp_path / "cache"))


def signing_site(tmp_path: Path, signing: SigningConfig, stub: str = "") -> Site:
    tables = f'[stub.signing]\nkey = "{signing.key}"\ncertificate = "{signing.certificate}"\n'
    return Site(tmp_path / "site", stub=stub, extra=tables)


def machine_with(stub: Path, variables: Path) -> QemuSpec:
    return QemuSpec(Firmware.UEFI, cdrom=stub, secure_boot_vars=variables)


async def assert_boots(qemu: Qemu, site: Site, machine: QemuSpec, disc: Path) -> None:
    """The stub in that machine boots the disc, of which GRUB itself says that it runs locked."""
    async with serving(site):
        running = await qemu(machine)
        await running.wait_for(GRUB_RUNS, timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert boot["sent_bytes"] == boot["image_bytes"] == disc.stat().st_size


async def assert_is_refused(qemu: Qemu, site: Site, machine: QemuSpec) -> None:
    """The stub in that machine does not get to run: nothing asks the server for a script."""
    async with serving(site):
        running = await qemu(machine)
        await running.wait_for(REFUSED, timeout_s=BOOT_S)

        assert await site.query("boots", "list") == []


async def test_an_unsigned_stub_is_refused(qemu: Qemu, tmp_path: Path, own_keys: Path, disc: Path):
    site = Site(tmp_path / "site")
    stub = await site.build_stub(site.add(disc))

    await assert_is_refused(qemu, site, machine_with(stub, own_keys))


@pytest.mark.parametrize("pack", ["true", "false"])
async def test_a_signed_stub_boots_through_to_the_signed_loader_on_the_disc(
    qemu: Qemu, tmp_path: Path, signing: SigningConfig, own_keys: Path, disc: Path, pack: str
):
    site = signing_site(tmp_path, signing, f"pack = {pack}\n")
    stub = await site.build_stub(site.add(disc))

    await assert_boots(qemu, site, machine_with(stub, own_keys), disc)


async def test_a_stub_of_one_program_is_signed_with_all_that_it_carries(
    qemu: Qemu, tmp_path: Path, signing: SigningConfig, own_keys: Path, disc: Path
):
    site = signing_site(tmp_path, signing)
    program = await site.build_stub(site.add(disc), "--format", "efi")
    stick = tmp_path / "stick.img"
    stick.write_bytes(fat_image({"EFI/BOOT/BOOTX64.EFI": program.read_bytes()}))
    machine = QemuSpec(
        Firmware.UEFI, usb_disk=stick, boot_from=BootDevice.DISK, secure_boot_vars=own_keys
    )

    await assert_boots(qemu, site, machine, disc)


async def test_an_unsigned_loader_on_the_disc_is_refused_in_words_and_the_script_goes_on(
    qemu: Qemu, tmp_path: Path, signing: SigningConfig, own_keys: Path
):
    site = signing_site(tmp_path, signing)
    stub = await site.build_stub(site.add(grub_iso(tmp_path / "unsigned.iso", efi_loader())))
    async with serving(site):
        running = await qemu(machine_with(stub, own_keys))
        seen = await running.wait_for("bootserver: trying again in", timeout_s=BOOT_S)

    assert "bootserver: Secure Boot refuses the image's boot file" in seen.serial
    assert "bootserver: no boot from memory, for the reason above" in seen.serial
    assert GRUB_SAYS not in seen.serial


async def test_a_pc_as_it_is_sold_boots_by_shim_what_its_owner_has_enrolled(
    qemu: Qemu, tmp_path: Path, signing: SigningConfig, disc: Path
):
    site = signing_site(tmp_path, signing, f'shim = "{packaged_shim()}"\n')
    stub = await site.build_stub(site.add(disc))
    variables = vars_of_a_pc(tmp_path / "pc.fd", machine_owner=signing.certificate)

    await assert_boots(qemu, site, machine_with(stub, variables), disc)


async def test_shim_starts_nothing_whose_key_the_owner_has_not_enrolled(
    qemu: Qemu, tmp_path: Path, signing: SigningConfig, disc: Path
):
    site = signing_site(tmp_path, signing, f'shim = "{packaged_shim()}"\n')
    stub = await site.build_stub(site.add(disc))

    await assert_is_refused(qemu, site, machine_with(stub, vars_of_a_pc(tmp_path / "pc.fd")))
