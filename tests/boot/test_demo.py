"""`bootserver demo`: what a newcomer sees in a minute."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import Site

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
async def test_the_demonstration_shows_one_boot_from_beginning_to_end(
    tmp_path: Path, firmware: str
):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")

    shown = await site.command("demo", image, "--firmware", firmware, "--rate", "0")

    for line in ("the stub over the slow CD", "the image comes over HTTP", "runs from memory"):
        assert line in shown
    [(slow_mb, http_mb)] = re.findall(
        r"over the slow CD ([\d.]+) MB, over HTTP ([\d.]+) MB of \2 MB", shown
    )
    assert 0 < float(slow_mb) < 1
    assert float(http_mb) > 0
    assert re.search(r"[\d.]+ s from power-on to the hand-off", shown)
    if firmware == "bios":
        assert "Memtest86+" in shown  # on the machine's own screen


async def test_with_amt_the_machine_is_switched_on_by_it_and_reads_a_redirected_stub(
    tmp_path: Path,
):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")

    shown = await site.command("demo", image, "--amt", "--rate", "0")

    for line in ("AMT is told what to boot", "the stub over the slow CD", "runs from memory"):
        assert line in shown
    [slow_mb] = re.findall(r"over the slow CD ([\d.]+) MB, over HTTP", shown)
    assert 0.3 < float(slow_mb) < 1
    assert re.search(r"[\d.]+ s from power-on to the hand-off", shown)


async def test_an_image_that_is_not_there_is_a_sentence(tmp_path: Path):
    site = Site(tmp_path / "site")

    assert "nothing" in await site.command("demo", "nothing", expect=1)
