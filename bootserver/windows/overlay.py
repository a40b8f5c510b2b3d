"""A disc of Windows PE with drivers put in, as pieces of the disc and bytes of ours.

What is new lies at the end of boot.wim. The disc's own directories are rewritten for a file that is
longer, so that what is served is a whole disc of the same shape.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootserver.disc.volume import open_volume
from bootserver.files.layout import Layout
from bootserver.files.open_version import open_version
from bootserver.model import Content
from bootserver.units import megabytes
from bootserver.windows.drivers import FoundDriver
from bootserver.windows.inspect import BOOT_WIM
from bootserver.windows.startup import DRIVERS, SETUP, STARTNET, UP, WINPESHL, startup_files
from bootserver.windows.unpack import DriverError
from bootserver.windows.wim import Wim, wim_on_disc
from bootserver.windows.wim_listing import WimFile

LIMIT_BYTES = 64_000_000  # of all drivers: they are kept in memory; one has less than a megabyte


@dataclass(frozen=True, slots=True)
class PreparedDisc:
    """A disc with drivers put in, and its boot.wim: both as pieces of the disc without them."""

    layout: Layout
    boot_wim: Layout


def with_drivers(
    content: Content,
    drivers: Sequence[FoundDriver],
    cancelled: threading.Event | None = None,
) -> PreparedDisc:
    """The disc with these drivers, which its Windows PE loads when it starts.

    Equal arguments give equal bytes. Blocks. Raises DriverError, WimError or ImageError for what
    cannot be done.
    """
    with wim_on_disc(content, BOOT_WIM, cancelled) as wim:
        index = wim.info().booted.index
        files = files_to_put_in(wim, index, wim.files(index), drivers)
        new_wim = wim.with_files(index, files)
    with open_version(content) as disc:
        volume = open_volume(disc.fd, disc.size_bytes, Path(content.path).name)
        pieces = volume.rewritten({BOOT_WIM: new_wim.pieces})
        disc.check_unchanged()
    return PreparedDisc(Layout(pieces), new_wim)


def files_to_put_in(
    wim: Wim,
    index: int,
    files: Iterable[WimFile],
    drivers: Sequence[FoundDriver],
    *,
    lines: Sequence[str] = (),
    up_url: str = "",
) -> dict[str, bytes]:
    """What an image, which has those files, gets for the drivers and lines, by paths in it.

    Raises as `with_drivers`.
    """
    there = {file.path.lower(): file for file in files}
    startup = startup_files(
        *(_content(wim, index, there, path) for path in (STARTNET, WINPESHL, UP)),
        has_setup=SETUP in there,
        lines=lines,
        up_url=up_url,
    )
    return {**_driver_files(drivers), **startup}


def _driver_files(drivers: Sequence[FoundDriver]) -> dict[str, bytes]:
    """The files of the drivers by their paths in the image, each driver in a folder of its own."""
    by_inf = {driver.path: driver for driver in drivers}  # several cards may have one driver
    paths = {
        f"{DRIVERS}/{number}/{file.relative_to(Path(driver.path).parent)}": file
        for number, driver in enumerate(by_inf.values(), 1)
        for file in map(Path, driver.files)
    }
    try:
        size_bytes = sum(file.stat().st_size for file in paths.values())
        if size_bytes > LIMIT_BYTES:
            raise DriverError(
                f"the drivers have {megabytes(size_bytes)}; the limit is {megabytes(LIMIT_BYTES)}",
                hint="put in the drivers of fewer cards",
            )
        return {path: file.read_bytes() for path, file in paths.items()}
    except OSError as err:
        raise DriverError(
            f"{err.filename} cannot be read: {err.strerror}", hint="check who may read it"
        ) from err


def _content(wim: Wim, index: int, files: Mapping[str, WimFile], path: str) -> bytes | None:
    """A file of the image, None if it is not there."""
    file = files.get(path.lower())
    return wim.read(index, [file])[0] if file else None
