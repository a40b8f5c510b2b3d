"""The one JSON shape of a boot: for the API, the event stream, the command line and the export.

It is a dict on all its ways, in the server and out of JSON again in the command line. So its types
are TypedDicts, of which openapi.json is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Literal, cast

from typing_extensions import TypedDict  # typing's before Python 3.12 has no schema

from bootserver import clock
from bootserver.json_values import TimestampText
from bootserver.model import (
    REDIRECTION,
    BootEvent,
    BootPhase,
    BootSession,
    Firmware,
    Machine,
    Nic,
    Transfer,
    TransferEnd,
)
from bootserver.pci import PciId
from bootserver.sessions.tracker import STARTING, seconds_per_phase

# A transfer without bytes for so long stands still; the database is a second or two behind.
MOVING_WITHIN = timedelta(seconds=5)


class NicJson(TypedDict):
    """A network card of a machine; "" for what is not known of it."""

    mac: str
    pci_id: str  # "8086:15bc"
    subsystem: str
    revision: str
    vendor: str  # "Intel"
    booted_from: bool


class MachineJson(TypedDict):
    """A PC as it described itself; "" and null where it did not."""

    name: str  # as the site calls it, else what there is
    mac: str
    uuid: str
    serial: str
    asset: str
    manufacturer: str
    product: str
    firmware: Firmware | None
    architecture: str
    memory_mib: int | None
    nics: list[NicJson]


class PhaseJson(TypedDict):
    """A phase that a boot came to, and the seconds since the one before."""

    phase: BootPhase
    at: TimestampText
    seconds: float
    detail: str


class TransferJson(TypedDict):
    """A file that a boot fetched, or is fetching."""

    name: str
    protocol: str  # "http", "tftp" or "redirection"
    started_at: TimestampText
    seconds: float
    size_bytes: int
    sent_bytes: int
    bytes_per_s: int
    outcome: TransferEnd | Literal[""]  # "" = under way
    stalled_s: float
    retransmits: int
    link: str
    requests: int
    first_byte: int | None
    last_byte: int | None
    holes: int | None


class BootJson(TypedDict):
    """One boot of one machine, with all that was measured of it."""

    id: str
    image: str
    recipe: str
    method: str
    machine: MachineJson
    address: str
    created_at: TimestampText
    phase: BootPhase
    phase_at: TimestampText | None
    image_bytes: int
    sent_bytes: int
    bytes_per_s: int
    seconds_left: float | None
    error: str
    stalled: str
    warning: str
    variant: str
    phases: list[PhaseJson]
    transfers: list[TransferJson]
    total_seconds: float


def boot_json(
    session: BootSession,
    events: Sequence[BootEvent],
    transfers: Sequence[Transfer] = (),
    *,
    now: datetime | None = None,
) -> BootJson:
    """The boot for programs, without the key of its URLs and its stub's token.

    `bytes_per_s` is the rate at which bytes flow now, 0 if what is on its way stands still. When
    nothing is on its way, it is the mean up to the hand-off.
    """
    now = now or clock.now()
    under_way = [t for t in transfers if not t.is_redirected and t.ended_at is None]
    moving = [transfer for transfer in under_way if _is_moving(transfer, now)]
    rate = sum(map(_rate_now, moving)) if under_way else fetch_bytes_per_s(events, transfers)
    left_bytes = max(session.image_bytes - session.sent_bytes, 0)
    if session.phase in STARTING:
        left_bytes = sum(max(t.size_bytes - t.sent_bytes, 0) for t in moving)
    fetching = session.phase in (BootPhase.FETCHING, *STARTING) and bool(moving)
    seconds = seconds_per_phase(events)
    return {
        "id": session.id,
        "image": session.image,
        "recipe": session.recipe,
        "method": session.method,
        "machine": machine_json(session.machine_name, session.machine),
        "address": session.address,
        "created_at": session.created_at.isoformat(),
        "phase": session.phase,
        "phase_at": session.phase_at.isoformat() if session.phase_at else None,
        "image_bytes": session.image_bytes,
        "sent_bytes": session.sent_bytes,
        "bytes_per_s": round(rate),
        "seconds_left": round(left_bytes / rate, 1) if fetching and rate else None,
        "error": session.error,
        "stalled": session.stalled,
        "warning": session.warning,
        "variant": session.variant,
        "phases": [
            {
                "phase": event.phase,
                "at": event.at.isoformat(),
                "seconds": round(took_s, 6),
                "detail": event.detail,
            }
            for event, took_s in zip(events, seconds, strict=True)
        ],
        "transfers": [_transfer_json(transfer, now) for transfer in transfers],
        "total_seconds": round(sum(seconds), 6),
    }


def machine_json(name: str, machine: Machine) -> MachineJson:
    """The machine, and the best name of it."""
    nics = [_nic_json(nic, machine) for nic in machine.nics]
    return cast("MachineJson", {"name": name, **asdict(machine), "nics": nics})


def _nic_json(nic: Nic, machine: Machine) -> NicJson:
    pci = nic.pci
    subsystem = PciId(*pci.subsystem) if pci and pci.subsystem else ""
    return {
        "mac": nic.mac,
        "pci_id": str(pci.without_board) if pci else "",
        "subsystem": str(subsystem),
        "revision": f"{pci.revision:02x}" if pci and pci.revision is not None else "",
        "vendor": pci.vendor_name if pci else "",
        "booted_from": nic.mac == machine.mac,
    }


def nic_label(nic: NicJson) -> str:
    """The card for a person: `Intel 8086:15bc (board 1028:0869, revision 03)`, and its address."""
    of_board = [("board", nic["subsystem"]), ("revision", nic["revision"])]
    details = ", ".join(f"{name} {value}" for name, value in of_board if value)
    parts = [nic["vendor"], nic["pci_id"], f"({details})" if details else "", nic["mac"]]
    parts.append("(booted from)" if nic["booted_from"] else "")
    return " ".join(filter(None, parts))


def progress(boot: BootJson) -> tuple[int, int]:
    """How many bytes have come, and how many are to come, of what a boot as JSON waits for.

    That is the image, and after the hand-off what the system is fetching itself.
    """
    under_way = [
        transfer
        for transfer in boot["transfers"]
        if not transfer["outcome"] and transfer["protocol"] != REDIRECTION
    ]
    if boot["phase"] in STARTING and under_way:
        return sum(t["sent_bytes"] for t in under_way), sum(t["size_bytes"] for t in under_way)
    return boot["sent_bytes"], boot["image_bytes"]


def fetch_bytes_per_s(events: Sequence[BootEvent], transfers: Sequence[Transfer]) -> float:
    """The mean rate of what was fetched up to the hand-off, pauses between the files included.

    What went over redirection before is a stub, and not what the boot waits for.
    """
    handed_off_at = next((e.at for e in events if e.phase is BootPhase.HANDED_OFF), None)
    fetched = [
        t
        for t in transfers
        if not t.is_redirected and (handed_off_at is None or t.started_at < handed_off_at)
    ]
    ends = [end for t in fetched if (end := t.ended_at or t.progress_at)]
    if not ends:
        return 0.0
    seconds = (max(ends) - min(t.started_at for t in fetched)).total_seconds()
    return sum(t.sent_bytes for t in fetched) / seconds if seconds > 0 else 0.0


def _is_moving(transfer: Transfer, now: datetime) -> bool:
    return transfer.progress_at is not None and abs(now - transfer.progress_at) < MOVING_WITHIN


def _rate_now(transfer: Transfer) -> float:
    recent = transfer.recent_bytes_per_s
    return transfer.bytes_per_s if recent is None else recent


def _transfer_json(transfer: Transfer, now: datetime) -> TransferJson:
    until = transfer.ended_at or now
    if transfer.ended_at is None and not _is_moving(transfer, now):
        until = transfer.progress_at or transfer.started_at  # or this is another clock's time
    seconds = max((until - transfer.started_at).total_seconds(), 0.0)
    return {
        "name": transfer.name,
        "protocol": transfer.protocol,
        "started_at": transfer.started_at.isoformat(),
        "seconds": round(seconds, 6),
        "size_bytes": transfer.size_bytes,
        "sent_bytes": transfer.sent_bytes,
        "bytes_per_s": round(transfer.bytes_per_s),
        "outcome": TransferEnd(transfer.outcome) if transfer.outcome else "",
        "stalled_s": round(transfer.stalled_s, 3),
        "retransmits": transfer.retransmits,
        "link": transfer.link,
        "requests": transfer.requests,
        "first_byte": transfer.first_byte,
        "last_byte": transfer.last_byte,
        "holes": transfer.holes,
    }
