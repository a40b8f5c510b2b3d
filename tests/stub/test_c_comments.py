"""Every C function says what it takes, who owns that, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootserver.config import PROJECT

SOURCES = sorted((PROJECT / "stub").glob("[er]*/*.c"))
FUNCTION = re.compile(
    r"(?P<comment>/\*(?:(?!\*/).)*\*/\n)?"
    r"^(?P<returns>(?!typedef)\w[^;{}=]*?[\s*])(?P<name>\w+)\((?P<parameters>[^;{}]*?)\)"
    r"(?: __attribute__[^;]*)?\s*[;{]",
    re.MULTILINE | re.DOTALL,
)
PARAMETER = re.compile(r"\(\*(\w+)\)\(.*\)$|(\w+)(?:\[\w+\])?$")
AT_COMMA = re.compile(r",\s*(?![^()]*\))")


def functions(path: Path) -> Iterator[re.Match[str]]:
    """Where the file declares or defines a function, with the comment before it."""
    return FUNCTION.finditer(path.read_text()) if path.exists() else iter(())


def parameters(function: re.Match[str]) -> list[str]:
    listed = [] if function["parameters"] == "void" else AT_COMMA.split(function["parameters"])
    found = [PARAMETER.search(one) for one in listed if one != "..."]
    return [one[1] or one[2] for one in found]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_function_names_its_parameters_and_what_it_returns(source: Path):
    declared = {one["name"]: one for one in functions(source.with_suffix(".h"))}
    defined = {one["name"]: one for one in functions(source)}  # a prototype comes before

    assert defined
    for name, function in defined.items():
        comment = (declared.get(name) or function)["comment"] or ""
        assert re.findall(r"^ \* @v (\w+)  ", comment, re.MULTILINE) == parameters(function), name
        returns = re.sub(r"\s+", " ", function["returns"]).removesuffix("EFIAPI ").endswith("void ")
        assert ("@ret" in comment) is not returns, name
