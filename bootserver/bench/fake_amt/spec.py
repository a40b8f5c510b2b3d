"""What one fake AMT device is like: its machine, its policy, its faults. Frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

from bootserver.bench.qemu_command import QemuSpec
from bootserver.bench.slow_link import SlowLine


class ProvisioningMode(IntEnum):
    """AMT_SetupAndConfigurationService.ProvisioningMode."""

    ADMIN = 1
    CLIENT = 4  # set up from the host: the person before the machine must consent


class OptInRequired(IntEnum):
    """IPS_OptInService.OptInRequired: for what the person before the machine is asked."""

    NONE = 0
    KVM = 1
    ALL = 0xFFFFFFFF


class RedirectionSetting(IntEnum):
    """AMT_RedirectionService.EnabledState."""

    NONE = 32768
    IDER = 32769
    SOL = 32770
    BOTH = 32771

    @property
    def has_ider(self) -> bool:
        """Whether storage may be redirected."""
        return self in (RedirectionSetting.IDER, RedirectionSetting.BOTH)

    @property
    def has_sol(self) -> bool:
        """Whether the serial line may be redirected."""
        return self in (RedirectionSetting.SOL, RedirectionSetting.BOTH)


class SystemState(StrEnum):
    """What the machine does, as ACPI names it."""

    S0 = "s0"  # it works
    MODERN_STANDBY = "s0ix"  # it sleeps, and counts as on
    S3 = "s3"  # it sleeps
    S4 = "s4"  # it hibernates
    S5 = "s5"  # it is off

    @property
    def cim(self) -> int:
        """CIM_AssociatedPowerManagementService.PowerState."""
        return {SystemState.S3: 4, SystemState.S4: 7, SystemState.S5: 8}.get(self, 2)

    @property
    def counts_as_on(self) -> bool:
        """Whether AMT shows the machine as switched on."""
        return self.cim == SystemState.S0.cim


class Reach(StrEnum):
    """What becomes of a connection to the device's ports."""

    ANSWERS = "answers"
    SILENT = "silent"  # it is taken, and no byte ever comes
    BLACK_HOLE = "black-hole"  # each SYN is dropped


class TlsSuites(StrEnum):
    """Which suites the device's TLS has, in OpenSSL's names; old firmware has TLS 1.2 at most."""

    MODERN = ""
    RSA_KEY_EXCHANGE = "AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256"
    CBC = "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA"
    RSA_AND_CBC = "AES256-SHA:AES128-SHA"


class Segments(StrEnum):
    """How bytes leave the redirection port."""

    WHOLE = "whole"  # message by message
    BYTES = "bytes"  # each byte by itself
    JOINED = "joined"  # a heartbeat in one segment with the reply that ends the login


@dataclass(frozen=True, slots=True)
class Network:
    """What AMT knows of its own network (AMT_EthernetPortSettings).

    As delivered: the addresses that QEMU's user-mode network gives its guest. `slow_from_sleep` is
    a known trap of I217 and I219. While a redirection session lives that began outside S0, the link
    has 10 Mb/s. (Intel: start the session in S0; MeshCommander#16.)
    """

    mac: str = "52:54:00:12:34:56"
    dhcp: bool = True
    address: str = "10.0.2.15"
    netmask: str = "255.255.255.0"
    gateway: str = "10.0.2.2"
    dns: tuple[str, ...] = ("10.0.2.3",)
    link_up: bool = True
    slow_from_sleep: bool = True


@dataclass(frozen=True, slots=True)
class WsmanManners:
    """How the WS-MAN side speaks.

    `stays_open` keeps connections that AMT would close. `power_gap_s` is how long after a power
    action the next is refused as too early. `lost_answers` are actions ("ChangeBootOrder", "Get
    AMT_BootSettingData") that are done, but not answered. Every `unavailable_every`th request is
    answered by 503, and not done. `ider` and `secure_boot_control` are of AMT_BootCapabilities.
    """

    chunked: bool = True
    stays_open: bool = False
    power_gap_s: float = 0.0
    lost_answers: frozenset[str] = frozenset()
    unavailable_every: int = 0
    power_capabilities: bool = True  # AvailableRequestedPowerStates
    ider: bool = True
    kvm: bool = True
    one_click_recovery: bool = True  # for AMT 15 and newer
    secure_boot_control: bool = True
    # AMT 16.1.30: One-Click Recovery with EnforceSecureBoot=false is answered by 2
    # (device-management-toolkit/deployment#466).
    insists_on_secure_boot: bool = False
    # What RequestStateChange of AMT_RedirectionService does on CSME 16: the Put is then refused.
    listener_follows_state: bool = False


@dataclass(frozen=True, slots=True)
class RedirectionManners:
    """How the redirection side speaks.

    `busy`: another console has the drives. `rejects_features`: the drives are never switched on.
    `heartbeat_s` and `rx_timeout_s` win over what the console asks for; `ping_s` is how often we
    ask whether it is alive. `reset_in_read` and `cut_after_reads` count the READs of the device,
    all its sessions together. In that one the host is reset, or after it the connection is cut.
    `lenient` forgives sequence numbers, registers and the malformed OPEN_SESSION of amtider.
    """

    auth_types: tuple[int, ...] = (3, 4)
    readbfr: int = 8192
    writebfr: int = 8192
    dma: bool = True
    busy: bool = False
    rejects_features: bool = False
    heartbeat_s: float | None = None
    rx_timeout_s: float | None = None
    ping_s: float = 0.0
    segments: Segments = Segments.WHOLE
    reset_in_read: int = 0
    cut_after_reads: int = 0
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class FakeSpec:
    """Everything that makes one fake device different from another.

    `workdir` takes the files of the device and of its machine. Without `machine` power is only a
    state, and a boot from the redirected CD reads `first_lbas` of it. `machine` says what the PC is
    made of, and what its BIOS boots by itself. The redirected CD drive comes on top, and reads no
    faster than `line`. What `mebx` leaves out of redirection is off in the firmware's setup, and
    cannot be switched on from afar. AMT shows S0 `power_up_s` after it was asked to switch on.
    """

    workdir: Path
    user: str = "admin"
    password: str = "P@ssw0rd"  # noqa: S105 - a fake device's
    version: str = "15.0.47"
    sku: str = "16392"
    uuid: str = "8a3b6a5c-2f3e-4d5b-9c6d-7e8f90a1b2c3"
    serial: str = "FAKE0001"
    manufacturer: str = "Fake"
    product: str = "PC with AMT"
    host_name: str = "fakepc"
    domain_name: str = "example.org"
    host: str = "127.0.0.1"
    wsman_port: int = 0
    redirection_port: int = 0
    reach: Reach = Reach.ANSWERS
    tls: bool = False
    tls_suites: TlsSuites = TlsSuites.MODERN
    mutual_tls: bool = False  # it wants a certificate, too: `FakeAmtDevice.client_certificate`
    network: Network = field(default_factory=Network)
    control_mode: ProvisioningMode = ProvisioningMode.ADMIN
    consent: OptInRequired = OptInRequired.NONE
    consent_code: str = "123456"
    mebx: RedirectionSetting = RedirectionSetting.BOTH
    redirection: RedirectionSetting = RedirectionSetting.BOTH
    listener: bool = True
    power: SystemState = SystemState.S5
    power_up_s: float = 0.0
    machine: QemuSpec | None = None
    line: SlowLine = field(default_factory=SlowLine)
    first_lbas: tuple[int, ...] = (16, 17, 18)
    wsman_manners: WsmanManners = field(default_factory=WsmanManners)
    redirection_manners: RedirectionManners = field(default_factory=RedirectionManners)

    @property
    def major(self) -> int:
        """The version's first number."""
        return int(self.version.partition(".")[0])
