"""The Windows that a driver is to run on: an architecture and a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

DEFAULT_VERSION = "10.0.22621"  # the Windows PE of most discs that are made today

_BUILD_OF_WINDOWS_11 = 22000
_TITLES = {(6, 0): "Vista", (6, 1): "7", (6, 2): "8", (6, 3): "8.1"}


class WindowsArch(StrEnum):
    """A kind of processor, as INF files name it."""

    X86 = "x86"
    AMD64 = "amd64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True)
class WindowsTarget:
    """Windows PE of one architecture and one version."""

    arch: WindowsArch
    version: tuple[int, int, int]  # major, minor, build: 10, 0, 22621

    @classmethod
    def parse(cls, version: str, arch: str) -> Self:
        """From texts such as 10.0.22621 and amd64; ValueError for other ones."""
        numbers = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,6})(?:\.\d+)*)?", version, re.ASCII)
        if not numbers:
            raise ValueError(f"{version!r} is not a version of Windows such as 10.0.22621")
        if arch not in list(WindowsArch):
            known = ", ".join(WindowsArch)
            raise ValueError(f"{arch!r} is not an architecture of Windows: {known}")
        return cls(WindowsArch(arch), (int(numbers[1]), int(numbers[2]), int(numbers[3] or 0)))

    def __str__(self) -> str:
        major, minor, build = self.version
        title = _TITLES.get((major, minor), f"{major}.{minor}")
        if major == 10:
            title = "11" if build >= _BUILD_OF_WINDOWS_11 else "10"
        return f"Windows {title} ({major}.{minor}.{build}) for {self.arch}"
