"""What the pages about AMT show, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from aiohttp import web

from bootserver import units
from bootserver.amt.boot.progress import BootProgress, BootStep
from bootserver.amt.control.facts import ConsentPolicy, ControlMode
from bootserver.amt.hosts import AmtHost
from bootserver.amt.types import BootMethod, BootTarget, PowerAction, PowerState
from bootserver.http import view_data
from bootserver.http.api.services import services_of
from bootserver.http.waterfall import waterfall
from bootserver.json_values import Json, to_json

ENDED_SHOWN_FOR = timedelta(minutes=15)
BOOTS_SHOWN = 40

DOING = {
    BootStep.WAITING: "Waiting",
    BootStep.PROBING: "Asking AMT",
    BootStep.PREPARING: "Preparing",
    BootStep.CONSENT: "Consent needed",
    BootStep.ATTACHING: "Attaching",
    BootStep.POWERING: "Starting",
    BootStep.WATCHING: "Booting",
    BootStep.ATTACHED: "Drive attached",
    BootStep.DONE: "Done",
    BootStep.FAILED: "Failed",
    BootStep.CANCELLED: "Given up",
}
METHODS = {
    BootMethod.AUTO: ("the faster way", "as is to be expected of this image and this line"),
    BootMethod.TWO_STAGE: ("in two stages", "the stub over redirection, the image over HTTP"),
    BootMethod.DIRECT: ("directly", "the image itself over redirection"),
    BootMethod.ONE_CLICK_RECOVERY: (
        "One-Click Recovery",
        "the firmware fetches the stub over HTTPS; AMT 15 or newer",
    ),
}
POWER = {
    PowerState.ON: "On",
    PowerState.STANDBY: "Standby",
    PowerState.SLEEPING: "Asleep",
    PowerState.HIBERNATING: "Hibernating",
    PowerState.OFF: "Off",
    PowerState.UNKNOWN: "Unknown",
}
# Each with what it does, and whether it cuts off a system that runs.
ACTIONS = {
    PowerAction.ON: ("Switch on", "or wake it", False),
    PowerAction.BOOT: ("Boot anew", "reset it if it is on, else switch it on", True),
    PowerAction.RESET: ("Reset", "as the button on its front does", True),
    PowerAction.CYCLE: ("Off and on again", "", True),
    PowerAction.OFF: ("Switch off", "as pulling the plug does", True),
    PowerAction.SHUTDOWN: ("Shut down", "asks its system", False),
    PowerAction.RESTART: ("Restart", "asks its system", False),
    PowerAction.SLEEP: ("Sleep", "asks its system", False),
    PowerAction.HIBERNATE: ("Hibernate", "asks its system", False),
}
TARGETS = {
    BootTarget.BIOS_SETUP: "Boot into its setup",
    BootTarget.DISK: "Boot from its disk",
    BootTarget.CD: "Boot from its CD drive",
    BootTarget.PXE: "Boot from the network",
}
CONTROL_MODES = {
    ControlMode.ADMIN: "admin control",
    ControlMode.CLIENT: "client control",
    ControlMode.NONE: "not provisioned",
}
CONSENT_POLICIES = {
    ConsentPolicy.NONE: "not asked for",
    ConsentPolicy.KVM: "for the remote screen",
    ConsentPolicy.ALL: "for all redirection",
}


async def boots(request: web.Request, now: datetime) -> list[Json]:
    """Each machine's last boot over AMT if that goes on or has just ended, the newest first.

    With each comes its boot in the ledger.
    """
    last: dict[str, BootProgress] = {}
    for boot in services_of(request).amt_boots.list():
        last.setdefault(boot.host, boot)
    shown = [
        boot
        for boot in last.values()
        if boot.ended_at is None or now - boot.ended_at < ENDED_SHOWN_FOR
    ]
    names = {host["host"]: host["title"] for host in await hosts(request)}
    return [await _boot(request, boot, names, now) for boot in shown[:BOOTS_SHOWN]]


async def hosts(request: web.Request) -> list[Json]:
    """The machines whose AMT is known, with a title for each and all that is told of it."""
    found = await services_of(request).amt_hosts.list()
    shown = []
    for host in found:
        values: Json = to_json(host)
        shown.append(values | {"title": _title(host), "facts_shown": _facts_shown(values)})
    return shown


async def hosts_by_name(request: web.Request) -> dict[str, str]:
    """The hosts of AMT by the UUIDs, MAC addresses and other names of their machines."""
    by_name: dict[str, str] = {}
    for host in await services_of(request).amt_hosts.list():
        own = (host.remembered.uuid, host.remembered.mac) if host.remembered else ()
        by_name |= {name: host.host for name in (*own, *host.names.values()) if name}
    return by_name


def doing(name: str) -> str:
    """What a boot over AMT is doing, in a word or two."""
    return DOING[BootStep(name)]


def way(name: str) -> str:
    """The label of the way in which a machine gets its image."""
    return METHODS[BootMethod(name)][0]


def power(name: str) -> str:
    """What a machine's power does."""
    return POWER[PowerState(name)]


async def _boot(
    request: web.Request, progress: BootProgress, names: Mapping[str, str], now: datetime
) -> Json:
    boot: Json = to_json(progress)
    found = await view_data.boot(request, progress.boot, now) if progress.boot else None
    ledger, live = found or (None, False)
    forecasts = progress.forecasts
    expected = None
    if forecasts is not None:
        is_direct = progress.taken is BootMethod.DIRECT and forecasts.direct
        expected = forecasts.direct if is_direct else forecasts.two_stage
    return boot | {
        "title": names.get(progress.host, progress.host),
        "is_active": progress.is_active,
        "slow_bytes": expected.slow_bytes if expected else 0,
        "ledger": ledger,
        "fall": waterfall(ledger, now, live=live and progress.is_active) if ledger else None,
    }


def _title(host: AmtHost) -> str:
    """What a person calls the machine: its own name, else one of the site's, else the host."""
    own_name = host.facts.host_name if host.facts else ""
    return own_name or next(iter(host.names.values()), "") or host.host


def _facts_shown(host: Json) -> list[tuple[str, str]]:
    """What AMT has said, as names and values; without facts, what is known all the same."""
    facts = host["facts"]
    if not facts:
        return []
    network, redirection, kvm = facts["network"] or {}, facts["redirection"], facts["kvm"]
    recovery = facts["recovery"]
    rows = [
        ("AMT", " ".join(filter(None, (facts["amt_version"], facts["sku"])))),
        ("UUID", facts["uuid"]),
        ("MAC", network.get("mac")),
        ("Address", network.get("address")),
        ("Control mode", CONTROL_MODES.get(facts["control_mode"])),
        ("User's consent", CONSENT_POLICIES.get(facts["consent_policy"])),
        ("Redirection", _redirection(redirection)),
        ("Remote screen", _kvm(kvm)),
        (
            "One-Click Recovery",
            "ready" if recovery["ready"] else "no: " + "; ".join(recovery["obstacles"]),
        ),
        ("Redirection's rate", units.speed(host["bytes_per_s"]) if host["bytes_per_s"] else ""),
        ("Certificate", host["certificate_sha256"]),
    ]
    return [(name, value) for name, value in rows if value]


def _redirection(redirection: Mapping[str, bool | None] | None) -> str:
    if redirection is None:
        return ""
    on = [
        name for name, key in (("storage", "ider_enabled"), ("serial", "sol_enabled"))
        if redirection[key]
    ]  # fmt: skip
    if not on or redirection["listener_enabled"] is False:
        return "off; a boot or a console switches it on"
    return " and ".join(on)


def _kvm(kvm: Mapping[str, bool]) -> str:
    if not kvm["available"]:
        return "none"
    return "on" if kvm["enabled"] else "off"
