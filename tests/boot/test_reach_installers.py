"""Installer discs boot by the network installer's own kernel, with packages out of their ISO."""

from __future__ import annotations

import platform
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures import installer_cd, installer_iso
from tests.fixtures.bootable import write_files
from tests.fixtures.booted import Proven
from tests.fixtures.server import BOOT_S, Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.reach]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

# As docs/recipes.md has it.
REPLACE = """\
[replace]
"/install.amd/vmlinuz" = "netboot/linux"
"/install.amd/initrd.gz" = "netboot/initrd.gz"
"""


@pytest.mark.parametrize("firmware", Firmware)
async def test_debians_installer_takes_its_packages_out_of_the_cd_s_iso(
    qemu: Qemu, tmp_path: Path, proven: Proven, firmware: Firmware
):
    """The network installer beside a CD: a package that it installs from there speaks."""
    site = Site(tmp_path / "site")
    parts = installer_iso.netboot()
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    version = installer_cd.kernel_version(parts["linux"])
    disc = installer_cd.installer_cd(tmp_path / "cd.iso", codename=codename, version=version)
    arguments = f'arguments = "{installer_iso.ARGUMENTS} {installer_cd.ANSWERS}"\n'
    image = site.add(disc, side_car=arguments + REPLACE)
    write_files(site.path / "images" / "netboot", parts)
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(firmware, cdrom=stub))
        seen, boot = await proven(site, machine, installer_cd.SPEAKS, timeout_s=4 * BOOT_S)

    spoken = re.search(installer_cd.SPEAKS, seen.serial)
    assert spoken is not None
    assert "mirror/protocol=http" in spoken["arguments"]
    assert boot["recipe"] == "debian-installer"
    served = {transfer["name"] for transfer in boot["transfers"]}
    release = f"dists/{codename}/Release"
    assert any(name.endswith(release) for name in served), served
