"""The table of benchmark cases, and cases of one's own in a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bootserver.bench.cases import (
    BUILT_IN,
    FOUNDING_RATES_KB_S,
    GROUPS,
    BootWay,
    choose_cases,
    find_image,
    read_cases,
)
from bootserver.bench.results import pairs
from bootserver.config import PROJECT
from bootserver.errors import ConfigError, ImageNotFoundError
from bootserver.model import BootPhase
from tests.bench.reports import case

MINE = """\
[[case]]
name = "mine"
image = "winpe"
firmware = "uefi"
way = "two-stage"
phase = "handed_off"
rate_kb_s = 600
latency_ms = 2.5
nic = "e1000e"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cases.toml"


def test_the_founding_table_has_each_rate_both_ways():
    cases = [*GROUPS["founding"], *GROUPS["founding-slowest"]]
    rates = {
        (direct.rate_kb_s, two_stage.rate_kb_s)
        for direct, two_stage in pairs(cases)
        if direct.image == "debian-live" and not direct.latency_ms
    }

    assert rates == {(rate, rate) for rate in (*FOUNDING_RATES_KB_S, 0)}


def test_a_name_stands_for_one_case():
    assert not BUILT_IN.keys() & GROUPS.keys()
    for group in GROUPS.values():
        for member in group:
            assert BUILT_IN[member.name] == member


def test_the_line_has_latency_and_rate():
    line = case("c", rate_kb_s=600, latency_ms=10).line

    assert line.seconds(1_200_000, reads=30) == pytest.approx(2.3)


def test_groups_and_cases_are_chosen_by_name_and_each_once():
    name = "memtest-bios-direct-150kB"

    chosen = choose_cases([name, "memtest"])

    assert chosen[0].name == name
    assert sorted(c.name for c in chosen) == sorted(c.name for c in GROUPS["memtest"])


def test_own_cases_are_what_is_run_where_no_name_is_given(file: Path):
    file.write_text(MINE)

    (mine,) = choose_cases([], read_cases(file))

    assert (mine.name, mine.way, mine.phase) == ("mine", BootWay.TWO_STAGE, BootPhase.HANDED_OFF)
    assert (mine.nic, mine.line.latency_s, mine.line.bytes_per_s) == ("e1000e", 0.0025, 600_000)


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="no benchmark case foundling; is it founding"):
        choose_cases(["foundling"])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("rate = 600", "case.1.rate: Extra inputs"),
        ('marker = "UP"', "either a marker or a phase"),
        ('way = "direct"', "a direct boot is not ours"),
        ('arguments = "a ${b}"', "case.1.arguments"),
        ("rate_kb_s = -1", "case.1.rate_kb_s"),
    ],
)
def test_a_mistake_is_told_by_its_key(file: Path, line: str, complaint: str):
    key = line.split()[0]
    kept = "".join(f"{text}\n" for text in MINE.splitlines() if text.split()[0] != key)
    file.write_text(f"{kept}{line}\n")

    with pytest.raises(ConfigError, match=complaint):
        read_cases(file)


def test_a_marker_must_be_a_regular_expression():
    with pytest.raises(ValidationError, match="not a regular expression"):
        case("c", marker="(")


@pytest.mark.parametrize("text", [MINE + MINE, MINE.replace('"mine"', '"founding"')])
def test_two_things_of_one_name_are_refused(file: Path, text: str):
    file.write_text(text)

    with pytest.raises(ConfigError, match="a name stands for one case"):
        read_cases(file)


def test_an_image_is_a_path_or_in_the_library(tmp_path: Path):
    (tmp_path / "rescue.img").touch()

    assert find_image("rescue", tmp_path) == tmp_path / "rescue.img"
    assert find_image(str(tmp_path / "rescue.img"), Path("nowhere")) == tmp_path / "rescue.img"
    with pytest.raises(ImageNotFoundError, match="neither a file nor in"):
        find_image("other", tmp_path)


def test_the_documented_cases_are_cases(file: Path):
    text = (PROJECT / "docs" / "benchmarks.md").read_text()
    file.write_text(text.split("```toml\n")[1].split("```")[0])

    assert read_cases(file)
