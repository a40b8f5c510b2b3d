"""How an image is booted on a machine, or why not: decided from facts alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bootserver.model import Firmware, Image, Machine

MIB = 1024 * 1024


class Method(StrEnum):
    """A way to boot an image."""

    MEMDISK = "memdisk"  # BIOS: the whole ISO in memory, behind INT 13h


@dataclass(frozen=True, slots=True)
class Decision:
    """The method for this image on this machine; None with the refusal in a sentence."""

    method: Method | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site says of its machines, in MiB: see `[boot]` in config.toml."""

    os_room_mib: int
    bios_limit_mib: int


def decide(image: Image, machine: Machine, limits: Limits) -> Decision:
    """How `image` boots on `machine`; what the machine did not tell is taken to suffice."""
    refusal = _no_firmware_entry(image, machine) or _does_not_fit(image, machine, limits)
    return Decision(None, refusal) if refusal else Decision(Method.MEMDISK)


def _no_firmware_entry(image: Image, machine: Machine) -> str:
    if machine.firmware is Firmware.UEFI:
        return (
            f"{image.id} is booted by memdisk, which needs a BIOS; this machine runs UEFI. "
            "Switch on legacy boot (CSM) in its setup, if it has that"
        )
    if image.facts and not image.facts.boots(Firmware.BIOS):
        return f"{image.id} has no boot entry for BIOS machines (El Torito, platform 0)"
    return ""


def _does_not_fit(image: Image, machine: Machine, limits: Limits) -> str:
    size_mib = -(-image.size_bytes // MIB)
    if size_mib > limits.bios_limit_mib:
        return (
            f"{image.id} has {size_mib} MiB; memdisk needs it in one piece below 4 GiB, where "
            f"there is room for {limits.bios_limit_mib} MiB"
        )
    needed_mib = size_mib + limits.os_room_mib
    if machine.memory_mib is not None and needed_mib > machine.memory_mib:
        return (
            f"{image.id} needs {needed_mib} MiB of memory ({size_mib} for the image, "
            f"{limits.os_room_mib} for its system); this machine has {machine.memory_mib}"
        )
    return ""
