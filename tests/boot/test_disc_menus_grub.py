"""GRUB on a machine starts the entry of a disc's menu that we take for its default."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.images.menus.grub import read_grub
from bootserver.model import Firmware
from tests.fixtures.bootable import write_files
from tests.fixtures.linux_iso import efi_loader, fat_image, linux_parts
from tests.fixtures.menu_files import FakeMenuFiles
from tests.fixtures.server import BOOT_S
from tests.images.menus.shapes_grub import GRUB, GRUB_SHAPES

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

MENUS = {shape.kind: shape.files[GRUB] for shape in GRUB_SHAPES if shape.kind.startswith("F1")}
STARTED = r"Command line: BOOT_IMAGE=(\S+) console=ttyS0 ?([^\r\n]*)[\r\n]"  # the kernel says it


@pytest.mark.parametrize("menu", MENUS.values(), ids=list(MENUS))
async def test_grub_starts_what_we_take_for_its_default(qemu: Qemu, tmp_path: Path, menu: str):
    text = re.sub(r"(linux /\w+)", r"\1 console=ttyS0", f"{menu}\nset timeout=1\n")
    files = FakeMenuFiles({GRUB: text})

    machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=disc_with(text, tmp_path)))

    seen = await machine.wait_for(STARTED, timeout_s=BOOT_S)
    started = re.search(STARTED, seen.serial)
    read = read_grub(files, GRUB, Firmware.UEFI)
    assert started is not None
    assert read.default is not None
    entry = read.entries[read.default]
    assert (started[1], started[2].split()) == (entry.kernel, list(entry.arguments[1:]))


def disc_with(menu: str, directory: Path) -> Path:
    """A disc that UEFI machines boot by this menu; all that it names is one kernel."""
    tree, iso = directory / "tree", directory / "disc.iso"
    loader = fat_image(
        directory / "efi.img", {"EFI/BOOT/BOOTX64.EFI": efi_loader()}, size_bytes=4 << 20
    )
    write_files(
        tree,
        {
            GRUB.lstrip("/"): menu,
            ".disk/info": "F1\n",
            "kernel": linux_parts()["vmlinuz"],
            "efi.img": loader.read_bytes(),
        },
    )
    for name in set(re.findall(r"(?:linux|initrd) /(\w+)", menu)):
        (tree / name).symlink_to("kernel")
    subprocess.run(
        [
            *("xorriso", "-as", "mkisofs", "-quiet", "-V", "F1", "-R"),
            *("-e", "efi.img", "-no-emul-boot", "-o", iso, tree),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return iso
