"""Discs of Windows PE with the drivers of a machine's network cards, made when a machine needs one.

Nothing is written to disk: a prepared disc is pieces of the image, and in memory what lies between
them. The driver is put in only where the image has none for any of the machine's cards.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bootserver.errors import BootServerError, ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.files.threads import cancellable, in_thread
from bootserver.images.winpe import is_winpe, without_network
from bootserver.model import BootPlan, Content, FileVersion, Image, Machine, Prepare
from bootserver.units import megabytes
from bootserver.windows.drivers import DriverLibrary, FoundDriver, NoDriverError
from bootserver.windows.inspect import WinPe, WinPeFindings
from bootserver.windows.overlay import PreparedDisc, with_drivers
from bootserver.windows.target import WindowsTarget
from bootserver.windows.unpack import DriverError

log = structlog.get_logger(__name__)

KEPT_BYTES = 128_000_000  # of ours, in all discs that are kept; one has a megabyte or two
FOUND_S = 2.0  # how long the library of drivers is not asked again for machines of one kind
LOOK_S = 5.0  # how long a boot waits until its disc was looked into
PASSED_OVER_S = 60.0  # how long a disc that could not be looked into is not tried again

_Cards = tuple[Content, tuple[str, ...]]  # of one kind of machine, under one disc's Windows
_Versions = tuple[tuple[str, FileVersion], ...]  # of the drivers' files


@dataclass(frozen=True, slots=True)
class NetworkOutlook:
    """What Windows PE will lack on a machine, and what is put in for it: sentences, or ""."""

    warning: str = ""  # what it will lack
    variant: str = ""  # what was put into the disc, and why
    offer: str = ""  # the drivers that the machine's screen offers to put in
    disc: PreparedDisc | None = field(default=None, compare=False)  # of the variant

    @property
    def on_screen(self) -> str:
        """The offer, as it is said beforehand."""
        return f"a key on its screen puts {self.offer} into the disc" if self.offer else ""


NOTHING_LACKING = NetworkOutlook()


@dataclass(frozen=True, slots=True)
class _Found:
    """What the library of drivers has for some cards."""

    drivers: tuple[FoundDriver, ...] = ()
    versions: _Versions = ()
    problem: str = ""  # why there is none, although the library has one


class PreparedDiscs:
    """The discs that were prepared last, for all machines that need the same drivers."""

    def __init__(self, drivers: DriverLibrary, findings: WinPeFindings) -> None:
        self._drivers = drivers
        self._findings = findings
        self._passed_over: dict[Content, float] = {}  # until when
        self._found: dict[_Cards, tuple[float, _Found]] = {}  # since when
        self._kept: OrderedDict[tuple[Content, _Versions], PreparedDisc] = OrderedDict()
        # Machines of one kind come together, and need one disc; and all share the disk's speed.
        self._turn = asyncio.Lock()

    async def outlook(self, image: Image, machine: Machine, prepare: Prepare) -> NetworkOutlook:
        """What the machine gets, with the disc if one is prepared for it.

        What cannot be prepared boots as it is, and the warning says why. Raises ImageNotFoundError
        or ImageNotReadyError if the image is gone, or another version by now.
        """
        has_told = any(nic.pci for nic in machine.nics)
        winpe = await self._look(image.content) if has_told and is_winpe(image) else None
        lack = without_network(winpe, machine) if winpe else ""
        if winpe is None or not lack or prepare is Prepare.OFF:
            return NetworkOutlook(lack)
        async with self._turn:
            cards = image.content, tuple(str(nic.pci) for nic in machine.nics if nic.pci)
            found = await self._search(cards, winpe, machine)
            names = " and ".join(map(_name, found.drivers))
            if not found.drivers:
                return NetworkOutlook(f"{lack}; {found.problem}" if found.problem else lack)
            if prepare is Prepare.ASK:
                return NetworkOutlook(lack, offer=names)
            try:
                disc = await self._made(image.content, found)
            except (ImageNotFoundError, ImageNotReadyError):
                raise
            except BootServerError as err:
                problem = f"{names} cannot be put in: {err.message}"
                self._found[cards] = time.monotonic(), _Found(problem=problem)
                return NetworkOutlook(f"{lack}; {problem}")
        verb = "is" if len(found.drivers) == 1 else "are"
        return NetworkOutlook("", variant=f"{names} {verb} put into the disc: {lack}", disc=disc)

    async def planned(self, image: Image, machine: Machine, plan: BootPlan) -> PreparedDisc | None:
        """The disc that was prepared for that boot; None if it boots the disc as it is.

        It is made again if it is kept no longer. Raises ImageNotReadyError where the drivers are
        others by now.
        """
        if not plan.variant_etag:
            return None
        for (content, _), disc in reversed(self._kept.items()):
            if content == image.content and disc.layout.etag(content) == plan.variant_etag:
                return disc
        await self._findings.of(image.content)
        made = (await self.outlook(image, machine, Prepare.AUTO)).disc
        if made is None or made.layout.etag(image.content) != plan.variant_etag:
            raise ImageNotReadyError(
                f"the drivers for {image.id} were changed since this boot's script",
                hint="start the machine again",
            )
        return made

    async def _look(self, content: Content) -> WinPe | None:
        """What is in the disc; None where that cannot be told soon."""
        known = self._findings.known(content)
        if known or time.monotonic() < self._passed_over.get(content, 0.0):
            return known
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._findings.of(content)
        except (ImageError, TimeoutError) as err:
            reason = str(err) or "it takes too long"
            log.warning("image.not_looked_into", file=Path(content.path).name, reason=reason)
            self._passed_over[content] = time.monotonic() + PASSED_OVER_S
            return None

    async def _search(self, cards: _Cards, winpe: WinPe, machine: Machine) -> _Found:
        """What the library has for the machine's cards."""
        now_s = time.monotonic()
        recent = {key: found for key, found in self._found.items() if now_s - found[0] < FOUND_S}
        if cards not in recent:
            recent[cards] = now_s, await in_thread(_search, self._drivers, winpe, machine)
        self._found = recent
        return recent[cards][1]

    async def _made(self, content: Content, found: _Found) -> PreparedDisc:
        key = content, found.versions
        if key not in self._kept:
            began_s = time.monotonic()
            disc = await cancellable(with_drivers, content, found.drivers)
            self._kept[key] = disc
            log.info(
                "image.prepared",
                file=Path(content.path).name,
                drivers=[driver.path for driver in found.drivers],
                added=megabytes(_own_bytes([disc])),
                seconds=round(time.monotonic() - began_s, 2),
            )
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and _own_bytes(self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key]


def _search(library: DriverLibrary, winpe: WinPe, machine: Machine) -> _Found:
    if not winpe.version:
        return _Found(problem="which Windows it is cannot be told")
    target = WindowsTarget.parse(winpe.version, winpe.architecture)
    drivers: dict[str, FoundDriver] = {}  # several cards may have one
    problem = ""
    for card in filter(None, (nic.pci for nic in machine.nics)):
        try:
            driver = library.find(card, target)
        except NoDriverError:
            continue
        except (DriverError, OSError) as err:  # the library is no reason not to boot
            problem = f"a driver in the library cannot be used: {err}"
        else:
            drivers[driver.path] = driver
    try:
        files = [file for driver in drivers.values() for file in driver.files]
        versions = tuple((file, FileVersion.of(Path(file).stat())) for file in files)
    except OSError as err:
        return _Found(problem=f"a driver in the library cannot be used: {err}")
    return _Found(tuple(drivers.values()), versions, problem)


def _name(driver: FoundDriver) -> str:
    name = "".join(filter(str.isprintable, Path(driver.path).name))
    return f"{name} {driver.driver_version}".strip()


def _own_bytes(discs: Iterable[PreparedDisc]) -> int:
    """What they take in memory."""
    return sum(
        len(piece)
        for disc in discs
        for layout in (disc.layout, disc.boot_wim)
        for piece in layout.pieces
        if isinstance(piece, bytes)
    )
