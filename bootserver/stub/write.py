"""A planned stub as bytes: ISO 9660 with El Torito, and a boot sector for USB sticks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pycdlib
import pycdlib.dates
import pycdlib.headervd
import pycdlib.pycdlib
import structlog

from bootserver.errors import ServiceError, StubError
from bootserver.files.atomic import write_atomically
from bootserver.model import CD_SECTOR_BYTES, StubFormat
from bootserver.stub.partitions import (
    BLOCK_BYTES,
    CYLINDER_BYTES,
    GPT_BLOCKS,
    DiskLayout,
    gpt,
    mbr,
)
from bootserver.stub.plan import (
    ESP_PATH,
    ISOLINUX_PATH,
    UEFI_PLATFORM,
    StubPlan,
)

BLOCKS_PER_SECTOR = CD_SECTOR_BYTES // BLOCK_BYTES

log = structlog.get_logger(__name__)

_shelf_lock = Lock()

SHELF_STUBS = 64  # of about 1 MB each
WANTED_S = 600.0  # a stub that was asked for in this time stays on the shelf

FIXED_TIME = 1262304000.0  # 2010-01-01T00:00:00Z, the year of the idea


def master(plan: StubPlan) -> bytes:
    """The stub's bytes: equal plans give equal bytes, on any day and in any time zone."""
    if plan.format is StubFormat.EFI:
        return plan.files[0].data
    image, lba = _iso(plan)
    tail_bytes = GPT_BLOCKS * BLOCK_BYTES if plan.format is StubFormat.IMG else 0
    image += bytes(-(len(image) + tail_bytes) % CYLINDER_BYTES + tail_bytes)
    esp = plan.file(ESP_PATH)
    layout = DiskLayout(
        blocks=len(image) // BLOCK_BYTES,
        isolinux=lba.get(ISOLINUX_PATH, 0) * BLOCKS_PER_SECTOR,
        esp=lba.get(ESP_PATH, 0) * BLOCKS_PER_SECTOR,
        esp_blocks=len(esp.data) // BLOCK_BYTES if esp else 0,
        signature=bytes.fromhex(plan.digest[:8]),
    )
    if plan.format is StubFormat.IMG:
        first, last = gpt(layout, plan.boot_sector)
        return first + image[len(first) : -len(last)] + last
    record = mbr(layout, plan.boot_sector)
    return record + image[len(record) :]


def _iso(plan: StubPlan) -> tuple[bytes, dict[str, int]]:
    """The ISO 9660 image with its boot catalog, and the first sector of each file."""
    with _fixed_clock():
        iso = pycdlib.PyCdlib()
        iso.new(interchange_level=3, vol_ident=plan.volume_id)
        for file in plan.files:
            iso.add_fp(BytesIO(file.data), len(file.data), f"{file.path};1")
        for entry in plan.boot_entries:
            iso.add_eltorito(
                f"{entry.path};1",
                bootcatfile="/BOOT.CAT;1",
                boot_load_size=entry.load_sectors,
                platform_id=entry.platform_id,
                efi=entry.platform_id == UEFI_PLATFORM,
                boot_info_table=entry.boot_info_table,
            )
        buffer = BytesIO()
        iso.write_fp(buffer)
        lba = {
            file.path: iso.get_record(iso_path=f"{file.path};1").extent_location()
            for file in plan.files
        }
        iso.close()
    return buffer.getvalue(), lba


def write_stub(plan: StubPlan, path: Path, *, shared: bool = False) -> bytes:
    """Write the stub to `path` in one step and return its bytes; raises StubError.

    A stub has a token in it, so the file is its owner's only; if `shared` the umask decides.
    """
    data = master(plan)
    try:
        write_atomically(path, data, shared=shared)
    except OSError as err:
        raise StubError(
            f"{path} cannot be written: {err.strerror}", hint="choose another file with -o"
        ) from err
    return data


def shelve(plan: StubPlan, shelf: Path) -> Path:
    """The stub in a file on the shelf, made once however many ask at the same time.

    The shelf keeps the stubs that were asked for last. None goes that a client may be opening.
    Raises ServiceError where it cannot be written.
    """
    path = shelf / f"{plan.digest}.{plan.format}"
    try:
        with _shelf_lock:
            if not path.exists():
                shelf.mkdir(0o700, parents=True, exist_ok=True)
                write_atomically(path, master(plan))
                _clear(shelf)
            # The time of the last change is a part of the file's version: it stays.
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except OSError as err:
        log.error("stub.not_kept", path=str(path), reason=err.strerror)
        raise ServiceError(
            f"the server cannot keep its stub: {err.strerror}",
            hint="free some space in [state] path, or let the server write there",
        ) from err
    return path


def _clear(shelf: Path) -> None:
    newest_first = sorted(((stub.stat().st_atime, stub) for stub in shelf.iterdir()), reverse=True)
    for asked_at, stub in newest_first[SHELF_STUBS:]:
        if asked_at < time.time() - WANTED_S:
            stub.unlink()


# Stands in for the `time` module inside pycdlib, which stamps whatever it writes.
FIXED_CLOCK = SimpleNamespace(
    time=lambda: FIXED_TIME, localtime=time.gmtime, gmtime=time.gmtime, strftime=time.strftime
)

_clock_lock = Lock()


@contextmanager
def _fixed_clock() -> Iterator[None]:
    """pycdlib's modules see FIXED_TIME in UTC; the rest of the process keeps its clock."""
    modules: tuple[Any, ...] = (pycdlib.pycdlib, pycdlib.dates, pycdlib.headervd)
    with _clock_lock:
        for module in modules:
            module.time = FIXED_CLOCK
        try:
            yield
        finally:
            for module in modules:
                module.time = time
