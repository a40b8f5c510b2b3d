"""What booted.json says is of the recipes that there are, and of the tests that there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootserver.config import PROJECT
from bootserver.images.recipes import RECIPES
from bootserver.model import Firmware
from tests.fixtures import booted
from tests.fixtures.booted import PROVING, Door, Way, facts, record
from tests.fixtures.recipe_docs import called


def test_every_fact_is_of_a_way_that_the_table_has():
    ways = {
        (recipe.name, firmware, called(boot, firmware)[1])
        for recipe in RECIPES
        for firmware in Firmware
        for boot in recipe.boots(firmware)
    }

    stale = [f for f in facts() if (f.way.recipe, f.way.firmware, f.way.method) not in ways]

    assert not stale, "delete these lines of booted.json"


def test_every_fact_is_of_a_boot_test_that_records_what_it_proves(pytestconfig: pytest.Config):
    """Of a test whose file is collected in this run, as all are by `make test-fast`."""
    proving = pytestconfig.stash.get(PROVING, {})
    collected = {test.partition("::")[0] for test in proving}

    stale = []
    for fact in facts():
        file = fact.test.partition("::")[0]
        is_there = (PROJECT / file).exists()
        if not is_there or (file in collected and not proving.get(fact.test)):
            stale.append(fact)

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
