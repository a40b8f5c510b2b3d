"""One boot to look at: a server, a machine with a CD as slow as AMT's, and what happens."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import aiohttp

from bootserver.bench.cases import KB, BootWay, Case
from bootserver.bench.fake_amt import FakeSpec, SystemState, fake_amt
from bootserver.bench.qemu import QemuMachine, launch
from bootserver.bench.qemu_command import QemuSpec
from bootserver.bench.site import BenchSite, lay_out_site, run_command, serving
from bootserver.bench.slow_link import SlowLine
from bootserver.config import Config
from bootserver.database import open_database
from bootserver.errors import ServiceError
from bootserver.model import BootEvent, BootPhase, BootSession, Firmware
from bootserver.sessions.store import SessionStore
from bootserver.sessions.tracker import BAD_ENDS, is_before

LOOK_S = 0.25
# After so long without a byte or a phase nothing will come any more.
STILL_S = 300.0
SCREEN_LINES = 4
# How long a machine is watched after its hand-off, to see on its screen what it boots.
AFTERWARDS_S = 8.0


@dataclass(frozen=True, slots=True)
class View:
    """What is to be seen at one moment of the demonstration."""

    at: datetime
    begun_at: datetime  # switched on, or AMT asked to
    first: str  # what happens from then on
    stub_bytes: int  # over the slow CD
    session: BootSession | None
    events: Sequence[BootEvent]
    screen: Sequence[str]  # the last lines of the machine's screen
    dashboard: str
    error: str = ""  # why nothing more will come

    @property
    def bars(self) -> list[tuple[str, float, float]]:
        """What took its time: name, start and end in seconds since power-on; the last one grows."""
        marks = [(self.first, self.begun_at)]
        marks += [(DOES[event.phase], event.at) for event in self.events if event.phase in DOES]
        ends = [*(at for _, at in marks[1:]), self.at]
        return [
            (name, self._seconds(start), self._seconds(end))
            for (name, start), end in zip(marks, ends, strict=True)
        ]

    @property
    def since_hand_off_s(self) -> float:
        """The seconds since the image took over, 0 before."""
        handed_off = (event.at for event in self.events if event.phase is BootPhase.HANDED_OFF)
        return (self.at - next(handed_off, self.at)).total_seconds()

    @property
    def power_on_at(self) -> datetime:
        """When the machine was switched on: at the beginning, or when AMT had done it."""
        powered = (event.at for event in self.events if event.phase is BootPhase.POWERED)
        return next(powered, self.begun_at)

    def _seconds(self, at: datetime) -> float:
        return (at - self.begun_at).total_seconds()


STUB_OVER_CD = "the stub over the slow CD"
# What a machine does once it has reached a phase.
DOES = {
    BootPhase.POWERED: STUB_OVER_CD,
    BootPhase.STUB_STARTED: "the server decides",
    BootPhase.SCRIPT_SERVED: "a loader comes over HTTP",
    BootPhase.FETCHING: "the image comes over HTTP",
    BootPhase.FETCHED: "all of it is there",
    BootPhase.HANDED_OFF: "the image runs from memory",
}


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is watched: the machine, which AMT may not have switched on yet, and its slow CD."""

    machine: Callable[[], QemuMachine | None]
    slow_bytes: Callable[[], Awaitable[int]]
    begun_at: datetime
    first: str
    error: Callable[[], Awaitable[str]]  # why there will be no session; "" while there may be one


@asynccontextmanager
async def demonstration(
    image: Path,
    firmware: Firmware,
    rate_kb_s: int,
    directory: Path,
    config: Config,
    *,
    by_amt: bool = False,
) -> AsyncIterator[AsyncIterator[View]]:
    """What is to be seen, four times a second, until the image has run for a while or has failed.

    The stub lies in the machine's own slow CD drive, or `by_amt` in one that a fake AMT device
    redirects. The server goes on until the end of the block. Raises ServiceError if it or QEMU
    cannot start, or if AMT refuses the boot.
    """
    case = Case(
        name="demo",
        image=str(image),
        firmware=firmware,
        way=BootWay.TWO_STAGE,
        phase=BootPhase.HANDED_OFF,
    )
    line = SlowLine(bytes_per_s=rate_kb_s * KB)
    stage = _redirected if by_amt else _in_the_drive
    async with stage(case, image, firmware, line, directory, config) as (site, staged):
        yield _views(site, staged)


@asynccontextmanager
async def _in_the_drive(
    case: Case, image: Path, firmware: Firmware, line: SlowLine, directory: Path, config: Config
) -> AsyncIterator[tuple[BenchSite, _Stage]]:
    """A machine that is switched on with the stub in its drive."""
    site = lay_out_site(directory / "site", case, image, config)
    stub = directory / "stub.iso"
    await run_command(site, "images", "list")  # reads it now, not while the machine waits
    await run_command(site, "stub", "build", site.image, "-o", str(stub))
    spec = QemuSpec(firmware, cdrom=stub, cdrom_bytes_per_s=line.bytes_per_s)
    async with serving(site), launch(spec, directory / "machine") as machine:

        async def error() -> str:
            return ""  # the look at QEMU's screen raises its end

        on_at = machine.switched_on_at
        yield site, _Stage(lambda: machine, machine.cd_bytes_read, on_at, STUB_OVER_CD, error)


@asynccontextmanager
async def _redirected(
    case: Case, image: Path, firmware: Firmware, line: SlowLine, directory: Path, config: Config
) -> AsyncIterator[tuple[BenchSite, _Stage]]:
    """A machine that is on, and whose AMT is asked to boot it."""
    secret = directory / "amt.password"
    spec = FakeSpec(
        directory / "amt",
        tls=True,
        power=SystemState.S0,
        machine=QemuSpec(firmware),
        line=line,
    )
    secret.write_text(spec.password, encoding="utf-8")
    async with fake_amt(spec) as device:
        amt = {
            "host": device.host,
            "password_file": str(secret),
            "wsman_port": device.wsman_port,
            "redirection_port": device.redirection_port,
        }
        site = lay_out_site(directory / "site", case, image, config, [{"amt": amt}])
        await run_command(site, "images", "list")

        async def slow_bytes() -> int:
            return device.read_bytes

        async with serving(site), aiohttp.ClientSession() as http:
            begun_at = datetime.now(UTC)
            order = {"image": site.image, "method": "two-stage"}
            api = f"{_dashboard(site)}api/v1"
            async with http.post(f"{api}/machines/{device.host}/boot", json=order) as answer:
                boot = await answer.json()
                if answer.status != 202:
                    raise ServiceError(f"the boot was refused: {boot['detail']}")

            async def error() -> str:
                try:
                    async with http.get(f"{api}/amt/boots/{boot['id']}") as answer:
                        return str((await answer.json())["error"])
                except aiohttp.ClientError as err:
                    return f"the server does not answer: {err}"

            first = "AMT is told what to boot"
            yield site, _Stage(lambda: device.machine, slow_bytes, begun_at, first, error)


async def _views(site: BenchSite, stage: _Stage) -> AsyncIterator[View]:
    dashboard = _dashboard(site)
    async with open_database(site.database_url) as engine:
        store = SessionStore(engine)
        come, come_at = (0, 0, 0), monotonic()
        while True:
            sessions = await store.recent(1)
            session = sessions[0] if sessions else None
            events = (await store.events([session.id]))[session.id] if session else []
            machine = stage.machine()
            screen, serial = "", ""
            if machine is not None:
                screen, serial = await machine.text_screen(), machine.serial_text()
            stub_bytes = await stage.slow_bytes()
            now = (stub_bytes, session.sent_bytes if session else 0, len(events))
            if now != come:
                come, come_at = now, monotonic()
            error = ""
            if session and session.phase in BAD_ENDS:
                error = session.error or f"it has {session.phase}"
            elif session is None or is_before(session, BootPhase.HANDED_OFF):
                error = await stage.error()
                if not error and monotonic() - come_at > STILL_S:
                    error = f"nothing has come to the machine for {STILL_S:.0f} s"
            view = View(
                at=datetime.now(UTC),
                begun_at=stage.begun_at,
                first=stage.first,
                stub_bytes=stub_bytes,
                session=session,
                events=events,
                screen=_last_lines(screen, serial),
                dashboard=dashboard,
                error=error,
            )
            yield view
            if view.since_hand_off_s > AFTERWARDS_S or view.error:
                return
            await asyncio.sleep(LOOK_S)


def _last_lines(screen: str, serial: str) -> list[str]:
    """What the machine shows: its text screen, or where that is none its serial line."""
    lines = [line.rstrip() for line in screen.splitlines() if line.strip()]
    lines = lines or [line.rstrip() for line in serial.splitlines() if line.strip()]
    return lines[-SCREEN_LINES:]


def _dashboard(site: BenchSite) -> str:
    server = tomllib.loads(site.config_path.read_text(encoding="utf-8"))["server"]
    return f"http://127.0.0.1:{server['admin_port']}/"
