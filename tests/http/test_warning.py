"""A machine whose network card a Windows PE has no driver for is told before it boots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bootserver.boot.machine_query import parse_machine
from bootserver.config import Config
from bootserver.images import prepared
from bootserver.images.decide import Site
from bootserver.images.explain import explain
from bootserver.images.prepared import PreparedDiscs
from bootserver.images.winpe import keep_looking_into
from bootserver.windows.drivers import DriverLibrary
from tests.fixtures.admin import EVENT_S, Admin, running_admin
from tests.fixtures.boots import QUERY
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import INTEL, WinPeSpec, winpe_disc

SERVED, NOT_SERVED = "525400000001.01808615b7..", "525400000002.0110ec8168.."
SENTENCE = "its Windows PE has no driver for this machine's network (Realtek 10ec:8168)"


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    images = config.images.path
    (images / "pe.iso").hardlink_to(winpe_disc(WinPeSpec(drivers=(INTEL,))))
    make_iso(images / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


@pytest.fixture
async def looked(admin: Admin) -> AsyncIterator[Admin]:
    """The same, once the server has looked into its discs."""
    services = admin.services
    looking = asyncio.create_task(keep_looking_into(services.library, services.winpe))
    async with asyncio.timeout(EVENT_S):
        while services.winpe.known(services.library.get("pe").content) is None:
            await asyncio.sleep(0.02)
    yield admin
    looking.cancel()


async def booted(admin: Admin, nics: str, image: str = "pe") -> tuple[str, str]:
    """The script of a machine with these cards, and the warning in its boot."""
    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": image})
    url = f"{admin.boot_url}/b/{stub['token']}/boot.ipxe"
    async with admin.http.get(url, params=QUERY | {"nics": nics}) as answer:
        script = await answer.text()
    await admin.ledger.flush()
    [boot] = (await admin.ask("/boots"))["boots"]
    return script, boot["warning"]


async def test_machine_without_a_driver_is_warned_and_goes_on(looked: Admin):
    script, warning = await booted(looked, NOT_SERVED)

    assert warning == SENTENCE
    before, _, after = script.partition(":fetch\n")
    assert f"echo bootserver: {SENTENCE[:40]}" in before
    assert "\nprompt --timeout 10000 bootserver: going on in 10 s, or at a key ||\n" in before
    assert "image.iso" in after


@pytest.mark.parametrize(
    "nics",
    [SERVED, f"{NOT_SERVED}_{SERVED}", ""],
    ids=["served", "one of two served", "no card told"],
)
async def test_machine_that_may_have_a_network_is_not_warned(looked: Admin, nics: str):
    script, warning = await booted(looked, nics)

    assert warning == ""
    assert "prompt --timeout" not in script.partition(":fetch\n")[0]


async def test_other_images_have_no_warning(looked: Admin):
    assert (await booted(looked, NOT_SERVED, "rescue"))[1] == ""


async def test_disc_that_was_not_looked_into_yet_is_looked_into_now(admin: Admin):
    assert (await booted(admin, NOT_SERVED))[1] == SENTENCE


async def test_disc_that_takes_long_to_look_into_boots_all_the_same(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prepared, "LOOK_S", 0)
    with capture_logs() as logs:
        script, warning = await booted(admin, NOT_SERVED)

    assert warning == ""
    assert "image.iso" in script
    [line] = [line for line in logs if line["event"] == "image.not_looked_into"]
    assert (line["file"], line["reason"]) == ("pe.iso", "it takes too long")


async def test_it_is_said_beforehand_of_a_known_machine(looked: Admin):
    services = looked.services
    image = services.library.get("pe")
    machine = parse_machine({"nics": NOT_SERVED})

    discs = PreparedDiscs(DriverLibrary.of(services.config), services.winpe)
    outlook = await discs.outlook(image, machine, services.config.boot.prepare)
    explanation = explain(image, Site.of(services.config), machine, outlook)

    assert f"Beware: {SENTENCE}." in explanation.lines()


async def test_page_of_the_boot_shows_the_warning(looked: Admin):
    await booted(looked, NOT_SERVED)
    [boot] = (await looked.ask("/boots"))["boots"]

    _, _, page = await looked.raw(f"{looked.url}/boots/{boot['id']}")

    assert b"<b>Beware.</b> its Windows PE has no driver" in page
