"""Driver archives unpacked: .zip by Python, .cab by cabextract; bounded before it begins."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from bootserver.errors import BootServerError
from bootserver.units import megabytes

LIMIT_BYTES = 2_000_000_000  # of all files of one archive; a maker's pack for all cards has 0.4 GB
LIMIT_FILES = 20_000
TIMEOUT_S = 300

_CAB_LINE = re.compile(r" *(\d+) \| \S+ \S+ \| (.*)")


class DriverError(BootServerError):
    """A driver, or an archive with drivers, cannot be used."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or .cab into the new folder; DriverError, and no folder, where that fails."""
    folder.mkdir(parents=True)
    try:
        if archive.suffix.lower() == ".zip":
            _unpack_zip(archive, folder)
        else:
            _unpack_cab(archive, folder)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as err:
        shutil.rmtree(folder, ignore_errors=True)
        reason = getattr(err, "strerror", None) or err
        raise DriverError(
            f"{archive.name} cannot be unpacked: {reason}",
            hint="unpack it yourself, and add the folder",
        ) from err
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        files = [entry for entry in packed.infolist() if not entry.is_dir()]
        _check(archive, [(entry.filename, entry.file_size) for entry in files])
        for entry in files:
            # zipfile stops at the size that was checked, whatever the packed data come to.
            packed.extract(entry, folder)


def _unpack_cab(archive: Path, folder: Path) -> None:
    listed = _cabextract(archive, "-l")
    lines = filter(None, map(_CAB_LINE.fullmatch, listed.splitlines()))
    files = [(line[2].replace("\\", "/"), int(line[1])) for line in lines]
    _check(archive, files)  # cabextract itself has made xx of each .. by then
    _cabextract(archive, "-q", "-d", str(folder))


def _cabextract(archive: Path, *options: str) -> str:
    """What cabextract prints."""
    try:
        run = subprocess.run(
            ["cabextract", *options, "--", str(archive.absolute())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except FileNotFoundError as err:
        raise DriverError(
            "cabextract is missing, which unpacks .cab files",
            hint="run: apt-get install cabextract",
        ) from err
    except subprocess.TimeoutExpired as err:
        raise DriverError(
            f"cabextract has not unpacked {archive.name} within {TIMEOUT_S} seconds",
            hint="unpack it yourself, and add the folder",
        ) from err
    except subprocess.CalledProcessError as err:
        said = err.stderr.decode(errors="replace").strip().splitlines()
        raise DriverError(
            f"cabextract cannot unpack {archive.name}: {said[-1] if said else err.returncode}",
            hint="check that the file is whole",
        ) from err
    return run.stdout.decode(errors="replace")


def _check(archive: Path, files: Iterable[tuple[str, int]]) -> None:
    """Refuse names that lead out of the folder, and what would fill the disk."""
    total_bytes = count = 0
    for name, size_bytes in files:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name:
            raise DriverError(
                f"{archive.name} has a file {name!r}, which would lie outside of its folder",
                hint="do not use this archive",
            )
        total_bytes += size_bytes
        count += 1
    if total_bytes > LIMIT_BYTES or count > LIMIT_FILES:
        raise DriverError(
            f"{archive.name} would unpack to {count:,} files with {megabytes(total_bytes)}; the "
            f"limit is {LIMIT_FILES:,} files with {megabytes(LIMIT_BYTES)}",
            hint="unpack it yourself, and add the folder of the driver that you need",
        )
