"""`bootserver images optimize` as a user types it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from bootserver.cli.main import main
from bootserver.database import open_database
from bootserver.model import Machine, Nic
from bootserver.pci import PciId
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore
from bootserver.windows.startup import STARTNET, UP
from tests.fixtures.drivers import driver_files, write_folder
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import in_wim, wim_from_disc, winpe_disc

MAC = "52:54:00:12:34:56"
NIC = PciId(0x8086, 0x15BC)  # that of driver_files


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text('[server]\nurl = "http://192.0.2.1:8080"\n')
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "sert.iso").hardlink_to(winpe_disc())
    write_folder(tmp_path / "drivers" / "nic", driver_files())
    return tmp_path


@pytest.fixture
def run(site: Path):
    return lambda *words: CliRunner().invoke(
        main, ["--config", str(site / "config.toml"), "images", "optimize", *words]
    )


def listed(site: Path) -> list[str]:
    return sorted(path.name for path in (site / "images").iterdir())


async def remember(site: Path, *nics: Nic) -> None:
    """A machine with these cards has booted from here."""
    (site / "var").mkdir(mode=0o700)
    async with open_database(f"sqlite+aiosqlite:///{site / 'var' / 'bootserver.db'}") as engine:
        ledger = Ledger(SessionStore(engine), expire_after=timedelta(days=1))
        ledger.start("token", "sert", Machine(mac=MAC, nics=nics), "192.0.2.9")
        await ledger.flush()


def test_a_dry_run_says_what_the_run_then_does(site: Path, run):
    words = ("sert", "--nic", "8086:15bc", "--drop-wifi", "--drop-foreign-nics")
    dry = run(*words, "--dry-run")
    planned = json.loads(run(*words, "--dry-run", "--json").stdout)

    assert "Drivers put in: nic.inf 1.2.3.4\n" in dry.stdout
    assert "Drivers left out: " in dry.stdout
    assert "sert-optimized: " in dry.stdout
    assert listed(site) == ["sert.iso"]
    done = run(*words)
    assert done.stdout.endswith(
        "added sert-optimized\n  next: bootserver stub build sert-optimized\n"
    )
    assert listed(site) == ["sert-optimized.iso", "sert.iso"]
    assert planned["result"] == "sert-optimized"
    saved_bytes = winpe_disc().stat().st_size - (site / "images/sert-optimized.iso").stat().st_size
    assert planned["saved_bytes"] == pytest.approx(saved_bytes, abs=10_000)
    assert {file["path"] for file in planned["added"]} > {"/bootserver/drivers/1/nic.inf"}
    assert "/Windows/INF/rt640x64.inf" in {file["path"] for file in planned["removed"]}
    again = run("sert-optimized", *words[1:], "--name", "again")
    assert again.stdout == "sert-optimized has all of that already: nothing is to be changed\n"
    assert len(listed(site)) == 2


def test_files_are_put_in_lines_run_and_the_server_is_called(site: Path, run):
    write_folder(site / "vnc", {"tvnserver.exe": b"MZ", "settings.reg": b"REGEDIT4"})
    done = run(
        "sert",
        *("--add", f"{site}/vnc:X:\\tools\\vnc", "--run", "start X:\\tools\\vnc\\tvnserver.exe"),
        *("--call-home", "--name", "recovery/sert", "--json"),
    )

    report = json.loads(done.stdout)
    assert report["result"] == "recovery/sert"
    assert report["notes"] == [
        "the image has no curl.exe, by which it would call this server: add one"
    ]
    wim = wim_from_disc(site / "images" / "recovery" / "sert.iso", site)
    assert in_wim(wim, "/tools/vnc/tvnserver.exe") == b"MZ"
    up = in_wim(wim, UP).decode()
    assert up.endswith("start X:\\tools\\vnc\\tvnserver.exe\r\n")
    assert '"http://192.0.2.1:8080/b/' in up
    assert "start.cmd" in in_wim(wim, STARTNET).decode()


def test_a_machine_gets_the_drivers_of_its_cards(site: Path, run):
    asyncio.run(remember(site, Nic(MAC, NIC), Nic("52:54:00:12:34:57", PciId(0x10EC, 0x8125))))

    done = run("sert", "--machine", MAC, "--dry-run", "--json")

    report = json.loads(done.stdout)
    assert report["drivers_added"] == ["nic.inf 1.2.3.4"]
    assert report["notes"] == ["no driver in the library is for the device 10ec:8125"]


def test_a_machine_without_a_card_or_a_driver_is_told(site: Path, run):
    asyncio.run(remember(site, Nic(MAC)))
    without = run("sert", "--machine", MAC)
    unknown = run("sert", "--machine", "52:54:00:00:00:01")

    assert "has told no network card on the PCI bus" in without.stderr
    assert "no machine 52:54:00:00:00:01 has booted from here" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "say what is to be different"),
        (("--nic", "intel"), "'intel' is not a PCI id"),
        (("--add", "vnc"), "'vnc' is not SOURCE:PATH"),
        (("--add", "vnc:X:\\..\\vnc"), "is not a path in Windows"),
        (("--add", "/none/vnc:/vnc"), "/none/vnc is neither a file nor a folder"),
        (("--drop-path", "/"), "all that there is cannot be dropped"),
        (("--drop-path", "/SOURCES"), "/SOURCES has the boot image in it"),
        (("--drop-wifi", "--name", "sert.iso"), "sert itself is never changed"),
        (("--drop-wifi", "--name", "../up"), "cannot be an image's name"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(site: Path, run, words, sentence: str):
    refused = run("sert", *words)

    assert refused.exit_code in (1, 2)
    assert sentence in refused.stderr
    assert listed(site) == ["sert.iso"]
    assert not list(site.glob("var/optimize/work"))


def test_another_disc_is_refused(site: Path, run):
    make_iso(site / "images" / "rescue.iso", bios=True)

    refused = run("rescue", "--drop-wifi")

    assert "rescue is no disc of Windows PE" in refused.stderr
