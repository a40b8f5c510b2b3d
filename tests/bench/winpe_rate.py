"""How long a disc of Windows PE takes to prepare, and to make anew, beside a plain copy of it.

    python -m tests.bench.winpe_rate [--rounds 3]

The disc has 269 MB, 1,800 files in its boot.wim, and 23 network drivers; none of it is Microsoft's.
One more driver is put in: in memory, as for a machine that needs it; and into a new image, which
loses the 23.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from bootserver.images.optimize.wishes import OptimizeWishes
from bootserver.images.optimize.write import optimize
from bootserver.model import Image
from bootserver.pci import PciId
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.overlay import with_drivers
from bootserver.windows.target import WindowsTarget
from tests.fixtures.winpe import FakeDriver, WinPeSpec, disc_content, make_wim, make_winpe

LARGE_FILES = 240  # of a megabyte, of which LZX saves a twentieth
SMALL_FILES = 1500
DRIVERS = 23
CARD = PciId(0x8086, 0x15BC)
WINDOWS = WindowsTarget.parse("10.0.22621", "amd64")


def disc(work: Path) -> Path:
    """The disc that is measured."""
    chance = random.Random(3)
    spec = WinPeSpec(
        drivers=tuple(
            FakeDriver(
                f"nic{n:02}", "Realtek", (f"PCI\\VEN_10EC&DEV_90{n:02}",), size_bytes=400_000
            )
            for n in range(DRIVERS)
        ),
        wim_files={
            **{f"Windows/System32/{n:04}.dll": chance.randbytes(6000) for n in range(SMALL_FILES)},
            **{f"Windows/Fonts/{n:04}.ttf": _packable(chance) for n in range(LARGE_FILES)},
        },
        extra_disc_bytes=2_000_000,
    )
    return make_winpe(work / "pe.iso", spec, make_wim(work / "boot.wim", spec))


def _packable(chance: random.Random) -> bytes:
    """What wimlib stores packed, and so copies as it is: the other it would try to pack again."""
    data = bytearray(chance.randbytes(1 << 20))
    data[::16] = bytes(1 << 16)
    return bytes(data)


def drivers(work: Path) -> DriverLibrary:
    """A library with the driver of CARD."""
    driver = FakeDriver("e1d68x64", "Intel", (CARD.hardware_id,), size_bytes=400_000)
    folder = work / "drivers" / driver.name
    folder.mkdir(parents=True)
    for name, data in driver.files("amd64").items():
        (folder / name).write_bytes(data)
    return DriverLibrary(work / "drivers", work / "state")


async def compare(rounds: int) -> None:
    """Prints a table; the rounds take turns, so that all have the same machine."""
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        pe, library = disc(work), drivers(work)
        content, wishes = disc_content(pe), OptimizeWishes(nics=(CARD,), drop_foreign_nics=True)
        image = Image("pe", content.path, content.version)
        (work / "new").mkdir()

        async def copied() -> None:
            await asyncio.to_thread(shutil.copyfile, pe, work / "copy.iso")

        async def prepared() -> None:
            await asyncio.to_thread(with_drivers, content, [library.find(CARD, WINDOWS)])

        async def made_anew() -> None:
            await optimize(
                image, wishes, library, directory=work / "new", state=work / "state", name="new"
            )
            (work / "new" / "new.iso").unlink()

        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "a plain copy": copied,
            "prepared in memory": prepared,
            "a new image": made_anew,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                await way()
                times[name].append(time.perf_counter() - started)
        size = pe.stat().st_size / 1e6

    plain = statistics.median(times["a plain copy"])
    print(f"\nA Windows PE disc of {size:.0f} MB, {rounds} rounds: median (least to most), s\n")
    print("| | s | to a plain copy |\n|---|---|---|")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"| {name} | {middle:.2f} ({spread}) | {middle / plain:.1f} x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(compare(options.rounds))


if __name__ == "__main__":
    main()
