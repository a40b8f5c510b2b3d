"""How fast a redirected CD is read through our console, and through MeshCentral's beside it.

    python -m tests.bench.redirection_rate [--rounds 3]

The host is the fake device: READ(10)s of 32 blocks, one after the other, over loopback, each
checked. A console is a process of its own. MeshCentral's module is taken as it is out of its npm
package, where there are node and npm to fetch and run it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from bootserver.amt.redirection.drives import redirect
from bootserver.amt.redirection.media import IN_MEMORY_BYTES_MAX, open_cd
from bootserver.bench.fake_amt import FakeAmtDevice, FakeSpec, SystemState, fake_amt
from tests.fixtures.meshcentral import CACHE, meshcentral

READ_BLOCKS = 32
READ_BYTES = READ_BLOCKS * 2048
MODULES = Path(__file__).parents[1] / "interop" / "meshcentral"


@dataclass(frozen=True, slots=True)
class Console:
    """Who has the drives."""

    name: str
    disc: str
    preloaded: tuple[str, ...] = ()  # JavaScript; none is ours

    def command(self, device: FakeAmtDevice, disc: Path) -> list[str]:
        """How it is started."""
        if not self.preloaded:
            port = str(device.redirection_port)
            return [
                sys.executable,
                "-m",
                "tests.bench.redirection_rate",
                "--serve",
                port,
                str(disc),
            ]
        preloads = [word for name in self.preloaded for word in ("-r", str(MODULES / name))]
        login = [device.host, "admin", "P@ssw0rd", "0", "2"]
        return ["node", *preloads, str(MODULES / "ider.js"), str(disc), *login]


OURS = (Console("ours, image in memory", "small.iso"), Console("ours, image on disk", "large.iso"))
THEIRS = (
    Console("MeshCentral's", "small.iso", ("ports.js",)),
    Console("MeshCentral's, with TCP_NODELAY", "small.iso", ("ports.js", "nodelay.js")),
)
# Seconds before each READ, and how many READs.
LINES = ((0.0, 200), (0.010, 100))


async def measure(console: Console, discs: Path, delay_s: float, reads: int) -> float:
    """MB/s of the data, from the first READ's command to the last one's answer."""
    disc = discs / console.disc
    expected = disc.read_bytes()[: reads * READ_BYTES]
    async with (
        fake_amt(FakeSpec(discs / "amt", power=SystemState.S0)) as device,
        running(console.command(device, disc), device.redirection_port),
    ):
        await device.drives_on(timeout_s=30)
        await device.read_blocks(0, READ_BLOCKS)  # whatever is slow the first time
        started = time.perf_counter()
        for number in range(reads):
            if delay_s:
                await asyncio.sleep(delay_s)
            at = number * READ_BYTES
            data = await device.read_blocks(number * READ_BLOCKS, READ_BLOCKS)
            if data != expected[at : at + READ_BYTES]:
                raise SystemExit(f"{console.name}: READ number {number} brought other data")
        return reads * READ_BYTES / 1e6 / (time.perf_counter() - started)


@asynccontextmanager
async def running(command: Sequence[str], port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "REDIRECTION_PORT": str(port), "MESHCENTRAL": str(CACHE)},
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def serve(port: int, disc: Path) -> None:
    """Our console, until it is terminated."""
    async with (
        open_cd(disc) as cd,
        redirect("127.0.0.1", "admin", "P@ssw0rd", cd, port=port, now=True) as drives,
    ):
        await drives.wait_closed()


def consoles() -> tuple[Console, ...]:
    """Those that can be measured here."""
    if shutil.which("node") and shutil.which("npm"):
        meshcentral()  # fetched now, not while it is measured
        return OURS + THEIRS
    print("MeshCentral's console is not measured: node or npm is not installed")
    return OURS


async def compare(rounds: int) -> None:
    """Prints a table; the rounds take turns, so that all have the same machine."""
    measured = consoles()
    rates: dict[tuple[Console, float], list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        discs = Path(directory)
        (discs / "small.iso").write_bytes(os.urandom(IN_MEMORY_BYTES_MAX // 2))
        (discs / "large.iso").write_bytes(os.urandom(2 * IN_MEMORY_BYTES_MAX))
        for _ in range(rounds):
            for console in measured:
                for delay_s, reads in LINES:
                    rate = await measure(console, discs, delay_s, reads)
                    rates.setdefault((console, delay_s), []).append(rate)

    print(f"\n64 KiB READs over loopback, {rounds} rounds: median (least to most), MB/s\n")
    print("| console | +0 ms | +10 ms per READ |\n|---|---|---|")
    for console in measured:
        cells = [told(rates[console, delay_s]) for delay_s, _ in LINES]
        print(f"| {console.name} | {' | '.join(cells)} |")
    if THEIRS[0] in measured:
        ours, theirs = (
            [statistics.median(rates[console, delay_s]) for delay_s, _ in LINES]
            for console in (OURS[0], THEIRS[0])
        )
        ratios = [f"{our / their:.1f}" for our, their in zip(ours, theirs, strict=True)]
        print(f"\nOurs to MeshCentral's as it is: {' x, '.join(ratios)} x")


def told(rates: list[float]) -> str:
    return f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "DISC"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if options.serve:
        asyncio.run(serve(int(options.serve[0]), Path(options.serve[1])))
    else:
        asyncio.run(compare(options.rounds))


if __name__ == "__main__":
    main()
