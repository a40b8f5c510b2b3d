"""The host's release and mirror, from the files of the distributions that we run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootserver.errors import StubError
from bootserver.stub import packages
from bootserver.stub.packages import PackageSource

BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'
SID = 'PRETTY_NAME="Debian GNU/Linux forky/sid"\nVERSION_CODENAME=forky\nID=debian\n'
NOBLE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=noble
"""
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n'
FEDORA = 'PRETTY_NAME="Fedora Linux 43"\nID=fedora\nVERSION_ID=43\n'

ONE_LINE = "deb http://mirror.test/debian {} main contrib\ndeb http://third.test/x nodistro main\n"

# As Ubuntu's installer writes ubuntu.sources.
UBUNTU = """\
Types: deb
URIs: http://mirror.test/ubuntu/
Suites: noble noble-updates noble-backports
Components: main restricted universe multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

## Ubuntu security updates.
Types: deb
URIs: http://security.test/ubuntu/
Suites: noble-security
Components: main restricted universe multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose os-release and apt sources are below this directory."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\n'
        f'Dir::Etc::sourceparts "{parts}";\nDir::State::lists "{tmp_path}/lists";\n'
    )
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr(packages, "OS_RELEASE", tmp_path / "os-release")
    return tmp_path


@pytest.mark.parametrize(
    ("os_release", "name", "sources", "expected"),
    [
        (BOOKWORM, "debian.list", ONE_LINE.format("bookworm"), ("debian/", "bookworm", "debian")),
        (BOOKWORM, "debian.list", ONE_LINE.format("stable"), ("debian/", "stable", "debian")),
        (SID, "debian.list", ONE_LINE.format("sid"), ("debian/", "sid", "debian")),
        (SID, "debian.list", ONE_LINE.format("unstable"), ("debian/", "unstable", "debian")),
        (NOBLE, "ubuntu.sources", UBUNTU, ("ubuntu/", "noble", "ubuntu")),
        (MINT, "ubuntu.sources", UBUNTU, ("ubuntu/", "noble", "ubuntu")),
    ],
    ids=["bookworm", "stable", "sid", "unstable", "ubuntu", "mint"],
)
def test_mirror_and_release_are_those_that_the_host_installs_from(
    host: Path, os_release: str, name: str, sources: str, expected: tuple[str, str, str]
):
    (host / "os-release").write_text(os_release)
    (host / "sources.list.d" / name).write_text(sources)

    source = PackageSource(host)

    found = (source.mirror.removeprefix("http://mirror.test/"), source.release, source.distribution)
    assert found == expected


def test_another_distribution_is_refused_in_a_sentence(host: Path):
    (host / "os-release").write_text(FEDORA)

    with pytest.raises(StubError, match="on Debian and Ubuntu, not on Fedora Linux 43"):
        PackageSource(host)


def test_sources_without_the_release_are_told(host: Path):
    (host / "os-release").write_text(BOOKWORM)
    (host / "sources.list.d" / "other.list").write_text(ONE_LINE.format("jammy"))

    with pytest.raises(StubError, match="no mirror for bookworm main"):
        PackageSource(host)
