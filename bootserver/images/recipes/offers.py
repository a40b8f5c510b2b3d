"""How an image can be booted: descriptions that become a `Way` with the paths on one disc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bootserver.errors import ImageError
from bootserver.images.arguments import is_plain
from bootserver.images.menus.choice import Choice, entry_for, menu_for
from bootserver.images.recipes.families import Family, Rest, rest_over_http
from bootserver.images.recipes.paths import content_files, pick, version_of
from bootserver.model import Firmware, IsoFacts, MenuEntry, Method, Way

MIB = 1024 * 1024
# A kernel and its initrd, once unpacked, by their size. The initrds of our tests' discs have
# 3.4 to 3.7 (Debian 12, gzip and zstd).
UNPACKED = 3.5


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to boot one image, and what it costs."""

    way: Way
    loaded_bytes: int  # what the boot loader puts into memory
    needed_bytes: int  # what the machine must have
    fetched: str = ""  # what the system fetches then: a path, or {iso} for the whole image
    doubt: str = ""  # why no boot of another disc speaks for this one's, as part of a sentence
    entry: str = ""  # the title of the entry of the disc's menu that it is from


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the site and its people ask of a boot, beside what the disc says."""

    os_room_mib: int  # for a system of which nothing is known
    entry: str = ""  # of the disc's own menu


class Boot(Protocol):
    """A description of a way to boot."""

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | Choice | str:
        """The way on this disc; or why there is none, to be read after the name of the image."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole image in memory: memdisk for BIOS, a RAM disk for UEFI."""

    twice: str = ""  # a file on it that the system copies to memory once more
    room_mib: int = 0  # for the system; 0 = what the site says
    own_menu: bool = False  # its menu tells whether its system looks for the disc
    doubt: str = ""  # as in Offer

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | str:
        method = Method.RAMDISK if firmware is Firmware.UEFI else Method.MEMDISK
        kind = facts.plain_disk.kind if facts.plain_disk and method is Method.MEMDISK else ""
        room_bytes = (self.room_mib or wishes.os_room_mib) * MIB
        needed_bytes = facts.size_bytes + facts.markers.get(self.twice, 0) + room_bytes
        doubt = _seeks_in_memory(facts) if self.own_menu else self.doubt
        return Offer(Way(method, memdisk=kind), facts.size_bytes, needed_bytes, doubt=doubt)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A Linux kernel and its initrd from the disc; the system fetches the rest itself.

    In patterns and arguments, {base} is the top directory in which `base` is found. In arguments,
    {medium} is the path of the file that the system fetches, without its first slash. {iso_kib} is
    the size of the image. Of several kernels it is the one that the disc's own menu starts by
    itself, else the newest. With a `family`, that menu says the rest of the arguments. What the
    family knows of memory and hook counts.
    """

    places: tuple[tuple[str, str], ...]  # kernel and initrd ("" = none): the first that is there
    arguments: str = ""
    otherwise: str = ""  # more arguments, where the disc's own menu does not start this kernel
    family: Family | None = None
    medium: tuple[str, ...] = ()
    microcode: str = ""  # initrds that go before the other, as many as there are
    base: str = ""
    iso_in_initramfs: str = ""
    times: float = 1.0  # how often what is fetched is in memory at once
    room_mib: int = 1024  # for the system

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | str:
        base = pick(facts, [self.base])[1:].partition("/")[0]
        started = _started_by_disc(facts, firmware)
        pair = self._kernel_and_initrd(facts, base, started)
        if pair is None:
            wanted = (" with ".join(filter(None, place)) for place in self.places)
            return f"has no {' and no '.join(wanted)}".replace("{base}", base or "*")
        kernel, initrd, version = pair
        medium = pick(facts, [m.replace("{base}", base) for m in self.medium], version=version)
        if self.medium and not medium:
            return f"has no {' and no '.join(self.medium)}".replace("{base}", base)
        before = sorted(content_files(facts, self.microcode.replace("{base}", base)))
        said = self.arguments.replace("{base}", base).replace("{medium}", medium[1:])
        said = said.replace("{iso_kib}", f"{-(-facts.size_bytes // 1024)}")
        way = Way(
            Method.KERNEL,
            program=kernel,
            initrds=(*before, *filter(None, [initrd])),
            arguments=" ".join((*self._said_by_disc(started, kernel), said)),
            iso_in_initramfs=self.iso_in_initramfs,
            hook=self.family.hook if self.family else "",
        )
        fetched = "{iso}" if "{iso}" in self.arguments else medium
        memory = self.family or self
        return kernel_offer(facts, way, fetched, times=memory.times, room_mib=memory.room_mib)

    def _said_by_disc(self, started: Sequence[MenuEntry], kernel: str) -> tuple[str, ...]:
        """What the disc's own menu tells the kernel that it starts by itself; else `otherwise`."""
        for entry in started:
            if self.family and entry.kernel == kernel:
                return self.family.kept(entry.arguments, self.arguments)
        return tuple(self.otherwise.split())

    def _kernel_and_initrd(
        self, facts: IsoFacts, base: str, started: Sequence[MenuEntry]
    ) -> tuple[str, str, str] | None:
        """The kernel, the initrd of its version, and that version."""
        for place in self.places:
            kernel_pattern, initrd_pattern = (p.replace("{base}", base) for p in place)
            found = content_files(facts, kernel_pattern)
            own = (entry.kernel for entry in started if entry.kernel in found)
            kernel = next(own, None) or pick(facts, [kernel_pattern])
            version = version_of(kernel, kernel_pattern)
            initrd = pick(facts, [initrd_pattern], version=version)
            if kernel and (initrd or not initrd_pattern):
                return kernel, initrd, version
        return None


def _started_by_disc(facts: IsoFacts, firmware: Firmware) -> list[MenuEntry]:
    """What the disc's own menus start by themselves, that of this firmware first."""
    menus = sorted(facts.menus, key=lambda menu: menu.firmware is not firmware)
    started = (menu.entries[menu.default] for menu in menus if menu.default is not None)
    return [entry for entry in started if not entry.unread]


def kernel_offer(facts: IsoFacts, way: Way, fetched: str, *, times: float, room_mib: int) -> Offer:
    """What booting a kernel costs: what is loaded, unpacked; `times` what is fetched; some room.

    An image in the initramfs is in memory twice: the kernel unpacks it before it frees the archive.
    """
    loaded_bytes = sum(facts.markers.get(path, 0) for path in (way.program, *way.initrds))
    image_bytes = facts.size_bytes
    needed_bytes = int(UNPACKED * loaded_bytes) + room_mib * MIB
    if way.iso_in_initramfs:
        needed_bytes += 2 * image_bytes
        loaded_bytes += image_bytes
    fetched_bytes = image_bytes if fetched == "{iso}" else facts.markers.get(fetched, 0)
    return Offer(way, loaded_bytes, needed_bytes + int(times * fetched_bytes), fetched)


@dataclass(frozen=True, slots=True)
class OwnMenu:
    """The kernel and initrds of an entry of the disc's own menu, or a choice of its entries.

    Without `any_family` only where its arguments tell how it fetches its root over HTTP.
    """

    any_family: bool

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | Choice | str:
        try:
            taken = entry_for(facts, firmware, wishes.entry)
        except ImageError as err:
            return err.message
        if isinstance(taken, MenuEntry):
            return self._of_entry(taken, facts)
        offers = [self._of_entry(taken.menu.entries[n], facts) for n in taken.numbers]
        costs = [offer.needed_bytes for offer in offers if isinstance(offer, Offer)]
        return replace(taken, needed_bytes=max(costs)) if costs else str(offers[0])

    def _of_entry(self, entry: MenuEntry, facts: IsoFacts) -> Offer | str:
        rest = rest_over_http(entry, facts)
        if rest.fetched == "" and not self.any_family:
            return "does not tell how its system could fetch the rest over HTTP"
        if odd := [word for word in entry.arguments if not is_plain(word)]:
            return f"has the argument {odd[0]!r} in its menu, which cannot be passed on"
        arguments = " ".join(rest.arguments)
        way = Way(Method.KERNEL, entry.kernel, entry.initrds, arguments, hook=rest.hook)
        cost = kernel_offer(facts, way, rest.fetched, times=rest.times, room_mib=rest.room_mib)
        doubt = _doubt(rest, cost.loaded_bytes, facts.size_bytes)
        return replace(cost, doubt=doubt, entry=entry.title)


def _doubt(rest: Rest, loaded_bytes: int, image_bytes: int) -> str:
    """Why it is uncertain that a system booted by its own menu finds its root, or ""."""
    if rest.seeks:
        return f"by {rest.seeks} its system looks for its disc among the machine's drives"
    if rest.fetched:
        return "how its system fetches its root is told from its arguments alone"
    if 2 * loaded_bytes < image_bytes:
        share = 100 * loaded_bytes // image_bytes
        return (
            f"most of the disc is not loaded: {share} % of it is, and nothing tells how its system "
            "gets the rest"
        )
    return ""


def _seeks_in_memory(facts: IsoFacts) -> str:
    """Why it is uncertain that a disc's own menu boots it from memory, or ""."""
    menu = menu_for(facts, Firmware.UEFI)
    entry = menu.entries[menu.default] if menu and menu.default is not None else None
    rest = rest_over_http(entry, facts) if entry else Rest(())
    if not rest.seeks and not rest.fetched:
        return ""
    return "its system looks for its disc, which it finds in memory only with drivers for NVDIMM"


@dataclass(frozen=True, slots=True)
class Wimboot:
    """Windows PE by wimboot: its boot manager, BCD, boot.sdi and boot.wim from the disc."""

    store_needed: bool = False  # boot.wim has no BCD and boot.sdi of its own to fall back on
    room_mib: int = 512

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | str:
        managers = {
            Firmware.BIOS: [("bootmgr", ["/bootmgr"])],
            Firmware.UEFI: [("bootmgfw.efi", ["/efi/boot/bootx64.efi", "/bootmgr.efi"])],
        }
        store = [
            ("BCD", ["/boot/bcd", "/efi/microsoft/boot/bcd"]),
            ("boot.sdi", ["/boot/boot.sdi"]),
        ]
        found = {
            name: pick(facts, paths)
            for name, paths in (*managers[firmware], *store, ("boot.wim", ["/sources/boot.wim"]))
        }
        needed = ["boot.wim", *(name for name, _ in store if self.store_needed)]
        missing = [name for name in needed if not found[name]]
        if missing:
            return f"has no {' and no '.join(missing)}"
        files = tuple((name, path) for name, path in found.items() if path)
        loaded_bytes = sum(facts.markers[path] for _, path in files)
        # The boot manager copies boot.wim into a RAM disk of its own.
        needed_bytes = loaded_bytes + facts.markers[found["boot.wim"]] + self.room_mib * MIB
        return Offer(Way(Method.WIMBOOT, files=files), loaded_bytes, needed_bytes)


@dataclass(frozen=True, slots=True)
class Chain:
    """One UEFI program from the disc."""

    program: str
    arguments: str = ""
    room_mib: int = 0  # for the system; 0 = what the site says

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | str:
        if not facts.markers.get(self.program):
            return f"has no {self.program}"
        way = Way(Method.CHAIN, self.program, arguments=self.arguments)
        loaded_bytes = facts.markers[self.program]
        return Offer(way, loaded_bytes, loaded_bytes + (self.room_mib or wishes.os_room_mib) * MIB)


@dataclass(frozen=True, slots=True)
class Never:
    """No way, and why."""

    reason: str  # to be read after the name of the image

    def offer(self, facts: IsoFacts, firmware: Firmware, wishes: Wishes) -> Offer | str:
        return self.reason
