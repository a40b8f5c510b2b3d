"""A QEMU machine from switch-on to its end: boots that are seen, failures that say why."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bootserver.bench import qemu, qemu_command
from bootserver.bench.qemu import BootTimeout, QemuEndedError, launch
from bootserver.bench.qemu_command import BootDevice, CdBus, QemuNic, QemuSpec
from bootserver.errors import ServiceError
from bootserver.model import Firmware
from tests.fixtures.packaged import GRUB, MEMTEST, MEMTEST_SAYS, packaged

pytestmark = pytest.mark.boot

BOOT_S = 180  # generous: an emulated machine on a busy host
NOTHING = QemuSpec(Firmware.BIOS, nics=())  # SeaBIOS says "No bootable device." and stays


@pytest.fixture
def memtest_iso() -> Path:
    return packaged(MEMTEST)


@pytest.fixture
def grub_iso() -> Path:
    return packaged(GRUB)


def is_running(pid: int) -> bool:
    """False also for a process that has ended and waits for its parent to notice."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_memtest_is_read_off_the_text_screen(tmp_path, memtest_iso):
    async with launch(QemuSpec(Firmware.BIOS, cdrom=memtest_iso, nics=()), tmp_path) as machine:
        seen = await machine.wait_for(MEMTEST_SAYS, timeout_s=BOOT_S)

        assert "Memory" in seen.screen
        assert 100_000 < await machine.cd_bytes_read() < memtest_iso.stat().st_size


@pytest.mark.parametrize("bus", CdBus)
async def test_grub_menu_answers_keys_from_either_cd_drive(tmp_path, grub_iso, bus):
    spec = QemuSpec(Firmware.BIOS, cdrom=grub_iso, cdrom_bus=bus, nics=())

    async with launch(spec, tmp_path) as machine:
        await machine.wait_for("GNU GRUB", timeout_s=BOOT_S)
        await machine.send_keys("c")
        await machine.wait_for("Minimal BASH-like", timeout_s=BOOT_S)
        reads = await machine.cd_reads()

    assert 0 < reads.operations < reads.size_bytes < grub_iso.stat().st_size


async def test_stick_is_booted_before_the_cd(tmp_path, grub_iso, memtest_iso):
    spec = QemuSpec(
        Firmware.BIOS,
        cdrom=memtest_iso,
        usb_disk=grub_iso,  # a hybrid image
        boot_from=BootDevice.DISK,
        nics=(),
    )

    async with launch(spec, tmp_path) as machine:
        await machine.wait_for("GNU GRUB", timeout_s=BOOT_S)


async def test_uefi_tells_on_the_serial_line_that_the_cd_has_no_uefi_entry(tmp_path, grub_iso):
    async with launch(QemuSpec(Firmware.UEFI, cdrom=grub_iso), tmp_path) as machine:
        seen = await machine.wait_for(r"failed to load Boot000\d .* Not Found", timeout_s=BOOT_S)

    assert "\x1b" not in seen.serial


async def test_reset_is_an_event_and_boots_again(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)
        await machine.reset()

        event = await machine.wait_for_event("RESET", timeout_s=BOOT_S)

        assert event["data"]["guest"] is False
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)


async def test_ipxe_has_a_network_and_a_second_card_without_cable(tmp_path):
    # The old iPXE that Debian's QEMU brings as option ROM, here without a card of its own.
    spec = QemuSpec(
        Firmware.BIOS,
        nics=(QemuNic(), QemuNic(linked=False)),
        extra_args=("-option-rom", "pxe-e1000.rom,bootindex=2"),  # which QEMU finds itself
    )

    async with launch(spec, tmp_path) as machine:
        seen = await machine.wait_for("Waiting for link-up on net1", timeout_s=BOOT_S)

    assert "net0: 52:54:00:12:34:56 using 82540em" in seen.screen
    assert "net0: 10.0.2.15/255.255.255.0 gw 10.0.2.2" in seen.screen


async def test_timeout_shows_the_last_screen(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)

        with pytest.raises(BootTimeout, match=r"(?s)no 'GRUB' within.*No bootable device"):
            await machine.wait_for("GRUB", timeout_s=0.1)


async def test_wait_takes_a_predicate(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        seen = await machine.wait_for(
            lambda seen: seen.screen.count("Boot failed") == 2, timeout_s=BOOT_S
        )

    assert "SeaBIOS" in seen.screen


@pytest.mark.parametrize(
    ("extra_args", "words"),
    [
        (("-nonsense",), "-nonsense: invalid option"),
        (("-device", "nonsense"), "'nonsense' is not a valid device model name"),
    ],
)
async def test_bad_argument_is_told_in_qemus_words(tmp_path, extra_args, words):
    spec = QemuSpec(Firmware.BIOS, extra_args=extra_args)

    with pytest.raises(QemuEndedError, match=rf"exit code 1: (?s:.*){words}"):
        async with launch(spec, tmp_path):
            pass


async def test_missing_cd_image_is_told_in_qemus_words(tmp_path):
    spec = QemuSpec(Firmware.BIOS, cdrom=tmp_path / "none.iso")

    with pytest.raises(QemuEndedError, match=r"none\.iso': No such file"):
        async with launch(spec, tmp_path):
            pass


async def test_wait_fails_when_qemu_dies_long_before_time_is_up(tmp_path):
    async with launch(NOTHING, tmp_path) as machine, asyncio.timeout(60):
        os.kill(machine.pid, signal.SIGKILL)

        with pytest.raises(QemuEndedError, match="exit code -9"):
            await machine.wait_for("never shown", timeout_s=3600)
        with pytest.raises(QemuEndedError, match="exit code -9"):
            await machine.wait_for_event("NEVER", timeout_s=3600)


async def test_what_was_seen_before_qemu_ended_still_counts(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)
        os.kill(machine.pid, signal.SIGTERM)
        await machine.wait_for_event("SHUTDOWN", timeout_s=BOOT_S)

        assert await machine.wait_for("No bootable device", timeout_s=BOOT_S)


async def test_evidence_of_a_dead_machine_is_its_last_screen(tmp_path):
    evidence = tmp_path / "evidence"

    async with launch(NOTHING, tmp_path / "machine") as machine:
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)
        os.kill(machine.pid, signal.SIGKILL)
        await machine.save_evidence(evidence)

    assert "No bootable device" in (evidence / "screen.txt").read_text()
    assert not (evidence / "screenshot.png").exists()


async def test_evidence_of_a_running_machine(tmp_path):
    evidence = tmp_path / "evidence"

    async with launch(NOTHING, tmp_path / "machine") as machine:
        await machine.wait_for("No bootable device", timeout_s=BOOT_S)
        await machine.save_evidence(evidence)

    assert {path.name for path in evidence.iterdir()} == {
        "screenshot.png",
        "screen.txt",
        "serial.txt",
        "qemu.log",
        "command.txt",
    }
    png = (evidence / "screenshot.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png[16:24] == bytes([0, 0, 720 >> 8, 720 & 255, 0, 0, 400 >> 8, 400 & 255])
    assert (evidence / "command.txt").read_text().startswith("qemu-system-x86_64 ")


async def test_no_process_is_left_after_an_ordinary_end(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        assert is_running(machine.pid)

    assert not is_running(machine.pid)


async def test_no_process_is_left_after_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with launch(NOTHING, tmp_path) as machine:
            raise ZeroDivisionError

    assert not is_running(machine.pid)


async def test_no_process_is_left_after_cancellation(tmp_path):
    pids: asyncio.Queue[int] = asyncio.Queue()

    async def boot_for_ever() -> None:
        async with launch(NOTHING, tmp_path) as machine:
            pids.put_nowait(machine.pid)
            await machine.wait_for("never shown", timeout_s=3600)

    task = asyncio.create_task(boot_for_ever())
    pid = await pids.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_running(pid)


async def test_qemu_that_does_not_answer_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu, "_STOP_S", 0.2)

    async with launch(NOTHING, tmp_path) as machine:
        os.kill(machine.pid, signal.SIGSTOP)

    assert not is_running(machine.pid)


async def test_qemu_does_not_outlive_a_killed_parent(tmp_path):
    parent = """
import asyncio, os, pathlib, signal, sys
from bootserver.bench.qemu import launch
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures.packaged import GRUB, MEMTEST, packaged

async def main():
    async with launch(QemuSpec(Firmware.BIOS, nics=()), pathlib.Path(sys.argv[1])) as machine:
        print("pid", machine.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", parent, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout.split("pid ")[1].split()[0])

    # The kernel's signal and QEMU's end are not one moment.
    async with asyncio.timeout(60):
        while is_running(pid):
            await asyncio.sleep(0.01)


async def test_missing_qemu_comes_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServiceError, match="qemu-system-x86_64 is not installed") as caught:
        async with launch(NOTHING, tmp_path):
            pass

    assert caught.value.hint == "apt install qemu-system-x86"


async def test_missing_uefi_firmware_comes_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu_command, "OVMF_CODE", tmp_path / "none.fd")

    with pytest.raises(ServiceError, match=r"none\.fd is missing") as caught:
        async with launch(QemuSpec(Firmware.UEFI), tmp_path):
            pass

    assert caught.value.hint == "apt install ovmf"


async def test_machine_without_a_cd_has_no_cd_reads(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        with pytest.raises(ServiceError, match="no CD"):
            await machine.cd_reads()


async def test_key_that_qemu_does_not_know_is_refused(tmp_path):
    async with launch(NOTHING, tmp_path) as machine:
        with pytest.raises(ServiceError, match="QEMU refuses send-key"):
            await machine.send_keys("no_such_key")
