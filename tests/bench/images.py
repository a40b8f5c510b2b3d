"""The library of the founding table: `python -m tests.bench.images DIRECTORY` makes it.

debian-live.iso is the live disc of the boot tests, memtest86+x64.iso a disc that reads little of
itself. The others are made of debian-live.iso: `-and-100mb` has 100,000,000 bytes more that no
system reads, `-toram` says so in its menu, by which it reads all of itself into memory before it
goes on, as Windows PE reads its boot.wim.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fixtures.live_discs import DEBIAN, live_disc
from tests.fixtures.packaged import MEMTEST, packaged

PADDING_BYTES = 100_000_000
MENU = "isolinux/isolinux.cfg"


def make_library(directory: Path) -> None:
    """Link or make the images that are not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    live = live_disc(DEBIAN)
    _link(directory / "debian-live.iso", live)
    _link(directory / MEMTEST, packaged(MEMTEST))
    with TemporaryDirectory(dir=directory) as work:
        padding, menu = Path(work) / "padding", Path(work) / "menu"
        padding.write_bytes(random.Random(100).randbytes(PADDING_BYTES))
        menu.write_text(DEBIAN.texts[MENU].replace("quiet", "quiet toram"))
        more = {"/padding.bin": padding}
        to_ram = {f"/{MENU}": menu}
        _make(directory / "debian-live-and-100mb.iso", live, more)
        _make(directory / "debian-live-toram.iso", live, to_ram)
        _make(directory / "debian-live-toram-and-100mb.iso", live, more | to_ram)


def _link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _make(disc: Path, live: Path, files: Mapping[str, Path]) -> None:
    """Make of `live` a disc that is as bootable and has these files, if it is not there."""
    if not disc.exists() or disc.stat().st_mtime < live.stat().st_mtime:
        with_files(disc, live, files)


def with_files(disc: Path, other: Path, files: Mapping[str, Path]) -> None:
    """Make `disc`, which is `other` with these files (path on the disc: file), and as bootable."""
    part = disc.with_suffix(".part")
    part.unlink(missing_ok=True)
    changes = [word for path, file in files.items() for word in ("-update", file, path)]
    subprocess.run(
        [
            *("xorriso", "-indev", other, "-outdev", part),
            *("-boot_image", "any", "replay", *changes),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    part.rename(disc)


if __name__ == "__main__":
    make_library(Path(sys.argv[1]))
