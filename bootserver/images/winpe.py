"""Whether a disc of Windows PE has a driver for a machine's network, known before it boots."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bootserver.errors import ImageError
from bootserver.images.library import Library
from bootserver.model import Content, Image, Machine
from bootserver.pci import PciId
from bootserver.windows.inspect import BOOT_WIM, WinPe, WinPeFindings

LOOK_INTERVAL_S = 2.0  # between looks for images that have come


def is_winpe(image: Image) -> bool:
    """True for a disc of Windows PE, or of what is built on it; not if its side-car has another."""
    if image.facts is None or BOOT_WIM not in image.facts.markers:
        return False
    return all(path.lower() != BOOT_WIM for path in image.settings.replace)


async def keep_looking_into(library: Library, findings: WinPeFindings) -> None:
    """Look into each disc of Windows PE that comes into the library, for ever."""
    looked_into: set[Content] = set()
    while True:
        for image in library.images():
            if image.sha256 and image.content not in looked_into and is_winpe(image):
                looked_into.add(image.content)
                with suppress(ImageError):  # told to those who ask for it
                    await findings.of(image.content)
        await asyncio.sleep(LOOK_INTERVAL_S)


def cards_of(machine: Machine) -> tuple[PciId, ...]:
    """The network cards that the machine told; ImageError if there is none."""
    cards = tuple(nic.pci for nic in machine.nics if nic.pci)
    if not cards:
        raise ImageError(
            f"the machine {machine.name} has told no network card on the PCI bus",
            hint="name the card itself, as in 8086:15bc",
        )
    return cards


def without_network(winpe: WinPe, machine: Machine) -> str:
    """A sentence where it has no driver for any network card that the machine told; else ""."""
    cards = [nic.pci for nic in machine.nics if nic.pci]
    served = {pci_id for driver in winpe.drivers for pci_id in driver.pci_ids}
    if not cards or any(str(card.without_board) in served for card in cards):
        return ""
    names = ", ".join(f"{card.vendor_name} {card.without_board}".strip() for card in cards)
    return f"its Windows PE has no driver for this machine's network ({names})"
