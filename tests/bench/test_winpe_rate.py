"""The benchmark of Windows PE discs runs, whatever the figures are."""

from __future__ import annotations

import pytest

from tests.bench import winpe_rate


async def test_the_benchmark_measures_a_copy_and_both_ways(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(winpe_rate, "LARGE_FILES", 1)
    monkeypatch.setattr(winpe_rate, "SMALL_FILES", 1)
    monkeypatch.setattr(winpe_rate, "DRIVERS", 2)

    await winpe_rate.compare(rounds=1)

    told = capsys.readouterr().out
    assert "| a plain copy |" in told
    assert "| prepared in memory |" in told
    assert "| a new image |" in told
