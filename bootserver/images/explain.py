"""What an image is, what happens when a machine boots it, and what will not work, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Annotated

from pydantic import Field, computed_field

from bootserver.images.decide import Site, decide, is_for_arm64
from bootserver.images.prepared import NOTHING_LACKING, NetworkOutlook
from bootserver.images.recipes import REMEMBERED, Recipe, recipe_of
from bootserver.images.recipes.booted import is_booted
from bootserver.images.recipes.offers import Offer
from bootserver.model import DiscMenu, Firmware, Image, Machine, MenuEntry, Method
from bootserver.units import megabytes

CHOOSE = "choose"
ENTRY_FIELDS = tuple(field.name for field in fields(MenuEntry))


@dataclass(frozen=True, slots=True)
class BootOutlook:
    """What happens on one kind of firmware; either `method` or `refusal` is empty.

    The method is CHOOSE where the machine shows the entries of the disc's own menu.
    """

    firmware: Annotated[Firmware, Field(exclude=True)]
    method: str
    sentence: str
    ram_bytes: int
    refusal: str
    verified: bool  # a boot test of ours has booted its kind on this firmware in this way
    entry: str = ""  # the title of the entry of the disc's own menu that is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEntry(MenuEntry):
    """An entry of a disc's own boot menu, by its number."""

    number: int  # from 1


@dataclass(frozen=True, slots=True)
class ShownMenu:
    """A boot menu that a disc shows on machines with these kinds of firmware."""

    source: str
    loader: str
    firmware: tuple[Firmware, ...]
    entries: tuple[ShownEntry, ...]
    default: int  # the number of the entry that starts by itself, 0 where that is not known
    doubt: str  # why it is not known, or ""
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that can be said about an image before it boots; `machine` is that of a known client."""

    image: str
    recipe: str
    title: str
    reasons: tuple[str, ...]
    bios: BootOutlook
    uefi: BootOutlook
    machine: BootOutlook | None
    warning: str  # what the system will lack on the client, or ""
    variant: str  # what is put into the disc for the client, and why; or what its screen offers
    caveats: tuple[str, ...]
    menus: tuple[ShownMenu, ...]

    @property
    def boots_on(self) -> tuple[Firmware, ...]:
        """The kinds of firmware that boot it."""
        return tuple(outlook.firmware for outlook in (self.bios, self.uefi) if outlook.method)

    @computed_field
    @property
    def ram_bytes(self) -> int:
        """What a machine must have, whatever its firmware; the client's need, if it is known."""
        if self.machine:
            return self.machine.ram_bytes
        return max((o.ram_bytes for o in (self.bios, self.uefi) if o.method), default=0)

    def lines(self) -> list[str]:
        """The same for a person, one sentence or two a line."""
        lines = [f"{self.image} is taken for: {self.title} [{self.recipe}]"]
        lines += [f"Why: {'; '.join(self.reasons)}."]
        outlooks = (self.bios, self.uefi, *filter(None, [self.machine]))
        lines += [outlook.sentence for outlook in outlooks]
        lines += [f"Beware: {self.warning}."] if self.warning else []
        lines += [f"Prepared: {self.variant}."] if self.variant else []
        lines += [f"Note: {caveat}." for caveat in self.caveats]
        return [*lines, *(line for menu in self.menus for line in _menu_lines(menu))]


@lru_cache(REMEMBERED)  # the dashboard, the API and its events ask for it again and again
def explain(
    image: Image,
    site: Site,
    machine: Machine | None = None,
    outlook: NetworkOutlook = NOTHING_LACKING,
) -> Explanation:
    """What the image is and what will come of it, on `machine` too if one is given.

    `outlook` is that of the image's Windows PE on the machine, where that is known.
    """
    known = recipe_of(image)
    recipe = known.recipe
    bios, uefi = (_outlook(image, site, recipe, _machine_for(image, kind)) for kind in Firmware)
    return Explanation(
        image=image.id,
        recipe=recipe.name,
        title=recipe.title,
        reasons=known.reasons,
        bios=bios,
        uefi=uefi,
        machine=_outlook(image, site, recipe, machine, "This machine") if machine else None,
        warning=outlook.warning,
        variant=outlook.variant or outlook.on_screen,
        caveats=(*recipe.caveats, *_caveats(image)),
        menus=_shown_menus(image.facts.menus if image.facts else ()),
    )


def _caveats(image: Image) -> tuple[str, ...]:
    """What is to be known of this very file."""
    caveats = []
    if image.facts and image.facts.missing_bytes:
        caveats.append(
            f"the file ends {image.facts.missing_bytes:,} bytes before its volume does, but has "
            "all files: most likely only padding was cut off"
        )
    if image.facts and image.facts.has_compressed:
        caveats.append(
            "files on the disc are compressed by zisofs and cannot be served: what would need them "
            "boots the disc whole"
        )
    return tuple(caveats)


def _machine_for(image: Image, firmware: Firmware) -> Machine:
    """A machine of the kind that the image is made for, with memory enough."""
    if firmware is Firmware.BIOS:
        return Machine(firmware=firmware, architecture="i386")
    return Machine(firmware=firmware, architecture="arm64" if is_for_arm64(image) else "x86_64")


def _outlook(
    image: Image, site: Site, recipe: Recipe, machine: Machine, who: str = ""
) -> BootOutlook:
    firmware = machine.firmware or Firmware.BIOS
    decision = decide(image, machine, site)
    name = f"{who} ({firmware.upper()})" if who else firmware.upper()
    doubt = _doubt(recipe, machine, decision.offer) if decision.offer else ""
    entry = decision.offer.entry if decision.offer else ""
    if decision.choice is not None:
        method = CHOOSE
        sentence = (
            f"{name}: the machine's screen shows the entries of the disc's own menu, and waits: "
            f"{decision.refusal}. Say which one, and it boots by itself (entry)."
        )
    elif decision.offer is None:
        method, sentence = "", f"{name}: does not boot: {decision.refusal}."
    else:
        method = decision.offer.way.method.value
        has = f" and has {machine.memory_mib:,}" if machine.memory_mib is not None else ""
        sentence = (
            f"{name}: {_what_happens(image, decision.offer)}. "
            f"The machine needs {decision.needed_mib:,} MiB of memory{has}."
        )
        sentence += _with_wimboot(image, machine, site)
        if doubt:
            sentence += f" (Unverified: {doubt}.)"
    ram_bytes = decision.needed_mib << 20
    verified = decision.offer is not None and not doubt
    refusal = "" if decision.choice else decision.refusal
    return BootOutlook(firmware, method, sentence, ram_bytes, refusal, verified, entry)


def _doubt(recipe: Recipe, machine: Machine, offer: Offer) -> str:
    """Why nothing that we have booted proves this way, or ""."""
    if machine.architecture == "arm64":
        return "no boot test of ours has booted an arm64 machine"
    firmware = machine.firmware or Firmware.BIOS
    if offer.doubt or is_booted(recipe.name, firmware, offer.way.method):
        return offer.doubt
    return "no boot test of ours has booted this kind in this way"


def _with_wimboot(image: Image, machine: Machine, site: Site) -> str:
    """What wimboot would make of it, "" where the site has it or it would not be taken."""
    better = decide(image, machine, replace(site, wimboot=True))
    if site.wimboot or better.way is None or better.way.method is not Method.WIMBOOT:
        return ""
    return f" By wimboot, which this site does not supply, it needs {better.needed_mib:,} MiB."


def _shown_menus(menus: Iterable[DiscMenu]) -> tuple[ShownMenu, ...]:
    """A disc's menus, each once for all firmware that shows it."""
    firmware: dict[ShownMenu, list[Firmware]] = {}
    for menu in menus:
        entries = (
            ShownEntry(**{name: getattr(entry, name) for name in ENTRY_FIELDS}, number=number)
            for number, entry in enumerate(menu.entries, 1)
        )
        shown = ShownMenu(
            source=menu.source,
            loader=menu.loader,
            firmware=(),
            entries=tuple(entries),
            default=0 if menu.default is None else menu.default + 1,
            doubt=menu.doubt,
            unread=menu.unread,
        )
        firmware.setdefault(shown, []).append(menu.firmware)
    return tuple(replace(menu, firmware=tuple(kinds)) for menu, kinds in firmware.items())


def _menu_lines(menu: ShownMenu) -> list[str]:
    """A disc's menu for a person: the entry that it boots by itself has an arrow."""
    machines = " and ".join(firmware.upper() for firmware in menu.firmware)
    lines = [f"Its own menu on {machines} machines ({menu.loader}, {menu.source}):"]
    for entry in menu.entries:
        arrow = "->" if entry.number == menu.default else "  "
        command = " ".join(filter(None, (entry.kernel, *entry.arguments))) or entry.kind
        unread = f"it {entry.unread}" if entry.unread else ""
        title = " > ".join((*entry.parents, entry.title))
        lines.append(f"{arrow} #{entry.number} {title}: {unread or command}")
    return [*lines, *(f"   {text}" for text in (menu.doubt, *menu.unread) if text)]


def _what_happens(image: Image, offer: Offer) -> str:
    way = offer.way
    size = megabytes(offer.loaded_bytes)
    if way.method is Method.MEMDISK:
        return f"iPXE loads the whole image ({size}) into memory, and memdisk starts it there"
    if way.method is Method.RAMDISK:
        return f"the whole image ({size}) goes into memory as a disk, which some systems see too"
    if way.method is Method.WIMBOOT:
        names = ", ".join(name for name, _ in way.files)
        return f"wimboot starts Windows PE from {names} ({size}), out of the image"
    if way.method is Method.CHAIN:
        rest = ", which fetches the rest over HTTP" if "{tree}" in way.arguments else ""
        return f"iPXE starts the program {way.program} from the disc ({size}){rest}"
    by = f" of the entry “{offer.entry}”" if offer.entry else ""
    return f"iPXE loads {_kernel_parts(way.program, way.initrds, size)}{by}{_then(image, offer)}"


def _kernel_parts(kernel: str, initrds: tuple[str, ...], size: str) -> str:
    if not initrds:
        return f"the kernel {kernel} ({size})"
    noun = "its initrd" if len(initrds) == 1 else "its initrds"
    return f"the kernel {kernel} and {noun} {', '.join(initrds)} ({size})"


def _then(image: Image, offer: Offer) -> str:
    """What the system does for the rest of its files."""
    if offer.way.iso_in_initramfs:
        return f", with the whole image in the initramfs as {offer.way.iso_in_initramfs}"
    if offer.fetched == "{iso}":
        return (
            f"; the system then fetches the whole image ({megabytes(image.size_bytes)}) over HTTP"
        )
    if offer.fetched:
        size_bytes = image.facts.markers[offer.fetched] if image.facts else 0
        return f"; the system then fetches {offer.fetched} ({megabytes(size_bytes)}) over HTTP"
    if "{tree" in offer.way.arguments:
        return "; the system then fetches its packages from the disc over HTTP"
    return "; nothing else of the image is fetched"
