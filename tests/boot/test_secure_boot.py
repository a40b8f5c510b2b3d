"""Secure Boot enforced, a site's own key enrolled: signed programs run, unsigned ones do not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.config import PROJECT, SigningConfig
from bootserver.model import Architecture, Firmware
from bootserver.stub.loaders import LOADERS
from bootserver.stub.sign import sign_program, signed_file
from tests.fixtures.linux_iso import efi_loader
from tests.fixtures.secure_boot import GRUB_SAYS, grub_iso, make_key_pair, secure_boot_vars
from tests.fixtures.server import Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOOT_S = 300  # an emulated machine on a busy host; a quiet one takes 30 to 60

REFUSED = "Access Denied|Security Violation"  # the firmware's words for it

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
def signing(tmp_path: Path) -> SigningConfig:
    pair = make_key_pair(tmp_path)
    return SigningConfig(key=pair.key, certificate=pair.certificate)


@pytest.fixture
def machine(tmp_path: Path, signing: SigningConfig) -> Callable[[Path], QemuSpec]:
    """A machine that trusts this site's key and nothing else, with that stub in its CD drive."""
    variables = secure_boot_vars(tmp_path / "enrolled.fd", signing.certificate)
    return lambda stub: QemuSpec(Firmware.UEFI, cdrom=stub, secure_boot_vars=variables)


@pytest.fixture
def disc(tmp_path: Path, signing: SigningConfig) -> Path:
    """A recovery disc with a signed GRUB."""
    return grub_iso(tmp_path / "disc.iso", sign_program(efi_loader(), signing, tmp_path / "cache"))


def site_with_signed_loaders(tmp_path: Path, signing: SigningConfig) -> Site:
    """A site that signs by itself, and puts the results in place of the collected loaders."""
    build = PROJECT / "stub" / "build"
    own = {
        name: signed_file(build / name, signing, tmp_path / "cache")
        for name, (architecture, _) in LOADERS.items()
        if architecture is Architecture.X64
    }
    return Site(
        tmp_path / "site",
        extra="[stub.loaders]\n" + "".join(f'"{name}" = "{path}"\n' for name, path in own.items()),
    )


async def test_an_unsigned_stub_is_refused_and_asks_the_server_for_nothing(
    qemu: Qemu, tmp_path: Path, machine: Callable[[Path], QemuSpec], disc: Path
):
    site = Site(tmp_path / "site")
    stub = await site.build_stub(site.add(disc))
    async with serving(site):
        running = await qemu(machine(stub))
        await running.wait_for(REFUSED, timeout_s=BOOT_S)

        assert await site.query("boots", "list") == []


async def test_a_signed_stub_boots_through_to_the_signed_loader_on_the_disc(
    qemu: Qemu,
    tmp_path: Path,
    machine: Callable[[Path], QemuSpec],
    signing: SigningConfig,
    disc: Path,
):
    site = site_with_signed_loaders(tmp_path, signing)
    stub = await site.build_stub(site.add(disc))
    async with serving(site):
        running = await qemu(machine(stub))
        await running.wait_for(f"{GRUB_SAYS}y", timeout_s=BOOT_S)
        boot = await boot_record(site, "handed_off")

    assert boot["sent_bytes"] == boot["image_bytes"] == disc.stat().st_size


async def test_an_unsigned_loader_on_the_disc_is_refused_in_words_and_the_script_goes_on(
    qemu: Qemu,
    tmp_path: Path,
    machine: Callable[[Path], QemuSpec],
    signing: SigningConfig,
):
    site = site_with_signed_loaders(tmp_path, signing)
    stub = await site.build_stub(site.add(grub_iso(tmp_path / "unsigned.iso", efi_loader())))
    async with serving(site):
        running = await qemu(machine(stub))
        seen = await running.wait_for("bootserver: trying again in", timeout_s=BOOT_S)

    assert "bootserver: Secure Boot refuses the image's boot file" in seen.serial
    assert "bootserver: no boot from memory, for the reason above" in seen.serial
    assert GRUB_SAYS not in seen.serial
