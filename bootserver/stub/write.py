"""A planned stub as bytes: ISO 9660 with El Torito, and a boot sector for USB sticks."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pycdlib
import pycdlib.dates
import pycdlib.headervd
import pycdlib.pycdlib

from bootserver.errors import StubError
from bootserver.model import CD_SECTOR_BYTES
from bootserver.stub.plan import StubPlan

# A BIOS that guesses a stick's geometry from the partition table wants whole cylinders.
HEADS, SECTORS_PER_TRACK, BLOCK_BYTES = 16, 32, 512
CYLINDER_BYTES = HEADS * SECTORS_PER_TRACK * BLOCK_BYTES  # 256 KiB

SIGNATURE_OFFSET = 440
SHELF_STUBS = 64  # of under 1 MB each

FIXED_TIME = 1262304000.0  # 2010-01-01T00:00:00Z, the year of the idea


def master(plan: StubPlan) -> bytes:
    """The stub's bytes: equal plans give equal bytes, on any day and in any time zone."""
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
                boot_info_table=entry.boot_info_table,
            )
        buffer = BytesIO()
        iso.write_fp(buffer)
        boot_lba = iso.get_record(iso_path=f"{plan.boot_entries[0].path};1").extent_location()
        iso.close()
    image = buffer.getvalue()
    image += bytes(-len(image) % CYLINDER_BYTES)
    sector = _boot_sector(plan, boot_lba, len(image))
    return sector + image[len(sector) :]


def write_stub(plan: StubPlan, path: Path) -> bytes:
    """Write the stub to `path` in one step and return its bytes; raises StubError."""
    data = master(plan)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(data)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as err:
        raise StubError(
            f"{path} cannot be written: {err.strerror}", hint="choose another file with -o"
        ) from err
    return data


def shelve(plan: StubPlan, shelf: Path) -> Path:
    """The stub in a file on the shelf, which keeps the newest by digest."""
    path = shelf / f"{plan.digest}.iso"
    if not path.exists():
        shelf.mkdir(parents=True, exist_ok=True)
        write_stub(plan, path)
        oldest_first = sorted(shelf.glob("*.iso"), key=lambda stub: stub.stat().st_mtime_ns)
        for stub in oldest_first[:-SHELF_STUBS]:
            stub.unlink(missing_ok=True)
    return path


def is_stub_of(plan: StubPlan, path: Path) -> bool:
    """True if the file is this stub: its disk signature is the beginning of the digest."""
    try:
        with path.open("rb") as file:
            file.seek(SIGNATURE_OFFSET)
            return file.read(4) == _signature(plan)
    except OSError:
        return False


def _boot_sector(plan: StubPlan, boot_lba: int, size_bytes: int) -> bytes:
    """The master boot record that lets a BIOS start the stub from a USB stick.

    pycdlib's add_isohybrid writes a broken one, so this is ours:

    | offset | size | meaning                                               |
    |--------|------|-------------------------------------------------------|
    | 0      | 432  | isohdpfx.bin, which loads isolinux.bin from the stick |
    | 432    | 8    | where isolinux.bin lies, in 512-byte blocks           |
    | 440    | 4    | disk signature, from the stub's digest                |
    | 446    | 16   | the one partition: all of the stick, active           |
    | 510    | 2    | 55 AA                                                 |
    """
    blocks = size_bytes // BLOCK_BYTES
    end_cylinder = size_bytes // CYLINDER_BYTES - 1
    partition = struct.pack(
        "<B3sB3sII",
        0x80,
        bytes((0, 1, 0)),  # head 0, sector 1, cylinder 0
        0x17,  # hidden: no OS mounts or repairs it
        bytes((HEADS - 1, SECTORS_PER_TRACK | end_cylinder >> 2 & 0xC0, end_cylinder & 0xFF)),
        0,
        blocks,
    )
    return struct.pack(
        "<432sQ4s2x16s48x2s",
        plan.boot_sector,
        boot_lba * (CD_SECTOR_BYTES // BLOCK_BYTES),
        _signature(plan),
        partition,
        b"\x55\xaa",
    )


def _signature(plan: StubPlan) -> bytes:
    return bytes.fromhex(plan.digest[:8])


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
