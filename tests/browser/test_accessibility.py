"""The dashboard for those who see, hear or operate it otherwise, and for what it must not run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from bootserver import units
from bootserver.sessions.shape import BootJson, progress
from tests.browser.conftest import PHONE, Open, Shoot
from tests.browser.visits import HOSTILE, visit, whole_boot
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import RunningServer, Site, serving
from tests.fixtures.winpe import WinPeSpec, winpe_disc

pytestmark = [pytest.mark.slow, pytest.mark.interop]

PAGES = ("/", "/images", "/images/pe/inspect", "/machines", "/drivers", "/amt")
FAULTS_IMPACT = {"serious", "critical"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A server with something on every page: boots now and before, an image, a broken one."""
    site = Site(tmp_path / "site")
    site.add(packaged(MEMTEST), "memtest.iso")
    site.add(winpe_disc(WinPeSpec(remote_desktop=True)), "pe.iso")
    (site.path / "images" / "broken.iso").write_bytes(b"no disc" * 999)
    async with serving(site) as server:
        stub = await site.query("stub", "build", "memtest", "-o", str(site.path / "s.iso"))
        async with aiohttp.ClientSession() as http:
            boots = [
                await whole_boot(http, site, stub["token"], mac="52-54-00-00-00-01", serial="A 1"),
                await visit(http, site, stub["token"], mac="52-54-00-00-00-02", product=HOSTILE),
                await visit(http, site, stub["token"], mac="52-54-00-00-00-03", uuid=HOSTILE),
            ]
            await boots[0].get("image.iso")
            # This one starts over: its first boot has failed.
            again = await visit(http, site, stub["token"], mac="52-54-00-00-00-04")
            await again.get("image.iso")
            await visit(http, site, stub["token"], mac="52-54-00-00-00-04")
        await site.command("machines", "set", "serial=A1", "--image", "memtest", "--once")
        yield server


async def faults(page: Page) -> list[str]:
    """What axe-core finds that keeps a person out."""
    results = await Axe().run(page)
    return [
        f"{found['id']}: {found['help']}: {node['html'][:200]}"
        for found in results.response["violations"]
        if found["impact"] in FAULTS_IMPACT
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_serious_fault(
    server: RunningServer, open_page: Open, scheme: str
) -> None:
    page = await open_page(server, color_scheme=scheme, allow="404")
    boot = await page.get_attribute("#history tbody a", "href")
    found = {}

    for path in (*PAGES, boot, "/boots/0000"):
        await page.goto(f"http://127.0.0.1:{server.site.admin_port}{path}")
        await page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
        found[path] = await faults(page)
    for path, button, dialog in (
        ("/images", "text=Add an image", "add-dialog"),
        ("/images", "#image-memtest >> text=Edit", "edit-dialog"),
        ("/images", "#image-memtest >> text=Delete", "delete-dialog"),
        ("/images", "#image-memtest button[data-stub]", "stub-dialog"),
        ("/images/pe/inspect", "#optimize", "optimize-dialog"),
        ("/machines", "#machines >> text=Set", "set-dialog"),
        ("/drivers", "text=Add drivers", "add-dialog"),
    ):
        await page.goto(f"http://127.0.0.1:{server.site.admin_port}{path}")
        await page.click(button)
        await page.wait_for_selector(f"#{dialog}[open]")
        found[dialog] = await faults(page)

    assert {where: what for where, what in found.items() if what} == {}


async def test_axe_would_find_faults(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server)

    await page.evaluate(
        """() => {
          for (const label of document.querySelectorAll(".filter label")) {
            label.replaceWith(label.querySelector("input, select"));
          }
          document.querySelector("footer").style.color = "#ccc";
        }"""
    )

    kinds = {fault.partition(":")[0] for fault in await faults(page)}
    assert {"select-name", "color-contrast"} <= kinds


async def test_what_a_machine_says_of_itself_is_text(
    server: RunningServer, open_page: Open, shoot: Shoot
) -> None:
    page = await open_page(server)
    for path in PAGES:
        await page.goto(f"http://127.0.0.1:{server.site.admin_port}{path}")
        assert await page.evaluate("window.owned") is None
    await page.goto(f"http://127.0.0.1:{server.site.admin_port}/")
    card = page.locator("#live article", has_text="<script>")
    assert HOSTILE in await card.locator("h3").inner_text()
    await shoot(page, "hostile")

    await card.locator("h3 a").click()
    assert HOSTILE in await page.inner_text("h1")
    assert await page.evaluate("window.owned") is None
    assert await page.locator("img").count() == 0


async def test_pages_read_complete_without_scripts(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server, java_script_enabled=False)
    main = await page.inner_text("main")

    assert "JavaScript is off" in main
    assert "Script served" in main
    assert "52:54:00:00:00:04" in await page.inner_text("#history")
    await page.goto(f"http://127.0.0.1:{server.site.admin_port}/images")
    await page.click("#image-memtest summary")
    assert "memdisk starts it there" in await page.inner_text("#image-memtest")
    assert await page.locator("main button:visible").count() == 0


async def test_nothing_is_wider_than_a_phone(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server)
    boot = await page.get_attribute("#history tbody a", "href")
    await page.set_viewport_size(PHONE)
    widths = {}

    for path in (*PAGES, boot):
        await page.goto(f"http://127.0.0.1:{server.site.admin_port}{path}")
        await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        widths[path] = await page.evaluate("document.documentElement.scrollWidth")

    assert set(widths.values()) == {PHONE["width"]}


async def test_the_keyboard_reaches_everything_and_comes_back_from_dialogs(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server, "/images")
    focused = "document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"

    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "Skip to the content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "Add an image"
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#add-dialog[open]")
    await page.keyboard.press("Escape")

    assert await page.locator("dialog[open]").count() == 0
    assert await page.evaluate(focused) == "Add an image"


async def test_the_chosen_colours_stay(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server, color_scheme="light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(background)

    await page.click("#theme")
    await page.click("#theme")
    assert await page.inner_text("#theme-label") == "Colours: dark"
    dark = await page.evaluate(background)
    await page.reload()

    assert dark != light
    assert await page.evaluate(background) == dark


async def test_the_history_is_searched_filtered_and_paged(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server)

    await page.fill("input[name=q]", "52-54-00-00-00-04")
    await page.click("text=Show")
    await page.wait_for_url("**/*q=*")
    phases = await page.locator("#history .badge").all_inner_texts()
    await page.select_option("select[name=phase]", "failed")
    await page.click("form >> text=Show >> nth=0")
    await page.wait_for_url("**/*phase=failed*")
    failed = await page.locator("#history .badge").all_inner_texts()

    assert phases == ["Script served", "Failed"]
    assert failed == ["Failed"]
    assert "the machine started over" in await page.inner_text("#history")


async def test_times_are_in_the_zone_of_the_browser(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server, timezone_id="Asia/Kolkata")
    time = page.locator("#history time").first

    shown, meant = await time.inner_text(), await time.get_attribute("datetime")

    assert await page.inner_text("#zone") in ("Asia/Kolkata", "Asia/Calcutta")
    hours = f"new Date(Date.parse('{meant}') + 5.5 * 3600e3).toISOString()"
    assert shown == (await page.evaluate(hours))[:19].replace("T", " ")


async def test_scripts_and_templates_see_the_same_progress(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server)
    loaded = {"protocol": "http", "outcome": "complete", "sent_bytes": 20, "size_bytes": 20}
    root = {"protocol": "http", "outcome": "", "sent_bytes": 100, "size_bytes": 300}
    drive = root | {"protocol": "redirection"}
    boots = [
        {"phase": phase, "sent_bytes": 20, "image_bytes": 40, "transfers": transfers}
        for phase in ("fetching", "handed_off", "root_fetched", "os_up")
        for transfers in ([], [loaded], [loaded, root], [root, root], [drive])
    ]

    from_script = await page.evaluate(
        """async (boots) => boots.map((await import("/static/format.js")).progress)""", boots
    )

    assert [tuple(one) for one in from_script] == [
        progress(cast("BootJson", boot)) for boot in boots
    ]
    assert len(set(map(tuple, from_script))) == 3


async def test_scripts_and_templates_write_numbers_alike(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server)
    sizes = [0, 1, 99_999, 100_000, 6_193_152, 281_000_000, 5_000_000_000]
    seconds = [0, 0.004, 9.99, 9.995, 10, 59.9, 59.96, 61, 3599.6, 3600, 90061]

    from_script = await page.evaluate(
        """async ([sizes, seconds]) => {
          const format = await import("/static/format.js");
          return [sizes.map(format.megabytes), sizes.map(format.speed),
                  seconds.map(format.duration), seconds.map(format.clock)];
        }""",
        [sizes, seconds],
    )

    assert from_script == [
        [units.megabytes(size) for size in sizes],
        [units.speed(size) for size in sizes],
        [units.duration(time) for time in seconds],
        [units.clock(time) for time in seconds],
    ]
