"""Chromium, as Debian packages it, without a screen; screenshots stay in tests/artifacts."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.fixtures.server import RunningServer

ARTIFACTS = Path(__file__).parents[1] / "artifacts" / "dashboard"
DESK: ViewportSize = {"width": 1360, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 780}
LOOKS: list[tuple[Literal["light", "dark"], ViewportSize]] = [
    ("light", DESK),
    ("dark", DESK),
    ("light", PHONE),
]

Open = Callable[..., Awaitable[Page]]
Shoot = Callable[[Page, str], Awaitable[None]]


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    program = shutil.which("chromium")
    assert program, "chromium is missing; run: make setup-test"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox"],  # root has none in a container
        )
        yield browser
        await browser.close()


@pytest.fixture
async def open_page(chromium: Browser) -> AsyncIterator[Open]:
    """`page = await open_page(server, "/images")`; what a page complains of fails the test.

    That covers what the Content-Security-Policy refused. `allow` is for complaints that the test
    provokes.
    """
    complaints: list[str] = []

    async def open_it(
        server: RunningServer, path: str = "/", *, allow: str = "", **options: Any
    ) -> Page:
        context = await chromium.new_context(viewport=DESK, **options)
        page = await context.new_page()

        def note(text: str) -> None:
            ends = "net::ERR_" in text  # the server's end, with the page still open
            if not ends and not (allow and re.search(allow, text)):
                complaints.append(text)

        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        await page.goto(f"http://127.0.0.1:{server.site.admin_port}{path}")
        if options.get("java_script_enabled", True):
            await page.wait_for_selector("#link-state[data-state=on]")
        return page

    yield open_it

    assert complaints == []


@pytest.fixture
def shoot() -> Shoot:
    """Keeps screenshots of the page: light, dark, and as wide as a phone."""

    async def shoot_it(page: Page, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        for scheme, size in LOOKS:
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size(size)
            kind = "phone" if size is PHONE else scheme
            await page.screenshot(path=ARTIFACTS / f"{name}-{kind}.png", full_page=True)
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(DESK)

    return shoot_it
