"""What booted.json says is of the recipes that there are, and of the tests that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bootserver.config import PROJECT
from bootserver.images.recipes import RECIPES
from bootserver.model import Firmware
from tests.fixtures import booted
from tests.fixtures.booted import Door, Way, facts, record
from tests.fixtures.recipe_docs import called


def test_every_fact_is_of_a_way_that_the_table_has():
    boots = {(r.name, Firmware.BIOS): r.bios for r in RECIPES}
    boots |= {(r.name, Firmware.UEFI): r.uefi for r in RECIPES}
    ways = {
        (recipe, firmware, called(boot, firmware)[1])
        for (recipe, firmware), row in boots.items()
        for boot in row
    }

    stale = [f for f in facts() if (f.way.recipe, f.way.firmware, f.way.method) not in ways]

    assert not stale, "delete these lines of booted.json"


def test_every_fact_is_of_a_boot_test_that_records_what_it_proves():
    plan = subprocess.run(
        [sys.executable, "-m", "pytest", "--setup-plan", "-m", "boot", "tests/boot"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    proving = set(re.findall(r"^ +(\S.*) \(fixtures used: .*\bproven\b", plan.stdout, re.MULTILINE))
    assert proving

    stale = [fact for fact in facts() if fact.test not in proving]

    assert not stale, "delete these lines of booted.json"


def test_a_test_replaces_what_it_has_recorded_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "booted.json"
    path.write_text("[\n]\n")
    monkeypatch.setattr(booted, "FACTS", path)
    bios, uefi = (Way("disc", kind, "x", Door.CD) for kind in ("bios", "uefi"))

    record("two", [uefi])
    record("one", [bios, uefi])
    record("one", [bios])

    assert [(fact.test, fact.way) for fact in facts()] == [("one", bios), ("two", uefi)]
    lines = path.read_text().splitlines()
    assert [json.loads(line.rstrip(","))["test"] for line in lines[1:-1]] == ["one", "two"]
