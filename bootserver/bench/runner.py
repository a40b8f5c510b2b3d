"""Boots the machines of benchmark cases, one at a time, and tells when each reached what.

The times of a two-stage boot are the ledger's own. Added is what the ledger cannot know: power-on,
and when the machine shows the case's marker. All are by one host's clock.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bootserver.bench.cases import BootWay, Case
from bootserver.bench.qemu import BootTimeout, CdReads, QemuMachine, launch
from bootserver.bench.qemu_command import CdBus, QemuNic, QemuSpec
from bootserver.bench.results import UP, BenchRun
from bootserver.bench.site import BenchSite, lay_out_site, run_command, serving
from bootserver.bench.slow_link import serve_disc
from bootserver.config import Config
from bootserver.database import open_database
from bootserver.errors import BootServerError, ServiceError
from bootserver.model import BootEvent, BootPhase, BootSession
from bootserver.sessions.store import SessionStore
from bootserver.sessions.tracker import BAD_ENDS, is_before

MARKER_POLL_S = 0.1  # how exactly the moment of a marker is known
_LEDGER_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class _End:
    """When a machine had come as far as its case asks, and what it had read from its CD."""

    power_on_at: datetime
    at: datetime
    cd: CdReads


async def run_cases(
    cases: Sequence[Case],
    images: Mapping[str, Path],
    config: Config,
    *,
    runs: int,
    evidence: Path,
    on_start: Callable[[Case, int], None] = lambda case, number: None,
) -> AsyncIterator[BenchRun]:
    """Every case so many times, in rounds, so that a busy minute of the host hits all alike.

    `images` has the file of each image that the cases name. A run that fails is a result like the
    others, and what its machine showed is left in `evidence`/CASE-NUMBER.
    """
    for number in range(1, runs + 1):
        for case in cases:
            on_start(case, number)
            left = evidence / f"{case.name}-{number}"
            yield await _run(case, number, images[case.image], config, left)


async def _run(case: Case, number: int, image: Path, config: Config, evidence: Path) -> BenchRun:
    run = BenchRun(
        case=case.name,
        number=number,
        started_at=datetime.now(UTC),
        load_average=round(os.getloadavg()[0], 2),
    )
    with tempfile.TemporaryDirectory(prefix="bootserver-bench-") as directory:
        try:
            if case.way is BootWay.DIRECT:
                measured = await _boot_directly(case, image, Path(directory), evidence)
            else:
                measured = await _boot_in_two_stages(case, image, config, Path(directory), evidence)
        except (BootServerError, BootTimeout) as err:
            # The screen that follows in a BootTimeout is in the evidence.
            measured = {"error": str(err).splitlines()[0]}
    return run.model_copy(update=measured)


async def _boot_directly(
    case: Case, image: Path, directory: Path, evidence: Path
) -> dict[str, object]:
    async with _machine(case, image, directory, evidence) as machine:
        end = await _marker_shown(machine, case)
    return _measured(end, {UP: end.at})


async def _boot_in_two_stages(
    case: Case, image: Path, config: Config, directory: Path, evidence: Path
) -> dict[str, object]:
    site = lay_out_site(directory / "site", case, image, config)
    await run_command(site, "images", "list")  # hashed now, not while a machine waits for it
    stub = site.path / "stub.iso"
    await run_command(site, "stub", "build", site.image, "-o", str(stub))
    try:
        async with serving(site), _machine(case, stub, directory, evidence) as machine:
            if case.marker:
                end = await _marker_shown(machine, case)
            else:
                end = await _phase_reached(machine, case, site)
    except (BootServerError, BootTimeout):
        with suppress(OSError):
            shutil.copyfile(site.log_path, evidence / "server.log")
        raise
    session, events = await _ledger(site)
    if session is None or (is_before(session, BootPhase.HANDED_OFF) and not case.phase):
        raise ServiceError("the machine is up, but not by way of the server: its ledger says so")
    reached = {str(event.phase): event.at for event in events}
    if case.marker:
        reached[UP] = end.at
    return _measured(end, reached) | {"http_bytes": session.sent_bytes}


@asynccontextmanager
async def _machine(
    case: Case, disc: Path, directory: Path, evidence: Path
) -> AsyncIterator[QemuMachine]:
    """The case's machine, switched on, with `disc` at the end of the case's line.

    Rates are QEMU's own throttling; latency needs our model of the line, which then does both.
    """
    async with AsyncExitStack() as parts:
        line, far_disc = case.line, None
        if line.latency_s:
            far_disc = directory / "cd.socket"
            await parts.enter_async_context(serve_disc(disc, line, far_disc))
        spec = QemuSpec(
            case.firmware,
            memory_mib=case.memory_mib,
            cdrom=disc,
            cdrom_bus=CdBus.USB,
            cdrom_bytes_per_s=0 if far_disc else line.bytes_per_s,
            cdrom_socket=far_disc,
            nics=(QemuNic(case.nic),),
        )
        machine = await parts.enter_async_context(launch(spec, directory / "machine"))
        try:
            yield machine
        except (BootServerError, BootTimeout):
            await machine.save_evidence(evidence)
            raise


async def _marker_shown(machine: QemuMachine, case: Case) -> _End:
    await machine.wait_for(case.marker, timeout_s=case.timeout_s, poll_s=MARKER_POLL_S)
    return await _end(machine)


async def _phase_reached(machine: QemuMachine, case: Case, site: BenchSite) -> _End:
    assert case.phase is not None
    try:
        async with asyncio.timeout(case.timeout_s):
            while True:
                session, _ = await _ledger(site)
                if session and session.phase in BAD_ENDS:
                    raise ServiceError(f"the boot has {session.phase}: {session.error}")
                if session and not is_before(session, case.phase):
                    return await _end(machine)
                await asyncio.sleep(_LEDGER_POLL_S)
    except TimeoutError as err:
        raise BootTimeout(f"the ledger has no {case.phase} within {case.timeout_s} s") from err


async def _end(machine: QemuMachine) -> _End:
    now = datetime.now(UTC)
    return _End(machine.switched_on_at, now, await machine.cd_reads())


async def _ledger(site: BenchSite) -> tuple[BootSession | None, list[BootEvent]]:
    """The site's newest boot, and how it went."""
    async with open_database(site.database_url) as engine:
        store = SessionStore(engine)
        sessions = await store.recent(1)
        if not sessions:
            return None, []
        return sessions[0], (await store.events([sessions[0].id]))[sessions[0].id]


def _measured(end: _End, reached: Mapping[str, datetime]) -> dict[str, object]:
    """What a run has to say for itself: no event counts that came after its end."""
    return {
        "at": {
            name: round((at - end.power_on_at).total_seconds(), 3)
            for name, at in sorted(reached.items(), key=lambda event: event[1])
            if at <= end.at
        },
        "cd_bytes": end.cd.size_bytes,
        "cd_reads": end.cd.operations,
    }
