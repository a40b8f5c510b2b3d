"""The library of drivers over the API and on its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.config import Config
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.drivers import driver_files, zipped

UPLOAD = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    async with running_admin(config) as admin:
        yield admin


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    return zipped(tmp_path / "nic.zip", driver_files()).read_bytes()


async def add(admin: Admin, data: bytes, name: str = "nic.zip", expect: int = 201):
    return await admin.ask(
        f"/drivers?name={name}", "POST", data=data, headers=UPLOAD, expect=expect
    )


async def test_uploaded_driver_is_listed_found_and_deleted(admin: Admin, archive: bytes):
    added = await add(admin, archive)

    assert added == await admin.ask("/drivers")
    [driver] = added["drivers"]
    assert driver["pci_ids"] == ["8086:15bc"]
    found = await admin.ask("/drivers/find?device=8086:15bc")
    assert [Path(file).read_bytes() for file in found.pop("files")] == list(driver_files().values())
    assert found == driver
    await admin.ask("/drivers/nic.zip", "DELETE", expect=204)
    assert await admin.ask("/drivers") == {"drivers": []}


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("device=10ec:8168", 404, "no driver in the library is for the device 10ec:8168"),
        ("device=8086:15bc&arch=arm64", 404, "nic.inf is for amd64, and not for arm64"),
        ("device=intel", 400, "'intel' is not a PCI id"),
        ("device=8086:15bc&windows=eleven", 400, "'eleven' is not a version of Windows"),
        ("device=8086:15bc&arch=mips", 400, "arch"),
        ("", 400, "device"),
    ],
)
async def test_why_there_is_no_driver_is_said(
    admin: Admin, archive: bytes, query: str, status: int, sentence: str
):
    await add(admin, archive)

    problem = await admin.ask(f"/drivers/find?{query}", expect=status)

    assert sentence in problem["detail"]


@pytest.mark.parametrize(
    ("name", "data", "status", "sentence"),
    [
        ("nic.zip", b"rubbish", 422, "cannot be unpacked"),
        ("nic.exe", b"MZ", 400, "ends in .zip or .cab"),
        ("..%2Fnic.zip", b"", 400, "ends in .zip or .cab"),
        (".nic.zip", b"", 400, "ends in .zip or .cab"),
    ],
)
async def test_refused_upload_leaves_nothing(
    admin: Admin, name: str, data: bytes, status: int, sentence: str
):
    problem = await add(admin, data, name, expect=status)

    assert sentence in problem["detail"]
    assert await admin.ask("/drivers") == {"drivers": []}
    assert not list(admin.services.config.state.path.glob("upload-*"))


async def test_archive_without_a_driver_is_refused(admin: Admin, tmp_path: Path):
    data = zipped(tmp_path / "manual.zip", {"readme.txt": b"read me"}).read_bytes()

    problem = await add(admin, data, "manual.zip", expect=422)

    assert problem["detail"] == "manual.zip has no driver: there is no .inf file in it"
    assert await admin.ask("/drivers") == {"drivers": []}


async def test_second_upload_of_one_name_is_refused(admin: Admin, archive: bytes):
    await add(admin, archive)

    problem = await add(admin, archive, expect=422)

    assert problem["detail"] == "there are drivers named nic.zip already"


async def test_upload_is_cut_off_at_its_limit(admin: Admin, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bootserver.http.api.drivers.LIMIT_BYTES", 1000)

    problem = await add(admin, bytes(1001), expect=413)

    assert "an archive has at most" in problem["detail"]
    assert await admin.ask("/drivers") == {"drivers": []}


async def test_page_shows_drivers_and_finds_one(admin: Admin, archive: bytes):
    await add(admin, archive)

    _, _, page = await admin.raw(f"{admin.url}/drivers?device=8086:15BC")
    _, _, other = await admin.raw(f"{admin.url}/drivers?device=8086:1502")

    assert b"1.2.3.4" in page
    assert b"nic.zip" in page
    assert b"no driver in the library is for the device 8086:1502" in other
