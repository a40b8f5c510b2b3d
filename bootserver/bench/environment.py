"""Where a benchmark runs: what a reader must know to compare its times with others."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bootserver.bench.qemu_command import ACCELERATOR, QEMU
from bootserver.bench.results import Environment
from bootserver.config import PROJECT, StubConfig
from bootserver.errors import ServiceError
from bootserver.stub.loaders import read_manifest

_ANSWER_S = 20


def look_around(stub: StubConfig) -> Environment:
    """The machine, the programs and the loaders; raises ServiceError when there is no QEMU."""
    return Environment(
        cpu=_first(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo")) or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=int(_first(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo")) or 0) // 1024,
        kernel=f"{platform.system()} {platform.release()}",
        qemu=_qemu_version(),
        accelerator=ACCELERATOR,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        bootserver=_own_version(),
        commit=_commit(),
        loaders={
            loader.name: f"{loader.package} {loader.version}"
            for loader in read_manifest(stub.build).values()
        }
        | dict.fromkeys(stub.loaders, "the site's own"),
    )


def _qemu_version() -> str:
    try:
        said = _output(QEMU, "--version")
    except (OSError, subprocess.SubprocessError) as err:
        raise ServiceError(
            f"{QEMU} is not installed, or does not run", hint="apt install qemu-system-x86"
        ) from err
    return said.splitlines()[0].removeprefix("QEMU emulator version ")


def _own_version() -> str:
    try:
        return version("bootserver")
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit that this very code comes from."""
    if not (PROJECT / ".git").exists():
        return ""
    try:
        commit = _output("git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD").strip()
        changed = _output("git", "-C", str(PROJECT), "status", "--porcelain", "--", "bootserver")
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+" if changed else "")


def _output(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_ANSWER_S
    ).stdout


def _first(pattern: str, path: Path) -> str:
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""
