"""systemd-boot itself judges our reader of its menu: what is in it, in which order, what starts?"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, QemuSpec
from bootserver.images.menus.systemd_boot import read_systemd_boot
from bootserver.model import Firmware
from tests.fixtures.linux_iso import fat_image, initramfs, linux_parts
from tests.fixtures.loader_discs import SYSTEMD_BOOT, package, unified
from tests.fixtures.loopback_iso import INIT
from tests.fixtures.menu_files import FakeMenuFiles
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

LINUX = "linux /vmlinuz\n"
ENTRIES = {
    "old-6.9.conf": f"title Row no-key 6.9\n{LINUX}",
    "old-6.10.conf": f"title Row no-key 6.10\n{LINUX}",
    "old-6.10~rc1.conf": f"title Row no-key 6.10~rc1\n{LINUX}",
    "other-6.11+0-3.conf": f"title Row bad\n{LINUX}",
    "other-6.2+2-1.conf": f"title Row tries\n{LINUX}",
    "b-9.conf": f"title Row b 9\nsort-key b\nmachine-id 1\nversion 9\n{LINUX}",
    "b-10.conf": f"title Row b 10\nsort-key b\nmachine-id 1\nversion 10\n{LINUX}"
    "initrd /initrd.gz\noptions console=ttyS0,115200 quiet\noptions homemade.medium two=2\n",
    "b-1.conf": f"title Row b other machine\nsort-key b\nmachine-id 0\nversion 1\n{LINUX}",
    "a.conf": f"title Row a\nsort-key a\n{LINUX}",
    "gone.conf": "title Row gone\nlinux /gone\n",
    "arm.conf": f"title Row arm\narchitecture aa64\n{LINUX}",
    "auto-x.conf": f"title Row auto\n{LINUX}",
    "program.conf": 'title "Row program"\nsort-key z\nefi /EFI/BOOT/BOOTX64.EFI.old\n',
}


# Unified kernel images: what each says of itself in its .osrel, and whether it has a kernel.
IMAGES = {
    "u-1.efi": ('ID=u\nPRETTY_NAME="Row uki 1"\nVERSION_ID=1\n', True),
    "u-10.efi": ('ID=u\nPRETTY_NAME="Row uki 10"\nVERSION_ID=10\n', True),
    "b-11.efi": ("ID=u\nIMAGE_ID=b\nPRETTY_NAME=Row uki of b\nIMAGE_VERSION=11\n", True),
    "v+0-2.efi": ('ID=a\nPRETTY_NAME="Row uki bad"\n', True),
    "nameless.efi": ("VARIANT=x\n", True),
    "addon.efi": ('ID=u\nPRETTY_NAME="Row no kernel"\n', False),
}


async def test_systemd_boot_shows_and_starts_what_our_reader_says(
    qemu: Callable[[QemuSpec], Awaitable[QemuMachine]], tmp_path: Path
) -> None:
    parts = linux_parts()
    files = {
        "EFI/BOOT/BOOTX64.EFI": (package("systemd-boot-efi") / SYSTEMD_BOOT).read_bytes(),
        "EFI/BOOT/BOOTX64.EFI.old": b"no program",
        "vmlinuz": parts["vmlinuz"],
        "initrd.gz": initramfs(parts, INIT),
        "loader/loader.conf": b"timeout 5\ndefault B-1?.conf\n",
        **{f"loader/entries/{name}": text.encode() for name, text in ENTRIES.items()},
    }
    for name, (told, has_kernel) in IMAGES.items():
        sections = {".osrel": told.encode(), ".cmdline": b"none"}
        sections |= {".linux": b"no kernel is started"} if has_kernel else {}
        files[f"EFI/Linux/{name}"] = unified(sections, tmp_path / name)
    menu = read_systemd_boot(FakeMenuFiles({f"/{p}": d for p, d in files.items()}), Firmware.UEFI)
    assert menu is not None
    assert menu.default is not None, menu.doubt
    stick = fat_image(tmp_path / "stick.img", files, size_bytes=48 << 20)

    machine = await qemu(QemuSpec(Firmware.UEFI, usb_disk=stick, boot_from=BootDevice.DISK))

    seen = await machine.wait_for(r"LOOPBACK-UP cmdline=.*\n", timeout_s=BOOT_S)
    shown = list(dict.fromkeys(re.findall(r"Row [\w~. -]*?\w(?=\s{2,}|$)", seen.serial, re.M)))
    assert shown == [entry.title for entry in menu.entries]
    arguments = " ".join(menu.entries[menu.default].arguments)
    # This version names the initrd before them, for the kernel to load it.
    assert re.search(rf"cmdline=initrd=\S+ {re.escape(arguments)}\s*$", seen.serial, re.MULTILINE)
