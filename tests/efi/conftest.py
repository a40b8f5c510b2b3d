"""The UEFI loader's pure parts, compiled for this machine: as a library, and to be fuzzed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.pure_c import PureC

PURE = PureC("efi", ("lzma.c", "filter.c", "packed.c", "carried.c"))

MODEL_BYTES = 64 * 1024  # more than struct lzma takes


class Bytes(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


@dataclass(frozen=True)
class Library:
    """The C functions, with their arguments and results as Python has them."""

    c: ctypes.CDLL

    def decode(self, stream: bytes, properties: int, size: int) -> bytes | None:
        """`size` bytes out of a raw LZMA stream; None if it is refused."""
        model = ctypes.create_string_buffer(MODEL_BYTES)
        out = ctypes.create_string_buffer(size or 1)
        self.c.lzma_decode.restype = ctypes.c_bool
        good = self.c.lzma_decode(
            model,
            ctypes.c_uint8(properties),
            stream,
            ctypes.c_size_t(len(stream)),
            out,
            ctypes.c_size_t(size),
        )
        return out.raw[:size] if good else None

    def without_targets(self, filtered: bytes) -> bytes:
        """The program that was filtered."""
        image = ctypes.create_string_buffer(filtered, len(filtered) or 1)
        self.c.filter_undo(image, ctypes.c_size_t(len(filtered)))
        return image.raw[: len(filtered)]

    def unpack(self, packed: bytes) -> bytes | None:
        """The packed program; None if it is refused."""
        self.c.packed_program_size.restype = ctypes.c_size_t
        size = self.c.packed_program_size(packed, ctypes.c_size_t(len(packed)))
        model = ctypes.create_string_buffer(MODEL_BYTES)
        program = ctypes.create_string_buffer(size or 1)
        self.c.packed_unpack.restype = ctypes.c_bool
        good = self.c.packed_unpack(model, packed, ctypes.c_size_t(len(packed)), program)
        return program.raw[:size] if good else None

    def section(self, image: bytes, name: str) -> bytes | None:
        """A section of a PE image as it lies in memory."""
        return self._found(self.c.find_section, image, name)

    def part(self, section: bytes, name: str) -> bytes | None:
        """A part in the section .stub."""
        return self._found(self.c.find_part, section, name)

    def _found(self, find: Any, whole: bytes, name: str) -> bytes | None:
        memory = ctypes.create_string_buffer(whole, len(whole) or 1)
        found = Bytes()
        find.restype = ctypes.c_bool
        good = find(Bytes(ctypes.addressof(memory), len(whole)), name.encode(), ctypes.byref(found))
        return ctypes.string_at(found.data, found.size) if good else None


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The pure parts as a shared library."""
    return Library(PURE.library(tmp_path_factory.mktemp("c")))


@pytest.fixture(scope="session")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fuzzer: fuzz.c and the pure parts."""
    return PURE.fuzzer(tmp_path_factory.mktemp("c"), Path(__file__).with_name("fuzz.c"))
