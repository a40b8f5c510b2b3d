"""`bootserver images inspect` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bootserver.cli.main import main
from tests.fixtures.isos import make_iso
from tests.fixtures.winpe import winpe_disc


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "config.toml").touch()
    (tmp_path / "images").mkdir()
    shutil.copyfile(winpe_disc(), tmp_path / "images" / "sert.iso")
    make_iso(tmp_path / "images" / "rescue.iso", bios=True)
    return lambda *words: CliRunner().invoke(
        main, ["--config", str(tmp_path / "config.toml"), "images", "inspect", *words]
    )


def test_a_disc_of_windows_pe_is_looked_into(run):
    short, long = run("sert").stdout, run("sert", "--drivers").stdout
    found = json.loads(run("sert", "--json").stdout)

    assert short.startswith("Windows 11 (10.0.22621) for amd64: image 1 of 1")
    assert "e1d68x64.inf" not in short
    assert "e1d68x64.inf: Intel 12.15.31.4 of 2016-04-05" in long
    assert "8086:153a" in long
    assert (found["version"], found["architecture"]) == ("10.0.22621", "amd64")
    assert {gain["trim"] for gain in found["gains"]} == {"foreign_nics", "wifi", "both"}


def test_another_disc_is_said_to_have_no_windows_pe(run):
    refused = run("rescue")

    assert refused.exit_code == 1
    assert "rescue.iso is no disc of Windows PE: it has no /sources/boot.wim" in refused.stderr


def test_without_wimlib_the_command_names_its_package(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    refused = run("sert")

    assert refused.exit_code == 1
    assert "wimlib-imagex is missing" in refused.stderr
    assert "apt-get install wimtools" in refused.stderr
