"""The ledger over the API: pages, search, single boots, files."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import pytest

from bootserver.config import Config
from bootserver.model import Machine
from tests.fixtures.admin import Admin, running_admin


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    async with running_admin(config) as admin:
        yield admin


def pc(number: int) -> Machine:
    return Machine(mac=f"52:54:00:00:00:{number:02x}", serial=f"S{number}")


async def test_pages_have_every_boot_once_newest_first(admin: Admin):
    made = [(await admin.boot(pc(number))).id for number in range(7)]

    found, path, pages = [], "/boots?limit=3", 0
    while path:
        _, headers, _ = await admin.raw(path)
        page = await admin.ask(path)
        found += [boot["id"] for boot in page["boots"]]
        pages += 1
        path = page["next"] and page["next"].removeprefix("/api/v1")
        assert headers.get("Link") == (f'<{page["next"]}>; rel="next"' if path else None)

    assert found == made[::-1]
    assert pages == 3


async def test_the_next_page_is_of_the_same_boots(admin: Admin):
    for number in range(3):
        await admin.boot(pc(1), image="one")
        await admin.boot(pc(number + 2), image="two")

    first = await admin.ask("/boots?limit=2&image=one&phase=handed_off&phase=os_up")
    second = await admin.ask(first["next"].removeprefix("/api/v1"))

    assert {boot["image"] for boot in first["boots"] + second["boots"]} == {"one"}
    assert len(second["boots"]) == 1
    assert second["next"] is None


@pytest.mark.parametrize(
    "query", ["machine=52-54-00-00-00-02", "machine=52:54:00:00:00:02", "q=s2", "image=two"]
)
async def test_boots_are_found(admin: Admin, query: str):
    await admin.boot(pc(1), image="one")
    wanted = await admin.boot(pc(2), image="two")

    assert [boot["id"] for boot in (await admin.ask(f"/boots?{query}"))["boots"]] == [wanted.id]


async def test_a_boot_keeps_its_secrets(admin: Admin):
    session = await admin.boot()

    _, _, body = await admin.raw(f"/boots/{session.id}")
    _, _, page = await admin.raw("/boots")

    for text in (body.decode(), page.decode()):
        assert session.id in text
        assert session.key not in text
        assert '"token"' not in text


async def test_all_mistakes_of_a_query_are_told_at_once(admin: Admin):
    problem = await admin.ask("/boots?limit=0&before=yesterday&phase=running&color=red", expect=400)

    fields = [error["field"] for error in problem["errors"]]
    assert fields == ["limit", "before", "phase.0", "color"]


async def test_an_export_is_a_file_of_the_wanted_boots(admin: Admin):
    await admin.boot(pc(1), image="one")
    wanted = await admin.boot(pc(2), image="two")

    _, headers, body = await admin.raw("/boots/export?format=csv&image=two&since=2020-01-01")
    _, _, none = await admin.raw("/boots/export?format=csv&since=2999-01-01")

    [row] = csv.DictReader(io.StringIO(body.decode()))
    assert row["id"] == wanted.id
    assert headers["Content-Disposition"].startswith('attachment; filename="boots-')
    assert len(none.decode().splitlines()) == 1
