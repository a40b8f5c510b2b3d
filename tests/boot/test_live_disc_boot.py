"""A Linux disc that was written anew boots as it did before, and has what was put in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.images.iso import inspect_iso
from bootserver.images.optimize import optimize
from bootserver.model import FileVersion, Firmware, Image
from bootserver.windows.changes import OptimizeWishes
from bootserver.windows.drivers import DriverLibrary
from tests.fixtures import loopback_iso
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]
HOOK_UP = "the hook has run"


@pytest.mark.parametrize(
    "firmware", [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI]
)
async def test_a_linux_disc_written_anew_boots_with_its_hook_and_arguments(
    qemu: Qemu, tmp_path: Path, firmware: Firmware
):
    disc, init = loopback_iso.loopback_iso(), tmp_path / "init"
    init.write_text(loopback_iso.INIT.replace("mount -t", f'echo "{HOOK_UP}"\nmount -t', 1))
    image = Image("live", str(disc), FileVersion.of(disc.stat()), facts=inspect_iso(disc))
    wishes = OptimizeWishes(
        drop_paths=("/boot/grub/loopback.cfg",), added=((init, "/init"),), arguments="site.word"
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

    machine = await qemu(QemuSpec(firmware, cdrom=tmp_path / "images" / "new.iso"))
    up = await machine.wait_for(loopback_iso.UP, timeout_s=BOOT_S)
    assert HOOK_UP in up.serial
    assert "site.word" in up.serial
