"""What the next boot starts from, as WS-MAN has set it up step by step. Pure state, no I/O.

Only the order that is known to work on machines of all ages works here. Clear the boot order, put
the settings, choose the boot configuration for the next boot, give the order. A source of the
machine's own (network, disk, CD) may also be ordered first and then chosen. What comes too early or
too late is taken, and has no effect; that is how a wrong order shows.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from bootserver.bench.fake_amt.soap import FaultError, schema_violation

OK, NOT_SUPPORTED, UNKNOWN_ERROR, INVALID_REFERENCE, INVALID_PARAMETER = 0, 1, 2, 4, 5
IS_NEXT_SINGLE_USE, IS_NOT_NEXT = 1, 32768

SOURCES = {
    "Intel(r) AMT: Force PXE Boot",
    "Intel(r) AMT: Force Hard-drive Boot",
    "Intel(r) AMT: Force CD/DVD Boot",
    "Intel(r) AMT: Force OCR UEFI HTTPS Boot",
}

# Properties of AMT_BootSettingData: what a Put may set, and what the firmware alone sets.
_FLAGS = (
    "BIOSPause",
    "BIOSSetup",
    "ConfigurationDataReset",
    "EnforceSecureBoot",
    "ForcedProgressEvents",
    "LockKeyboard",
    "LockPowerButton",
    "LockResetButton",
    "LockSleepButton",
    "PlatformErase",
    "ReflashBIOS",
    "SecureErase",
    "UseIDER",
    "UseSOL",
    "UseSafeMode",
    "UserPasswordBypass",
)
_NUMBERS = ("BootMediaIndex", "FirmwareVerbosity", "IDERBootDevice", "UefiBootNumberOfParams")
# What Device Management Toolkit puts back as it got it, and AMT takes.
_IGNORED = ("BIOSLastStatus", "OptionsCleared")
READ_ONLY = (
    "BootguardStatus",
    "RPEEnabled",
    "RSEPassword",
    "SecureBootControlEnabled",
    "UEFIHTTPSBootEnabled",
    "UEFILocalPBABootEnabled",
    "WinREBootEnabled",
)
_TEXTS = ("ElementName", "InstanceID", "OwningEntity")
_PARAMETERS = "UefiBootParametersArray"

# A parameter of One-Click Recovery, little-endian: 0 vendor 0x8086 (2), 2 type (2),
# 4 length (4), 8 value
_TLV = struct.Struct("<HHI")
_INTEL = 0x8086
_URL_TYPE, _USE_ROOTS_TYPE, _NAME_TYPE, _PASSWORD_TYPE = 1, 20, 40, 41
_URL_LIMIT_BYTES = 300


class BootFrom(StrEnum):
    """Where a boot starts from."""

    DEFAULT = "default"  # the BIOS's own order
    REDIRECTED_CD = "redirected-cd"
    REDIRECTED_FLOPPY = "redirected-floppy"
    PXE = "pxe"
    HARD_DRIVE = "hard-drive"
    LOCAL_CD = "local-cd"
    HTTPS = "https"


_BOOT_FROM = {
    "Intel(r) AMT: Force PXE Boot": BootFrom.PXE,
    "Intel(r) AMT: Force Hard-drive Boot": BootFrom.HARD_DRIVE,
    "Intel(r) AMT: Force CD/DVD Boot": BootFrom.LOCAL_CD,
    "Intel(r) AMT: Force OCR UEFI HTTPS Boot": BootFrom.HTTPS,
}


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """What One-Click Recovery was told."""

    url: str
    uses_roots: bool  # the CA certificates that were pushed to AMT vouch for the server
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ConfiguredBoot:
    """One boot, as set up; `link_is_slow` when a session held the network at 10 Mb/s."""

    source: BootFrom = BootFrom.DEFAULT
    recovery: RecoveryRequest | None = None
    use_sol: bool = False
    link_is_slow: bool = field(default=False, compare=False)


class _Step(Enum):
    """How far the setting up has come."""

    STALE = auto()  # nothing yet, or a boot has used it up
    CLEARED = auto()
    SET = auto()
    CHOSEN = auto()
    ORDERED = auto()


class BootConfiguration:
    """AMT_BootSettingData and what CIM makes of it for the next boot."""

    def __init__(self, *, read_only: dict[str, str], insists_on_secure_boot: bool = False) -> None:
        self._read_only = read_only
        self._insists_on_secure_boot = insists_on_secure_boot
        self.settings: dict[str, list[str]] = {}
        self._source = ""
        self._step = _Step.STALE
        self._ready = ConfiguredBoot()
        self._armed = False
        self.last_status: tuple[int, int] = (0, 0)
        self._reset_settings()

    def properties(self) -> dict[str, list[str]]:
        """AMT_BootSettingData as Get shows it."""
        status = {"BIOSLastStatus": [str(word) for word in self.last_status]}
        fixed = {name: [text] for name, text in self._read_only.items()}
        return dict(sorted((self.settings | fixed | status).items()))

    def put(self, properties: dict[str, list[str]]) -> None:
        """Take an AMT_BootSettingData; raises FaultError for one that AMT refuses."""
        properties = {name: texts for name, texts in properties.items() if name not in _IGNORED}
        for name, texts in properties.items():
            _check(name, texts)
        for name in _TEXTS:
            if properties.get(name, self.settings[name]) != self.settings[name]:
                raise schema_violation(f"{name} is what it is")
        encoded = properties.get(_PARAMETERS, [])
        count = int(properties.get("UefiBootNumberOfParams", ["0"])[0])
        parameters = read_parameters(encoded[0]) if encoded else {}
        if len(parameters) != count:
            raise FaultError(
                "wsman:InvalidParameter", f"{count} parameters announced, {len(parameters)} sent"
            )
        settings = self.settings | properties
        if self._source and _is_set(settings, "UseIDER"):
            raise FaultError("wsman:InvalidParameter", "UseIDER goes with no boot source")
        self.settings = settings
        if not _is_set(settings, "UseIDER"):
            self._armed = False
        if self._step is not _Step.STALE:
            self._step = _Step.SET

    def set_role(self, role: int) -> int:
        """CIM_BootService.SetBootConfigRole of the one boot configuration; its return value."""
        if role == IS_NOT_NEXT:
            self._armed = False
            self._step = _Step.STALE
            return OK
        if role != IS_NEXT_SINGLE_USE:
            return INVALID_PARAMETER
        if self._armed:
            return INVALID_PARAMETER
        boot_from = _BOOT_FROM.get(self._source)
        if self._step is _Step.SET:
            self._step = _Step.CHOSEN
        elif boot_from and boot_from is not BootFrom.HTTPS:
            # A local source may be ordered first: so OpenStack's driver and PyPI's amt do it.
            self._ready = self._boot(boot_from)
            self._step = _Step.ORDERED
        return OK

    def change_order(self, source: str, *, has_recovery: bool) -> int:
        """CIM_BootConfigSetting.ChangeBootOrder; `source` "" clears. Its return value."""
        if source and source not in SOURCES:
            return INVALID_REFERENCE
        boot_from = _BOOT_FROM.get(source)
        if source and (_is_set(self.settings, "UseIDER") or _is_set(self.settings, "UseSOL")):
            return INVALID_PARAMETER
        if boot_from is BootFrom.HTTPS and not has_recovery:
            return NOT_SUPPORTED
        is_enforced = _is_set(self.settings, "EnforceSecureBoot")
        if boot_from is BootFrom.HTTPS and self._insists_on_secure_boot and not is_enforced:
            return UNKNOWN_ERROR
        self._source = source
        if self._step is _Step.CHOSEN:
            self._ready = self._boot(boot_from)
            self._armed = _is_set(self.settings, "UseIDER")
            self._step = _Step.ORDERED
        elif self._step in (_Step.STALE, _Step.ORDERED):
            self._step = _Step.CLEARED if not source else _Step.STALE
        return OK

    def take(self) -> ConfiguredBoot:
        """What the boot that begins now starts from; it is set up for this boot only."""
        boot = self._ready if self._step is _Step.ORDERED else ConfiguredBoot()
        self.clear()
        return boot

    def clear(self) -> None:
        """Forget what was set up."""
        self._step = _Step.STALE
        self._source = ""
        self._armed = False
        self._ready = ConfiguredBoot()
        self._reset_settings()

    def _boot(self, source: BootFrom | None) -> ConfiguredBoot:
        use_sol = _is_set(self.settings, "UseSOL")
        if _is_set(self.settings, "UseIDER"):
            is_cd = self.settings["IDERBootDevice"] == ["1"]
            redirected = BootFrom.REDIRECTED_CD if is_cd else BootFrom.REDIRECTED_FLOPPY
            return ConfiguredBoot(redirected, use_sol=use_sol)
        if source is BootFrom.HTTPS:
            parameters = read_parameters(self.settings.get(_PARAMETERS, [""])[0])
            if not parameters.get(_URL_TYPE):
                return ConfiguredBoot()
            return ConfiguredBoot(
                source,
                RecoveryRequest(
                    parameters[_URL_TYPE].decode(errors="replace"),
                    parameters.get(_USE_ROOTS_TYPE) == b"\x01",
                    parameters.get(_NAME_TYPE, b"").decode(errors="replace"),
                    parameters.get(_PASSWORD_TYPE, b"").decode(errors="replace"),
                ),
            )
        return ConfiguredBoot(source or BootFrom.DEFAULT, use_sol=use_sol)

    def _reset_settings(self) -> None:
        self.settings = (
            {name: ["false"] for name in _FLAGS}
            | {name: ["0"] for name in _NUMBERS}
            | {
                "ElementName": ["Intel(r) AMT Boot Configuration Settings"],
                "InstanceID": ["Intel(r) AMT:BootSettingData 0"],
                "OwningEntity": ["Intel(r) AMT"],
            }
        )


def read_parameters(array: str) -> dict[int, bytes]:
    """The parameters of One-Click Recovery by type, from base64; raises FaultError if malformed."""
    try:
        data = base64.b64decode(array, validate=True)
    except binascii.Error as err:
        raise schema_violation(f"{_PARAMETERS} is not base64: {err}") from err
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + _TLV.size > len(data):
            raise FaultError("wsman:InvalidParameter", "a parameter is cut off")
        vendor, kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        value = data[at : at + length]
        at += length
        if vendor != _INTEL or len(value) != length or kind in found:
            raise FaultError("wsman:InvalidParameter", f"parameter {kind} is not well formed")
        found[kind] = value
    if len(found.get(_URL_TYPE, b"")) > _URL_LIMIT_BYTES:
        raise FaultError("wsman:InvalidParameter", "the URL is too long")
    return found


def _check(name: str, texts: list[str]) -> None:
    """Raise the fault for a property that a Put cannot have."""
    if name in READ_ONLY:
        raise schema_violation(f"{name} is read-only")
    if name in _FLAGS:
        ok = texts in (["true"], ["false"])
    elif name in _NUMBERS:
        ok = len(texts) == 1 and texts[0].isdecimal()
    else:
        ok = name in (*_TEXTS, _PARAMETERS) and len(texts) == 1
    if not ok:
        raise schema_violation(f"{name} = {texts}")


def _is_set(settings: dict[str, list[str]], name: str) -> bool:
    return settings[name] == ["true"]
