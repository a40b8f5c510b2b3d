"""Files out of the distribution's packages, downloaded and unpacked without installing them.

apt is run with its own configuration in a working directory. That has the host's mirror and archive
keyring, but neither its lists, its cache nor its installed packages. So it needs no root, changes
nothing on the host, and can reach a newer release than the host's own.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bootserver.errors import StubError

KEYRINGS = Path("/usr/share/keyrings")
OS_RELEASE = Path("/etc/os-release")

# The first release whose `ipxe` package is new enough, for hosts whose own is not.
# Debian's is measured; Ubuntu's is the LTS of 2026, untried.
NEWER_RELEASE = {"debian": "trixie", "ubuntu": "resolute"}
COMPONENTS = {"debian": "main", "ubuntu": "main universe"}
# What apt's sources may say in place of the release's code name, as they do on Debian sid.
SUITES = ("stable", "oldstable", "testing", "unstable", "sid", "devel")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package's files below `root`, and which version they are."""

    package: str
    version: str
    root: Path


class PackageSource:
    """The host's package mirror, seen through a private apt configuration in `workdir`."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self.distribution, code_name = _host_release()
        self.mirror, self.release = _host_mirror(code_name)
        self._updated: str = ""

    @property
    def newer_release(self) -> str:
        """The release to turn to when the host's own package is too old."""
        return NEWER_RELEASE[self.distribution]

    def unpack(self, package: str, *, release: str = "") -> Unpacked:
        """Download `package` from `release` (the host's own by default) and unpack it.

        Raises StubError when the mirror cannot be reached or has no such package.
        """
        release = release or self.release
        self._use(release)
        downloads = self._workdir / release
        downloads.mkdir(parents=True, exist_ok=True)
        self._apt("download", package, cwd=downloads)
        archive = next(downloads.glob(f"{package}_*.deb"))
        root = downloads / package
        _run(["dpkg-deb", "-x", str(archive), str(root)])
        version = _run(["dpkg-deb", "-f", str(archive), "Version"]).strip()
        return Unpacked(package, version, root)

    def _use(self, release: str) -> None:
        """Point the private configuration at `release` and read its package lists."""
        if self._updated == release:
            return
        for directory in ("lists/partial", "cache/archives/partial", "preferences.d"):
            (self._workdir / directory).mkdir(parents=True, exist_ok=True)
        keyring = KEYRINGS / f"{self.distribution}-archive-keyring.gpg"
        (self._workdir / "sources.list").write_text(
            f"deb [arch=amd64 signed-by={keyring}] {self.mirror} {release} "
            f"{COMPONENTS[self.distribution]}\n"
        )
        self._apt("update")
        self._updated = release

    def _apt(self, *arguments: str, cwd: Path | None = None) -> None:
        options = {
            "Dir::Etc::sourcelist": self._workdir / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": self._workdir / "preferences.d",
            "Dir::State::lists": self._workdir / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self._workdir / "cache",
            "APT::Architecture": "amd64",  # the machines we boot are PCs, whatever the host is
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",  # the _apt user cannot write into our directory
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        flags = [flag for key, value in options.items() for flag in ("-o", f"{key}={value}")]
        _run(["apt-get", "-q", *flags, *arguments], cwd=cwd)


def _host_release() -> tuple[str, str]:
    """The distribution family and release code name of this host, from os-release(5)."""
    fields: dict[str, str] = {}
    for line in OS_RELEASE.read_text().splitlines():
        key, _, value = line.partition("=")
        fields[key] = value.strip('"')
    # Nearest first: Ubuntu's also says that it is like Debian.
    for distribution in (fields.get("ID", ""), *fields.get("ID_LIKE", "").split()):
        if distribution in COMPONENTS:
            # What is built upon another distribution names that one's release as well.
            own = fields.get("VERSION_CODENAME", "")
            return distribution, fields.get(f"{distribution.upper()}_CODENAME", own)
    raise StubError(
        f"loaders are collected on Debian and Ubuntu, not on {fields.get('PRETTY_NAME', 'this')}",
        hint="copy the loaders from such a machine and name them in [stub.loaders]",
    )


def _host_mirror(code_name: str) -> tuple[str, str]:
    """The URL of the mirror from which this host installs its release, and its name there."""
    target_format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    # Without release info: also where apt-get update was never run.
    targets = _run(
        ["apt-get", "indextargets", "--no-release-info", "--format", target_format]
    ).splitlines()
    mirrors: dict[str, str] = {}
    for target in targets:
        uri, release, component = target.split("|")
        if component == "main":
            mirrors.setdefault(release, uri)
    for release in (code_name, *SUITES):
        if release in mirrors:
            return mirrors[release], release
    raise StubError(
        f"apt's sources name no mirror for {code_name} main",
        hint="check /etc/apt/sources.list and /etc/apt/sources.list.d",
    )


def _run(command: list[str], *, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=True, timeout=600
        )
    except FileNotFoundError as err:
        raise StubError(
            f"{command[0]} is not on this machine", hint="loaders are collected with apt and dpkg"
        ) from err
    except subprocess.CalledProcessError as err:
        # Not the whole output: it would repeat the mirror's address, and says little more.
        reason = next((x for x in err.stderr.splitlines() if x.startswith("E:")), err.stderr)
        raise StubError(
            f"{command[0]} failed: {reason.strip()}",
            hint="check the network, then make setup again",
        ) from err
    except subprocess.TimeoutExpired as err:
        raise StubError(
            f"{command[0]} did not end in {err.timeout:.0f} s", hint="check the network"
        ) from err
    return done.stdout
