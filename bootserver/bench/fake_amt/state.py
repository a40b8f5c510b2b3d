"""What a fake device remembers between two requests."""

from __future__ import annotations

from time import time

from bootserver.bench.fake_amt.boot import BootConfiguration
from bootserver.bench.fake_amt.consent import Consent
from bootserver.bench.fake_amt.event_log import LogEvent
from bootserver.bench.fake_amt.login import make_realm
from bootserver.bench.fake_amt.soap import flag_text
from bootserver.bench.fake_amt.spec import FakeSpec, RedirectionSetting, SystemState

BOOT_SERVICE_NONE, BOOT_SERVICE_RECOVERY, BOOT_SERVICE_ALL = 32768, 32769, 32771


class DeviceState:
    """One device's memory.

    `sessions` are the tags of the redirection sessions now open. Those in `slow_sessions` hold the
    link at 10 Mb/s.
    """

    def __init__(self, spec: FakeSpec) -> None:
        self.spec = spec
        self.realm = make_realm()
        self.power = spec.power
        self.redirection = RedirectionSetting(spec.redirection & spec.mebx)
        self.listener = spec.listener
        self.consent = Consent(spec.consent, spec.control_mode, spec.consent_code)
        self.sessions: set[str] = set()
        self.slow_sessions: set[str] = set()
        self.kvm_enabled = False
        self.kvm_password = ""
        self.roots: list[bytes] = []  # DER
        self.events: list[LogEvent] = []
        self.boot_service = BOOT_SERVICE_RECOVERY if self.has_recovery else BOOT_SERVICE_NONE
        self.boot = BootConfiguration(
            read_only=self._boot_facts(),
            insists_on_secure_boot=spec.wsman_manners.insists_on_secure_boot,
        )

    @property
    def is_on(self) -> bool:
        """Whether the machine is in S0, and shows it."""
        return self.power is SystemState.S0

    @property
    def has_recovery(self) -> bool:
        """Whether the firmware knows One-Click Recovery."""
        return self.spec.major >= 15 and self.spec.wsman_manners.one_click_recovery

    @property
    def recovery_is_on(self) -> bool:
        """Whether it is switched on, too."""
        on = (BOOT_SERVICE_RECOVERY, BOOT_SERVICE_ALL)
        return self.has_recovery and self.boot_service in on

    def now_s(self) -> int:
        """AMT's clock."""
        return int(time())

    def _boot_facts(self) -> dict[str, str]:
        if not self.has_recovery:
            return {}
        return {
            "BootguardStatus": "127",
            "OptionsCleared": "true",
            "RPEEnabled": "false",
            "SecureBootControlEnabled": flag_text(self.spec.wsman_manners.secure_boot_control),
            "UEFIHTTPSBootEnabled": "true",
            "UEFILocalPBABootEnabled": "false",
            "WinREBootEnabled": "false",
        }
