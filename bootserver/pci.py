"""What a PCI device says that it is, in the notations of Linux and Windows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_PCI_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})(?::([0-9a-f]{4}):([0-9a-f]{4}))?", re.IGNORECASE)
# Identifiers for PCI devices (Microsoft): SUBSYS_ has the subsystem's device before its vendor. The
# class behind them tells no two devices apart that have one vendor and device.
_PCI_HARDWARE_ID = re.compile(
    r"PCI\\VEN_([0-9A-F]{4})&DEV_([0-9A-F]{4})"
    r"(?:&SUBSYS_([0-9A-F]{4})([0-9A-F]{4}))?(?:&REV_([0-9A-F]{2}))?(?:&CC_[0-9A-F]{4,6})?",
    re.IGNORECASE,
)

# Who makes what is in a PC, by PCI vendor id (PCI-SIG's list); other vendors have no name here.
_VENDORS = {
    0x8086: "Intel",
    0x10EC: "Realtek",
    0x14E4: "Broadcom",
    0x1969: "Qualcomm Atheros",
    0x11AB: "Marvell",
    0x1D6A: "Aquantia",
    0x15B3: "Mellanox",
    0x10DE: "NVIDIA",
    0x15AD: "VMware",
    0x1AF4: "virtio",
}


@dataclass(frozen=True, slots=True)
class PciId:
    """Vendor and device, and of a card also its board's; what is not known is None."""

    vendor: int
    device: int
    subsystem: tuple[int, int] | None = None  # vendor and device
    revision: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From 8086:15bc, with a subsystem from 8086:15bc:1028:0869, or from Windows' own form.

        That is PCI\\VEN_8086&DEV_15BC&SUBSYS_08691028&REV_10, with or without the last parts.
        Raises ValueError for other texts.
        """
        if found := _PCI_ID.fullmatch(text.strip()):
            numbers = [int(digits, 16) for digits in found.groups() if digits]
            return cls(numbers[0], numbers[1], (numbers[2], numbers[3]) if numbers[2:] else None)
        if found := _PCI_HARDWARE_ID.fullmatch(text.strip()):
            vendor, device, of_device, of_vendor, revision = found.groups()
            return cls(
                int(vendor, 16),
                int(device, 16),
                (int(of_vendor, 16), int(of_device, 16)) if of_vendor else None,
                int(revision, 16) if revision else None,
            )
        raise ValueError(f"{text[:80]!r} is not a PCI id such as 8086:15bc")

    def __str__(self) -> str:
        return ":".join(f"{n:04x}" for n in (self.vendor, self.device, *(self.subsystem or ())))

    @property
    def without_board(self) -> PciId:
        """Vendor and device alone: what all cards of that kind have."""
        return PciId(self.vendor, self.device)

    @property
    def hardware_id(self) -> str:
        """All of it, in Windows' form."""
        text = f"PCI\\VEN_{self.vendor:04X}&DEV_{self.device:04X}"
        if self.subsystem:
            text += f"&SUBSYS_{self.subsystem[1]:04X}{self.subsystem[0]:04X}"
        return text + (f"&REV_{self.revision:02X}" if self.revision is not None else "")

    @property
    def vendor_name(self) -> str:
        """Who made it; "" for vendors that are rare in PCs."""
        return _VENDORS.get(self.vendor, "")
