"""Machines with AMT in a real browser, against the fake device: the test plays the machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page

from bootserver.bench.fake_amt import (
    ConsentPolicy,
    ControlMode,
    FakeAmtDevice,
    FakeSpec,
    fake_amt,
)
from tests.browser.conftest import Open, Shoot
from tests.fixtures.amt import PASSWORD, STEP_S, play_stub, toml_of
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import RunningServer, Site, serving

pytestmark = [pytest.mark.slow, pytest.mark.interop]

# What a person would see of the card, noted at every change.
WATCH = """() => {
  window.seen = { badges: [], reads: [], bars: [] };
  const note = () => {
    const card = document.querySelector("[data-amt-boot]");
    if (!card) return;
    const add = (list, value) => list.at(-1) === value || list.push(value);
    add(window.seen.badges, card.querySelector(".badge").textContent);
    const reads = card.querySelector("[data-show=reads]");
    if (reads) add(window.seen.reads, Number(reads.textContent.replace(",", "")));
  };
  new MutationObserver(note).observe(document.getElementById("amt-boots"),
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[FakeAmtDevice]:
    """A machine that wants its user's consent."""
    spec = FakeSpec(
        tmp_path / "amt",
        control_mode=ControlMode.CLIENT,
        consent=ConsentPolicy.ALL,
        powered_on=True,
        host_name="pc-17",
    )
    async with fake_amt(spec) as device:
        yield device


@pytest.fixture
async def server(tmp_path: Path, device: FakeAmtDevice) -> AsyncIterator[RunningServer]:
    """A site that knows its AMT, and keeps no password."""
    site = Site(tmp_path / "site", extra=toml_of(device))
    site.add(packaged(MEMTEST), "memtest.iso")
    async with serving(site) as server:
        yield server


async def text_of(page: Page, selector: str, wanted: str) -> None:
    """Returns when the text is there."""
    await page.locator(selector).filter(has_text=wanted).first.wait_for(timeout=STEP_S * 1000)


async def test_a_machine_is_booted_by_clicks_with_a_password_and_a_code(
    server: RunningServer, device: FakeAmtDevice, open_page: Open, shoot: Shoot
) -> None:
    page = await open_page(server, "/amt", allow="422")
    await page.evaluate(WATCH)

    await page.click("[data-probe]")
    await text_of(page, "#ask-form .failure", "no password is kept")
    await page.fill("#ask-form [name=password]", PASSWORD)
    await page.click("#ask-form button.primary")
    await text_of(page, "#amt-hosts h3", "pc-17")
    await shoot(page, "amt-hosts")
    await page.click("#amt-hosts [data-boot-host]")
    assert await page.input_value("#amt-boot-form [name=image]") == "memtest"
    await page.check("#amt-boot-form [value=two-stage]")
    await shoot(page, "amt-boot-dialog")
    await page.click("#amt-boot-form button.primary")
    await text_of(page, "#amt-boot-form .failure", "no password is kept")
    assert await page.is_checked("#amt-boot-form [value=two-stage]")
    await page.fill("#amt-boot-form [name=password]", PASSWORD)
    await page.click("#amt-boot-form button.primary")
    await page.wait_for_selector("[data-consent]")
    assert await page.evaluate("document.activeElement.name") == "code"
    await shoot(page, "amt-consent")
    await page.keyboard.type(device.state.consent.shown_code)
    await page.keyboard.press("Enter")
    await text_of(page, "[data-amt-boot] .badge", "Booting")
    async with aiohttp.ClientSession() as http:
        boot_url = f"http://127.0.0.1:{server.site.boot_port}"
        handing_over = await play_stub(http, boot_url, device, hand_off=False)
        await text_of(page, "[data-amt-boot] .sentence", "the image comes over HTTP")
        await text_of(page, "[data-amt-boot] [data-show=sent]", "6.2 MB")
        await shoot(page, "amt-booting")
        async with http.get(handing_over) as answer:
            assert answer.status == 200
    await text_of(page, "[data-amt-boot] .badge", "Done")
    seen = await page.evaluate("window.seen")
    await shoot(page, "amt-done")
    await page.click("[data-amt-boot] .bound a")
    await page.wait_for_selector("#boot")
    rows = await page.locator(".waterfall tbody th").all_inner_texts()

    assert seen["badges"][-2:] == ["Booting", "Done"]
    assert "Consent needed" in seen["badges"]
    assert len(seen["reads"]) >= 2
    assert all(earlier < later for earlier, later in pairwise(seen["reads"]))
    assert rows[:3] == ["Stub built", "Stub attached", "Powered on"]
    assert device.violations == []


async def test_the_console_shows_what_the_machine_prints_and_takes_keys(
    server: RunningServer, device: FakeAmtDevice, open_page: Open, shoot: Shoot
) -> None:
    page = await open_page(server, f"/amt/{device.host}/console")

    await text_of(page, "#ended", "no password is kept")
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await page.wait_for_selector("#console-consent:not([hidden])")
    await page.keyboard.type(device.state.consent.shown_code)
    await page.keyboard.press("Enter")
    await text_of(page, "#line-state", "connected")
    device.print_serial(
        b"\x1b[2J\x1b[HiPXE 1.21.1 -- Open Source Network Boot Firmware\r\n"
        b"\x1b[32mnet0\x1b[0m: 52:54:00:12:34:56 on 0000:00:1f.6\r\n\x1b[44;97m menu \x1b[0m"
    )
    await text_of(page, "#screen", "Open Source Network Boot Firmware")
    await page.click("#screen")
    await page.keyboard.type("dhcp \N{LATIN SMALL LETTER U WITH DIAERESIS}")
    for key in ("Enter", "ArrowUp", "F2", "Control+b", "Tab"):
        await page.keyboard.press(key)
    await device.wait_until(lambda: device.typed.endswith(b"\t"))
    device.print_serial(b"\r\n" * 30 + b"\x1b[31mno DHCP answer\x1b[0m\r\n")
    await text_of(page, "#spoken", "no DHCP answer")
    await shoot(page, "console")
    green = await page.locator("#scrolled .f2, #screen .f2").first.inner_text()
    await page.select_option("#keyboard", "vt100+")
    await page.click("[data-send=F10]")
    await device.wait_until(lambda: device.typed.endswith(b"\x1b0"))
    await page.focus("#keys")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")

    assert bytes(device.typed) == b"dhcp \xc3\xbc\r\x1b[A\x1bOQ\x02\t\x1b0\x1b"
    assert green == "net0"
    assert await page.evaluate("document.activeElement.id") == "terminal"
    assert "PASSWORD" not in page.url


async def test_a_line_that_ends_says_why_and_is_opened_again(
    server: RunningServer, device: FakeAmtDevice, open_page: Open
) -> None:
    page = await open_page(server, f"/amt/{device.host}/console")
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await page.wait_for_selector("#console-consent:not([hidden])")
    await page.keyboard.type(device.state.consent.shown_code)
    await page.keyboard.press("Enter")
    await text_of(page, "#line-state", "connected")

    device.hang_up()
    await page.wait_for_selector("#ended:not([hidden])")
    why = await page.inner_text("#ended-why")
    await page.click("#connect")
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await text_of(page, "#line-state", "connected")

    assert why
