"""What pages call things: phases, methods, outcomes, machines; and when something was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bootserver.model import BootPhase, Method, TransferEnd
from bootserver.sessions.shape import nic_label

PHASES = {
    BootPhase.CREATED: "Expected",
    BootPhase.STUB_BUILT: "Stub built",
    BootPhase.ATTACHED: "Stub attached",
    BootPhase.POWERED: "Powered on",
    BootPhase.STUB_STARTED: "Stub called",
    BootPhase.SCRIPT_SERVED: "Script served",
    BootPhase.FETCHING: "Fetching",
    BootPhase.FETCHED: "Fetched",
    BootPhase.HANDED_OFF: "Handed off",
    BootPhase.ROOT_FETCHED: "Root fetched",
    BootPhase.OS_UP: "System up",
    BootPhase.FAILED: "Failed",
    BootPhase.EXPIRED: "Given up",
}
METHODS: dict[str, str] = {
    Method.MEMDISK: "whole image in memory (memdisk)",
    Method.RAMDISK: "whole image in memory (RAM disk)",
    Method.KERNEL: "kernel and initrd",
    Method.WIMBOOT: "Windows PE files (wimboot)",
    Method.CHAIN: "a program on the disc",
}
OUTCOMES: dict[str, str] = {
    "": "under way",
    TransferEnd.COMPLETE: "complete",
    TransferEnd.CLIENT_LEFT: "machine left",
    TransferEnd.STALLED: "stalled",
    TransferEnd.FILE_CHANGED: "file changed",
    TransferEnd.SERVER_LEFT: "server left",
}
FIRMWARE = {"bios": "BIOS", "uefi": "UEFI"}
KINDS = {"mac": "MAC", "uuid": "UUID", "serial": "serial", "asset": "asset"}


def machine_name(machine: Mapping[str, Any]) -> str:
    """What a person calls a machine: its make and product, else the first name that it has."""
    made = " ".join(filter(None, (machine.get("manufacturer"), machine.get("product"))))
    names = (made, machine.get("serial"), machine.get("mac"), machine.get("uuid"))
    return next(filter(None, names), "Unnamed machine")


def phase(name: str) -> str:
    """What a phase is called."""
    return PHASES[BootPhase(name)]


def method(name: str) -> str:
    """The label of the way in which an image boots."""
    return METHODS.get(name, name)


def outcome(name: str) -> str:
    """How a transfer ended."""
    return OUTCOMES.get(name, name)


def firmware(name: str) -> str:
    """BIOS or UEFI."""
    return FIRMWARE.get(name, name)


def since(now: datetime, moment: str) -> float:
    """The seconds since that time."""
    return (now - datetime.fromisoformat(moment)).total_seconds()


def moment(text: str, form: str = "full") -> str:
    """A time in UTC, until a browser puts it in its own zone; "clock" leaves the date out."""
    at = datetime.fromisoformat(text).astimezone(UTC)
    return f"{at:%H:%M:%S}" if form == "clock" else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def after_colon(sentence: str) -> str:
    """`BIOS: does not boot` without what stands beside it already, as a sentence of its own."""
    rest = sentence.partition(": ")[2] or sentence
    if rest.startswith("iPXE"):
        return rest
    return rest[:1].upper() + rest[1:]


def names(thing: Mapping[str, Any]) -> dict[str, str]:
    """The names by which a machine, or a profile, can be picked."""
    return {kind: thing[kind] for kind in KINDS if thing.get(kind)}


def selector(thing: Mapping[str, Any]) -> str:
    """The machines that a profile is about, as a person writes it."""
    return ", ".join(f"{KINDS[kind]} {name}" for kind, name in names(thing).items())


def machine_key(machine: Mapping[str, Any]) -> str:
    """A text that tells machines apart."""
    return "-".join(names(machine).values())


def machine_facts(machine: Mapping[str, Any], address: str) -> list[tuple[str, str]]:
    """What a machine told of itself: what it is, and its value."""
    memory_mib = machine.get("memory_mib")
    facts = [
        ("Made by", machine.get("manufacturer")),
        ("Product", machine.get("product")),
        ("Serial", machine.get("serial")),
        ("Asset", machine.get("asset")),
        ("MAC", machine.get("mac")),
        ("UUID", machine.get("uuid")),
        ("Address", address),
        ("Firmware", FIRMWARE.get(machine.get("firmware") or "")),
        ("Processor", machine.get("architecture")),
        ("Memory", f"{memory_mib:,} MiB" if memory_mib else ""),
        *(("Network card", nic_label(nic)) for nic in machine.get("nics", ())),
    ]
    return [(name, value) for name, value in facts if value]
