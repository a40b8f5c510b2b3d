"""Fixtures for devices that the tests play."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bootserver.amt.control import power


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two self-made certificates for 127.0.0.1, each its own CA."""

    def make(name: str) -> Path:
        path = tmp_path_factory.mktemp("tls") / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", path.with_suffix(".key"), "-out", path],
            check=True, capture_output=True,
        )  # fmt: skip
        return path

    return make("one"), make("two")


@pytest.fixture(autouse=True)
def _machines_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake machine is ready as soon as it says so."""
    monkeypatch.setattr(power, "SETTLE_S", 0.0)
    monkeypatch.setattr(power, "ON_LOOK_S", 0.01)
