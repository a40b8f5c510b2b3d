r"""What a driver's INF file offers: devices, for which Windows, and the files that belong to it.

INF Manufacturer Section, INF Models Section, INF SourceDisksFiles Section (Microsoft). Windows
takes one models section of each manufacturer: the one whose decoration is closest to the system,
and the undecorated one where none applies. An architecture other than x86 must be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import PureWindowsPath

from bootserver.pci import PciId
from bootserver.windows.inf_text import InfError, InfLine, read_sections
from bootserver.windows.target import WindowsArch, WindowsTarget

INTEL = 0x8086

_NETWORK_CLASS = "{4d36e972-e325-11ce-bfc1-08002be10318}"
_WORKSTATION = 1  # VER_NT_WORKSTATION, which Windows PE is too
_WIFI = {
    "*iftype": 71,
    "*physicalmediatype": 9,
}  # IF_TYPE_IEEE80211, NdisPhysicalMediumNative802_11
_HARDWARE_ID_LIMIT = 200  # characters: MAX_DEVICE_ID_LEN
# On these buses a device is one vendor's. Other buses, such as ROOT, VMBUS and those that a vendor
# has made up, may have devices that Windows PE needs.
_DEVICE_BUSES = {"PCI", "USB", "PCMCIA", "SD"}
_DECORATION = re.compile(
    r"nt(?P<arch>x86|amd64|arm64|arm|ia64)?"
    + "".join(
        rf"(?:\.(?P<{part}>0x[0-9a-f]+|\d*)"
        for part in ("major", "minor", "product", "suite", "build")
    )
    + r")?" * 5,
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Model:
    """A device that an INF file installs: its ids in upper case, the best one first."""

    description: str
    install_section: str
    hardware_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decoration:
    """Which systems a models section is for: NT[arch][.major[.minor[.product[.suite[.build]]]]]."""

    arch: str = ""
    version: tuple[int, int, int] = (0, 0, 0)  # the lowest one
    product: int = 0  # as in OSVERSIONINFOEX; 0 is any
    suite: int = 0

    @classmethod
    def parse(cls, text: str) -> Decoration | None:
        """From a text such as NTamd64.10.0...16299; None for what is no decoration."""
        found = _DECORATION.fullmatch(text)
        if not found:
            return None
        major, minor, product, suite, build = (
            int(digits, 16 if digits[:2] in ("0x", "0X") else 10) if digits else 0
            for digits in found.groups()[1:]
        )
        return cls((found["arch"] or "").lower(), (major, minor, build), product, suite)

    def applies_to(self, target: WindowsTarget) -> bool:
        """True if Windows PE of that kind may take what is so decorated; it has no suites."""
        return (
            (self.arch or WindowsArch.X86) == target.arch
            and self.version <= target.version
            and self.product in (0, _WORKSTATION)
            and not self.suite
        )

    @property
    def closeness(self) -> tuple[tuple[int, int, int], int, bool]:
        """Of several that apply the closest one has the greatest."""
        return self.version, self.product, bool(self.arch)


UNDECORATED = Decoration()


@dataclass(frozen=True, slots=True)
class Manufacturer:
    """A line of [Manufacturer]: models sections, and what each is for."""

    name: str
    sections: tuple[tuple[Decoration, tuple[Model, ...]], ...]
    undecorated: tuple[Model, ...]

    def closest(self, target: WindowsTarget) -> tuple[Decoration, tuple[Model, ...]]:
        """The models that Windows looks at; without any where nothing applies."""
        fitting = [section for section in self.sections if section[0].applies_to(target)]
        if fitting:
            return max(fitting, key=lambda section: section[0].closeness)
        is_for_x86 = target.arch == WindowsArch.X86
        return UNDECORATED, self.undecorated if is_for_x86 else ()


@dataclass(frozen=True, slots=True, order=True)
class DriverRank:
    """Of several drivers for a device Windows takes the one with the greatest."""

    certain: bool  # the id names nothing that the device has not told
    subsystem: bool  # the id names the subsystem
    revision: bool
    version: tuple[int, int, int]  # of the decoration
    product: int
    date: date
    driver_version: tuple[int, ...]


@dataclass(frozen=True)
class Inf:
    """An INF file as Windows understands it."""

    class_name: str
    class_guid: str  # in lower case, with braces
    provider: str
    driver_date: date  # the year 1 where it is not told
    driver_version: str  # a.b.c.d
    catalogs: Mapping[str, str] = field(hash=False)  # file names by platform, as nt or ntamd64
    manufacturers: tuple[Manufacturer, ...]
    sources: Mapping[str, tuple[str, ...]] = field(hash=False)  # paths by architecture, "" for all
    is_wifi: bool

    @property
    def network(self) -> bool:
        """True for the driver of a network adapter."""
        return self.class_guid == _NETWORK_CLASS or self.class_name.lower() == "net"

    def models(self, target: WindowsTarget) -> list[Model]:
        """The devices that it installs on that Windows, the closest decoration first."""
        sections = self._closest(target)
        return list(dict.fromkeys(model for _, models in sections for model in models))

    def rank(self, pci: PciId, target: WindowsTarget) -> DriverRank | None:
        """How well it serves a device under that Windows; None if it does not."""
        ranks = [
            DriverRank(
                *certainty,
                decoration.version,
                decoration.product,
                self.driver_date,
                _numbers(self.driver_version),
            )
            for decoration, models in self._closest(target)
            for model in models
            for hardware_id in model.hardware_ids
            if (certainty := _certainty(hardware_id, pci))
        ]
        return max(ranks, default=None)

    def _closest(self, target: WindowsTarget) -> Iterable[tuple[Decoration, tuple[Model, ...]]]:
        """The models sections that count, the closest first; one that several share counts once."""
        sections = [manufacturer.closest(target) for manufacturer in self.manufacturers]
        sections.sort(key=lambda section: section[0].closeness)
        return reversed({id(section[1]): section for section in sections}.values())

    def files(self, target: WindowsTarget) -> list[str]:
        """The files that belong to it, its catalog too, by paths from its folder with `/`."""
        of_arch = (*self.sources.get("", ()), *self.sources.get(target.arch, ()))
        catalog = self.catalog(target.arch)
        return sorted({*of_arch, *([catalog] if catalog else [])})

    def catalog(self, arch: WindowsArch) -> str:
        """The file with its signature; "" if it is not signed."""
        names = (self.catalogs.get(platform, "") for platform in (f"nt{arch}", "nt", ""))
        return next(filter(None, names), "")

    @cached_property
    def hardware_ids(self) -> frozenset[str]:
        """All that it serves, on any Windows."""
        sections = {
            id(models): models
            for manufacturer in self.manufacturers
            for models in (*(m for _, m in manufacturer.sections), manufacturer.undecorated)
        }
        return frozenset(
            hardware_id
            for models in sections.values()
            for model in models
            for hardware_id in model.hardware_ids
        )

    @cached_property
    def pci_ids(self) -> frozenset[PciId]:
        """The PCI devices among these, without subsystem and revision."""
        ids = filter(None, map(_pci_id, self.hardware_ids))
        return frozenset(pci.without_board for pci in ids)

    @cached_property
    def architectures(self) -> list[WindowsArch]:
        """For which it installs anything."""
        newest = (1000, 0, 0)
        return [arch for arch in WindowsArch if self.models(WindowsTarget(arch, newest))]

    def removable(
        self, *, foreign: bool = True, wifi: bool = True, keep: Iterable[int] = ()
    ) -> bool:
        """True if Windows PE does without it on machines with Intel's wired adapters.

        That is a network driver for real devices alone, for Wi-Fi (`wifi`), or of PCI vendors of
        which none is Intel or in `keep` (`foreign`). In doubt it stays: that costs bytes, and a
        false removal the network.
        """
        if not self.network or not self.hardware_ids:
            return False
        if any(bus(hardware_id) not in _DEVICE_BUSES for hardware_id in self.hardware_ids):
            return False
        if self.is_wifi and wifi:
            return True
        kept = {INTEL, *keep}
        return foreign and all(pci.vendor not in kept for pci in self.pci_ids)


def bus(hardware_id: str) -> str:
    r"""What stands before the `\`, in upper case; "" for ids such as *MSLOOP and MS_NDISWANIP."""
    return hardware_id.partition("\\")[0].upper() if "\\" in hardware_id else ""


def read_inf(data: bytes) -> Inf:
    """The INF file; InfError for what is none, or too much to read."""
    sections = read_sections(data)
    if "version" not in sections:
        raise InfError(
            "it has no [Version] section", hint="check that it is the INF file of a driver"
        )
    version = {line.key: line for line in reversed(sections["version"])}
    driver_version = version.get("driverver", InfLine("", ()))
    return Inf(
        class_name=_value(version, "class"),
        class_guid=_value(version, "classguid").lower(),
        provider=_value(version, "provider"),
        driver_date=_date(driver_version.value),
        driver_version=driver_version.values[1] if len(driver_version.values) > 1 else "",
        catalogs={
            key.partition(".")[2]: line.value
            for key, line in version.items()
            if key.partition(".")[0] == "catalogfile" and line.value
        },
        manufacturers=_manufacturers(sections),
        sources={
            arch: _sources(sections, arch)
            for arch in ("", *WindowsArch)
            if _named("sourcedisksfiles", arch) in sections
        },
        is_wifi=_is_wifi(sections),
    )


def _value(lines: Mapping[str, InfLine], key: str) -> str:
    return lines[key].value if key in lines else ""


def _manufacturers(sections: Mapping[str, list[InfLine]]) -> tuple[Manufacturer, ...]:
    known: dict[str, tuple[Model, ...]] = {}

    def models(name: str) -> tuple[Model, ...]:
        if name not in known:
            known[name] = tuple(
                Model(line.name, line.value, ids)
                for line in sections.get(name, ())
                if (ids := tuple(_upper(line.values[1:])))
            )
        return known[name]

    return tuple(
        Manufacturer(
            line.name,
            tuple(
                (decoration, models(f"{base}.{text.lower()}"))
                for text in line.values[1:]
                if (decoration := Decoration.parse(text))
            ),
            models(base),
        )
        for line in sections.get("manufacturer", ())
        # A line with nothing but a name has a models section of that name.
        if (base := (line.value or line.name).lower())
    )


def _upper(ids: Iterable[str]) -> Iterable[str]:
    """Hardware ids as they are compared; a field may be empty, and too long ones match nothing."""
    return (text.upper() for text in ids if 0 < len(text) <= _HARDWARE_ID_LIMIT)


def _sources(sections: Mapping[str, list[InfLine]], arch: str) -> tuple[str, ...]:
    """The paths of the files that [SourceDisksFiles.arch] lists: NAME = disk[, folder[, size]]."""
    folders = {
        line.key: line.values[3]
        for name in ("sourcedisksnames", _named("sourcedisksnames", arch))
        for line in sections.get(name, ())
        if len(line.values) > 3
    }
    return tuple(
        path
        for line in sections[_named("sourcedisksfiles", arch)]
        if line.name and (path := _path(folders.get(line.value, ""), *line.values[1:2], line.name))
    )


def _path(*parts: str) -> str:
    r"""The parts as one path with `/`; "" for one that leads out of the INF file's folder."""
    names = [name for part in parts for name in PureWindowsPath(part.lstrip("\\/")).parts]
    names = [name for name in names if name != "."]
    return "" if any(name == ".." or ":" in name for name in names) else "/".join(names)


def _is_wifi(sections: Mapping[str, list[InfLine]]) -> bool:
    """True if all sections that say what kind of network an adapter has say Wi-Fi."""
    verdicts = [
        any(_number(line.value) == _WIFI[line.key] for line in kinds)
        for lines in sections.values()
        if (kinds := [line for line in lines if line.key in _WIFI])
    ]
    return bool(verdicts) and all(verdicts)


def _certainty(hardware_id: str, pci: PciId) -> tuple[bool, bool, bool] | None:
    """The first parts of the rank of an id that may be the device's; None if it cannot."""
    wanted = _pci_id(hardware_id)
    if wanted is None or (wanted.vendor, wanted.device) != (pci.vendor, pci.device):
        return None
    parts = ((wanted.subsystem, pci.subsystem), (wanted.revision, pci.revision))
    if any(None not in part and part[0] != part[1] for part in parts):
        return None
    is_certain = not any(wish is not None and has is None for wish, has in parts)
    return is_certain, wanted.subsystem is not None, wanted.revision is not None


def _pci_id(hardware_id: str) -> PciId | None:
    if not hardware_id.startswith("PCI\\VEN_"):
        return None
    try:
        return PciId.parse(hardware_id)
    except ValueError:  # of a class, or with blanks in it
        return None


def _named(section: str, arch: str) -> str:
    return f"{section}.{arch}" if arch else section


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return -1


def _numbers(version: str) -> tuple[int, ...]:
    """a.b.c.d as numbers, for comparing."""
    return tuple(int(digits) for digits in re.findall(r"\d{1,10}", version)[:4])


def _date(text: str) -> date:
    """DriverVer's date, month/day/year."""
    found = re.fullmatch(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", text, re.ASCII)
    try:
        return date(int(found[3]), int(found[1]), int(found[2])) if found else date.min
    except ValueError:
        return date.min
