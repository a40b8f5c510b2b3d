"""In how little memory each make of disc comes up: `python -m tests.bench.least_memory [MAKE ...]`.

Where a system fetches its root, or has its whole disc in memory, it is measured again with
MORE_MIB of that: the difference tells the factor of the formula. The least has come up twice, and
a step less has not. The machines do not tell how much memory they have, so none is refused.

least_memory.json keeps the results. A test compares them with what `images explain` asks for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import struct
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from bootserver.bench.qemu import BootTimeout, MachineOutput, QemuEndedError, launch
from bootserver.bench.qemu_command import QEMU, QemuSpec
from bootserver.config import PROJECT
from bootserver.files.atomic import write_atomically
from bootserver.images.iso import inspect_iso
from bootserver.model import Firmware
from tests.bench.images import with_files
from tests.fixtures import dos_disc, installer_iso, loopback_iso
from tests.fixtures.cache import one_at_a_time
from tests.fixtures.live_discs import DEBIAN, FEDORA, live_disc
from tests.fixtures.live_systems import UP as LIVE_UP
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, ON_SERIAL, packaged
from tests.fixtures.server import Site, serving

ISOS = PROJECT / "tests" / "isos"
RESULTS = Path(__file__).with_suffix(".json")
MIB = 1 << 20
STEP_MIB = 32
MORE_MIB = 256
UP = "up"
# In seconds of the host's processor, of which a busy host gives fewer.
LIMIT_S = 300  # for a boot, before the first one has come up
SLOWER = 2  # then how many times as long as that one it may take
SHORTEST_S = 60  # and at least this
IDLE_S = 120  # how long a machine may do less than WORK_S
WORK_S = 3
LONGEST_S = 3600  # by the clock

# What a machine says that will not come up.
GIVES_UP = (
    r"Kernel panic|[Oo]ut of memory|No space left|Cannot allocate memory|ot enough memory"
    r"|emergency (shell|mode)|\(initramfs\)|dracut:/#|ipxe\.org/[0-9a-f]{8}"
)
# A memory device that does not tell its size (SMBIOS 3.7, 7.18), in place of QEMU's, which do.
UNTOLD = struct.pack("<BBHHHHHH", 17, 21, 0x1100, 0x1000, 0xFFFE, 64, 64, 0xFFFF)
UNTOLD += bytes(21 - len(UNTOLD)) + b"\0\0"


@dataclass(frozen=True, slots=True)
class Make:
    """Discs of one make, and how its system says that it is up."""

    disc: Callable[[Path], Path]  # made in that directory, or found elsewhere
    words: str
    firmware: tuple[Firmware, ...] = tuple(Firmware)
    side_car: str = ""
    lengthened: str = ""  # the file on it that gets more bytes; "" = none
    fetches: bool = False  # that file is what the system fetches


WHOLE = 'recipe = "disc"\n'
PADDING = "/padding.bin"
MAKES = {
    "live-boot": Make(
        lambda _: live_disc(DEBIAN),
        LIVE_UP,
        lengthened="/live/filesystem.squashfs",
        fetches=True,
    ),
    "dracut": Make(
        lambda _: live_disc(FEDORA),
        LIVE_UP,
        side_car=ON_SERIAL,
        lengthened="/LiveOS/squashfs.img",
        fetches=True,
    ),
    "debian-installer": Make(
        lambda _: installer_iso.installer_iso(),
        installer_iso.ASKS,
        side_car=f'arguments = "{installer_iso.ARGUMENTS}"\n',
    ),
    "all in its initramfs": Make(
        lambda _: loopback_iso.loopback_iso(), loopback_iso.UP, (Firmware.BIOS,)
    ),
    "whole disc": Make(
        lambda _: loopback_iso.loopback_iso(),
        loopback_iso.UP,
        side_car=WHOLE,
        lengthened=PADDING,
    ),
    "whole live disc": Make(lambda _: live_disc(DEBIAN), LIVE_UP, (Firmware.UEFI,), WHOLE, PADDING),
    "disk image": Make(
        lambda work: dos_disc.plain_disk(work / "plain.img", "DISK-UP"),
        f"{dos_disc.DISK_READ}|{dos_disc.EFI_STARTED}",
    ),
    "memtest86+": Make(lambda _: packaged(MEMTEST), MEMTEST_SAYS, side_car=ON_SERIAL),
}


@dataclass(frozen=True, slots=True)
class Boot:
    """What a machine showed in the end: UP, or why it does not come up."""

    shown: str
    processor_s: float


@dataclass(frozen=True, slots=True, order=True)
class Least:
    """The least memory in which a disc has come up."""

    make: str
    firmware: str
    more_mib: int  # of what was lengthened
    recipe: str
    method: str
    loaded_bytes: int  # what the boot loader put into memory
    fetched_bytes: int  # what the system fetched then
    least_mib: int
    boots: int  # that it took to find out
    date: str  # UTC
    qemu: str  # its version


def results() -> list[Least]:
    """All that has been measured."""
    return [Least(**line) for line in json.loads(RESULTS.read_text(encoding="utf-8"))]


@one_at_a_time
def keep(new: Least) -> None:
    """Write it in the place of the same disc's earlier result."""
    others = [x for x in results() if astuple(x)[:3] != astuple(new)[:3]]
    lines = [json.dumps(asdict(each)) for each in sorted([*others, new])]
    write_atomically(RESULTS, ("[\n" + ",\n".join(lines) + "\n]\n").encode(), shared=True)


async def measure(name: str, firmware: Firmware, more_mib: int, work: Path) -> Least:
    """The least memory for that disc on that firmware, with `more_mib` more in it."""
    make = MAKES[name]
    disc = make.disc(work)
    if more_mib:
        disc = longer(disc, make.lengthened, more_mib * MIB, work)
    site = Site(work / "site")
    image = site.add(disc, side_car=make.side_car)
    stub = await site.build_stub(image)
    asked_mib = (await site.query("images", "explain", image))[firmware]["ram_bytes"] // MIB
    untold = work / "untold.smbios"
    untold.write_bytes(UNTOLD)
    spec = QemuSpec(firmware, cdrom=stub, extra_args=("-smbios", f"file={untold}"))
    boots: list[Boot] = []

    async def comes_up(memory_mib: int) -> bool:
        up = [boot.processor_s for boot in boots if boot.shown == UP]
        limit_s = max(SHORTEST_S, SLOWER * up[0]) if up else LIMIT_S
        boots.append(await boot(replace(spec, memory_mib=memory_mib), make.words, limit_s))
        print(f"  {memory_mib:5} MiB: {boots[-1]}", flush=True)
        return boots[-1].shown == UP

    print(f"{name} ({firmware}, {more_mib} MiB more), asked for: {asked_mib} MiB", flush=True)
    async with serving(site):
        least_mib = await least_near(guess(name, firmware, more_mib) or asked_mib, comes_up)
        booted = (await site.query("boots", "list"))[-1]
    fetched_bytes = inspect_iso(disc).markers[make.lengthened.lower()] if make.fetches else 0
    return Least(
        make=name,
        firmware=firmware.value,
        more_mib=more_mib,
        recipe=booted["recipe"],
        method=booted["method"],
        loaded_bytes=booted["image_bytes"],
        fetched_bytes=fetched_bytes,
        least_mib=least_mib,
        boots=len(boots),
        date=datetime.now(UTC).date().isoformat(),
        qemu=qemu_version(),
    )


def guess(name: str, firmware: Firmware, more_mib: int) -> int:
    """What was measured before, else what the shorter disc suggests, else 0."""
    before = {astuple(each)[:3]: each.least_mib for each in results()}
    shorter_mib = before.get((name, firmware, 0), -more_mib)
    return before.get((name, firmware, more_mib), shorter_mib + more_mib)


async def least_near(guess_mib: int, comes_up: Callable[[int], Awaitable[bool]]) -> int:
    """The least multiple of the step that comes up twice, looked for from `guess_mib` on."""

    async def is_enough(steps: int) -> bool:
        return steps > 0 and await comes_up(steps * STEP_MIB)

    near = guess_mib // STEP_MIB
    was_enough = await is_enough(near)
    stride = -1 if was_enough else 1
    while await is_enough(far := max(0, near + stride)) == was_enough:
        near, stride = far, 2 * stride
    low, high = sorted((near, far))
    while high - low > 1:
        middle = (low + high) // 2
        if await is_enough(middle):
            high = middle
        else:
            low = middle
    while not await is_enough(high):
        high += 1
    return high * STEP_MIB


async def boot(spec: QemuSpec, words: str, limit_s: float) -> Boot:
    """Boot until the machine says the words, or gives up, or does nothing for too long."""
    ending = re.compile(f"(?P<up>{words})|{GIVES_UP}")
    with TemporaryDirectory(ignore_cleanup_errors=True) as workdir:
        async with launch(spec, Path(workdir)) as machine:
            worked_s, worked_at = 0.0, monotonic()

            def is_over(output: MachineOutput) -> bool:
                nonlocal worked_s, worked_at
                spent_s = processor_s(machine.pid)
                if spent_s >= worked_s + WORK_S:
                    worked_s, worked_at = spent_s, monotonic()
                gone = spent_s > limit_s or monotonic() > worked_at + IDLE_S
                return gone or any(ending.search(text) for text in (output.serial, output.screen))

            try:
                output = await machine.wait_for(is_over, timeout_s=LONGEST_S, poll_s=2.0)
            except (BootTimeout, QemuEndedError) as err:
                return Boot(type(err).__name__, worked_s)
    found = ending.search(output.serial) or ending.search(output.screen)
    if found is None:
        return Boot("stands still" if worked_s <= limit_s else "too slow", worked_s)
    return Boot(UP if found["up"] else found[0], worked_s)


def processor_s(pid: int) -> float:
    """The processor time that a process has used (proc_pid_stat(5), utime and stime)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def longer(disc: Path, path: str, more_bytes: int, work: Path) -> Path:
    """A copy of the disc whose file `path` has that many bytes more at its end."""
    file = work / "lengthened"
    if path == PADDING:
        file.touch()
    else:
        command = ("xorriso", "-osirrox", "on", "-indev", disc, "-extract", path, file)
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        file.chmod(0o644)
    with file.open("ab") as output:
        output.write(random.Random(1).randbytes(more_bytes))
    copy = work / f"longer-{disc.name}"
    with_files(copy, disc, {path: file})
    return copy


def qemu_version() -> str:
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[3]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("makes", nargs="*", default=[*MAKES], metavar="MAKE")
    parser.add_argument("--firmware", type=Firmware, choices=[*Firmware])
    chosen = parser.parse_args()
    for name in chosen.makes:
        make = MAKES[name]
        for firmware in make.firmware:
            if chosen.firmware in (None, firmware):
                for more_mib in (0, MORE_MIB) if make.lengthened else (0,):
                    with TemporaryDirectory(dir=ISOS) as work:
                        keep(await measure(name, firmware, more_mib, Path(work)))


if __name__ == "__main__":
    asyncio.run(main())
