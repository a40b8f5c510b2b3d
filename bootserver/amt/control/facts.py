"""What AMT says about a machine, as data: all that a technician wants to know before a boot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import computed_field

from bootserver.amt.types import PowerState


class ControlMode(StrEnum):
    """Who may do what: in `client` mode a user at the machine has to consent to all redirection."""

    ADMIN = "admin"
    CLIENT = "client"
    NONE = "none"


class ConsentPolicy(StrEnum):
    """What a user at the machine has to consent to."""

    NONE = "none"
    KVM = "kvm"
    ALL = "all"  # storage redirection and boot options, too


class ConsentState(StrEnum):
    """How far a consent is."""

    NOT_STARTED = "not-started"
    REQUESTED = "requested"
    DISPLAYED = "displayed"
    RECEIVED = "received"
    IN_SESSION = "in-session"


CONSENT_POLICIES = {
    0: ConsentPolicy.NONE,
    1: ConsentPolicy.KVM,
    0xFFFFFFFF: ConsentPolicy.ALL,
}
CONSENT_STATES = dict(enumerate(ConsentState))
CONSENTED = (ConsentState.RECEIVED, ConsentState.IN_SESSION)


@dataclass(frozen=True)
class Redirection:
    """Storage (IDE-R, USB-R) and serial (SOL) redirection, and the port that both listen on."""

    ider_enabled: bool
    sol_enabled: bool
    listener_enabled: bool | None  # None where AMT does not say


@dataclass(frozen=True)
class Kvm:
    """The remote screen: whether this machine has one, and whether it is switched on."""

    available: bool
    enabled: bool


@dataclass(frozen=True)
class BootCapabilities:
    """What the machine's firmware can be made to boot; None where AMT does not say."""

    ider: bool | None
    sol: bool | None
    pxe: bool | None
    hard_drive: bool | None
    cd: bool | None
    https: bool | None
    bios_setup: bool | None


@dataclass(frozen=True)
class Recovery:
    """Whether One-Click Recovery can boot from HTTPS, and as text what stands in the way.

    `switched_on` is a switch of AMT's own, which `boot_from_https` turns.
    """

    obstacles: tuple[str, ...]
    switched_on: bool

    @computed_field
    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.obstacles


@dataclass(frozen=True)
class WiredNetwork:
    """AMT's wired port. With DHCP the addresses are those that AMT leased, if it tells them."""

    mac: str  # lower-case with colons
    link_up: bool | None
    dhcp: bool | None
    address: str | None
    netmask: str | None
    gateway: str | None
    dns: tuple[str, ...]


@dataclass(frozen=True)
class AmtFacts:
    """What AMT says about its machine; None where it does not say."""

    amt_version: str | None  # 16.1.30
    sku: str | None
    uuid: str | None  # as in SMBIOS, Linux and iPXE: lower-case with dashes
    host_name: str | None
    control_mode: ControlMode | None
    consent_policy: ConsentPolicy | None
    consent_state: ConsentState | None
    redirection: Redirection | None
    kvm: Kvm
    boot: BootCapabilities | None
    recovery: Recovery
    secure_boot_control: bool | None  # whether AMT may switch Secure Boot off for one boot
    power: PowerState
    network: WiredNetwork | None

    @property
    def major_version(self) -> int | None:
        """The 16 of 16.1.30."""
        major = (self.amt_version or "").partition(".")[0]
        return int(major) if major.isascii() and major.isdecimal() else None

    @computed_field
    @property
    def consent_needed(self) -> bool:
        """Whether a user had to consent to a redirected boot, and had not, when this was read."""
        return self.consent_demanded and self.consent_state not in CONSENTED

    @property
    def consent_demanded(self) -> bool:
        """Whether a redirected boot takes a user's consent, given or not."""
        return self.control_mode is ControlMode.CLIENT or self.consent_policy is ConsentPolicy.ALL
