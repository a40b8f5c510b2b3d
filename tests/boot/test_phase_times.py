"""The ledger's times are the machine's: its serial line shows the same things at the same times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures import live_iso
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

AGREE_S = 1.0  # both clocks are this host's; what is between them is a look every 20 ms
POLL_S = 0.02

# With these the kernel's very first code says so on the serial line.
ARGUMENTS = "console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 debug"
JUMPED = "early console in setup code"
# After our own script, which is 0000: what the system runs to call home says when it has.
CLOCK = "#!/bin/sh\necho 'echo CALLED-HOME >/dev/console' >>/run/bootserver-up.sh\n"

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


async def test_the_ledger_agrees_with_the_serial_line(qemu: Qemu, tmp_path: Path):
    site = Site(tmp_path / "site")
    image = site.add(live_iso.live_iso().path)
    (site.path / "images" / f"{image}.toml").write_text(
        f'arguments = "{ARGUMENTS}"\n[inject]\n"usr/lib/live/boot/0001-clock.sh" = "clock.sh"\n'
    )
    (site.path / "images" / "clock.sh").write_text(CLOCK)
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=stub, memory_mib=2048))
        jumped_at = await seen_at(machine, JUMPED)
        up_at = await seen_at(machine, "CALLED-HOME")
        boot = await boot_record(site, "os_up")

    at = {phase["phase"]: datetime.fromisoformat(phase["at"]) for phase in boot["phases"]}
    assert machine.switched_on_at < at["created"]
    assert abs((jumped_at - at["handed_off"]).total_seconds()) <= AGREE_S
    assert abs((up_at - at["os_up"]).total_seconds()) <= AGREE_S


async def seen_at(machine: QemuMachine, text: str) -> datetime:
    """When the machine showed this first."""
    await machine.wait_for(
        lambda _: text in machine.serial_text(), timeout_s=2 * BOOT_S, poll_s=POLL_S
    )
    return datetime.now(UTC)
