"""`bootserver bench` as a user types it, wrongly too: no machine is started here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootserver.bench.cases import GROUPS
from bootserver.bench.report import write_report
from tests.bench.reports import case, report
from tests.fixtures.server import Site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def test_cases_are_listed_by_group_and_for_scripts_with_all_they_say(site: Site):
    text = await site.command("bench", "cases")
    listed = await site.query("bench", "cases")

    assert list(listed) == list(GROUPS)
    for name, cases in GROUPS.items():
        assert f"{name}:" in text
        assert [c["name"] for c in listed[name]] == [c.name for c in cases]


async def test_an_unknown_case_is_told_before_anything_starts(site: Site):
    errors = await site.command("bench", "run", "fonding", expect=1)

    assert "there is no benchmark case fonding; is it founding?" in errors
    assert "bootserver bench cases" in errors


async def test_a_missing_image_is_told_before_anything_starts(site: Site):
    errors = await site.command("bench", "run", "memtest", "--output", "out", expect=1)

    assert "the image memtest86+x64 is neither a file nor in" in errors
    assert not (site.path / "out").exists()


async def test_without_qemu_it_says_what_to_install(site: Site, monkeypatch: pytest.MonkeyPatch):
    (site.path / "images" / "memtest86+x64.iso").touch()
    monkeypatch.setenv("PATH", str(site.path))

    errors = await site.command("bench", "run", "memtest", "--output", "out", expect=1)

    assert "qemu-system-x86_64 is not installed" in errors
    assert "apt install qemu-system-x86" in errors
    assert not (site.path / "out").exists()


async def test_results_are_not_written_over(site: Site):
    (site.path / "images" / "memtest86+x64.iso").touch()
    write_report(report({case("c"): [1.0]}), site.path / "out")

    errors = await site.command("bench", "run", "memtest", "--output", "out", expect=1)

    assert "out has the results of another benchmark" in errors


async def test_a_broken_cases_file_is_told_by_its_key(site: Site):
    (site.path / "cases.toml").write_text('[[case]]\nname = "x"\nrate = 1\n')

    errors = await site.command("bench", "run", "--cases", "cases.toml", expect=1)

    assert "case.1.rate: Extra inputs are not permitted" in errors
    assert "case.1.image: Field required" in errors


async def test_a_report_is_shown_again_and_compared_with_another(site: Site):
    a, b = report({case("c"): [2.0, 2.1, 2.0]}), report({case("c"): [1.0, 1.1, 1.0]})
    write_report(a, site.path / "a")
    write_report(b, site.path / "b")

    shown = await site.command("bench", "show", "a")
    compared = await site.command("bench", "compare", "a", "b")
    lines = json.loads(await site.command("bench", "compare", "a", "b", "--json"))

    assert "From power-on to the end of the case" in shown
    assert "B is quicker" in compared
    (total,) = (line for line in lines if line["measure"] == "total")
    assert (total["case"], total["ratio"], total["verdict"]) == ("c", 0.5, "B is quicker")


async def test_reports_without_a_common_case_cannot_be_compared(site: Site):
    write_report(report({case("c"): [2.0]}), site.path / "a")
    write_report(report({case("d"): [2.0]}), site.path / "b")

    errors = await site.command("bench", "compare", "a", "b", expect=1)

    assert "no case has come to its end in both" in errors
