"""What is in a disc of Windows PE: over the API, and on its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.http.api.problems import PROBLEM_TYPE
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import INTEL, FakeDriver, WinPeSpec, winpe_disc

HOSTILE = FakeDriver("b57nd60a", "<script>alert(1)</script>", ("PCI\\VEN_14E4&DEV_1677",))


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    images = config.images.path
    (images / "windows").mkdir()
    (images / "windows" / "sert.iso").hardlink_to(winpe_disc(WinPeSpec(drivers=(INTEL, HOSTILE))))
    make_iso(images / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


async def page(admin: Admin, path: str, status: int = 200) -> str:
    async with admin.http.get(admin.url + path) as answer:
        assert answer.status == status
        return await answer.text()


async def test_the_api_says_what_the_command_line_does(admin: Admin):
    found = await admin.ask("/images/windows%2Fsert/inspect")

    assert found["windows"] == "Windows 11 (10.0.22621) for amd64"
    assert [driver["name"] for driver in found["drivers"]] == ["b57nd60a.inf", "e1d68x64.inf"]
    assert found["drivers"][1]["pci_ids"][0] == "8086:153a"
    assert [gain["drivers"] for gain in found["gains"]] == [1, 0, 1]


async def test_a_page_shows_it_and_the_images_lead_there(admin: Admin):
    images = await page(admin, "/images")
    text = await page(admin, "/images/windows%2Fsert/inspect")

    assert 'href="/images/windows%2Fsert/inspect"' in images
    assert "/images/rescue/inspect" not in images
    assert "Windows 11 (10.0.22621) for amd64" in text
    assert "8086:153a 8086:15a0 8086:15b7 8086:15bb" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert 'aria-current="true">Images' in text


async def test_a_disc_without_windows_is_refused_in_a_sentence(admin: Admin):
    problem = await admin.ask("/images/rescue/inspect", expect=422)
    text = await page(admin, "/images/rescue/inspect", 422)

    assert problem["detail"] == "rescue.iso is no disc of Windows PE: it has no /sources/boot.wim"
    assert problem["detail"] in text
    assert "There is no image" not in text
    assert "there is no image &#39;none&#39;" in await page(admin, "/images/none/inspect", 404)


async def test_a_server_without_wimlib_says_so(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))

    status, headers, body = await admin.raw("/images/windows%2Fsert/inspect")

    assert (status, headers["Content-Type"]) == (503, PROBLEM_TYPE)
    assert b"wimlib-imagex is missing" in body
    assert b"apt-get install wimtools" in body
