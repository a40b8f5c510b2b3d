"""A boot test that fails leaves what its machine showed; one that passes leaves nothing.

Proved by running pytest on a small suite that uses the boot tests' own conftest.py.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.boot

CONFTEST = Path(__file__).parents[1] / "boot" / "conftest.py"

SUITE = """
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware

NOTHING = QemuSpec(Firmware.BIOS, nics=())

async def test_passes(qemu):
    machine = await qemu(NOTHING)
    await machine.wait_for("No bootable device", timeout_s=180)

async def test_fails(qemu, evidence):
    machine = await qemu(NOTHING)
    await machine.wait_for("No bootable device", timeout_s=180)
    (evidence / "mine.txt").write_text("kept")
    print("pid", machine.pid)
    assert False, "on purpose"
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> tuple[Path, str]:
    """The artifacts directory and the output of one run of the small suite."""
    tests = tmp_path_factory.mktemp("suite") / "tests"
    (tests / "boot").mkdir(parents=True)
    shutil.copy(CONFTEST, tests / "boot")
    (tests / "boot" / "test_suite.py").write_text(SUITE)
    (tests / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    stale = tests / "artifacts" / "test_passes" / "screen.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier failure")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tests)],
        cwd=tests,
        capture_output=True,
        text=True,
    )

    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    return tests / "artifacts", done.stdout


def test_failure_leaves_screenshot_screen_serial_log_and_command(suite):
    artifacts, _ = suite
    evidence = artifacts / "test_fails"

    assert (evidence / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert "No bootable device." in (evidence / "screen.txt").read_text(encoding="utf-8")
    assert (evidence / "serial.txt").exists()
    assert (evidence / "qemu.log").exists()
    assert (evidence / "command.txt").read_text().startswith("qemu-system-x86_64 ")


def test_failure_keeps_what_the_test_itself_put_there(suite):
    artifacts, _ = suite

    assert (artifacts / "test_fails" / "mine.txt").read_text() == "kept"


def test_pass_leaves_nothing_not_even_an_earlier_runs(suite):
    artifacts, _ = suite

    assert [path.name for path in artifacts.iterdir()] == ["test_fails"]


def test_failure_leaves_no_process(suite):
    _, output = suite
    pid = output.split("pid ")[1].split()[0]

    assert not Path("/proc", pid).exists()
