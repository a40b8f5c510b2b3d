"""GRUB's own blscfg judges our reader of it: what is in its menu, in which order, what starts?"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.images.menus.grub import read_grub
from bootserver.model import Firmware
from tests.fixtures.linux_iso import GRUB as MONOLITHIC
from tests.fixtures.linux_iso import linux_parts
from tests.fixtures.loader_discs import BOOT_FILE, efi_disc, grub_modules, package
from tests.fixtures.menu_files import FakeMenuFiles
from tests.fixtures.server import BOOT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.reach]

RELEASE = "sid"  # GRUB 2.14, the first that has the command
GRUB = "boot/grub/grub.cfg"
LINUX = "linux /vmlinuz\n"
MENU = """\
set default=abc-6.9.1-200
set timeout=5
set kernelopts="two=2 rhgb"
blscfg
"""
ENTRIES = {
    "abc-0-rescue": f"title Row rescue\n{LINUX}",
    "abc-6.9.1-200": f"title Row 6.9\n{LINUX}options console=ttyS0 $kernelopts one=1\n",
    "abc-6.10.2-100": f"title Row 6.10\nversion 1\nsort-key z\n{LINUX}",
    "abc-6.10.2-99": f"title Row 6.10-99\n{LINUX}",
    "abc-6.10.2~rc1-1": f"title Row 6.10~rc1\n{LINUX}",
    "zed": f"title Row zed\n{LINUX}",
    "none": "title Row no kernel\n",
}
STARTED = r"Command line: BOOT_IMAGE=(\S+) ([^\r\n]*)[\r\n]"  # the kernel says it


async def test_grub_shows_and_starts_the_entries_that_we_read_as_its_blscfg(
    qemu: Callable[[QemuSpec], Awaitable[QemuMachine]], tmp_path: Path
):
    files = {
        GRUB: MENU.encode(),
        ".disk/info": b"BLS\n",
        "vmlinuz": linux_parts()["vmlinuz"],
        **{f"loader/entries/{name}.conf": text.encode() for name, text in ENTRIES.items()},
    }
    loader = (package("grub-efi-amd64-unsigned", RELEASE) / MONOLITHIC).read_bytes()
    disc = efi_disc(tmp_path / "bls.iso", {BOOT_FILE: loader}, files | grub_modules(RELEASE))

    machine = await qemu(QemuSpec(Firmware.UEFI, cdrom=disc))

    seen = await machine.wait_for(STARTED, timeout_s=BOOT_S)
    menu = read_grub(
        FakeMenuFiles({f"/{p}": d for p, d in files.items()}), f"/{GRUB}", Firmware.UEFI
    )
    assert menu.default is not None, menu.doubt
    shown = list(dict.fromkeys(re.findall(r"Row [\w~. -]*?\w(?=\s{2,}|$)", seen.serial, re.M)))
    assert shown == [entry.title for entry in menu.entries]
    started = re.search(STARTED, seen.serial)
    assert started is not None
    entry = menu.entries[menu.default]
    assert (started[1], started[2].split()) == (entry.kernel, list(entry.arguments))
