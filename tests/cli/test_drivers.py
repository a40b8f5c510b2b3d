"""`bootserver drivers` as a user types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bootserver.cli.main import main
from tests.fixtures.drivers import driver_files, write_folder


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "config.toml").touch()
    write_folder(tmp_path / "nic", driver_files())
    return lambda *words: CliRunner().invoke(
        main, ["--config", str(tmp_path / "config.toml"), "drivers", *words]
    )


def test_driver_is_added_found_listed_and_removed(run, tmp_path):
    assert run("add", str(tmp_path / "nic")).exit_code == 0

    [listed] = json.loads(run("list", "--json").stdout)
    found = json.loads(run("find", "8086:15bc", "--json").stdout)

    assert listed["name"] == "nic"
    assert found.pop("files") == [
        str(tmp_path / "drivers" / "nic" / name) for name in driver_files()
    ]
    assert found == listed
    assert run("remove", "nic").exit_code == 0
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["find", "8086:15bc", "--arch", "x86"], "nic.inf is for amd64, and not for x86"),
        (["find", "10ec:8168"], "is for the device 10ec:8168"),
        (["find", "nonsense"], "is not a PCI id such as 8086:15bc"),
        (["remove", "other"], "there are no drivers 'other'"),
    ],
)
def test_what_is_not_there_is_said(run, tmp_path, words, sentence):
    run("add", str(tmp_path / "nic"))

    result = run(*words)

    assert result.exit_code != 0
    assert sentence in result.output
