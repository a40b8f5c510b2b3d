"""iPXE itself as the judge of what is written for it: names from outside are text on its screen."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.config import PROJECT
from bootserver.model import Firmware
from bootserver.quoting import ascii_text, ipxe_arguments, ipxe_text
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.readers import hostile_names
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

TITLES = {
    "id ; echo PWNED ; x": "",
    "--help": "",
    "-- x": "one && echo PWNED || echo PWNED",
    "#4": "# nothing of it is a comment #4",
    "${net0%mac}": "an expansion ${net0/mac} ${",
    "back": "a continued line \\",
    "Диск": "Диск восстановления",
}
SHOWN = (
    "id ; echo PWNED ; x",
    "--help",
    "one && echo PWNED || echo PWNED",
    "# nothing of it is a comment #4",
    "an expansion $ {net0/mac} $ {",
    "a continued line \\",
    "Disk vosstanovleniya",
)


async def test_a_library_and_a_machine_with_hostile_names_boot_and_show_them(
    qemu: Qemu, tmp_path: Path
):
    site = Site(tmp_path / "site")
    for key, title in TITLES.items():
        site.add(packaged(MEMTEST), f"{key}.iso")
        side_car = site.path / "images" / f"{key}.toml"
        side_car.write_text(f"title = '{title or key}'\n", encoding="utf-8")
    stub = await site.build_stub("")
    serial, product = "a ; echo PWNED + ${serial} #", "&& echo PWNED || %2B"
    spec = QemuSpec(Firmware.BIOS, cdrom=stub, serial=serial, product=product)
    async with serving(site) as server:
        machine = await qemu(spec)
        menu = await machine.wait_for("A shell; exit comes back", timeout_s=BOOT_S)
        await machine.send_keys("home", "ret")  # the first choice
        boot = await boot_record(site, "handed_off")

    for title in SHOWN:
        assert f"{title} (6.2 MB)" in menu.screen
    assert boot["image"] == "#4"
    assert (boot["machine"]["serial"], boot["machine"]["product"]) == (serial, product)
    assert not re.search(r"^\W*(PWNED|Usage:)", menu.screen + menu.serial, re.MULTILINE)
    assert not [line for line in server.log_lines if line["level"] in ("error", "critical")]


async def test_ipxe_itself_shows_every_name_as_text(qemu: Qemu, tmp_path: Path):
    names = [name for name in hostile_names(600) if 0 < len(ascii_text(name)) < 60][:400]
    lines = [f"echo N{number} {ipxe_text(name)}" for number, name in enumerate(names)]
    arguments = 'a  b ; c && d || e #f "g  h" \\'
    script = tmp_path / "script.ipxe"
    script.write_text("\n".join(["#!ipxe", *lines, f"echo ARGUMENTS {ipxe_arguments(arguments)}"]))
    loader = PROJECT / "stub" / "build" / "ipxe.lkrn"
    # Without a screen SeaBIOS puts its text on the serial line.
    alone = ("-machine", "graphics=off", "-kernel", str(loader), "-initrd", str(script))

    machine = await qemu(QemuSpec(Firmware.BIOS, nics=(), extra_args=alone))
    seen = await machine.wait_for("ARGUMENTS", timeout_s=BOOT_S)

    shown = dict(re.findall(r"^N(\d+) (.*?)\s*$", seen.serial, re.MULTILINE))
    for number, name in enumerate(names):
        assert shown[str(number)] == ascii_text(name).replace("${", "$ {"), name
    assert f"ARGUMENTS {arguments}" in seen.serial
