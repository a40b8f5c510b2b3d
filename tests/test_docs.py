"""What the documents say of the code is what the code does."""

import re
import tomllib

import pytest
from aiohttp import web
from click import Command, Group

import bootserver.http.api.problems  # and with it every error of AMT
import bootserver.http.boot_app
from bootserver.amt.errors import AmtError, AmtFaultError, Failure, RedirectionError, failure_of
from bootserver.cli import main
from bootserver.config import PROJECT
from bootserver.images.recipes import RECIPES
from bootserver.sessions.diagnosis import Cause
from bootserver.stub.collect import ORIGINS
from bootserver.stub.loaders import COMPILED, LOADERS, OPTIONAL, SERVED
from tests.fixtures import module_docs, recipe_docs


def test_the_route_table_has_every_route(monkeypatch: pytest.MonkeyPatch):
    routes: list[web.RouteDef] = []
    monkeypatch.setattr(web.Application, "add_routes", lambda app, added: routes.extend(added))
    bootserver.http.boot_app.make_boot_app(None)

    table = re.findall(r"^\| GET, HEAD `(\S+)`", bootserver.http.boot_app.__doc__, re.MULTILINE)

    assert table == [re.sub(r":[^}]+", "", route.path) for route in routes]
    assert {route.method for route in routes} == {"GET"}  # aiohttp answers HEAD by the same


@pytest.mark.parametrize("document", ["README.md", "docs/amt.md"])
def test_every_command_in_the_document_exists(document: str):
    lines = re.findall(r"^ {4,8}bootserver (.*)$", (PROJECT / document).read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        command: Command = main
        for word in line.split():
            if not isinstance(command, Group) or word == "is":
                break
            assert word in command.commands, line
            command = command.commands[word]


def test_every_command_says_what_it_does():
    def walk(command: Command, name: str) -> None:
        assert command.help, name
        for sub_name, sub in getattr(command, "commands", {}).items():
            walk(sub, f"{name} {sub_name}")

    walk(main, "bootserver")


def test_the_newest_release_of_the_changelog_is_this_version():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    text = (PROJECT / "CHANGELOG.md").read_text()

    releases = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)

    assert releases[0] == project["version"]


def test_the_architecture_lists_every_layer_and_module():
    text = module_docs.DOCUMENT.read_text(encoding="utf-8")

    assert module_docs.renewed(text) == text, "run: make docs"


def test_the_guide_has_every_cause_of_a_stall():
    guide = (PROJECT / "docs" / "booting.md").read_text().partition("| cause |")[2]

    assert re.findall(r"^\| (\w+) \|", guide, re.MULTILINE) == [cause.value for cause in Cause]


def test_every_loader_can_be_collected():
    assert set(ORIGINS) | set(COMPILED) == set(LOADERS)
    assert set(LOADERS) | set(OPTIONAL) >= SERVED


def test_the_config_file_and_the_booting_guide_name_the_loaders():
    text = (PROJECT / "config.toml").read_text()
    for name in LOADERS | OPTIONAL:
        assert name in text


def test_the_tables_of_recipes_are_what_the_code_says_and_the_boot_tests_proved():
    text = recipe_docs.DOCUMENT.read_text()

    assert text == recipe_docs.renewed(text), "run: make docs"
    assert all(f"\n| {recipe.name} | " in text for recipe in RECIPES)


def test_the_failures_that_the_guide_explains_are_those_that_there_are():
    text = (PROJECT / "docs" / "amt.md").read_text()
    table = text.partition("## What an error means")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\|[^|]*\| `(\w+)`", table, re.MULTILINE))

    def kinds(kind: type[AmtError]) -> set[type[AmtError]]:
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    words = {failure.value for failure in Failure}
    for kind in kinds(AmtError).difference([RedirectionError, AmtFaultError]):
        words.add(failure_of(kind("told")))

    explained.remove("failure")  # the heading
    assert explained <= words
    assert {"busy", "wrong_password", "disabled", "no_reads", "no_call", "lost"} <= explained
    assert {"consent_required", "wrong_transport", "unreachable", "in_doubt"} <= explained
