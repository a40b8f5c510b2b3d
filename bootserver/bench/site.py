"""A site for one benchmark run: a directory, a configuration, and `bootserver serve` in it.

The server is a process of its own, as in production. It shares neither event loop nor GIL with what
measures it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from bootserver.bench.cases import Case
from bootserver.bench.ports import free_port
from bootserver.bench.qemu_command import HOST_ADDRESS
from bootserver.config import Config
from bootserver.errors import ServiceError

_COMMAND_S = 600  # hashing a large image on a slow disk
_START_S = 60
_STOP_S = 30
_UP = b"bootserver is up"


@dataclass(frozen=True, slots=True)
class BenchSite:
    """Where one run's server lives."""

    path: Path
    image: str = "image"  # its only image's id

    @property
    def log_path(self) -> Path:
        """What its server says."""
        return self.path / "server.log"

    @property
    def config_path(self) -> Path:
        """Its config.toml."""
        return self.path / "config.toml"

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of its ledger."""
        return f"sqlite+aiosqlite:///{self.path / 'var' / 'bootserver.db'}"


def lay_out_site(
    path: Path,
    case: Case,
    image: Path,
    config: Config,
    machines: Sequence[Mapping[str, object]] = (),
) -> BenchSite:
    """A site at `path` with that image only, on free ports, and otherwise as `config` boots.

    The image's own side-car is not taken along: all that counts is in the case. Its `[[machines]]`
    are `machines`, and TFTP is off.
    """
    site = BenchSite(path)
    images = path / "images"
    images.mkdir(parents=True)
    suffix = ".img" if image.suffix == ".img" else ".iso"
    (images / f"{site.image}{suffix}").symlink_to(image)
    sidecar = {"arguments": case.arguments, "recipe": case.recipe}
    (images / f"{site.image}.toml").write_text(
        tomli_w.dumps({key: value for key, value in sidecar.items() if value}), encoding="utf-8"
    )
    boot_port, admin_port = free_port(), free_port()
    tables = {
        "server": {
            "address": "127.0.0.1",
            "boot_port": boot_port,
            "admin_port": admin_port,
            "url": f"http://{HOST_ADDRESS}:{boot_port}",
            "grace_s": 1,
        },
        "tftp": {"enabled": False},
        "images": {"path": str(images)},
        "state": {"path": str(path / "var")},
        "stub": config.stub.model_dump(mode="json", exclude_none=True, exclude={"servers"}),
        "boot": config.boot.model_dump(mode="json", exclude_none=True),
        "log": {"format": "json"},
        "machines": list(machines),
    }
    site.config_path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return site


async def run_command(site: BenchSite, *arguments: str) -> str:
    """What a bootserver command prints on that site; raises ServiceError when it fails."""
    process = await asyncio.create_subprocess_exec(
        *_command(site, *arguments),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, and we end it
    )
    try:
        async with asyncio.timeout(_COMMAND_S):
            output, errors = await process.communicate()
    except TimeoutError as err:
        raise ServiceError(
            f"`bootserver {' '.join(arguments)}` does not end within {_COMMAND_S} s"
        ) from err
    finally:
        await _end(process)
    if process.returncode != 0:
        raise ServiceError(
            f"`bootserver {' '.join(arguments)}` failed: {errors.decode(errors='replace').strip()}"
        )
    return output.decode()


@asynccontextmanager
async def serving(site: BenchSite) -> AsyncIterator[None]:
    """`bootserver serve` on that site, from when it is up; afterwards its ledger is complete."""
    with site.log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_command(site, "serve"),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        try:
            async with asyncio.timeout(_START_S):
                first = await process.stdout.readline()
        except TimeoutError:
            first = b""
        if not first.startswith(_UP):
            said = site.log_path.read_text(errors="replace").strip()
            raise ServiceError(f"`bootserver serve` does not come up: {said}")
        yield
    finally:
        await _end(process)


def _command(site: BenchSite, *arguments: str) -> list[str]:
    # The kernel ends it, should we be killed before we can.
    dying = ("setpriv", "--pdeathsig", "TERM", "--")
    return [
        *(*dying, sys.executable, "-m", "bootserver"),
        *("--config", str(site.config_path), *arguments),
    ]


def _environment() -> dict[str, str]:
    """Ours without the variables that would win over the site's config.toml."""
    return {key: text for key, text in os.environ.items() if not key.startswith("BOOTSERVER_")}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and see to it that it does."""
    try:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            # Its last lines must have somewhere to go.
            async with asyncio.timeout(_STOP_S):
                await process.communicate()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
