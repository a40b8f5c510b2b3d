"""Machines for the boot tests; a test that fails leaves in tests/artifacts what they showed."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.qemu import MachineOutput, QemuMachine, launch
from bootserver.bench.qemu_command import QemuSpec
from tests.fixtures.booted import PROVING, Door, Proven, Way, facts, record
from tests.fixtures.server import BOOT_S, Site, boot_record

ARTIFACTS = Path(__file__).parents[1] / "artifacts"

HAS_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which tests prove boots; to record boots, only these are run."""
    proving = {item.nodeid: "proven" in getattr(item, "fixturenames", ()) for item in items}
    config.stash[PROVING] = proving
    if config.getoption("--record-boots", False):
        config.hook.pytest_deselected(items=[item for item in items if not proving[item.nodeid]])
        items[:] = [item for item in items if proving[item.nodeid]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures, before they are torn down, whether their test has failed."""
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    return report


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Path]:
    """tests/artifacts/TEST/, for what explains a failure; gone again when the test passes."""
    directory = ARTIFACTS / re.sub(r"[^\w.-]+", "_", request.node.name).strip("_")
    shutil.rmtree(directory, ignore_errors=True)  # an earlier run's
    directory.mkdir(parents=True)
    yield directory
    if not request.node.stash.get(HAS_FAILED, False):
        shutil.rmtree(directory)


@pytest.fixture
async def qemu(
    request: pytest.FixtureRequest, tmp_path: Path, evidence: Path
) -> AsyncIterator[Callable[[QemuSpec], Awaitable[QemuMachine]]]:
    """`machine = await qemu(spec)`: a running machine that ends with the test.

    If the test fails, each machine's evidence is saved first: the first one's in `evidence`
    itself, the others' in `evidence`/2, /3, ...
    """
    machines: list[QemuMachine] = []

    async with AsyncExitStack() as running:

        async def start(spec: QemuSpec) -> QemuMachine:
            workdir = tmp_path / f"qemu{len(machines) + 1}"
            machine = await running.enter_async_context(launch(spec, workdir))
            machines.append(machine)
            return machine

        yield start

        if request.node.stash.get(HAS_FAILED, False):
            for number, machine in enumerate(machines, 1):
                await machine.save_evidence(evidence / str(number) if number > 1 else evidence)


@pytest.fixture
def proven(request: pytest.FixtureRequest) -> Iterator[Proven]:
    """`seen, boot = await proven(site, machine, WORDS)`: this kind of image boots in this way.

    It waits until the guest says WORDS, which nothing before it does, and the boot has come to
    `phase`. booted.json says no more of a test than what it proves when it passes; with
    --record-boots that is written there.
    """
    ways: set[Way] = set()

    async def prove(
        site: Site,
        machine: QemuMachine,
        words: str,
        *,
        phase: str = "handed_off",
        door: Door = Door.CD,
        timeout_s: float = BOOT_S,
    ) -> tuple[MachineOutput, dict[str, Any]]:
        seen = await machine.wait_for(words, timeout_s=timeout_s)
        boot = await boot_record(site, phase)
        assert boot["machine"]["firmware"] == machine.spec.firmware
        ways.add(Way(boot["recipe"], boot["machine"]["firmware"], boot["method"], door))
        return seen, boot

    yield prove
    if request.node.stash.get(HAS_FAILED, False):
        return
    test = request.node.nodeid
    if request.config.getoption("--record-boots", False):
        record(test, ways)
    assert ways >= {fact.way for fact in facts() if fact.test == test}, (
        f"booted.json says more; run: pytest --record-boots {test!r}"
    )
