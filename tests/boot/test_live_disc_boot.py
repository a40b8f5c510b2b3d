"""A Linux disc that was written anew boots as it did before, and has what was put in."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.images.iso import inspect_iso
from bootserver.images.optimize.wishes import OptimizeWishes
from bootserver.images.optimize.write import optimize
from bootserver.model import FileVersion, Firmware, Image
from bootserver.windows.drivers import DriverLibrary
from tests.fixtures import live_systems, loopback_iso
from tests.fixtures.live_discs import DEBIAN, live_disc
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]
HOOK_UP = "the hook has run"


async def written_anew(disc: Path, file: Path, place: str, tmp_path: Path) -> Path:
    """The disc with a file in its initramfs, one more argument, and without loopback.cfg."""
    image = Image("live", str(disc), FileVersion.of(disc.stat()), facts=inspect_iso(disc))
    wishes = OptimizeWishes(
        drop_paths=("/boot/grub/loopback.cfg",), added=((file, place),), arguments="site.word"
    )
    (tmp_path / "images").mkdir()
    await optimize(
        image,
        wishes,
        DriverLibrary(tmp_path / "drivers", tmp_path / "state" / "drivers"),
        directory=tmp_path / "images",
        state=tmp_path / "state",
        name="new",
    )
    return tmp_path / "images" / "new.iso"


@pytest.mark.parametrize(
    "firmware", [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI]
)
async def test_a_linux_disc_written_anew_boots_with_its_hook_and_arguments(
    qemu: Qemu, tmp_path: Path, firmware: Firmware
):
    init = tmp_path / "init"
    init.write_text(loopback_iso.INIT.replace("mount -t", f'echo "{HOOK_UP}"\nmount -t', 1))
    disc = await written_anew(loopback_iso.loopback_iso(), init, "/init", tmp_path)

    machine = await qemu(QemuSpec(firmware, cdrom=disc))
    up = await machine.wait_for(loopback_iso.UP, timeout_s=BOOT_S)
    assert HOOK_UP in up.serial
    assert "site.word" in up.serial


@pytest.mark.reach
@pytest.mark.parametrize("firmware", Firmware)
async def test_a_debian_live_disc_written_anew_boots_with_its_hook_and_arguments(
    qemu: Qemu, tmp_path: Path, firmware: Firmware
):
    hook = tmp_path / "hook"
    hook.write_text(f'echo "{HOOK_UP}" >/dev/console\n')  # which initramfs-tools' init reads
    disc = await written_anew(live_disc(DEBIAN), hook, "/conf/conf.d/site", tmp_path)

    machine = await qemu(QemuSpec(firmware, cdrom=disc, memory_mib=2048))
    up = await machine.wait_for(live_systems.UP, timeout_s=2 * BOOT_S)
    assert HOOK_UP in up.serial
    found = re.search(live_systems.UP, up.serial)
    assert found is not None
    assert found["payload"] == live_systems.PAYLOAD_SHA256
    assert "site.word" in up.serial
