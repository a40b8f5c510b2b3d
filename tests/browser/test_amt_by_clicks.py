"""Machines with AMT in a real browser, against the fake device: the test plays the machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    fake_amt,
)
from tests.browser.conftest import PHONE, Open, Shoot
from tests.browser.test_accessibility import faults
from tests.fixtures.amt import PASSWORD, STEP_S, attended_spec, play_stub, toml_of
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
    async with fake_amt(attended_spec(tmp_path / "amt", host_name="pc-17")) as device:
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
    await text_of(page, "#line-state", "Connected")
    device.print_serial(
        b"\x1b[2J\x1b[HiPXE 1.21.1 -- Open Source Network Boot Firmware\r\n"
        b"\x1b[32mnet0\x1b[0m: 52:54:00:12:34:56 on 0000:00:1f.6\r\n\r\n"
        b"\x1b[34;47m\xda\xc4\xc4\xc4\xc4\xc4\xc4\xc4\xc4\xbf\r\n\xb3  Setup \xb3\r\n"
        b"\xc0\xc4\xc4\xc4\xc4\xc4\xc4\xc4\xc4\xd9\r\n\x1b[0m\x1b[44;97m F10 saves \x1b[0m\r\n"
        + b"".join(b"\x1b[%dmink %d \x1b[0m" % (n, n) for n in (*range(30, 38), *range(90, 98)))
        + b"\r\n"
        + b"".join(b"\x1b[%dm on %d \x1b[0m" % (n, n) for n in (*range(40, 48), *range(100, 108)))
        + b"\r\n\x1b[7mreverse\x1b[0m \x1b[1mbold \x1b[4munderlined\x1b[0m\r\niPXE> "
    )
    await text_of(page, "#screen", "Open Source Network Boot Firmware")
    await page.click("#screen")
    await page.keyboard.type("dhcp \N{LATIN SMALL LETTER U WITH DIAERESIS}")
    for key in ("Enter", "ArrowUp", "F2", "Control+b", "Tab"):
        await page.keyboard.press(key)
    await device.wait_until(lambda: device.typed.endswith(b"\t"))
    await shoot(page, "console")
    device.print_serial(b"\r\n" * 30 + b"\x1b[31mno DHCP answer\x1b[0m\r\n")
    await text_of(page, "#spoken", "no DHCP answer")
    green = await page.locator("#scrolled .f2, #screen .f2").first.inner_text()
    await page.select_option("#keyboard", "vt100+")
    await page.click("[data-send=F10]")
    await device.wait_until(lambda: device.typed.endswith(b"\x1b0"))
    await page.focus("#keys")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await device.wait_until(lambda: device.typed.endswith(b"\x1b"))

    assert bytes(device.typed) == b"dhcp \xc3\xbc\r\x1b[A\x1bOQ\x02\t\x1b0\x1b"
    assert green == "net0"
    assert await page.evaluate("document.activeElement.id") == "terminal"
    assert PASSWORD not in page.url


async def test_a_line_that_ends_says_why_and_is_opened_again(
    server: RunningServer, device: FakeAmtDevice, open_page: Open
) -> None:
    page = await open_page(server, f"/amt/{device.host}/console")
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await page.wait_for_selector("#console-consent:not([hidden])")
    await page.keyboard.type(device.state.consent.shown_code)
    await page.keyboard.press("Enter")
    await text_of(page, "#line-state", "Connected")

    device.hang_up()
    await page.wait_for_selector("#ended:not([hidden])")
    why = await page.inner_text("#ended-why")
    await page.click("#connect")
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await text_of(page, "#line-state", "Connected")

    assert why


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault(
    server: RunningServer, device: FakeAmtDevice, open_page: Open, scheme: str
) -> None:
    page = await open_page(server, "/amt", color_scheme=scheme, allow="4[02]")
    base, found = page.url.removesuffix("/amt"), {"not asked yet": await faults(page)}
    order = {"image": "memtest", "method": "two-stage", "password": PASSWORD}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{base}/api/v1/machines/{device.host}/boot", json=order) as answer,
    ):
        assert answer.status == 202
    await page.wait_for_selector("[data-consent]")
    await page.wait_for_selector("#amt-hosts .pw-on")

    await page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
    found["booting"] = await faults(page)
    for button, dialog in (
        ("#amt-hosts [data-boot-host]", "amt-boot"),
        ("[data-ask]", "ask"),
        ("[data-power]", "power"),
        ("[data-kvm]", "kvm"),
        ("[data-forget]", "forget"),
    ):
        await page.click(button)
        await page.evaluate(
            "document.querySelectorAll('dialog details').forEach(d => d.open = true)"
        )
        found[dialog] = await faults(page)
        await page.keyboard.press("Escape")
    await page.click("[data-stop]")
    await text_of(page, "[data-amt-boot] .badge", "Given up")
    found["given up"] = await faults(page)
    await page.goto(f"{base}/amt/{device.host}/console")
    await page.wait_for_selector("#console-login:not([hidden])")
    found["no password"] = await faults(page)
    await page.fill("#console-login [name=password]", PASSWORD)
    await page.click("#console-login button.primary")
    await page.wait_for_selector("#console-consent:not([hidden])")
    await page.keyboard.type(device.state.consent.shown_code)
    await page.keyboard.press("Enter")
    await text_of(page, "#line-state", "Connected")
    colours = [b"\x1b[%d;%dmX\x1b[0m" % (ink, 40) for ink in (*range(31, 38), *range(90, 98))]
    device.print_serial(b"".join(colours) + b"\x1b[37;44mon blue\x1b[0m\x1b[7mreverse\x1b[0m")
    await text_of(page, "#screen", "reverse")
    found["console"] = await faults(page)

    assert {where: what for where, what in found.items() if what} == {}


async def test_nothing_is_wider_than_a_phone(
    server: RunningServer, device: FakeAmtDevice, open_page: Open
) -> None:
    page = await open_page(server, "/amt")
    await page.set_viewport_size(PHONE)
    too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

    hosts = await page.evaluate(too_wide)
    await page.goto(f"{page.url}/{device.host}/console")
    await page.wait_for_selector("#console-login:not([hidden])")
    console = await page.evaluate(too_wide)

    assert (hosts, console) == (False, False)


async def test_a_system_is_cut_off_only_by_who_is_sure(
    server: RunningServer, device: FakeAmtDevice, open_page: Open, shoot: Shoot
) -> None:
    page = await open_page(server, "/amt")

    await page.click("[data-power]")
    await page.check("#power-form [value=reset]")
    await page.click("#power-form summary")
    await page.fill("#power-form [name=password]", PASSWORD)
    await page.click("#power-form button.primary")
    await page.wait_for_selector("#power-sure:not([hidden])")
    asked_before = list(device.asked)
    await shoot(page, "amt-power")
    await page.check("#power-form [value=on]")
    assert await page.is_hidden("#power-sure")
    await page.check("#power-form [value=reset]")
    await page.click("#power-form button.primary")
    await page.click("#power-form button.danger")
    await page.wait_for_selector("dialog[open]", state="detached")

    assert asked_before == []
    assert "RequestPowerStateChange" in device.asked


async def test_a_machine_is_added_and_forgotten(
    server: RunningServer, device: FakeAmtDevice, open_page: Open
) -> None:
    page = await open_page(server, "/amt", allow="502")

    await page.click("text=Add a machine")
    await page.fill("#ask-form [name=host]", device.host)
    await page.fill("#ask-form [name=password]", PASSWORD)
    await page.select_option("#ask-form [name=tls]", "tls")
    await page.click("#ask-form button.primary")
    await text_of(page, "#ask-form .failure", "TLS")
    await page.select_option("#ask-form [name=tls]", "plain")
    await page.click("#ask-form button.primary")
    await text_of(page, "#amt-hosts .what", "AMT 15.0.47")
    await page.click("#amt-hosts summary")
    await page.click("[data-kvm]")
    await page.fill("#kvm-form [name=rfb_password]", "P@ssw0rd")
    await page.click("#kvm-form summary")
    await page.fill("#kvm-form [name=password]", PASSWORD)
    await page.click("#kvm-form button.primary")
    await text_of(page, "#kvm-built", f"The screen is at {device.host}:")
    await page.keyboard.press("Escape")
    await page.click("[data-forget]")
    await page.click("#forget-form button.danger")
    await text_of(page, "#amt-hosts .badge", "Not asked yet")

    assert device.state.kvm_enabled
