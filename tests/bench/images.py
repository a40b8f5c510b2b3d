"""The library of the founding table: `python -m tests.bench.images DIRECTORY` makes it.

debian-live.iso is the live disc of the boot tests, debian-live-and-100mb.iso the same with
100,000,000 bytes more that nobody asked for, memtest86+x64.iso a disc that reads little of itself.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.fixtures.live_iso import live_iso
from tests.fixtures.packaged import MEMTEST, packaged

PADDING_BYTES = 100_000_000


def make_library(directory: Path) -> None:
    """Link or make the images that are not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    live = live_iso().path
    _link(directory / "debian-live.iso", live)
    _link(directory / MEMTEST, packaged(MEMTEST))
    padded = directory / "debian-live-and-100mb.iso"
    if not padded.exists() or padded.stat().st_mtime < live.stat().st_mtime:
        _pad(live, padded)


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _pad(disc: Path, padded: Path) -> None:
    """Make of `disc` one that is as bootable and has a file more."""
    padding, part = padded.with_suffix(".padding"), padded.with_suffix(".part")
    part.unlink(missing_ok=True)
    padding.write_bytes(random.Random(100).randbytes(PADDING_BYTES))
    subprocess.run(
        [
            *("xorriso", "-indev", disc, "-outdev", part),
            *("-boot_image", "any", "replay", "-map", padding, "/padding.bin"),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    padding.unlink()
    part.rename(padded)


if __name__ == "__main__":
    make_library(Path(sys.argv[1]))
