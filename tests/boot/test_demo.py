"""`bootserver demo`: what a newcomer sees in a minute."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import BOOT_S, COMMAND, Site

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where commands make their temporary files: a short path, for there are sockets in it."""
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


@pytest.mark.parametrize("firmware", ["bios", pytest.param("uefi", marks=pytest.mark.reach)])
async def test_the_demonstration_shows_one_boot_from_beginning_to_end(
    tmp_path: Path, firmware: str
):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")

    shown = await site.command("demo", image, "--firmware", firmware, "--rate", "0")

    for line in ("the stub over the slow CD", "the image comes over HTTP", "runs from memory"):
        assert line in shown
    [(slow_mb, http_mb)] = re.findall(
        r"over the slow CD ([\d.]+) MB, over HTTP ([\d.]+) MB of \2 MB", shown
    )
    assert 0 < float(slow_mb) < 1
    assert float(http_mb) > 0
    assert re.search(r"[\d.]+ s from power-on to the hand-off", shown)
    if firmware == "bios":
        assert re.search(r"│ +\S", shown)  # the machine's own screen, as far as it has come


async def test_with_amt_the_machine_is_switched_on_by_it_and_reads_a_redirected_stub(
    tmp_path: Path,
):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")

    shown = await site.command("demo", image, "--amt", "--rate", "0")

    for line in ("AMT is told what to boot", "the stub over the slow CD", "runs from memory"):
        assert line in shown
    [slow_mb] = re.findall(r"over the slow CD ([\d.]+) MB, over HTTP", shown)
    assert 0.3 < float(slow_mb) < 1
    assert re.search(r"[\d.]+ s from power-on to the hand-off", shown)


async def test_an_image_that_is_not_there_is_a_sentence(tmp_path: Path):
    site = Site(tmp_path / "site")

    assert "nothing" in await site.command("demo", "nothing", expect=1)


async def test_a_boot_that_fails_before_its_session_is_told_with_its_reason(
    tmp_path: Path, temporary: Path
):
    site = Site(tmp_path / "site")
    disc = site.path / "data.iso"
    disc.write_bytes(b"no disc of a system" * 200_000)

    complaint = await site.command("demo", str(disc), "--amt", expect=1)

    assert "the boot failed: " in complaint
    assert "Traceback" not in complaint
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, ("--amt",)), (signal.SIGTERM, ()), (signal.SIGHUP, ("--amt",))],
)
async def test_a_demonstration_that_is_ended_early_leaves_nothing(
    tmp_path: Path, temporary: Path, number: signal.Signals, options: tuple[str, ...]
):
    site = Site(tmp_path / "site")
    image = site.add(packaged(MEMTEST), "memtest.iso")
    signal.signal(number, signal.SIG_DFL)  # what nohup or a shell's & ignores, children ignore too
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("demo", image, "--rate", "1", *options),
        cwd=site.path,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(BOOT_S):
            while not list(temporary.glob("bootserver-demo-*/**/serial.txt")):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        # A terminal sends Ctrl-C to all of the group; others mean the process alone.
        to = os.killpg if number is signal.SIGINT else os.kill
        to(process.pid, number)
        said, _ = await asyncio.wait_for(process.communicate(), BOOT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise

    assert process.returncode == 1
    assert said.decode().split() == ["Aborted!"]
    assert list(temporary.iterdir()) == []
    assert not [one for one in commands() if str(temporary) in one]


def commands() -> Iterator[str]:
    """What runs on this host."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            yield (process / "cmdline").read_text(errors="replace")
