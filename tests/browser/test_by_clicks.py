"""What people do with the dashboard: stubs, images and profiles, by clicks in a real browser."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.browser.conftest import Open, Shoot
from tests.browser.visits import whole_boot
from tests.fixtures.drivers import driver_files, write_folder, zipped
from tests.fixtures.packaged import GRUB, MEMTEST, packaged
from tests.fixtures.server import RunningServer, Site, serving
from tests.fixtures.winpe import winpe_disc

LONG_MS = 180_000  # for what a busy machine reads or writes

pytestmark = [pytest.mark.slow, pytest.mark.interop]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    site = Site(tmp_path / "site")
    site.add(packaged(MEMTEST), "memtest.iso")
    async with serving(site) as server:
        yield server


async def test_a_stub_is_built_and_downloaded(
    server: RunningServer, open_page: Open, shoot: Shoot, tmp_path: Path
) -> None:
    page = await open_page(server, "/images")

    await page.click("#image-memtest button[data-stub]")
    async with page.expect_download() as downloading:
        await page.click("text=Build and download")
    download = await downloading.value
    await download.save_as(tmp_path / "clicked.iso")
    await page.wait_for_selector("#built a")
    await shoot(page, "stub")

    built = await server.site.build_stub("memtest")
    assert download.suggested_filename == "memtest.stub.iso"
    assert (tmp_path / "clicked.iso").read_bytes() == built.read_bytes()


async def test_a_stub_with_an_address_of_its_own_is_the_same_as_the_command_builds(
    server: RunningServer, open_page: Open, tmp_path: Path
) -> None:
    page = await open_page(server, "/images")

    await page.click("#image-memtest button[data-stub]")
    await page.check("input[value=img]")
    await page.click("#stub-dialog summary")
    await page.fill("input[name=static_ip]", "192.0.2.9/24")
    await page.fill("input[name=gateway]", "192.0.2.1")
    await page.fill("input[name=mac]", "52-54-00-12-34-57")
    await page.fill("input[name=vlan]", "7")
    assert "192.0.2.9/24, on 52-54-00-12-34-57, VLAN 7" in await page.inner_text("#network-summary")
    async with page.expect_download() as downloading:
        await page.click("text=Build and download")
    await (await downloading.value).save_as(tmp_path / "clicked.img")

    network = "--static-ip 192.0.2.9/24 --gateway 192.0.2.1 --mac 52-54-00-12-34-57 --vlan 7"
    built = await server.site.build_stub("memtest", "--format", "img", *network.split())
    assert (tmp_path / "clicked.img").read_bytes() == built.read_bytes()


async def test_what_cannot_be_built_is_said_in_the_dialog(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server, "/images", allow="422")

    await page.click("#image-memtest button[data-stub]")
    await page.click("#stub-dialog summary")
    await page.fill("input[name=static_ip]", "192.0.2.9")
    await page.click("text=Build and download")

    failure = page.locator("#stub-form .failure")
    await failure.filter(has_text="lacks its prefix length").wait_for()
    assert await page.locator("#stub-dialog[open]").count() == 1


async def test_drivers_are_added_found_and_deleted(
    server: RunningServer, open_page: Open, shoot: Shoot, tmp_path: Path
) -> None:
    page = await open_page(server, "/drivers")

    await page.click("text=Add drivers")
    await page.set_input_files("input[name=file]", zipped(tmp_path / "nic.zip", driver_files()))
    await page.click("#add-form button.primary")
    await page.wait_for_selector("#drivers tbody tr")
    await page.fill("input[name=device]", "8086:15bc")
    await page.click("text=Find its driver")
    await page.locator("#found").filter(has_text="nic.cat").wait_for()
    await shoot(page, "drivers")
    await page.click("#drivers button[data-delete]")
    await page.click("#delete-form button.danger")
    await page.locator("#drivers").filter(has_text="No drivers yet").wait_for()

    assert not list((server.site.path / "drivers").iterdir())


async def test_a_new_image_of_windows_pe_is_looked_at_and_made(
    server: RunningServer, open_page: Open, shoot: Shoot
) -> None:
    site = server.site
    write_folder(site.path / "drivers" / "nic", driver_files())
    page = await open_page(server, "/images")
    site.add(winpe_disc(), "pe.iso")
    await page.wait_for_selector("#image-pe details", timeout=LONG_MS)
    await page.goto(f"http://127.0.0.1:{site.admin_port}/images/pe/inspect")

    await page.click("#optimize")
    await page.fill("input[name=nics]", "8086:15bc")
    await page.check("input[name=drop_wifi]")
    await page.fill("textarea[name=run]", "start X:\\menu.exe")
    await page.click("#look")
    await page.locator("#preview").filter(has_text="Drivers put in: nic.inf 1.2.3.4").wait_for()
    assert "netwtw08.inf" in await page.inner_text("#preview")
    await shoot(page, "optimize")
    await page.click("#optimize-form button.primary")
    await page.wait_for_selector("#image-pe-optimized details", timeout=LONG_MS)

    assert {i["id"] for i in await site.query("images", "list")} > {"pe", "pe-optimized"}


async def test_a_new_image_that_cannot_be_made_is_refused_in_the_dialog(
    server: RunningServer, open_page: Open
) -> None:
    page = await open_page(server, "/images", allow="404")
    server.site.add(winpe_disc(), "pe.iso")
    await page.wait_for_selector("#image-pe details", timeout=LONG_MS)
    await page.goto(f"http://127.0.0.1:{server.site.admin_port}/images/pe/inspect")

    await page.click("#optimize")
    await page.fill("input[name=nics]", "8086:15bc")
    for button in ("#look", "#optimize-form button.primary"):
        await page.click(button)
        failure = page.locator("#optimize-form .failure")
        await failure.filter(has_text="no driver in the library is for").wait_for()


async def test_an_image_is_added_by_upload(
    server: RunningServer, open_page: Open, shoot: Shoot
) -> None:
    page = await open_page(server, "/images")

    await page.click("text=Add an image")
    await page.set_input_files("input[name=file]", packaged(GRUB))
    await page.fill("input[name=name]", "rescue")
    await shoot(page, "add")
    await page.click("#add-form button.primary")
    await page.wait_for_selector("#image-rescue details")
    await page.click("#image-rescue summary")
    told = await page.inner_text("#image-rescue .explained")
    await shoot(page, "images")

    digest = hashlib.sha256(packaged(GRUB).read_bytes()).hexdigest()
    assert digest in told
    [image] = [i for i in await server.site.query("images", "list") if i["id"] == "rescue"]
    assert image["sha256"] == digest


async def test_an_image_is_added_by_url(server: RunningServer, open_page: Open) -> None:
    app = web.Application()
    app.add_routes([web.static("/", packaged(GRUB).parent)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    port = runner.addresses[0][1]
    page = await open_page(server, "/images")

    await page.click("text=Add an image")
    await page.check("input[value=url]")
    await page.fill("input[name=url]", f"http://127.0.0.1:{port}/{GRUB}")
    await page.click("#add-form button.primary")
    image = GRUB.removesuffix(".iso")
    await page.wait_for_selector(f"#image-{image} details")
    await page.click("text=Add an image")
    await page.check("input[value=url]")
    await page.fill("input[name=url]", f"http://127.0.0.1:{port}/nothing.iso")
    await page.click("#add-form button.primary")
    await page.wait_for_selector("#jobs >> text=404")
    await runner.cleanup()

    stored = server.site.path / "images" / GRUB
    assert stored.read_bytes() == packaged(GRUB).read_bytes()


async def test_an_image_is_edited_and_deleted(server: RunningServer, open_page: Open) -> None:
    page = await open_page(server, "/images")

    await page.click("#image-memtest >> text=Edit")
    await page.fill("#edit-form input[name=title]", "The <b>memory</b> test")
    await page.click("#edit-form button.primary")
    await page.wait_for_selector("#image-memtest .what:has-text('The <b>memory</b> test')")
    sidecar = server.site.path / "images" / "memtest.toml"
    assert "The <b>memory</b> test" in sidecar.read_text()

    await page.click("#image-memtest >> text=Delete")
    assert await page.evaluate("document.activeElement.textContent") == "Keep it"
    await page.keyboard.press("Enter")
    assert await page.locator("#image-memtest").count() == 1

    await page.click("#image-memtest >> text=Delete")
    await page.click("#delete-form button.danger")
    await page.wait_for_selector("#images .empty")
    await page.wait_for_selector("dialog[open]", state="detached")
    assert await page.evaluate("document.activeElement.id") == "main"  # its button is gone
    assert not sidecar.exists()
    assert not (server.site.path / "images" / "memtest.iso").exists()


async def test_what_a_machine_boots_next_is_set_changed_and_forgotten(
    server: RunningServer, open_page: Open, shoot: Shoot
) -> None:
    site = server.site
    token = (await site.query("stub", "build", "memtest", "-o", str(site.path / "s.iso")))["token"]
    async with aiohttp.ClientSession() as http:
        await whole_boot(http, site, token, product="Box", serial="SN42")
    page = await open_page(server, "/machines")

    async def set_arguments(arguments: str) -> None:
        await page.click("#machines >> text=Set")
        assert await page.input_value("#set-form input[name=value]") == "52:54:00:12:34:56"
        await page.select_option("#set-form select[name=image]", "memtest")
        await page.fill("#set-form input[name=arguments]", arguments)
        await page.click("#set-form button.primary")
        await page.wait_for_selector(f"#profiles code:text-is('{arguments}')")

    async def told() -> list[tuple[str, str, str, str]]:
        lines = await site.query("machines", "list")
        return [(m["kind"], m["mac"], m["image"], m["arguments"]) for m in lines[:-1]]

    await set_arguments("quiet")
    assert await told() == [("once", "52:54:00:12:34:56", "memtest", "quiet")]
    await set_arguments("single")
    assert await told() == [("once", "52:54:00:12:34:56", "memtest", "single")]
    await shoot(page, "machines")
    await page.click("#profiles >> text=Forget")
    await page.wait_for_selector("#profiles button", state="detached")
    assert await told() == []
