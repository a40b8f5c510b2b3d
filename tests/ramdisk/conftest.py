"""ramdisk.efi's pure parts, compiled for this machine: as a library, and to be fuzzed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.pure_c import PureC

PURE = PureC("ramdisk", ("format.c", "options.c", "sha256.c", "progress.c", "iso.c", "acpi.c"))

URL_MAX = 1024
PROBLEM_MAX = 160
PROGRESS_MAX = 72
SHA256_SIZE = 32
NFIT_SIZE = 96
SSDT_SIZE = 72


class Options(ctypes.Structure):
    _fields_ = (
        ("url", ctypes.c_char * URL_MAX),
        ("notify", ctypes.c_char * URL_MAX),
        ("sha256", ctypes.c_uint8 * SHA256_SIZE),
        ("has_sha256", ctypes.c_bool),
        ("size_bytes", ctypes.c_uint64),
        ("own_disk", ctypes.c_bool),
    )


class Sha256(ctypes.Structure):
    _fields_ = (
        ("state", ctypes.c_uint32 * 8),
        ("length", ctypes.c_uint64),
        ("pending", ctypes.c_uint8 * 64),
    )


class Disc(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_char_p), ("size", ctypes.c_uint64))


class Extent(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint64), ("size", ctypes.c_uint64))


@dataclass(frozen=True)
class Library:
    """The C functions, with their arguments and results as Python has them."""

    c: ctypes.CDLL

    def options(self, text: str) -> Any:
        """The options of a command line, or the sentence that refuses it."""
        units = text.encode("utf-16-le")
        buffer = (ctypes.c_uint16 * (len(units) // 2)).from_buffer_copy(units)
        options = Options()
        problem = ctypes.create_string_buffer(PROBLEM_MAX)
        self.c.parse_options.restype = ctypes.c_bool
        good = self.c.parse_options(
            buffer, ctypes.c_size_t(len(buffer)), ctypes.byref(options), problem
        )
        return options if good else problem.value.decode("ascii")

    def sha256(self, *pieces: bytes, portably: bool = False) -> bytes:
        """The digest of these pieces, one after the other."""
        add = self.c.sha256_add_portably if portably else self.c.sha256_add
        state = Sha256()
        digest = ctypes.create_string_buffer(SHA256_SIZE)
        self.c.sha256_begin(ctypes.byref(state))
        for piece in pieces:
            add(ctypes.byref(state), piece, ctypes.c_size_t(len(piece)))
        self.c.sha256_end(ctypes.byref(state), digest)
        return digest.raw

    def progress(self, done_bytes: int, total_bytes: int, elapsed_ms: int) -> str:
        line = ctypes.create_string_buffer(PROGRESS_MAX)
        self.c.progress_line(line, *map(ctypes.c_uint64, (done_bytes, total_bytes, elapsed_ms)))
        return line.value.decode("ascii")

    def has_volume(self, disc: bytes) -> bool:
        self.c.iso_has_volume.restype = ctypes.c_bool
        return bool(self.c.iso_has_volume(ctypes.byref(Disc(disc, len(disc)))))

    def efi_image(self, disc: bytes) -> tuple[int, int] | None:
        """Start and size of the EFI boot image."""
        return self._extent(self.c.iso_find_efi_image, disc)

    def file(self, disc: bytes, path: str) -> tuple[int, int] | None:
        """Start and size of a file."""
        return self._extent(self.c.iso_find_file, disc, path.encode())

    def _extent(self, find: Any, disc: bytes, *arguments: object) -> tuple[int, int] | None:
        extent = Extent()
        find.restype = ctypes.c_bool
        found = find(ctypes.byref(Disc(disc, len(disc))), *arguments, ctypes.byref(extent))
        return (extent.start, extent.size) if found else None

    def nfit(self, start: int, size: int, guid: bytes) -> bytes:
        table = ctypes.create_string_buffer(NFIT_SIZE)
        self.c.acpi_make_nfit(table, ctypes.c_uint64(start), ctypes.c_uint64(size), guid)
        return table.raw

    def ssdt(self) -> bytes:
        table = ctypes.create_string_buffer(SSDT_SIZE)
        self.c.acpi_make_ssdt(table)
        return table.raw

    def nfit_has(self, table: bytes, start: int, size: int) -> bool:
        self.c.acpi_nfit_has.restype = ctypes.c_bool
        return bool(self.c.acpi_nfit_has(table, ctypes.c_uint64(start), ctypes.c_uint64(size)))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The pure parts as a shared library."""
    return Library(PURE.library(tmp_path_factory.mktemp("c")))


@pytest.fixture(scope="session")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fuzzer: fuzz.c and the pure parts."""
    return PURE.fuzzer(tmp_path_factory.mktemp("c"), Path(__file__).with_name("fuzz.c"))
