"""The library of drivers: folders and archives in one directory, and which driver a device gets.

What an INF file says is kept in the state directory, under its file's version; archives are
unpacked there. All functions block: a server calls them in a thread.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from bootserver.config import Config
from bootserver.files.atomic import write_atomically
from bootserver.files.locks import waiting_lock
from bootserver.json_values import adapter_of
from bootserver.model import FileVersion
from bootserver.pci import PciId
from bootserver.windows.inf import INTEL, DriverRank, Inf, read_inf
from bootserver.windows.inf_text import LIMIT_BYTES, InfError
from bootserver.windows.target import WindowsTarget
from bootserver.windows.unpack import DriverError, unpack

ARCHIVE_SUFFIXES = (".zip", ".cab")

_FORMAT = 1  # of the index; another one is made anew


@dataclass(frozen=True, slots=True)
class DriverPackage:
    """One INF file of the library, and what it is for."""

    name: str  # of the folder or archive that it is in, as `add` has named it
    path: str  # its INF file
    provider: str = ""
    driver_date: str = ""
    driver_version: str = ""
    network: bool = False
    architectures: tuple[str, ...] = ()
    pci_ids: tuple[str, ...] = ()
    problem: str = ""  # why it cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDriver(DriverPackage):
    """The driver that a device gets."""

    files: list[str]  # its INF file, its catalog and all else that Windows needs of it, on disk


@dataclass(frozen=True, slots=True)
class _Index:
    """What is remembered of the INF files, by path and version."""

    format: int
    drivers: dict[str, DriverPackage]


class NoDriverError(DriverError):
    """There is no driver of that name, or none for that device."""


class DriverLibrary:
    """The drivers in `directory`, with what is remembered of them in `state`."""

    def __init__(self, directory: Path, state: Path) -> None:
        self._directory = directory
        self._state = state

    @classmethod
    def of(cls, config: Config) -> Self:
        """The library of this site; its state directory is there."""
        return cls(config.drivers.path, config.state.path / "drivers")

    def packages(self) -> list[DriverPackage]:
        """All INF files that are there now, by name and path; broken ones with their problem."""
        with self._locked():
            return self._packages()

    def find(self, pci: PciId, target: WindowsTarget) -> FoundDriver:
        """The driver that Windows would take for the device.

        NoDriverError says why there is none; DriverError that a file of it is missing.
        """
        text = str(pci.without_board)
        packages = [package for package in self.packages() if text in package.pci_ids]
        ranked = [
            (rank, package)
            for package in packages
            if (rank := _read(package.path).rank(pci, target))
        ]
        if not ranked:
            raise NoDriverError(
                _why_none(packages, pci, target),
                hint="get another one, and: bootserver drivers add PATH",
            )
        _, package = max(ranked, key=lambda item: item[0])
        return _found(package, target)

    def find_intel(self, target: WindowsTarget) -> list[FoundDriver]:
        """The drivers that Windows would take for Intel's wired network cards, by path.

        Raises NoDriverError where there is none, DriverError that a file is missing.
        """
        best: dict[PciId, tuple[DriverRank, DriverPackage]] = {}
        for package in self.packages():
            if not package.network or package.problem or (inf := _read(package.path)).is_wifi:
                continue
            for pci in (pci for pci in inf.pci_ids if pci.vendor == INTEL):
                rank = inf.rank(pci, target)
                if rank and (pci not in best or rank > best[pci][0]):
                    best[pci] = rank, package
        if not best:
            raise NoDriverError(
                f"no driver in the library is for Intel's wired cards under {target}",
                hint="get Intel's drivers, and: bootserver drivers add PATH",
            )
        packages = {package.path: package for _, package in best.values()}
        return [_found(packages[path], target) for path in sorted(packages)]

    def add(self, source: Path) -> str:
        """Copy a folder or archive into the library; returns its name. Raises DriverError."""
        is_archive = source.suffix.lower() in ARCHIVE_SUFFIXES
        if not source.is_dir() and not (source.is_file() and is_archive):
            raise DriverError(
                f"{source} is neither a folder nor a .zip or .cab file",
                hint="unpack the maker's program first, and add the folder with the .inf files",
            )
        name = source.absolute().name
        with self._locked():
            self._take_in(source, name)
            problems = [package.problem for package in self._packages() if package.name == name]
            if all(problems):
                _discard(self._directory / name)
                reason = problems[0] if problems else "there is no .inf file in it"
                raise DriverError(f"{name} has no driver: {reason}")
        return name

    def remove(self, name: str) -> None:
        """Delete a folder or archive of the library; NoDriverError if it is not there."""
        with self._locked():
            if name not in {name for name, _ in self._entries()}:
                raise NoDriverError(
                    f"there are no drivers {name!r}", hint="run: bootserver drivers list"
                )
            _discard(self._directory / name)
            self._packages()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The library for us alone: a server and a command may both work on it."""
        self._state.mkdir(parents=True, exist_ok=True)
        with waiting_lock(self._state / "lock"):
            yield

    def _take_in(self, source: Path, name: str) -> None:
        target = self._directory / name
        if target.exists():
            raise DriverError(
                f"there are drivers named {name} already",
                hint="remove them, or give the new ones another name",
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        hidden = self._directory / f".{name}.part"
        try:
            _discard(hidden)
            if source.is_dir():
                shutil.copytree(source, hidden, ignore_dangling_symlinks=True)
            else:
                shutil.copyfile(source, hidden)
            hidden.rename(target)
        except (OSError, shutil.Error) as err:
            _discard(hidden)
            raise DriverError(
                f"{source} cannot be copied: {err}", hint="check the disk and the permissions"
            ) from err

    def _packages(self) -> list[DriverPackage]:
        known = self._remembered()
        index: dict[str, DriverPackage] = {}
        for name, root in self._roots():
            if isinstance(root, DriverError):
                path = _utf8(str(self._directory / name))
                problem = _utf8(f"{root.message} ({root.hint})")
                index[path] = DriverPackage(_utf8(name), path, problem=problem)
                continue
            for inf in _inf_files(root):
                key = _utf8(f"{inf} {FileVersion.of(inf.stat())}")
                index[key] = known.get(key) or _described(name, inf)
        if index != known:
            self._remember(index)
        return list(index.values())

    def _entries(self) -> list[tuple[str, Path]]:
        """The folders and archives, by name; hidden ones are on their way."""
        try:
            paths = sorted(self._directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as err:
            raise DriverError(
                f"{self._directory} cannot be read: {err.strerror}", hint="check who may read it"
            ) from err
        return [
            (path.name, path)
            for path in paths
            if not path.name.startswith(".")
            and (path.is_dir() or path.suffix.lower() in ARCHIVE_SUFFIXES)
        ]

    def _roots(self) -> Iterator[tuple[str, Path | DriverError]]:
        """Where the files of each entry lie; an archive is unpacked once for each version."""
        unpacked = self._state / "unpacked"
        wanted = set()
        for name, path in self._entries():
            if path.is_dir():
                yield name, path
                continue
            text = f"{path} {FileVersion.of(path.stat())}"
            folder = unpacked / hashlib.sha256(text.encode()).hexdigest()[:16]
            wanted.add(folder.name)
            try:
                if not folder.is_dir():
                    part = folder.with_suffix(".part")
                    _discard(part)
                    unpack(path, part)
                    part.rename(folder)
                yield name, folder
            except DriverError as err:
                yield name, err
        if unpacked.is_dir():
            for folder in unpacked.iterdir():
                if folder.name not in wanted:
                    _discard(folder)

    def _remembered(self) -> dict[str, DriverPackage]:
        try:
            index = adapter_of(_Index).validate_json((self._state / "index.json").read_bytes())
        except (OSError, ValueError):  # none yet, or damaged: it is made anew
            return {}
        return index.drivers if index.format == _FORMAT else {}

    def _remember(self, drivers: dict[str, DriverPackage]) -> None:
        data = adapter_of(_Index).dump_json(_Index(_FORMAT, drivers))
        write_atomically(self._state / "index.json", data)


def _found(package: DriverPackage, target: WindowsTarget) -> FoundDriver:
    inf = Path(package.path)
    needed = (_on_disk(inf.parent, name) for name in _read(package.path).files(target))
    return FoundDriver(**asdict(package), files=[package.path, *map(str, needed)])


def _why_none(packages: list[DriverPackage], pci: PciId, target: WindowsTarget) -> str:
    """Why none of the packages, which name the device, is for the target."""
    if not packages:
        return f"no driver in the library is for the device {pci}"
    names = ", ".join(sorted({Path(package.path).name for package in packages}))
    archs = {arch for package in packages for arch in package.architectures}
    if target.arch not in archs:
        others = " and ".join(sorted(archs)) or "other processors"
        return f"{names} is for {others}, and not for {target.arch}"
    return f"{names} is for other versions, and not for {target}"


def _inf_files(root: Path) -> Iterator[Path]:
    """The .inf files below a folder, in order; links are not followed."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if name.lower().endswith(".inf") and path.is_file():
                yield path


def _utf8(text: str) -> str:
    """A path's text as JSON can have it: what is no UTF-8 in it becomes question marks."""
    return os.fsencode(text).decode(errors="replace")


def _described(name: str, path: Path) -> DriverPackage:
    if _utf8(str(path)) != str(path):
        problem = "its path is not UTF-8: rename it"
        return DriverPackage(_utf8(name), _utf8(str(path)), problem=problem)
    try:
        inf = _read(str(path))
    except DriverError as err:
        return DriverPackage(name, str(path), problem=err.message)
    return DriverPackage(
        name,
        str(path),
        provider=inf.provider,
        driver_date=inf.driver_date.isoformat() if inf.driver_date.year > 1 else "",
        driver_version=inf.driver_version,
        network=inf.network,
        architectures=tuple(inf.architectures),
        pci_ids=tuple(sorted(map(str, inf.pci_ids))),
    )


def _read(path: str) -> Inf:
    """An INF file of the library; DriverError if it cannot be read."""
    try:
        return _read_version(path, FileVersion.of(Path(path).stat()))
    except OSError as err:
        raise DriverError(
            f"{path} cannot be read: {err.strerror}", hint="check who may read it"
        ) from err
    except InfError as err:
        raise DriverError(f"{path} cannot be used: {err.message}", hint=err.hint) from err


@lru_cache(maxsize=64)
def _read_version(path: str, _version: FileVersion) -> Inf:
    with Path(path).open("rb") as file:
        return read_inf(file.read(LIMIT_BYTES + 1))


def _on_disk(folder: Path, name: str) -> Path:
    """A file by a name without case, or packed under the name with `_` for its last letter."""
    path = folder
    for part in name.split("/"):
        there = {entry.name.lower(): entry for entry in path.iterdir()} if path.is_dir() else {}
        found = there.get(part.lower()) or there.get(part.lower()[:-1] + "_")
        if found is None or found.is_symlink():
            raise DriverError(
                f"{name} is missing in {folder}, and the driver needs it",
                hint="add the whole folder of the driver",
            )
        path = found
    return path


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
