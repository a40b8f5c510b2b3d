"""New images of discs of Windows PE over the API, and on their page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bootserver.config import Config
from bootserver.model import Machine, Nic
from bootserver.pci import PciId
from bootserver.windows.startup import UP
from tests.fixtures.admin import Admin, event_of, running_admin
from tests.fixtures.drivers import driver_files, write_folder
from tests.fixtures.winpe import in_wim, wim_from_disc, winpe_disc

MAC = "52:54:00:12:34:56"


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    (config.images.path / "pe.iso").hardlink_to(winpe_disc())
    write_folder(config.drivers.path / "nic", driver_files())
    async with running_admin(config) as admin:
        yield admin


async def preview(admin: Admin, expect: int = 200, image: str = "pe", **order: Any) -> Any:
    path = f"/images/{image}/optimize/preview"
    return await admin.ask(path, "POST", json=order, expect=expect)


async def made(admin: Admin, **order: Any) -> Any:
    """The job, at its end."""
    async with admin.events() as events:
        job = await admin.ask("/images/pe/optimize", "POST", json=order, expect=202)
        while not job["ended_at"]:
            job = await event_of(events, "job")
    return job


def names(admin: Admin) -> list[str]:
    return sorted(path.name for path in admin.services.config.images.path.iterdir())


async def test_a_new_image_is_made_as_the_preview_has_said(admin: Admin, tmp_path):
    folder = admin.services.config.images.path / "tools" / "vnc"
    write_folder(folder, {"tvnserver.exe": b"MZ"})
    order: dict[str, Any] = {
        "name": "office",
        "nics": ["8086:15bc"],
        "drop_wifi": True,
        "add": [{"source": "tools/vnc", "path": "X:\\vnc"}],
        "run": ["start X:\\vnc\\tvnserver.exe"],
        "call_home": True,
    }

    planned = await preview(admin, **order)
    assert "office.iso" not in names(admin)
    job = await made(admin, **order)

    assert (job["kind"], job["source"], job["image"]) == ("optimize", "pe", "office")
    assert (job["state"], job["error"]) == ("done", "")
    report = job["report"]
    assert report["added"] == planned["added"]
    assert report["removed"] == planned["removed"]
    assert report["drivers_added"] == ["nic.inf 1.2.3.4"]
    new = admin.services.config.images.path / "office.iso"
    assert report["size_bytes"] == job["done_bytes"] == new.stat().st_size
    wim = wim_from_disc(new, tmp_path)
    assert in_wim(wim, "/vnc/tvnserver.exe") == b"MZ"
    assert b"/phase/up" in in_wim(wim, UP)


async def test_an_image_that_has_it_all_makes_no_other(admin: Admin):
    await made(admin, drop_wifi=True, name="first")
    await admin.look_again()

    report = await preview(admin, image="first", drop_wifi=True)

    assert report["result"] == ""
    assert report["added"] == report["removed"] == []
    problem = await admin.ask(
        "/images/first/optimize", "POST", json={"drop_wifi": True}, expect=409
    )
    assert problem["detail"] == "first has all of that already"


async def test_a_machine_gets_the_drivers_of_its_cards(admin: Admin):
    await admin.boot(Machine(mac=MAC, nics=(Nic(MAC, PciId(0x8086, 0x15BC)),)))

    report = await preview(admin, machine="52-54-00-12-34-56")

    assert report["drivers_added"] == ["nic.inf 1.2.3.4"]


@pytest.mark.parametrize(
    ("order", "status", "sentence"),
    [
        ({}, 422, "say what is to be different"),
        ({"nics": ["intel"]}, 422, "'intel' is not a PCI id"),
        ({"nics": ["10ec:8168"]}, 404, "no driver in the library is for the device 10ec:8168"),
        ({"machine": "anna"}, 422, "machine"),
        ({"machine": MAC}, 422, f"no machine {MAC} has booted from here"),
        ({"drop_paths": ["/"]}, 422, "all that there is cannot be dropped"),
        ({"drop_paths": ["/none"]}, 404, "there is no /none in the boot image"),
        ({"run": ["a\nb"]}, 422, "printable ASCII"),
        ({"drop_wifi": True, "name": "pe"}, 422, "pe itself is never changed"),
        ({"add": [{"source": "/etc/hostname", "path": "/a"}]}, 422, "is not in the library's"),
        ({"add": [{"source": "../config.toml", "path": "/a"}]}, 422, "is not in the library's"),
        ({"add": [{"source": "link", "path": "/a"}]}, 422, "is not in the library's"),
        ({"add": [{"source": "none", "path": "/a"}]}, 422, "neither a file nor a folder"),
        ({"add": [{"source": "a", "path": "X:\\..\\a"}]}, 422, "is not a path in Windows"),
    ],
)
async def test_what_cannot_be_done_is_said(admin: Admin, order, status: int, sentence: str):
    (admin.services.config.images.path / "link").symlink_to("/etc/hostname")

    problem = await preview(admin, status, **order)

    assert sentence in problem["detail"]


async def test_what_cannot_be_done_makes_no_job(admin: Admin):
    order = {"nics": ["10ec:8168"]}
    problem = await admin.ask("/images/pe/optimize", "POST", json=order, expect=404)

    assert problem["detail"] == "no driver in the library is for the device 10ec:8168"
    assert await admin.ask("/jobs") == {"jobs": []}


async def test_a_job_that_fails_says_why_and_leaves_nothing(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bootserver.images.optimize.write.content_of", lambda wim: {})

    job = await made(admin, drop_wifi=True)

    assert (job["state"], job["image"], job["report"]) == ("failed", "", None)
    assert job["error"] == "the new image has other files than it should"
    assert [name for name in names(admin) if "optimized" in name] == []
