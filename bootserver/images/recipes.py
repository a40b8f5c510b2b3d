"""How an image is booted on a machine, or why not: decided from facts alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bootserver.model import Firmware, Image, Machine

MIB = 1024 * 1024


class Method(StrEnum):
    """A way to boot an image; each has a script template of its name."""

    MEMDISK = "memdisk"  # BIOS: the whole ISO in memory, behind INT 13h
    RAMDISK = "ramdisk"  # UEFI: the whole ISO in memory, as a disk that the OS finds too


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
    uefi = machine.firmware is Firmware.UEFI
    refusal = _uefi_cannot(image, machine) if uefi else _bios_cannot(image, limits)
    refusal = refusal or _does_not_fit(image, machine, limits)
    if refusal:
        return Decision(None, refusal)
    return Decision(Method.RAMDISK if uefi else Method.MEMDISK)


def _bios_cannot(image: Image, limits: Limits) -> str:
    """Why a BIOS machine cannot boot the image, or ""."""
    if image.facts and not image.facts.boots(Firmware.BIOS):
        other = "; it boots machines with UEFI" if image.facts.boots(Firmware.UEFI) else ""
        return f"{image.id} has no boot entry for BIOS machines (El Torito, platform 0){other}"
    if _mib(image) > limits.bios_limit_mib:
        return (
            f"{image.id} has {_mib(image)} MiB; memdisk needs it in one piece below 4 GiB, where "
            f"there is room for {limits.bios_limit_mib} MiB"
        )
    return ""


def _uefi_cannot(image: Image, machine: Machine) -> str:
    """Why a UEFI machine cannot boot the image, or ""."""
    if machine.architecture == "i386":
        return (
            "this machine has 64-bit hardware at best but 32-bit UEFI (IA32), for which there is "
            "no RAM disk loader; switch on legacy boot (CSM) in its setup, if it has that"
        )
    if machine.architecture == "arm64":
        return "this machine is an arm64 one, for which there is no RAM disk loader yet"
    if image.facts and not image.facts.boots(Firmware.UEFI):
        return (
            f"{image.id} has no EFI boot file, so it boots BIOS machines only; switch on legacy "
            "boot (CSM) in this machine's setup, if it has that"
        )
    return ""


def _does_not_fit(image: Image, machine: Machine, limits: Limits) -> str:
    needed_mib = _mib(image) + limits.os_room_mib
    if machine.memory_mib is not None and needed_mib > machine.memory_mib:
        return (
            f"{image.id} needs {needed_mib} MiB of memory ({_mib(image)} for the image, "
            f"{limits.os_room_mib} for its system); this machine has {machine.memory_mib}"
        )
    return ""


def _mib(image: Image) -> int:
    return -(-image.size_bytes // MIB)
