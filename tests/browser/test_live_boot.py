"""While a QEMU machine boots, the dashboard shows it: progress that moves, phases that complete."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import Page

from bootserver.bench.qemu import launch
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.browser.conftest import Open, Shoot
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, packaged
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

IMAGE_BYTES = 300 << 20  # so that there is something to watch

# What a person would see of the card, noted at every change.
WATCH = """() => {
  window.seen = { progress: [], badges: [] };
  const note = () => {
    const card = document.querySelector("#live [data-boot]");
    if (!card) return;
    const add = (list, value) => list.at(-1) === value || list.push(value);
    add(window.seen.progress, card.querySelector("progress").value);
    add(window.seen.badges, card.querySelector(".badge").textContent);
  };
  new MutationObserver(note).observe(document.getElementById("live"),
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""


async def until(page: Page, expression: str) -> None:
    """Waits until that is true; wait_for_function evals in the page, which its policy forbids."""
    async with asyncio.timeout(BOOT_S):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


async def test_a_machine_is_seen_booting(tmp_path: Path, open_page: Open, shoot: Shoot) -> None:
    site = Site(tmp_path / "site")
    large = site.path / "images" / "large.iso"
    large.write_bytes(packaged(MEMTEST).read_bytes())
    with large.open("r+b") as file:
        file.truncate(IMAGE_BYTES)
    stub = await site.build_stub("large")
    spec = QemuSpec(
        Firmware.BIOS, cdrom=stub, serial="SN 42", manufacturer="ACME", product="<b>Box & One"
    )
    async with serving(site) as server:
        page = await open_page(server)
        await page.evaluate(WATCH)
        async with launch(spec, tmp_path / "qemu") as machine:
            await page.wait_for_selector("#live .badge:has-text('Fetching')", timeout=BOOT_S * 1000)
            await until(page, "document.querySelector('#live progress').value > 25")
            await shoot(page, "booting")
            await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)
            await page.wait_for_selector("#live .badge:has-text('Handed off')")
            await until(page, "document.querySelector('#live progress').value === 100")
        boot = await boot_record(site, "handed_off")
        seen = await page.evaluate("window.seen")
        rows = await page.locator("#live .waterfall tbody th").all_inner_texts()
        name = await page.inner_text("#live h3")
        await page.click("#live h3 a")
        await page.wait_for_selector("#boot")
        transfers = await page.locator(".transfers tbody th").all_inner_texts()
        took = await page.locator(".waterfall tr.p-fetching .took").inner_text()
        await shoot(page, "boot")

    between = [value for value in seen["progress"] if 0 < value < 100]
    assert len(between) >= 3
    assert all(earlier <= later for earlier, later in pairwise(seen["progress"]))
    assert "Fetching" in seen["badges"]
    assert seen["badges"][-1] == "Handed off"
    assert rows == ["Stub called", "Script served", "Fetching", "Fetched", "Handed off"]
    assert name == "ACME <b>Box & One"
    assert "image.iso" in [Path(transfer).name for transfer in transfers]
    fetching = next(p for p in boot["phases"] if p["phase"] == "fetched")["seconds"]
    assert float(took.split()[0]) == pytest.approx(fetching, abs=0.06)


async def test_a_server_that_goes_away_is_told_and_found_again(
    tmp_path: Path, open_page: Open
) -> None:
    site = Site(tmp_path / "site")
    async with serving(site) as server:
        page = await open_page(server, allow="Failed to load")
    await page.wait_for_selector("text=Connection lost")
    async with serving(site):
        await page.wait_for_selector("#link-state[data-state=on]", timeout=30_000)
        assert await page.inner_text("#link-label") == "Live"
