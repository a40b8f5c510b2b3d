"""What a demonstration shows, without a machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bootserver.bench import demo
from bootserver.bench.cases import BootWay, Case
from bootserver.bench.site import lay_out_site
from bootserver.config import Config
from bootserver.model import BootPhase, Firmware


@pytest.mark.parametrize(
    ("told", "shown"),
    [("AMT refuses", "AMT refuses"), ("", "nothing has come to the machine for 0 s")],
    ids=["a reason", "silence"],
)
async def test_a_boot_without_a_session_ends_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, shown: str
):
    case = Case(
        name="demo",
        image="disc.iso",
        firmware=Firmware.BIOS,
        way=BootWay.TWO_STAGE,
        phase=BootPhase.HANDED_OFF,
    )
    site = lay_out_site(tmp_path / "site", case, tmp_path / "disc.iso", Config())
    (site.path / "var").mkdir()
    monkeypatch.setattr(demo, "STILL_S", 0.0)

    async def no_bytes() -> int:
        return 0

    async def error() -> str:
        return told

    stage = demo._Stage(lambda: None, no_bytes, datetime.now(UTC), "", error)
    views = [view async for view in demo._views(site, stage)]

    assert [view.error for view in views] == [shown]
