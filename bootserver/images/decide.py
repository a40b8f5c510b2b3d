"""How an image boots on one machine, or why it does not: decided from facts alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from bootserver.config import Config
from bootserver.images.menus.choice import Choice
from bootserver.images.recipes import recipe_of
from bootserver.images.recipes.offers import MIB, Boot, Offer, OwnMenu, Wishes
from bootserver.model import Firmware, Image, IsoFacts, Machine, Method, Way

_NO_WIMBOOT = (
    "would start from its boot.wim alone with wimboot, which this site does not supply "
    "(config.toml, [stub.loaders])"
)
_FOR_ARM64 = "is for arm64 machines, and this is none; take its image for amd64"
ARM64_BOOT_FILE = "/efi/boot/bootaa64.efi"
X64_BOOT_FILES = {"/efi/boot/bootx64.efi", "/bootmgr", "/isolinux/isolinux.bin"}


@dataclass(frozen=True, slots=True)
class Site:
    """What a site says of its machines, in MiB, and what it supplies: see config.toml."""

    os_room_mib: int
    bios_limit_mib: int
    wimboot: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """The site of that configuration."""
        wimboot = "wimboot" in config.stub.loaders
        return cls(config.boot.os_room_mib, config.boot.bios_limit_mib, wimboot)


@dataclass(frozen=True, slots=True)
class Decision:
    """How to boot this image on this machine; no offer with the refusal, or with a choice."""

    offer: Offer | None
    refusal: str = ""  # of a choice, why there is one
    needed_mib: int = 0  # memory, also of the way that was refused; 0 if there is none at all
    choice: Choice | None = None  # a person has to say which entry of the disc's menu

    @property
    def way(self) -> Way | None:
        """The way that is offered."""
        return self.offer.way if self.offer else None


def decide(image: Image, machine: Machine, site: Site) -> Decision:
    """How `image` boots on `machine`; what the machine did not tell is taken to suffice."""
    firmware = machine.firmware or Firmware.BIOS
    refusals: list[str] = []
    needed_mib = 0
    for offer in _offers(image, firmware, site):
        if isinstance(offer, str):
            refusals.append(f"{image.id} {offer}")
            continue
        if isinstance(offer, Choice):
            asked = f"{image.id} {offer.reason}"
            return Decision(None, asked, _mib(offer.needed_bytes), choice=offer)
        refusal = _obstacle(image, machine, site, offer)
        if not _is_supplied(offer, site):
            refusals += [] if refusal else [f"{image.id} {_NO_WIMBOOT}"]
        elif refusal:
            refusals.append(refusal)
            needed_mib = needed_mib or _mib(offer.needed_bytes)
        else:
            return Decision(offer, "", _mib(offer.needed_bytes))
    return Decision(None, "; ".join(dict.fromkeys(refusals)), needed_mib)


def chosen(image: Image, entry: str) -> Image:
    """The image, to be booted by that entry of its disc's menu; "" leaves it to the image."""
    return replace(image, settings=replace(image.settings, entry=entry)) if entry else image


def ways_of(image: Image, site: Site) -> tuple[Way, ...]:
    """Every way in which some machine may boot the image, the best for BIOS first."""
    return tuple(
        offer.way
        for firmware in Firmware
        for offer in _offers(image, firmware, site)
        if isinstance(offer, Offer) and _is_supplied(offer, site)
    )


def is_for_arm64(image: Image) -> bool:
    """True for a disc with an arm64 boot file and nothing that starts a PC."""
    if image.facts is None or ARM64_BOOT_FILE not in image.facts.markers:
        return False
    return not (X64_BOOT_FILES & image.facts.markers.keys()) and not image.facts.boots(
        Firmware.BIOS
    )


def _offers(image: Image, firmware: Firmware, site: Site) -> Iterator[Offer | Choice | str]:
    """What the image's recipe has for this firmware, the best first."""
    recipe = recipe_of(image).recipe
    facts = image.facts or IsoFacts(image.size_bytes)
    wishes = Wishes(site.os_room_mib, image.settings.entry)
    boots: tuple[Boot, ...] = recipe.boots(firmware)
    if wishes.entry:
        boots = (OwnMenu(any_family=True),)
    for boot in boots:
        yield boot.offer(facts, firmware, wishes)


def _is_supplied(offer: Offer, site: Site) -> bool:
    return site.wimboot or offer.way.method is not Method.WIMBOOT


def _obstacle(image: Image, machine: Machine, site: Site, offer: Offer) -> str:
    """What is in the way of this offer on this machine, or ""."""
    whole = offer.way.method in (Method.MEMDISK, Method.RAMDISK)
    if machine.firmware is Firmware.UEFI:
        refusal = _wrong_uefi(machine, image, offer.way.method)
        if not refusal and whole and image.facts and not image.facts.boots(Firmware.UEFI):
            missing = "EFI system partition" if image.facts.plain_disk else "EFI boot file"
            refusal = f"{image.id} has no {missing}"
            if image.facts.boots(Firmware.BIOS):
                refusal += (
                    ", so it boots BIOS machines only; switch on legacy boot (CSM) in this "
                    "machine's setup, if it has that"
                )
        return refusal or _too_little_memory(image, machine, offer)
    return _wrong_bios(image, site, offer) or _too_little_memory(image, machine, offer)


def _wrong_uefi(machine: Machine, image: Image, method: Method) -> str:
    """Why this machine's UEFI cannot start what the method needs, or ""."""
    if machine.architecture == "i386":
        return (
            "this machine has 32-bit UEFI (IA32), for which there is no loader: try legacy boot "
            "(CSM) in its setup"
        )
    if machine.architecture == "arm64":
        if method is Method.RAMDISK:
            return "this machine is an arm64 one, for which there is no RAM disk loader yet"
        if method is not Method.KERNEL or not is_for_arm64(image):
            return f"this machine is an arm64 one; what {image.id} boots is for x64"
    elif method is Method.KERNEL and is_for_arm64(image):
        return f"{image.id} {_FOR_ARM64}"
    return ""


def _wrong_bios(image: Image, site: Site, offer: Offer) -> str:
    """Why a BIOS machine cannot boot the image in this way, or ""."""
    loaded_mib = _mib(offer.loaded_bytes)
    room = f"below 4 GiB, where there is room for {site.bios_limit_mib} MiB"
    if offer.way.method is Method.MEMDISK:
        if image.facts and not image.facts.boots(Firmware.BIOS):
            other = "; it boots machines with UEFI" if image.facts.boots(Firmware.UEFI) else ""
            missing = "boot entry for BIOS machines (El Torito, platform 0)"
            if image.facts.plain_disk:
                missing = "code in its boot sector"
            return f"{image.id} has no {missing}{other}"
        if loaded_mib > site.bios_limit_mib:
            return f"{image.id} has {loaded_mib} MiB; memdisk needs it in one piece {room}"
    elif loaded_mib > site.bios_limit_mib:
        return f"{image.id} is to be started with {loaded_mib} MiB loaded {room}"
    if offer.way.method is Method.KERNEL and is_for_arm64(image):
        return f"{image.id} {_FOR_ARM64}"
    return ""


def _too_little_memory(image: Image, machine: Machine, offer: Offer) -> str:
    needed_mib = _mib(offer.needed_bytes)
    if machine.memory_mib is None or needed_mib <= machine.memory_mib:
        return ""
    if offer.way.method in (Method.MEMDISK, Method.RAMDISK):
        image_mib = _mib(image.size_bytes)
        parts = f"{image_mib} for the image, {needed_mib - image_mib} for its system"
    else:
        loaded_mib = _mib(offer.loaded_bytes)
        parts = f"{loaded_mib} to start, {needed_mib - loaded_mib} for its system and its files"
    return (
        f"{image.id} needs {needed_mib} MiB of memory ({parts}); this machine has "
        f"{machine.memory_mib}"
    )


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB)
