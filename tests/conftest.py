"""Fixtures that every part uses."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from bootserver.config import Config
from bootserver.configfile import CONFIG_VARIABLE, load_config

# No test asserts how long something takes, and Hypothesis is no exception.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# As the server has it: rich's tracebacks would hold a test's event loop up for seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Stand-ins of odd sizes: what is decided about loaders must not depend on what is in them.
STAND_INS = {
    "isolinux.bin": b"ISOLINUX" * 700,
    "ldlinux.c32": b"LDLINUX" * 1001,
    "isohdpfx.bin": b"M" * 432,
    "ipxe.lkrn": b"iPXE" * 5003,
    "undionly.kpxe": b"UNDI" * 1009,
    "ipxe-amd64.efi": b"MZ-amd64" * 3001,
    "ipxe-arm64.efi": b"MZ-arm64" * 3001,
    "snponly.efi": b"MZ-snp" * 1003,
    "efi-loader.efi": b"MZ-loader" * 97,
    "ramdisk.efi": b"MZ-ramdisk" * 101,
    "memdisk": b"MEMDISK" * 999,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-boots",
        action="store_true",
        help="run only the tests that prove boots, and write what they prove into booted.json",
    )


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BOOTSERVER_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that runs in a test's own process configures the logging of those after it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: it is bound, so that no other program gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a config.toml, stand-in loaders and an empty library."""
    (tmp_path / "config.toml").write_text(
        '[server]\naddress = "127.0.0.1"\nboot_port = 0\nadmin_port = 0\n'
        'url = "http://192.0.2.1:8080"\n[tftp]\nport = 6969\n'
    )
    build = tmp_path / "stub" / "build"
    build.mkdir(parents=True)
    for name, data in STAND_INS.items():
        (build / name).write_bytes(data)
    (tmp_path / "images").mkdir()
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config.toml"))
    return tmp_path


@pytest.fixture
def config(site: Path) -> Config:
    """The configuration of `site`."""
    return load_config(site / "config.toml")
