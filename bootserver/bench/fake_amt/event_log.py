"""AMT's event log: platform events of 21 bytes each.

| offset | size | meaning                                             |
|--------|------|-----------------------------------------------------|
| 0      | 4    | seconds since 1970, little-endian                   |
| 4      | 1    | device address                                      |
| 5      | 1    | sensor type (IPMI 2.0, table 42-3)                  |
| 6      | 1    | event type; 0x6F: what the offset means is the sensor's own |
| 7      | 1    | event offset                                        |
| 8      | 1    | source type                                         |
| 9      | 1    | severity: 8 is not critical, 16 is                  |
| 10     | 1    | sensor number                                       |
| 11     | 1    | entity: 34 is the BIOS, 38 AMT itself               |
| 12     | 1    | entity instance                                     |
| 13     | 8    | event data                                          |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_RECORD = struct.Struct("<IBBBBBBBBB8s")
_SENSOR_SPECIFIC = 0x6F
_BIOS, _AMT = 34, 38
_PROGRESS, _AUTHENTICATION = 0x0F, 0x06
_RECOVERY_ERROR, _RECOVERY_PROGRESS = 3, 5  # event offsets; the data is AA 30 and a code
# 1 no network, 2 name unknown, 3 no connection, 5 TLS, 6 login, 7 signature, 8 no such file
_RECOVERY_ERRORS = {"CertificateError": 5, "status 401": 6, "status 40": 8}


@dataclass(frozen=True, slots=True)
class LogEvent:
    """What happened, and when; `data` is at most 8 bytes."""

    at_s: int
    sensor_type: int
    offset: int
    entity: int
    data: bytes
    severity: int = 8

    def record(self) -> bytes:
        """Its 21 bytes."""
        return _RECORD.pack(
            *(self.at_s, 0xFF, self.sensor_type, _SENSOR_SPECIFIC, self.offset, 0x68),
            *(self.severity, 0xFF, self.entity, 0, self.data.ljust(8, b"\0")),
        )


def boot_started(at_s: int) -> LogEvent:
    """The BIOS starts the operating system (firmware progress, code 0x13)."""
    return LogEvent(at_s, _PROGRESS, 2, _BIOS, b"\x40\x13")


def recovery_downloaded(at_s: int) -> LogEvent:
    """One-Click Recovery has its image."""
    return LogEvent(at_s, _PROGRESS, _RECOVERY_PROGRESS, _BIOS, b"\xaa\x30\x04")


def recovery_failed(at_s: int, error: str) -> LogEvent:
    """One-Click Recovery has not: by what went wrong with the download."""
    code = next((code for text, code in _RECOVERY_ERRORS.items() if text in error), 3)
    return LogEvent(at_s, _PROGRESS, _RECOVERY_ERROR, _BIOS, bytes((0xAA, 0x30, code)), severity=16)


def login_failed(at_s: int) -> LogEvent:
    """A console had the wrong password."""
    return LogEvent(at_s, _AUTHENTICATION, 1, _AMT, b"\x00\x01")
