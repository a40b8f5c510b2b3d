"""Fixtures for adding and listing images."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.images import download as download_module
from tests.fixtures.isos import make_iso
from tests.images.mirror import Mirror, serving


@pytest.fixture(autouse=True)
def _quick_and_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits, and no proxy between a test and its server."""
    monkeypatch.setattr(download_module, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ISO of a little more than a megabyte."""
    path = tmp_path_factory.mktemp("content") / "a.iso"
    return make_iso(path, {"random": os.urandom(1_000_000)}, bios=True).read_bytes()


@pytest.fixture
async def mirror(directory: Path, content: bytes) -> AsyncIterator[Mirror]:
    mirror = Mirror(content, part=directory / ".rescue.iso.part")
    async with serving(mirror.handle) as address:
        mirror.url = f"{address}/pub/rescue.iso"
        yield mirror
