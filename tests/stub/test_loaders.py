"""Loaders: what is missing, and what only a site can supply."""

import platform
from pathlib import Path

import pytest

from bootserver.config import StubConfig
from bootserver.errors import LoaderMissingError
from bootserver.stub.loaders import LOADERS, OPTIONAL, SERVED, find_loader, problems
from tests.conftest import STAND_INS


@pytest.fixture
def build(tmp_path: Path) -> Path:
    for name in LOADERS:
        (tmp_path / name).write_bytes(STAND_INS[name])
    return tmp_path


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_loader_is_not_missed(build: Path, name: str):
    stub = StubConfig(build=build)

    assert problems(stub) == []
    with pytest.raises(LoaderMissingError, match=f"this site has no {name}") as caught:
        find_loader(stub, name)
    assert "[stub.loaders]" in caught.value.hint


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_loader_is_the_sites_own_and_never_one_in_the_build(build: Path, name: str):
    (build / name).write_bytes(b"left here by somebody")
    (build / "own").write_bytes(b"the site's")

    with pytest.raises(LoaderMissingError):
        find_loader(StubConfig(build=build), name)
    assert find_loader(StubConfig(build=build, loaders={name: build / "own"}), name) == (
        build / "own"
    )
    assert name in SERVED


def test_a_loader_that_the_site_names_and_that_is_not_there_is_told(build: Path):
    stub = StubConfig(build=build, loaders={"wimboot": build / "none", "wimbot": build / "x"})

    missing, unknown = problems(stub)

    assert missing.startswith(f"{build / 'none'} is missing: wimboot boots Windows PE")
    assert unknown == "[stub.loaders] wimbot: no such loader"


def test_every_loader_is_either_collected_or_supplied_by_the_site():
    assert not LOADERS.keys() & OPTIONAL.keys()


@pytest.mark.parametrize(
    ("machine", "package"), [("x86_64", "gcc"), ("aarch64", "gcc-x86-64-linux-gnu")]
)
def test_a_missing_compiler_is_named_with_its_package(
    build: Path, monkeypatch: pytest.MonkeyPatch, machine: str, package: str
):
    (build / "ramdisk.efi").unlink()
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv("PATH", str(build))  # there is no program in it

    [problem] = problems(StubConfig(build=build))

    assert problem.endswith(
        f"x86_64-linux-gnu-gcc is missing: apt install {package}, then run: make setup"
    )
