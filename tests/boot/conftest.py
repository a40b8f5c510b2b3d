"""Machines for the boot tests; a test that fails leaves in tests/artifacts what they showed."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine, launch
from bootserver.bench.qemu_command import QemuSpec

ARTIFACTS = Path(__file__).parents[1] / "artifacts"

HAS_FAILED = pytest.StashKey[bool]()


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
