"""What a disc of Windows PE has in it: which Windows, its network drivers, and what is ballast."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from textwrap import wrap

from bootserver.files.threads import cancellable
from bootserver.model import Content
from bootserver.pci import PciId
from bootserver.units import duration, megabytes
from bootserver.windows.inf import Inf, read_inf
from bootserver.windows.inf_text import LIMIT_BYTES, InfError
from bootserver.windows.startup import DRIVERS
from bootserver.windows.target import WindowsArch, WindowsTarget
from bootserver.windows.wim import Wim, wim_on_disc
from bootserver.windows.wim_listing import WimFile, WimInfo

BOOT_WIM = "/sources/boot.wim"
REMEMBERED = 32  # of the discs that were looked into last
CAVEATS_LIMIT = 20
LINE_WIDTH = 100

_STORE = "/windows/system32/driverstore/filerepository/"
_INF_FOLDER = "/windows/inf/"
_PRECOMPILED = ".pnf"
_PUT_IN = f"{DRIVERS}/"  # which startup loads
_KERNEL = "/windows/system32/ntoskrnl.exe"
_KERNEL_LIMIT_BYTES = 64_000_000
_MACHINES = {0x14C: WindowsArch.X86, 0x8664: WindowsArch.AMD64, 0xAA64: WindowsArch.ARM64}
_FIXED_FILE_INFO = struct.pack("<L", 0xFEEF04BD)
# The class of network adapters by its GUID or name, in any encoding: the other INF files, ten times
# as many, need not be read.
_OF_NETWORK = re.compile(
    rb'4\0?d\0?3\0?6\0?e\0?9\0?7\0?2|c\0?l\0?a\0?s\0?s\0?[ \t\0]*=[ \t\0"]*n\0?e\0?t', re.IGNORECASE
)
# TCP leaves 1,448 bytes of the 1,538 that a frame takes on the wire.
_BYTES_PER_S_OF_MBIT = 1_000_000 / 8 * 1448 / 1538
# By the program that serves: what other tools have too, such as a VNC viewer, is none of these.
_REMOTE_DESKTOP = {
    "anydesk.exe": "AnyDesk",
    "awhost32.exe": "pcAnywhere",
    "dwrcs.exe": "DameWare",
    "radmin.exe": "Radmin",
    "rserver3.exe": "Radmin",
    "rustdesk.exe": "RustDesk",
    "screenconnect.clientservice.exe": "ScreenConnect",
    "teamviewer.exe": "TeamViewer",
    "teamviewer_service.exe": "TeamViewer",
    "teamviewerqs.exe": "TeamViewer",
    "termsrv.dll": "Remote Desktop",
    "tvnserver.exe": "TightVNC",
    "vncserver.exe": "RealVNC",
    "winvnc.exe": "VNC",
    "winvnc4.exe": "RealVNC or TigerVNC",
}

# The ways of trimming, for people: "without ...".
TRIMS = {
    "foreign_nics": "drivers of network cards other than Intel's",
    "wifi": "drivers of Wi-Fi cards",
    "both": "both",
}


@dataclass(frozen=True, slots=True)
class NetworkDriver:
    """A network driver in a boot image."""

    name: str  # of its INF file
    path: str  # in the image
    vendors: tuple[str, ...]  # who made the cards, as the INF file names them
    provider: str
    driver_date: str
    driver_version: str
    wifi: bool
    pci_ids: tuple[str, ...]  # that it serves under this Windows
    packed_bytes: int  # what its files take
    dropped_by: tuple[str, ...]  # the ways of trimming that drop it


@dataclass(frozen=True, slots=True)
class RemoteDesktop:
    """A program in a boot image that shows its screen to others."""

    tool: str
    path: str


@dataclass(frozen=True, slots=True)
class TrimGain:
    """What one way of trimming would take off the image, and off each boot."""

    trim: str  # foreign_nics, wifi or both
    drivers: int
    saved_bytes: int
    seconds_at_100_mbit: float
    seconds_at_1_gbit: float


@dataclass(frozen=True, slots=True)
class WinPe:
    """What is in the image that a disc of Windows PE boots."""

    wim: str  # its path on the disc
    wim_bytes: int
    compression: str
    index: int  # the image's number in the WIM, from 1
    images: tuple[str, ...]  # the names of all images in the WIM
    windows: str  # for people; "" where neither the WIM nor the kernel tells it, as the next two
    version: str  # 10.0.22621
    architecture: str
    drivers: tuple[NetworkDriver, ...]
    remote_desktop: tuple[RemoteDesktop, ...]
    gains: tuple[TrimGain, ...]
    caveats: tuple[str, ...]

    def lines(self, *, with_drivers: bool) -> list[str]:
        """The same for a person."""
        name = self.images[self.index - 1]
        lines = [
            f"{self.windows or 'An unknown Windows'}: image {self.index} of {len(self.images)} "
            f"({name}) in {self.wim}, {megabytes(self.wim_bytes)}, {self.compression}"
        ]
        tools = [f"{found.tool} ({found.path})" for found in self.remote_desktop]
        lines += [f"Remote desktop: {', '.join(tools) or 'none found'}"]
        lines += [f"Network drivers: {len(self.drivers)}"]
        for driver in self.drivers if with_drivers else ():
            kind = ", Wi-Fi" if driver.wifi else ""
            lines += [
                f"  {driver.name}: {', '.join(driver.vendors)} {driver.driver_version} of "
                f"{driver.driver_date or 'no date'}{kind}, {megabytes(driver.packed_bytes)}",
                *wrap(
                    " ".join(driver.pci_ids) or "no PCI device",
                    width=LINE_WIDTH,
                    initial_indent="    ",
                    subsequent_indent="    ",
                ),
            ]
        lines += [
            f"Without {TRIMS[gain.trim]} ({gain.drivers}): {megabytes(gain.saved_bytes)} less, "
            f"{duration(gain.seconds_at_100_mbit)} at 100 Mb/s, "
            f"{duration(gain.seconds_at_1_gbit)} at 1 Gb/s"
            for gain in self.gains
            if gain.drivers
        ]
        return [*lines, *(f"Note: {caveat}." for caveat in self.caveats)]


class WinPeFindings:
    """What is in the discs that were asked for last: looking into one takes a second or more."""

    def __init__(self) -> None:
        self._known: OrderedDict[Content, WinPe] = OrderedDict()
        self._turn = asyncio.Lock()

    def known(self, content: Content) -> WinPe | None:
        """What that version of a disc has in it, if it was looked into."""
        return self._known.get(content)

    async def of(self, content: Content) -> WinPe:
        """What that version of a disc has in it; raises as `inspect_winpe` does."""
        async with self._turn:  # two who ask for one disc need one look, and others share the disk
            if content not in self._known:
                self._known[content] = await cancellable(inspect_winpe, content)
            self._known.move_to_end(content)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return self._known[content]


def inspect_winpe(content: Content, cancelled: threading.Event | None = None) -> WinPe:
    """What the disc has in it; blocks.

    Raises WimError for a disc without Windows PE, or with one that cannot be read, and
    ImageNotReadyError if the image is another version by now.
    """
    with wim_on_disc(content, BOOT_WIM, cancelled) as wim:
        image = look_into(wim)
        wim_bytes = wim.size_bytes
    info, windows = image.info, image.windows
    return WinPe(
        wim=BOOT_WIM,
        wim_bytes=wim_bytes,
        compression=info.compression,
        index=info.booted.index,
        images=tuple(image.name for image in info.images),
        windows=str(windows) if windows else "",
        version=".".join(map(str, windows.version)) if windows else "",
        architecture=windows.arch if windows else "",
        drivers=tuple(image.drivers),
        remote_desktop=tuple(
            RemoteDesktop(tool, file.path)
            for file in image.files
            if (tool := _REMOTE_DESKTOP.get(PurePosixPath(file.path.lower()).name))
        ),
        gains=tuple(_gains(image)),
        caveats=tuple(image.caveats[:CAVEATS_LIMIT]),
    )


@dataclass(frozen=True, slots=True)
class BootImage:
    """The image that a disc boots, with the files of each of its network drivers."""

    info: WimInfo
    windows: WindowsTarget | None
    files: Sequence[WimFile]
    drivers: Mapping[NetworkDriver, Sequence[WimFile]]
    caveats: Sequence[str]

    def files_of(self, dropped: Collection[NetworkDriver]) -> list[WimFile]:
        """What goes with these drivers: under all its names what no other driver has too.

        Windows keeps a driver in its store, and links to it where it runs.
        """
        gone = {file for driver in dropped for file in self.drivers[driver]}
        folders = {_package_folder(file.path) for file in gone} - {""}
        kept = {f for driver in self.drivers.keys() - dropped for f in self.drivers[driver]}
        kept.update(f for f in self.files if _package_folder(f.path) not in {"", *folders})
        # All precompiled INF files of a size may be alike, and all empty files are.
        known = {f.sha1 for f in gone if f.size_bytes and not f.path.lower().endswith(_PRECOMPILED)}
        known -= {file.sha1 for file in kept}
        gone = {f for f in self.files if f.sha1 in known or f in gone} - kept
        precompiled = {
            f.path.lower().removesuffix(".inf") + _PRECOMPILED
            for f in gone
            if f.path.lower().endswith(".inf")
        }
        return [f for f in self.files if f in gone or f.path.lower() in precompiled]

    def packed_bytes(self, dropped: Collection[WimFile]) -> int:
        """What the WIM has less without these files: a content goes with its last name."""
        packed = _packed(dropped)
        return sum(packed[sha1] for sha1 in packed.keys() - _packed({*self.files} - {*dropped}))


def look_into(wim: Wim) -> BootImage:
    """The image in it that is booted; raises WimError."""
    info = wim.info()
    files = wim.files(info.booted.index)
    windows = info.booted.windows or _windows_of_kernel(wim, info.booted.index, files)
    caveats = list(_caveats(info))
    store = _store(files)
    drivers = {
        _driver(file, inf, package, windows): package
        for file, inf in _network_infs(wim, info.booted.index, files, caveats)
        if (package := _package(file, inf, windows, files, store))
    }
    return BootImage(info, windows, files, drivers, caveats)


def _caveats(info: WimInfo) -> Iterator[str]:
    """What stands against a change of the image."""
    if info.is_solid or info.compression == "LZMS":
        yield (
            "the WIM is packed as LZMS, into which nothing can be put: export it with LZX first "
            "(wimlib-imagex export boot.wim all new.wim --compress=LZX --boot)"
        )


def _network_infs(
    wim: Wim, image: int, files: Sequence[WimFile], caveats: list[str]
) -> Iterator[tuple[WimFile, Inf]]:
    """The INF files of network adapters, each content once, those in the driver store first.

    What cannot be read is told in `caveats`.
    """
    found: dict[str, WimFile] = {}
    for folder in (_STORE, _INF_FOLDER, _PUT_IN):
        for file in files:
            path = file.path.lower()
            if path.startswith(folder) and path.endswith(".inf"):
                found.setdefault(file.sha1, file)
    readable = []
    for file in found.values():
        if file.size_bytes <= LIMIT_BYTES:
            readable.append(file)
        else:
            size = megabytes(file.size_bytes)
            caveats.append(f"{file.path} has {size}, too much for the INF file of a driver")
    for file, data in zip(readable, wim.read(image, readable), strict=True):
        if not _OF_NETWORK.search(data):
            continue
        try:
            inf = read_inf(data)
        except InfError as err:
            caveats.append(f"{file.path} cannot be used: {err.message}")
            continue
        if inf.network:
            yield file, inf


def _store(files: Iterable[WimFile]) -> dict[str, list[WimFile]]:
    """The files of each package in the driver store, by the lower-case path of its folder."""
    packages: dict[str, list[WimFile]] = {}
    for file in files:
        if folder := _package_folder(file.path):
            packages.setdefault(folder, []).append(file)
    return packages


def _package_folder(path: str) -> str:
    """The folder in the driver store that the file lies in; "" for one outside."""
    path = path.lower()
    rest = path.removeprefix(_STORE)
    return "" if rest == path else _STORE + rest.partition("/")[0]


def _package(
    file: WimFile,
    inf: Inf,
    windows: WindowsTarget | None,
    files: Iterable[WimFile],
    store: Mapping[str, list[WimFile]],
) -> list[WimFile]:
    """The files of a driver: its folder in the store, or what its INF file names beside it."""
    package = [
        packed
        for folder, content in store.items()
        if any(other.sha1 == file.sha1 for other in content)
        for packed in content
    ]
    folder, _, name = file.path.lower().rpartition("/")
    wanted = {f"{folder}/{name}", f"{_INF_FOLDER}{name.removesuffix('.inf')}{_PRECOMPILED}"}
    if not package and windows:
        wanted |= {f"{folder}/{name.lower()}" for name in inf.files(windows)}
    return [*package, *(other for other in files if other.path.lower() in wanted)]


def _driver(
    file: WimFile, inf: Inf, package: Iterable[WimFile], windows: WindowsTarget | None
) -> NetworkDriver:
    ways = {
        "foreign_nics": inf.removable(foreign=True, wifi=False),
        "wifi": inf.removable(foreign=False, wifi=True),
    }
    if file.path.startswith(_PUT_IN):  # it was wanted
        ways = {}
    return NetworkDriver(
        name=PurePosixPath(file.path).name,
        path=file.path,
        vendors=tuple(dict.fromkeys(maker.name for maker in inf.manufacturers)),
        provider=inf.provider,
        driver_date=inf.driver_date.isoformat() if inf.driver_date.year > 1 else "",
        driver_version=inf.driver_version,
        wifi=inf.is_wifi,
        pci_ids=tuple(sorted(map(str, _served(inf, windows)))),
        packed_bytes=sum(_packed(package).values()),
        dropped_by=tuple(way for way, drops in ways.items() if drops),
    )


def _served(inf: Inf, windows: WindowsTarget | None) -> Iterable[PciId]:
    """The PCI devices that it serves under that Windows; under any, where that is not known."""
    if windows is None:
        return inf.pci_ids
    return {pci for pci in inf.pci_ids if inf.rank(pci, windows)}


def _packed(files: Iterable[WimFile]) -> dict[str, int]:
    """What the contents take in the WIM, by SHA-1: each is there once, whatever its names."""
    return {file.sha1: file.packed_bytes for file in files}


def _gains(image: BootImage) -> Iterator[TrimGain]:
    for trim, ways in (
        ("foreign_nics", {"foreign_nics"}),
        ("wifi", {"wifi"}),
        ("both", {"foreign_nics", "wifi"}),
    ):
        dropped = [driver for driver in image.drivers if ways.intersection(driver.dropped_by)]
        saved_bytes = image.packed_bytes(image.files_of(dropped))
        yield TrimGain(
            trim,
            len(dropped),
            saved_bytes,
            seconds_at(100, saved_bytes),
            seconds_at(1000, saved_bytes),
        )


def seconds_at(mbit: int, size_bytes: int) -> float:
    """How long so many bytes take over a line of that speed."""
    return round(size_bytes / (mbit * _BYTES_PER_S_OF_MBIT), 2)


def _windows_of_kernel(wim: Wim, image: int, files: Iterable[WimFile]) -> WindowsTarget | None:
    """What the kernel says of itself: its processor in the PE header, its version in a resource."""
    kernels = [file for file in files if file.path.lower() == _KERNEL]
    if not kernels or kernels[0].size_bytes > _KERNEL_LIMIT_BYTES:
        return None
    [data] = wim.read(image, kernels[:1])
    try:
        [header] = struct.unpack_from("<L", data, 60)
        [machine] = struct.unpack_from("<H", data, header + 4)
        # VS_FIXEDFILEINFO: its signature, its own version, the file's version in two words.
        high, low = struct.unpack_from("<8xLL", data, data.index(_FIXED_FILE_INFO))
        return WindowsTarget(_MACHINES[machine], (high >> 16, high & 0xFFFF, low >> 16))
    except (struct.error, ValueError, KeyError):
        return None
