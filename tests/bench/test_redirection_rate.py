"""The benchmark of redirected drives runs, whatever the figures are."""

from __future__ import annotations

import shutil

import pytest

from tests.bench import redirection_rate


@pytest.mark.slow
async def test_the_benchmark_reads_through_our_console(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(redirection_rate, "LINES", ((0.0, 3), (0.001, 2)))

    await redirection_rate.compare(rounds=1)

    told = capsys.readouterr().out
    assert "MeshCentral's console is not measured" in told
    assert "| ours, image in memory |" in told
    assert "| ours, image on disk |" in told
