"""One boot to look at: a server, a machine with a CD as slow as AMT's, and what both are doing."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bootserver.bench.cases import KB, BootWay, Case
from bootserver.bench.qemu import QemuMachine, launch
from bootserver.bench.qemu_command import QemuSpec
from bootserver.bench.site import BenchSite, lay_out_site, run_command, serving
from bootserver.config import Config
from bootserver.database import open_database
from bootserver.model import BootEvent, BootPhase, BootSession, Firmware
from bootserver.sessions.store import SessionStore

LOOK_S = 0.25
SCREEN_LINES = 4
# How long a machine is watched after its hand-off, to see on its screen what it boots.
AFTERWARDS_S = 8.0


@dataclass(frozen=True, slots=True)
class View:
    """What is to be seen at one moment of the demonstration."""

    at: datetime
    power_on_at: datetime
    stub_bytes: int  # over the slow CD
    session: BootSession | None
    events: Sequence[BootEvent]
    screen: Sequence[str]  # the last lines of the machine's screen
    dashboard: str

    @property
    def bars(self) -> list[tuple[str, float, float]]:
        """What took its time: name, start and end in seconds since power-on; the last one grows."""
        marks = [("the stub over the slow CD", self.power_on_at)]
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

    def _seconds(self, at: datetime) -> float:
        return (at - self.power_on_at).total_seconds()


# What a machine does once it has reached a phase.
DOES = {
    BootPhase.STUB_STARTED: "the server decides",
    BootPhase.SCRIPT_SERVED: "a loader comes over HTTP",
    BootPhase.FETCHING: "the image comes over HTTP",
    BootPhase.FETCHED: "all of it is there",
    BootPhase.HANDED_OFF: "the image runs from memory",
}


@asynccontextmanager
async def demonstration(
    image: Path, firmware: Firmware, rate_kb_s: int, directory: Path, config: Config
) -> AsyncIterator[AsyncIterator[View]]:
    """What is to be seen, four times a second, until the image has run for a while.

    The server goes on until the end of the block. Raises ServiceError if it or QEMU cannot start.
    """
    case = Case(
        name="demo",
        image=str(image),
        firmware=firmware,
        way=BootWay.TWO_STAGE,
        phase=BootPhase.HANDED_OFF,
    )
    site = lay_out_site(directory / "site", case, image, config)
    stub = directory / "stub.iso"
    await run_command(site, "images", "list")  # reads it now, not while the machine waits
    await run_command(site, "stub", "build", site.image, "-o", str(stub))
    spec = QemuSpec(firmware, cdrom=stub, cdrom_bytes_per_s=rate_kb_s * KB)
    async with serving(site), launch(spec, directory / "machine") as machine:
        yield _views(site, machine)


async def _views(site: BenchSite, machine: QemuMachine) -> AsyncIterator[View]:
    dashboard = _dashboard(site)
    async with open_database(site.database_url) as engine:
        store = SessionStore(engine)
        while True:
            sessions = await store.recent(1)
            session = sessions[0] if sessions else None
            events = (await store.events([session.id]))[session.id] if session else []
            view = View(
                at=datetime.now(UTC),
                power_on_at=machine.switched_on_at,
                stub_bytes=await machine.cd_bytes_read(),
                session=session,
                events=events,
                screen=_last_lines(await machine.text_screen(), machine.serial_text()),
                dashboard=dashboard,
            )
            yield view
            if view.since_hand_off_s > AFTERWARDS_S:
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
