"""One QEMU machine, driven by QMP: started, looked at, and gone at the end whatever happens.

The machine is emulated (TCG), so it needs no /dev/kvm and runs the same everywhere, only slowly.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError, Runstate

from bootserver.bench.qemu_command import (
    CD_DRIVE,
    CD_NODE,
    DISK_DRIVE,
    QEMU,
    BootDevice,
    QemuSpec,
    command_line,
    nic_id,
    ovmf_files,
    serial_path,
    vars_path,
)
from bootserver.bench.screen import (
    TEXT_MEMORY_ADDRESS,
    TEXT_MEMORY_BYTES,
    decode_text_memory,
    strip_escapes,
)
from bootserver.errors import ServiceError
from bootserver.model import Firmware

log = structlog.get_logger()
# It logs as errors what it also raises, and being cancelled, too.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

_ANSWER_S = 60  # how long QEMU may take to answer a QMP command
_STOP_S = 10  # how long QEMU may take to obey `quit`, then SIGTERM
_EVENT_POLL_S = 0.1
_SERIAL_LINES_SHOWN = 25


class BootTimeout(TimeoutError):
    """The machine did not show what was awaited; the message says what it showed instead."""


class QemuEndedError(ServiceError):
    """QEMU no longer runs; the message has its exit code and its own last words."""


@dataclass(frozen=True, slots=True)
class CdReads:
    """What the machine has read from its CD since it was started."""

    size_bytes: int
    operations: int


@dataclass(frozen=True, slots=True)
class MachineOutput:
    """What the machine shows: its text screen, and all of its serial line without escapes."""

    screen: str
    serial: str


class QemuMachine:
    """A machine that runs; `launch` makes it."""

    def __init__(
        self,
        spec: QemuSpec,
        workdir: Path,
        command: list[str],
        process: asyncio.subprocess.Process,
        qmp: QMPClient,
    ) -> None:
        self.spec = spec
        self.workdir = workdir
        self.command = command
        self.pid = process.pid
        self.switched_on_at = datetime.now(UTC)  # until then it waits for `cont`
        self._process = process
        self._qmp = qmp
        self._last_screen = ""

    async def text_screen(self) -> str:
        """The text screen now, 25 lines at most; "" or nonsense in a graphics mode.

        A guest that scrolls by moving the start of the screen, as Linux's console does, is not
        followed. Wait for Linux, and for anything under UEFI, on the serial line.
        """
        dump = self.workdir / "screen.bin"
        await self._execute(
            "pmemsave", val=TEXT_MEMORY_ADDRESS, size=TEXT_MEMORY_BYTES, filename=str(dump)
        )
        self._last_screen = decode_text_memory(dump.read_bytes())
        return self._last_screen

    def serial_text(self) -> str:
        """All that came over the serial line so far, without escape sequences."""
        return strip_escapes(self._serial_bytes().decode(errors="replace"))

    async def screenshot(self, path: Path) -> None:
        """Write what the monitor shows to `path`, as PNG."""
        await self._execute("screendump", filename=str(path), format="png")

    async def cd_reads(self) -> CdReads:
        """Bytes and read operations from the CD so far.

        The emulated IDE drive counts an operation per sector, whatever the guest asked for. The USB
        drive counts the guest's own READs.
        """
        for device in await self._execute("query-blockstats"):
            if device.get("node-name") == CD_NODE:
                stats = device["stats"]
                return CdReads(stats["rd_bytes"], stats["rd_operations"])
        raise ServiceError("this machine has no CD")

    async def cd_bytes_read(self) -> int:
        """Bytes read from the CD so far."""
        return (await self.cd_reads()).size_bytes

    async def send_keys(self, *keys: str) -> None:
        """Press keys one after the other, by QEMU's names: `send_keys("s", "ret", "ctrl-b")`."""
        for chord in keys:
            pressed = [{"type": "qcode", "data": key} for key in chord.split("-")]
            await self._execute("send-key", keys=pressed)

    async def reset(self) -> None:
        """Press the reset button."""
        await self._execute("system_reset")

    async def insert_cd(self, disc: Mapping[str, object]) -> None:
        """Put a disc (`far_disc`, `local_disc`) into the CD drive, which is empty."""
        await self._execute("blockdev-add", **{"node-name": CD_NODE, **disc})
        await self._execute("blockdev-open-tray", id=CD_DRIVE, force=True)
        await self._execute("blockdev-insert-medium", id=CD_DRIVE, **{"node-name": CD_NODE})
        await self._execute("blockdev-close-tray", id=CD_DRIVE)

    async def remove_cd(self) -> None:
        """Take the disc out of the CD drive."""
        await self._execute("blockdev-open-tray", id=CD_DRIVE, force=True)
        await self._execute("blockdev-remove-medium", id=CD_DRIVE)
        await self._execute("blockdev-close-tray", id=CD_DRIVE)
        await self._execute("blockdev-del", **{"node-name": CD_NODE})

    async def restart(self, device: BootDevice | None, then: BootDevice | None) -> None:
        """Reset the machine, to boot from that device only, or from nothing.

        Later resets, such as the guest's own, boot from `then`.
        """
        await self._choose(device)
        with self._qmp.listener("RESET", lambda event: not _is_guests(event)) as resets:
            await self.reset()
            # The firmware is told at the reset, so that what is chosen after it is for the next.
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await resets.get()
            except TimeoutError as err:
                raise ServiceError(f"QEMU does not reset within {_ANSWER_S} s") from err
        await self._choose(then)

    async def wait_for_guest_resets(self, reset: Callable[[], None]) -> None:
        """Call `reset` whenever the guest resets the machine by itself; until cancelled."""
        with self._qmp.listener("RESET", _is_guests) as resets:
            async for _ in resets:
                reset()

    async def wait_for_end(self) -> None:
        """Return when QEMU has ended, as it does when its guest switches the machine off."""
        await self._process.wait()

    async def wait_for(
        self,
        wanted: str | Callable[[MachineOutput], bool],
        *,
        timeout_s: float,
        poll_s: float = 0.5,
    ) -> MachineOutput:
        """What the machine showed when `wanted` came true.

        A string is a regular expression, searched on the screen and in all of the serial line. Its
        `^` and `$` match at every line. Raises BootTimeout when time is up, QemuEndedError as soon
        as QEMU ends without having shown it.
        """
        is_shown = wanted if callable(wanted) else _shows(re.compile(wanted, re.MULTILINE))
        deadline = monotonic() + timeout_s
        while True:
            with suppress(QemuEndedError):  # then it shows what it showed last
                await self.text_screen()
            output = MachineOutput(self._last_screen, self.serial_text())
            if is_shown(output):
                return output
            if self._process.returncode is not None:
                raise await self._ended()
            if monotonic() >= deadline:
                raise BootTimeout(self._complaint(f"no {wanted!r} within {timeout_s} s"))
            await _ends_within(self._process, poll_s)

    async def wait_for_event(self, name: str, *, timeout_s: float) -> Mapping[str, Any]:
        """The next QMP event of this name (`RESET`, `SHUTDOWN`, ...); others before it are dropped.

        Events are kept from the first instruction on, so that asking late misses none.
        """
        events = self._qmp.events
        deadline = monotonic() + timeout_s
        while True:
            # Looked at first: once the connection has ended, no event can follow those kept.
            connected = self._qmp.runstate is Runstate.RUNNING
            while not events.empty():
                event = await events.get()
                if event["event"] == name:
                    return event
            if not connected:
                raise await self._ended()
            if monotonic() >= deadline:
                raise BootTimeout(self._complaint(f"no {name} event within {timeout_s} s"))
            await asyncio.sleep(_EVENT_POLL_S)

    async def save_evidence(self, directory: Path) -> None:
        """Leave in `directory` what explains a failure, as far as QEMU still answers.

        screenshot.png, screen.txt, serial.txt (as it came), qemu.log, command.txt.
        """
        _make_directory(directory)
        with suppress(ServiceError):
            await self.screenshot(directory / "screenshot.png")
        with suppress(ServiceError):
            await self.text_screen()
        (directory / "screen.txt").write_text(self._last_screen + "\n", encoding="utf-8")
        (directory / "serial.txt").write_bytes(self._serial_bytes())
        (directory / "qemu.log").write_bytes(_log_path(self.workdir).read_bytes())
        (directory / "command.txt").write_text(shlex.join(self.command) + "\n")

    async def _choose(self, device: BootDevice | None) -> None:
        drives = {
            BootDevice.CD: CD_DRIVE if self.spec.cdrom or self.spec.empty_cd_drive else "",
            BootDevice.DISK: DISK_DRIVE if self.spec.usb_disk else "",
            BootDevice.NETWORK: nic_id(0) if self.spec.nics else "",
        }
        present = {which: f"/machine/peripheral/{name}" for which, name in drives.items() if name}
        for path in present.values():
            await self._execute("qom-set", path=path, property="bootindex", value=-1)
        if device in present:
            await self._execute("qom-set", path=present[device], property="bootindex", value=0)

    async def _switch_on(
        self,
        connection: socket.socket,
        prepare: Callable[[QemuMachine], Awaitable[None]] | None,
    ) -> None:
        """Connect to QEMU, which waits before the guest's first instruction, and let it run."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._qmp.connect(connection)
        except TimeoutError as err:
            raise ServiceError(f"QEMU does not greet us within {_ANSWER_S} s") from err
        except ConnectError as err:
            raise await self._ended() from err
        for number, nic in enumerate(self.spec.nics):
            if not nic.linked:
                await self._execute("set_link", name=nic_id(number), up=False)
        if prepare:
            await prepare(self)
        self.switched_on_at = datetime.now(UTC)
        await self._execute("cont")

    async def _execute(self, command: str, **arguments: Any) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._qmp.execute(command, arguments)
        except TimeoutError as err:
            raise ServiceError(f"QEMU does not answer {command} within {_ANSWER_S} s") from err
        except ExecuteError as err:
            raise ServiceError(f"QEMU refuses {command}: {err}") from err
        except QMPError as err:
            raise await self._ended() from err

    async def _ended(self) -> QemuEndedError:
        """The error to raise once the QMP connection is lost."""
        # The connection ends a moment before the process does.
        if not await _ends_within(self._process, _STOP_S):
            return QemuEndedError("QEMU closed its QMP connection, but still runs")
        last_words = _log_path(self.workdir).read_text(errors="replace").strip()
        return QemuEndedError(f"QEMU ended with exit code {self._process.returncode}: {last_words}")

    def _complaint(self, problem: str) -> str:
        serial = "\n".join(self.serial_text().splitlines()[-_SERIAL_LINES_SHOWN:])
        return f"{problem}\n--- screen\n{self._last_screen}\n--- end of serial line\n{serial}\n---"

    def _serial_bytes(self) -> bytes:
        return serial_path(self.workdir).read_bytes()


@asynccontextmanager
async def launch(
    spec: QemuSpec,
    workdir: Path,
    *,
    prepare: Callable[[QemuMachine], Awaitable[None]] | None = None,
) -> AsyncIterator[QemuMachine]:
    """The machine, switched on; QEMU is gone when the block is left, whatever happened in it.

    `prepare` may still change it before its first instruction. `workdir` takes the machine's
    files: its log, serial line and UEFI variables. Raises ServiceError if something is not
    installed, QemuEndedError with QEMU's words if it gives up.
    """
    require_qemu()
    qmp = QMPClient()
    _lay_out(spec, workdir)
    command = command_line(spec, workdir)
    started_at = monotonic()

    # A connected pair instead of a socket in the file system. It has no limit to the path's length,
    # nothing to poll for, and an end of file as soon as QEMU dies.
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        with theirs, _log_path(workdir).open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *spec.entering,
                # The kernel ends QEMU, should we be killed before we can.
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *command,
                *("-chardev", f"socket,id=qmp,fd={theirs.fileno()}"),
                *("-mon", "chardev=qmp,mode=control", "-S"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for us, and we end QEMU
            )
        try:
            log.info("qemu.started", pid=process.pid, firmware=spec.firmware.value)
            machine = QemuMachine(spec, workdir, command, process, qmp)
            await machine._switch_on(ours, prepare)
            yield machine
        finally:
            await _stop(process, qmp)
            log.info(
                "qemu.ended",
                pid=process.pid,
                exit_code=process.returncode,
                seconds=round(monotonic() - started_at, 1),
            )


def require_qemu() -> None:
    """Raise ServiceError, with what to install, when no machine could be launched."""
    for program, package in ((QEMU, "qemu-system-x86"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            raise ServiceError(f"{program} is not installed", hint=f"apt install {package}")


def _lay_out(spec: QemuSpec, workdir: Path) -> None:
    """Put into `workdir` the files that the command line expects there."""
    _make_directory(workdir)
    serial_path(workdir).write_bytes(b"")
    if spec.firmware is Firmware.UEFI:
        code, variables = ovmf_files(spec)
        for path in (code, variables):
            if not path.exists():
                raise ServiceError(f"{path} is missing", hint="apt install ovmf")
        shutil.copyfile(variables, vars_path(workdir))


async def _stop(process: asyncio.subprocess.Process, qmp: QMPClient) -> None:
    """End QEMU: ask it, then SIGTERM, then SIGKILL; SIGKILL at once if we are cancelled here."""
    try:
        with suppress(QMPError, TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await qmp.execute("quit")
                await process.wait()
        if process.returncode is None:
            process.terminate()
            await _ends_within(process, _STOP_S)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # Last, since a QEMU that does not answer would make it wait. What ended the connection
        # has been told by then.
        with suppress(QMPError, EOFError, OSError):
            await qmp.disconnect()


async def _ends_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None


def _shows(pattern: re.Pattern[str]) -> Callable[[MachineOutput], bool]:
    return lambda output: bool(pattern.search(output.screen) or pattern.search(output.serial))


def _is_guests(reset: Mapping[str, Any]) -> bool:
    """Whether a RESET event tells of the guest's own doing."""
    return bool(reset["data"]["guest"])


def _make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _log_path(workdir: Path) -> Path:
    return workdir / "qemu.log"
