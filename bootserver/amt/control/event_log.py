"""AMT's event log, where the firmware and One-Click Recovery say what happened, as text.

One record of AMT_MessageLog is 21 bytes (a PET trap's fields, IPMI 2.0 tables 42-3 and 43-13):
| offset | size | meaning |
| 0 | 4 | seconds since 1970, UTC, little-endian; FFFFFFFFh: unknown |
| 4 | 1 | device address |
| 5 | 1 | sensor type: what kind of thing it was about |
| 6 | 1 | event type |
| 7 | 1 | offset: which event of that kind |
| 8 | 1 | who saw it |
| 9 | 1 | severity |
| 10 | 1 | sensor number |
| 11 | 1 | entity: which part of the machine |
| 12 | 1 | which of these parts |
| 13 | 8 | data; AAh first: Intel's own |
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from bootserver.amt.errors import AmtAnswerError, AmtRefusedError
from bootserver.amt.wsman.client import WsmanClient
from bootserver.amt.wsman.values import Instance, optional_flag

PAGE_RECORDS = 390  # AMT's whole log, in all versions known
MAX_PAGES = 20
_EMPTY = {"PositionToFirstRecord": 2, "GetRecords": 3}
_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
RECORD_BYTES = 21
_RECORD = struct.Struct("<I9B8s")
_NO_TIME = 0xFFFFFFFF
_INTELS_OWN = 0xAA  # the first byte of data
_RECOVERY = _REDIRECTION = bytes((_INTELS_OWN, 0x30))  # the first two, by sensor type
_POST_TOOK_TOO_LONG = 0x40


class Severity(StrEnum):
    """How bad it is; `ok` is the end of something that was."""

    UNSPECIFIED = "unspecified"
    MONITOR = "monitor"
    INFORMATION = "information"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    FATAL = "fatal"


class RecoveryEvent(StrEnum):
    """How far One-Click Recovery has come, or what it failed at."""

    PARAMETERS_RECEIVED = "parameters-received"
    OPTION_ADDED = "option-added"
    NAME_RESOLVED = "name-resolved"
    CONNECTED = "connected"
    DOWNLOADED = "downloaded"
    BOOT_ATTEMPTED = "boot-attempted"
    HANDED_OVER = "handed-over"
    NO_NETWORK = "no-network"
    NAME_UNKNOWN = "name-unknown"
    CONNECT_FAILED = "connect-failed"
    APP_MISSING = "app-missing"
    TLS_FAILED = "tls-failed"
    LOGIN_FAILED = "login-failed"
    IMAGE_REJECTED = "image-rejected"
    FILE_MISSING = "file-missing"


@dataclass(frozen=True)
class AmtEvent:
    """One event: when, how bad, which part of the machine, and what happened."""

    at: datetime | None
    severity: Severity
    source: str
    text: str
    recovery: RecoveryEvent | None = None


_SEVERITIES = {
    0: Severity.UNSPECIFIED,
    1: Severity.MONITOR,
    2: Severity.INFORMATION,
    4: Severity.OK,
    8: Severity.WARNING,
    16: Severity.CRITICAL,
    32: Severity.FATAL,
}
_SOURCES = {
    3: "processor",
    4: "disk",
    6: "management module",
    7: "mainboard",
    8: "memory",
    10: "power supply",
    11: "add-in card",
    23: "chassis",
    29: "fan",
    30: "cooling",
    32: "memory",
    33: "management software",
    34: "BIOS",
    35: "operating system",
    38: "Intel ME",
    40: "battery",
}
_FIRMWARE, _MAKERS_ERROR, _MAKERS_PROGRESS = 15, 3, 5  # a sensor type, and offsets of it
# By the offset and the third byte of data
_RECOVERY_EVENTS = {
    (_MAKERS_PROGRESS, 0): (
        RecoveryEvent.PARAMETERS_RECEIVED,
        "the BIOS has received the boot parameters",
    ),
    (_MAKERS_PROGRESS, 1): (RecoveryEvent.OPTION_ADDED, "the BIOS has added the boot option"),
    (_MAKERS_PROGRESS, 2): (RecoveryEvent.NAME_RESOLVED, "the server's name is resolved"),
    (_MAKERS_PROGRESS, 3): (RecoveryEvent.CONNECTED, "connected to the HTTPS server"),
    (_MAKERS_PROGRESS, 4): (RecoveryEvent.DOWNLOADED, "the image is downloaded"),
    (_MAKERS_PROGRESS, 5): (RecoveryEvent.BOOT_ATTEMPTED, "the image is being started"),
    (_MAKERS_PROGRESS, 6): (RecoveryEvent.HANDED_OVER, "the image has taken over from the BIOS"),
    (_MAKERS_ERROR, 1): (RecoveryEvent.NO_NETWORK, "there is no network connection"),
    (_MAKERS_ERROR, 2): (RecoveryEvent.NAME_UNKNOWN, "the server's name cannot be resolved"),
    (_MAKERS_ERROR, 3): (RecoveryEvent.CONNECT_FAILED, "the server cannot be reached"),
    (_MAKERS_ERROR, 4): (
        RecoveryEvent.APP_MISSING,
        "the maker's program is not where it should be",
    ),
    (_MAKERS_ERROR, 5): (RecoveryEvent.TLS_FAILED, "the server's certificate is not trusted"),
    (_MAKERS_ERROR, 6): (RecoveryEvent.LOGIN_FAILED, "the server does not take user and password"),
    (_MAKERS_ERROR, 7): (RecoveryEvent.IMAGE_REJECTED, "the image does not pass Secure Boot"),
    (_MAKERS_ERROR, 8): (RecoveryEvent.FILE_MISSING, "the server does not have the file"),
}
_FIRMWARE_ERRORS = (
    "unspecified",
    "no memory is installed",
    "no usable memory",
    "the hard disk has failed",
    "the mainboard has failed",
    "the diskette drive has failed",
    "the hard disk controller has failed",
    "the keyboard has failed",
    "no removable boot medium found",
    "the video controller has failed",
    "no video device found",
    "the BIOS is corrupt",
    "processors with different voltages",
    "processors with different speeds",
)
_FIRMWARE_STAGES = (
    "unspecified",
    "memory",
    "hard disks",
    "further processors",
    "user authentication",
    "BIOS setup was entered",
    "USB",
    "PCI",
    "option ROMs",
    "video",
    "cache",
    "system management bus",
    "keyboard controller",
    "embedded controller",
    "docking station attached",
    "docking station being enabled",
    "docking station ejected",
    "docking station being disabled",
    "the operating system is being woken",
    "the operating system is being started",
    "mainboard",
    "reserved",
    "diskette drives",
    "keyboard test",
    "mouse test",
    "first processor",
)
_SESSIONS = (
    "a serial redirection session was opened",
    "the serial redirection session was closed",
    "a storage redirection session was opened",
    "the storage redirection session was closed",
)
_WATCHDOG_STATES = {1: "not started", 2: "stopped", 4: "running", 8: "expired", 16: "suspended"}
# Sensor types, of which the offset tells nothing that a technician could use...
_SENTENCES = {
    30: "there is no bootable medium",
    32: "the operating system hung, or lost its power",
    35: "the boot failed",
    36: "network traffic met a filter of AMT",
    37: "the firmware has started",
    192: "a security policy of AMT stopped network traffic",
}
# ...and those of which it does.
_SENSORS = {
    1: "temperature",
    2: "voltage",
    4: "fan",
    5: "case",
    7: "processor",
    8: "power supply",
    9: "power unit",
    12: "memory",
    16: "event log",
    17: "watchdog",
    18: "system",
    19: "critical interrupt",
    20: "button",
    193: "AMT",
}


async def read_event_log(client: WsmanClient) -> list[AmtEvent]:
    """All events, the newest first; those without a time come last."""
    events: list[AmtEvent] = []
    page = await _step(client, "PositionToFirstRecord", {})
    for _ in range(MAX_PAGES):
        if page is None:
            break
        page = await _step(
            client,
            "GetRecords",
            {
                "IterationIdentifier": page.number("IterationIdentifier"),
                "MaxReadRecords": PAGE_RECORDS,
            },
        )
        records = _records(page)
        events.extend(decode_record(record) for record in records)
        if not records or optional_flag(page, "NoMoreRecords"):
            break
    return sorted(events, key=lambda event: event.at or _BEGINNING_OF_TIME, reverse=True)


async def _step(client: WsmanClient, method: str, parameters: dict[str, int]) -> Instance | None:
    """What the method put out; None, when it says that there is no record."""
    try:
        return await client.invoke("AMT_MessageLog", method, parameters)
    except AmtRefusedError as err:
        if err.return_value == _EMPTY[method]:
            return None
        raise


def _records(page: Instance | None) -> list[bytes]:
    value = page.properties.get("RecordArray") if page is not None else None
    texts = value if isinstance(value, tuple) else (value,)
    try:
        return [base64.b64decode(text) for text in texts if isinstance(text, str) and text]
    except ValueError as err:
        raise AmtAnswerError("a record of AMT's event log is not base64") from err


def decode_record(record: bytes) -> AmtEvent:
    """The record as text; an unknown one is shown by its bytes."""
    if len(record) != RECORD_BYTES:
        return AmtEvent(None, Severity.UNSPECIFIED, "?", f"unreadable record: {record.hex()}")
    seconds, _, sensor, _, offset, _, severity, _, entity, _, data = _RECORD.unpack(record)
    recovery, text = None, _text(sensor, offset, data)
    if sensor == _FIRMWARE and data[:2] == _RECOVERY and (offset, data[2]) in _RECOVERY_EVENTS:
        recovery, outcome = _RECOVERY_EVENTS[offset, data[2]]
        text = f"One-Click Recovery: {outcome}"
    return AmtEvent(
        datetime.fromtimestamp(seconds, UTC) if seconds != _NO_TIME else None,
        _SEVERITIES.get(severity, Severity.UNSPECIFIED),
        _SOURCES.get(entity, f"part {entity}"),
        text,
        recovery,
    )


def _text(sensor: int, offset: int, data: bytes) -> str:
    match sensor, offset:
        case 5, 0:
            return "the case was opened"
        case 6, _:
            return f"{data[1] | data[2] << 8} logins failed: passwords may be being guessed"
        case 15, _:
            return _firmware_text(offset, data)
        case 18, _ if data[0] == _INTELS_OWN:
            return f"an agent's watchdog is {_WATCHDOG_STATES.get(data[7], 'in an unknown state')}"
        case 35, _ if data[0] == _POST_TOOK_TOO_LONG:
            return "the self-test at power-on took too long"
        case 192, 0 if data[:2] == _REDIRECTION and data[2] < len(_SESSIONS):
            return _SESSIONS[data[2]]
    if sensor in _SENTENCES:
        return _SENTENCES[sensor]
    return f"{_SENSORS.get(sensor, f'sensor type {sensor}')}: event {offset}, data {data.hex()}"


def _firmware_text(offset: int, data: bytes) -> str:
    match offset:
        case 0:
            return f"firmware error: {_named(_FIRMWARE_ERRORS, data[1])}"
        case 1:
            return f"the firmware hangs: {_named(_FIRMWARE_STAGES, data[1])}"
        case 2:
            return f"firmware: {_named(_FIRMWARE_STAGES, data[1])}"
        case _:
            return f"the firmware's own event {offset}, data {data.hex()}"


def _named(names: tuple[str, ...], code: int) -> str:
    return names[code] if code < len(names) else f"code {code}"
