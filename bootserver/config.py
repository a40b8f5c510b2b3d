"""config.toml as one frozen `Config`: unknown keys refused, all mistakes reported at once, by key.

Every key can also be set by an environment variable, which wins over the file:
`BOOTSERVER_SERVER__BOOT_PORT=9090` is `[server] boot_port`. Relative paths are relative to
config.toml.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bootserver.errors import ConfigError
from bootserver.model import Architecture, Machine

CONFIG_VARIABLE = "BOOTSERVER_CONFIG"
PROJECT = Path(__file__).resolve().parents[1]
SECRET_KEYS = frozenset({"database"})  # its URL may carry a password


def parse_mac(text: str) -> str:
    """A MAC address as lower-case hex with colons; takes colons, dashes, dots or none; "" is ""."""
    digits = re.sub(r"[:.\-]", "", text).lower()
    if not digits:
        return ""
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:12:34:56")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def parse_server_url(text: str) -> str:
    """An http(s) URL without path, query or trailing slash, or ""."""
    if text and not re.fullmatch(
        r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", text
    ):
        raise ValueError(f"{text!r} is not a server URL such as http://192.0.2.10:8080")
    return text.rstrip("/")


def _interface(text: str) -> str:
    """`*` or the address of an interface."""
    if text != "*":
        ipaddress.ip_address(text)
    return text


def _loopback(text: str) -> str:
    if not ipaddress.ip_address(text).is_loopback:
        raise ValueError(
            f"{text} is not a loopback address; the admin plane has no login yet, so it stays on "
            "127.0.0.1 or ::1 (reach it from elsewhere through an ssh tunnel)"
        )
    return text


def _memdisk_arguments(text: str) -> str:
    """memdisk arguments that cannot break out of an iPXE command line."""
    if not re.fullmatch(r"[A-Za-z0-9=,. _-]*", text):
        raise ValueError(f"{text!r} has characters that are no part of memdisk's arguments")
    return text


def _second_stage(text: str) -> str:
    """The name of an EFI program in shim's own directory, other than shim's."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}\.efi", text, re.IGNORECASE):
        raise ValueError(f"{text!r} is not the name of an EFI program such as grubx64.efi")
    if text.lower() == "bootx64.efi":
        raise ValueError("bootx64.efi is shim itself")
    return text


Mac = Annotated[str, AfterValidator(parse_mac)]
ServerUrl = Annotated[str, AfterValidator(parse_server_url)]
Interface = Annotated[str, AfterValidator(_interface)]
Loopback = Annotated[str, AfterValidator(_loopback)]
MemdiskArguments = Annotated[str, AfterValidator(_memdisk_arguments)]
SecondStage = Annotated[str, AfterValidator(_second_stage)]
OptionalPath = Annotated[
    Path | None,
    BeforeValidator(lambda path: path or None),  # TOML has no null: "" is no file
    PlainSerializer(lambda path: "" if path is None else str(path), return_type=str),
]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerConfig(Section):
    """`[server]`: where the planes listen."""

    address: Interface = "*"
    boot_port: Port = 8080
    admin_address: Loopback = "127.0.0.1"
    admin_port: Port = 8081
    url: ServerUrl = ""
    grace_s: float = Field(default=60, ge=0)


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


class StateConfig(Section):
    """`[state]`: what the server remembers."""

    path: Path = Path("var")
    database: str = ""

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the database; SQLite in the state directory by default."""
        return self.database or f"sqlite+aiosqlite:///{self.path / 'bootserver.db'}"


class SigningConfig(Section):
    """`[stub.signing]`: what a site signs its UEFI loaders with, for Secure Boot; or nothing."""

    key: OptionalPath = None
    certificate: OptionalPath = None

    @model_validator(mode="after")
    def _both_or_none(self) -> SigningConfig:
        if (self.key is None) != (self.certificate is None):
            missing = "key" if self.key is None else "certificate"
            raise ValueError(f"the {missing} is missing: give key and certificate, or neither")
        return self

    @property
    def pair(self) -> tuple[Path, Path] | None:
        """Key and certificate, if this site signs."""
        return (self.key, self.certificate) if self.key and self.certificate else None


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
    expire_h: float = Field(default=12, gt=0)


class MachineConfig(Section):
    """`[[machines]]`: what is special about one machine; all that is given must match."""

    mac: Mac = ""
    uuid: str = ""
    serial: str = ""
    memdisk: MemdiskArguments = ""

    @model_validator(mode="after")
    def _names_a_machine(self) -> MachineConfig:
        if not (self.mac or self.uuid or self.serial):
            raise ValueError("give a mac, uuid or serial that names the machine")
        return self

    def matches(self, machine: Machine) -> bool:
        """True if every name given here is the machine's."""
        return all(
            not wanted or wanted.lower() == actual.lower()
            for wanted, actual in (
                (self.mac, machine.mac),
                (self.uuid, machine.uuid),
                (self.serial, machine.serial),
            )
        )


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
    tftp: TftpConfig = TftpConfig()
    images: ImagesConfig = ImagesConfig()
    state: StateConfig = StateConfig()
    stub: StubConfig = StubConfig()
    boot: BootConfig = BootConfig()
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

    def machine(self, machine: Machine) -> MachineConfig | None:
        """The first `[[machines]]` table that names this machine."""
        return next((m for m in self.machines if m.matches(machine)), None)


def load_config(path: Path | None = None) -> Config:
    """The configuration in force: the file at `path`, overlaid by the environment.

    Without `path`: the file that BOOTSERVER_CONFIG names, else ./config.toml, else the project's.
    Raises ConfigError that lists every mistake by key, each with a hint.
    """
    path = (path or _default_path()).absolute()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read: {err.strerror}",
            hint=f"name another file with --config or {CONFIG_VARIABLE}",
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}", hint="mend that line") from err
    mistakes = list(_unknown_variables())
    try:
        config = Config(**values)
    except ValidationError as err:
        mistakes += [_mistake(detail) for detail in err.errors()]
    if mistakes:
        raise ConfigError(
            f"{path} has {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}:\n"
            + "\n".join(f"  {mistake}" for mistake in mistakes),
            hint="every key is explained in the config.toml that comes with bootserver",
        )
    return _anchor_paths(config, path.parent)


def in_force(config: Config) -> dict[str, Any]:
    """The configuration as plain TOML values, secrets masked."""
    values = config.model_dump(mode="json")
    return {
        section: (
            {key: _masked(key, value) for key, value in table.items()}
            if isinstance(table, dict)
            else table
        )
        for section, table in values.items()
    }


def _default_path() -> Path:
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    here = Path("config.toml")
    return here if here.exists() else PROJECT / "config.toml"


def _anchor_paths(config: Config, base: Path) -> Config:
    """The same configuration with every relative path made absolute from `base`."""

    def anchored(section: Section, **paths: Any) -> Section:
        return section.model_copy(update=paths)

    def anchored_path(path: Path | None) -> Path | None:
        return None if path is None else base / path

    stub = config.stub
    stub_paths = {
        "build": base / stub.build,
        "shim": anchored_path(stub.shim),
        "signing": anchored(
            stub.signing,
            key=anchored_path(stub.signing.key),
            certificate=anchored_path(stub.signing.certificate),
        ),
        "loaders": {name: base / loader for name, loader in stub.loaders.items()},
    }
    return config.model_copy(
        update={
            "images": anchored(config.images, path=base / config.images.path),
            "state": anchored(config.state, path=base / config.state.path),
            "stub": anchored(stub, **stub_paths),
        }
    )


def _unknown_variables() -> Iterator[str]:
    """A mistake for each BOOTSERVER_ variable that names no table (pydantic ignores these)."""
    for name in sorted(os.environ):
        if not name.startswith("BOOTSERVER_") or name == CONFIG_VARIABLE:
            continue
        table = name.removeprefix("BOOTSERVER_").split("__")[0].lower()
        if table not in Config.model_fields:
            yield f"{name} (environment): no such table{_nearest(table, Config.model_fields)}"


def _mistake(detail: Any) -> str:
    """One line for one of pydantic's errors: key, what is wrong, what was meant."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        known: Any = Config.model_fields
        for table in location[:-1]:
            if table in known:
                known = getattr(known[table].annotation, "model_fields", MachineConfig.model_fields)
        return f"{key}: no such key{_nearest(location[-1], known)}"
    reason = str(detail["msg"]).removeprefix("Value error, ")
    return f"{key} = {detail['input']!r}: {reason[:1].lower()}{reason[1:]}"


def _nearest(name: str, known: Any) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _masked(key: str, value: Any) -> Any:
    """A URL without its password."""
    if key in SECRET_KEYS and isinstance(value, str):
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", value)
    return value
