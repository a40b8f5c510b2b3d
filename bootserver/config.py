"""config.toml as one frozen `Config`; bootserver.configfile reads the file.

Every key can also be set by an environment variable, which wins over the file:
`BOOTSERVER_SERVER__BOOT_PORT=9090` is `[server] boot_port`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bootserver.fields import (
    AmtHost,
    AmtUser,
    Entry,
    ImageId,
    Interface,
    KernelArguments,
    Loopback,
    Mac,
    MachineName,
    MemdiskArguments,
    Network,
    OptionalPath,
    Port,
    SecondStage,
    ServerUrl,
    Uuid,
)
from bootserver.model import Architecture, Machine, Prepare
from bootserver.selector import Selector

PROJECT = Path(__file__).resolve().parents[1]
PASSWORD_VARIABLE = "BOOTSERVER_AMT_PASSWORD"  # noqa: S105  (where AMT's password may stand)


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyPairConfig(Section):
    """A certificate and its private key, two PEM files; or nothing."""

    key: OptionalPath = None
    certificate: OptionalPath = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.key is None) != (self.certificate is None):
            missing = "key" if self.key is None else "certificate"
            raise ValueError(f"the {missing} is missing: give key and certificate, or neither")
        return self

    @property
    def pair(self) -> tuple[Path, Path] | None:
        """Key and certificate, if the site has given them."""
        return (self.key, self.certificate) if self.key and self.certificate else None


class TlsConfig(KeyPairConfig):
    """`[server.tls]`: what the boot plane shows over HTTPS, in place of our own CA's."""


class ServerConfig(Section):
    """`[server]`: where the planes listen."""

    address: Interface = "*"
    boot_port: Port = 8080
    https_port: Port = 0
    admin_address: Loopback = "127.0.0.1"
    admin_port: Port = 8081
    url: ServerUrl = ""
    grace_s: float = Field(default=60, ge=0)
    trusted_proxies: tuple[Network, ...] = ()
    tls: TlsConfig = TlsConfig()


class LimitsConfig(Section):
    """`[limits]`: how long the server waits for a client, and how many it serves at once."""

    header_s: float = Field(default=30, gt=0)
    body_s: float = Field(default=60, gt=0)
    idle_s: float = Field(default=75, gt=0)
    stalled_s: float = Field(default=300, gt=0)
    connections: int = Field(default=4000, ge=1)
    connections_per_address: int = Field(default=3000, ge=1)
    admin_connections: int = Field(default=2000, ge=1)
    watchers: int = Field(default=1000, ge=1)
    uploads: int = Field(default=32, ge=1)
    transfers_per_address: int = Field(default=128, ge=1)
    unacknowledged_blocks: int = Field(default=128, ge=2)


class TftpConfig(Section):
    """`[tftp]`: the fall-back way to the same names."""

    enabled: bool = True
    port: Port = 69
    timeout_s: float = Field(default=1, gt=0, le=255)
    retries: int = Field(default=6, ge=1)
    max_blksize: int = Field(default=65464, ge=8, le=65464)
    max_windowsize: int = Field(default=64, ge=1, le=65535)
    max_transfers: int = Field(default=256, ge=1)


class ImagesConfig(Section):
    """`[images]`: the library of recovery images."""

    path: Path = Path("images")
    scan_interval_s: float = Field(default=2, gt=0)


class DriversConfig(Section):
    """`[drivers]`: the library of Windows drivers."""

    path: Path = Path("drivers")


class StateConfig(Section):
    """`[state]`: what the server remembers."""

    path: Path = Path("var")
    database: str = ""
    keep_boots: int = Field(default=100_000, ge=0)
    keep_days: float = Field(default=0, ge=0)

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the database; SQLite in the state directory by default."""
        return self.database or f"sqlite+aiosqlite:///{self.path / 'bootserver.db'}"


class SigningConfig(KeyPairConfig):
    """`[stub.signing]`: what a site signs its UEFI loaders with, for Secure Boot; or nothing."""


class StubConfig(Section):
    """`[stub]`: what goes into a stub, and with which loaders."""

    build: Path = Path("stub/build")
    architectures: tuple[Architecture, ...] = (Architecture.BIOS, Architecture.X64)
    pack: bool = True
    servers: tuple[ServerUrl, ...] = ()
    serial: str = Field(default="0 115200", pattern=r"^(|(0x[0-9a-fA-F]+|[0-9]) [0-9]{1,6})$")
    shim: OptionalPath = None
    shim_loads: SecondStage = "grubx64.efi"
    signing: SigningConfig = SigningConfig()
    loaders: dict[str, Path] = {}


class BootConfig(Section):
    """`[boot]`: how images are booted."""

    memdisk: MemdiskArguments = "iso raw"
    os_room_mib: int = Field(default=64, ge=0)
    bios_limit_mib: int = Field(default=2816, ge=1)
    open_menu: bool = False
    menu_default: ImageId = ""
    menu_timeout_s: int = Field(default=60, ge=0, le=3600)
    expire_h: float = Field(default=12, gt=0)
    prepare: Prepare = Prepare.AUTO


class AmtConfig(Section):
    """`[amt]`: how Intel AMT is spoken to, unless a machine's own table says otherwise."""

    user: AmtUser = "admin"
    password_file: OptionalPath = None
    tls: bool = True
    ca: OptionalPath = None
    boots_at_once: int = Field(default=8, ge=1, le=256)
    no_reads_s: float = Field(default=90, gt=0)
    slow_path_kb_s: int = Field(default=600, ge=1)
    fast_path_kb_s: int = Field(default=60_000, ge=1)
    prefer_one_click_recovery: bool = False


class MachineAmtConfig(Section):
    """`amt.…` in a `[[machines]]` table: where its AMT is, and what is special about it."""

    host: AmtHost
    user: AmtUser | None = None
    password_file: OptionalPath = None
    tls: bool | None = None
    legacy_tls: bool = False
    ca: OptionalPath = None
    wsman_port: Port = 0
    redirection_port: Port = 0


class MachineConfig(Section):
    """`[[machines]]`: what is special about one machine; all names that are given must match."""

    mac: Mac = ""
    uuid: Uuid = ""
    serial: MachineName = ""
    asset: MachineName = ""
    image: ImageId = ""
    entry: Entry = ""
    arguments: KernelArguments = ""
    memdisk: MemdiskArguments = ""
    amt: MachineAmtConfig | None = None

    @model_validator(mode="after")
    def _names_a_machine(self) -> MachineConfig:
        if not self.selector.names and (self.amt is None or self.boots_something_special):
            raise ValueError("give a mac, uuid, serial or asset that names the machine")
        return self

    @property
    def boots_something_special(self) -> bool:
        """True if it says what the machine boots, which needs a name that the machine tells."""
        return bool(self.image or self.entry or self.arguments or self.memdisk)

    @property
    def selector(self) -> Selector:
        """The machine that this is about."""
        return Selector(self.mac, self.uuid, self.serial, self.asset)


class LogConfig(Section):
    """`[log]`: how much to say, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Config(BaseSettings):
    """All of config.toml."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="BOOTSERVER_", env_nested_delimiter="__"
    )

    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    tftp: TftpConfig = TftpConfig()
    images: ImagesConfig = ImagesConfig()
    drivers: DriversConfig = DriversConfig()
    state: StateConfig = StateConfig()
    stub: StubConfig = StubConfig()
    boot: BootConfig = BootConfig()
    amt: AmtConfig = AmtConfig()
    log: LogConfig = LogConfig()
    machines: tuple[MachineConfig, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the file, whose content is handed in as arguments."""
        return (env_settings, init_settings)

    @property
    def warnings(self) -> list[str]:
        """What is allowed, and most likely not meant."""
        return [f"[[machines]]: {m.selector.warning}" for m in self.machines if m.selector.warning]

    def machine(self, machine: Machine) -> MachineConfig | None:
        """The first `[[machines]]` table that names this machine."""
        named = (m for m in self.machines if m.selector.names)
        return next((m for m in named if m.selector.matches(machine)), None)
