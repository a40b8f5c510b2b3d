"""`bootserver machines` as a user types it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bootserver.cli.machines import MachineLine
from bootserver.database import open_database
from bootserver.model import Machine
from bootserver.selector import Selector
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.profiles import ProfileStore
from bootserver.sessions.store import SessionStore
from tests.fixtures.isos import make_iso
from tests.fixtures.server import Site

pytestmark = pytest.mark.slow

MAC = "52:54:00:12:34:56"
UUID = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(
        tmp_path / "site",
        extra='[[machines]]\nserial = "X 1"\nimage = "memtest"\nmemdisk = "iso"\n',
    )
    make_iso(site.path / "images" / "rescue.iso", bios=True)
    return site


def database_url(site: Site) -> str:
    return f"sqlite+aiosqlite:///{site.path}/var/bootserver.db"


async def test_what_is_set_is_listed_and_forgotten(site: Site):
    shown = await site.command(
        "machines", "set", MAC.upper(), "asset=PC 7", "--image", "rescue", "--once"
    )
    await site.command("machines", "set", UUID, "--arguments", " quiet splash ", "--memdisk", "iso")

    once, standing, config = await site.query("machines", "list")
    await site.command("machines", "forget", "asset=pc 7", MAC)

    assert f"rescue                    {MAC} 'asset=PC 7'" in shown
    assert (once["kind"], once["mac"], once["asset"]) == ("once", MAC, "PC 7")
    assert (once["image"], once["arguments"], once["uuid"]) == ("rescue", "", "")
    assert (standing["kind"], standing["uuid"], standing["image"]) == ("standing", UUID, "")
    assert (standing["arguments"], standing["memdisk"]) == ("quiet splash", "iso")
    assert once["at"] < standing["at"]
    assert (config["kind"], config["serial"], config["image"], config["memdisk"], config["at"]) == (
        "config",
        "X 1",
        "memtest",
        "iso",
        None,
    )
    assert [line["kind"] for line in await site.query("machines", "list")] == ["standing", "config"]


def test_a_line_for_a_name_that_many_machines_have_is_warned_of(
    capsys: pytest.CaptureFixture[str],
):
    machine = Selector(serial="System Serial Number")
    for kind in ("standing", "seen"):
        MachineLine(kind, machine, None, "rescue").show()

    assert capsys.readouterr().err.count("beware: many machines have the serial") == 1


async def test_a_server_that_runs_sees_what_was_set(site: Site):
    await site.command("machines", "set", "serial=S1", "--image", "rescue")

    async with open_database(database_url(site)) as engine:
        profile = await ProfileStore(engine).find(Machine(mac=MAC, serial="s1"))

    assert profile is not None
    assert profile.image == "rescue"


async def test_each_machine_that_booted_is_listed_with_its_last_boot(site: Site):
    (site.path / "var").mkdir()
    machine = Machine(mac=MAC, uuid=UUID, serial="S 1", asset="PC 7")
    async with open_database(database_url(site)) as engine:
        ledger = Ledger(SessionStore(engine), expire_after=timedelta(days=1))
        ledger.start("t1", "first", machine, "192.0.2.9")
        last = ledger.start("t2", "last", machine, "192.0.2.9")
        ledger.start("t3", "nameless", Machine(), "192.0.2.10")
        await ledger.flush()

    _, seen = await site.query("machines", "list")
    text = await site.command("machines", "list")

    assert seen == {
        "kind": "seen",
        "mac": MAC,
        "uuid": UUID,
        "serial": "S 1",
        "asset": "PC 7",
        "image": "last",
        "entry": "",
        "arguments": "",
        "memdisk": "",
        "at": last.created_at.isoformat(),
    }
    assert f"{MAC} {UUID} 'serial=S 1' 'asset=PC 7'" in text


async def test_no_machines_yet_is_said(tmp_path: Path):
    site = Site(tmp_path / "site")

    assert "No machines yet" in await site.command("machines", "list")
    assert await site.query("machines", "list") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", MAC, "--image", "rescu"], "did you mean rescue?"),
        (["forget", MAC], "nothing is set for 52:54:00:12:34:56"),
        (["forget", "serial=x 1"], "config.toml has a [[machines]] table for it"),
    ],
)
async def test_what_is_not_there_is_a_sentence(site: Site, arguments: list[str], words: str):
    errors = await site.command("machines", *arguments, expect=1)

    assert words in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", MAC], "give --image, --entry, --arguments or --memdisk"),
        (["set", "pc7", "--image", "rescue"], "Invalid value for SELECTOR: 'pc7'"),
        (["set", MAC, "--arguments", "a ${b}"], "Invalid value for --arguments"),
        (["set", MAC, "--memdisk", "${x}"], "Invalid value for --memdisk"),
        (["forget"], "Missing argument 'SELECTOR...'"),
    ],
)
async def test_wrong_parameters_are_usage_errors(site: Site, arguments: list[str], words: str):
    assert words in await site.command("machines", *arguments, expect=2)
    assert [line["kind"] for line in await site.query("machines", "list")] == ["config"]
