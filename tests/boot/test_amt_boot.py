"""`bootserver amt boot`, whole: one command, a fake AMT, and the PC behind it in QEMU."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bootserver.bench.fake_amt import (
    FakeAmtDevice,
    FakeSpec,
    RedirectionManners,
    SystemState,
    WsmanManners,
    fake_amt,
)
from bootserver.bench.ports import free_port
from bootserver.bench.qemu_command import QemuSpec
from bootserver.model import Firmware
from tests.fixtures.booted import Door, Proven
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, ON_SERIAL, packaged
from tests.fixtures.server import Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

PASSWORD = "P@ssw0rd"
PHASES = [
    *("created", "stub_built", "attached", "powered", "stub_started"),
    *("script_served", "fetching", "fetched", "handed_off"),
]


@asynccontextmanager
async def site_of(path: Path, device: FakeAmtDevice) -> AsyncIterator[tuple[Site, str]]:
    """A server that knows this device, and the id of its image."""
    password_file = path / "amt.password"
    password_file.write_text(f"{PASSWORD}\n")
    site = Site(
        path / "site",
        https_port=free_port(),
        extra=(
            f'[[machines]]\namt.host = "{device.host}"\n'
            f"amt.tls = {str(bool(device.certificate_sha256)).lower()}\n"
            f'amt.password_file = "{password_file}"\n'
            f"amt.wsman_port = {device.wsman_port}\n"
            f"amt.redirection_port = {device.redirection_port}\n"
        ),
    )
    image = site.add(packaged(MEMTEST), side_car=ON_SERIAL)
    async with serving(site):
        yield site, image


async def amt_boot(site: Site, *options: str, expect: int = 0) -> dict[str, Any]:
    """What `bootserver amt boot --json` says in the end of its one machine."""
    command = ("amt", "boot", "--method", "two-stage", *options, "--json")
    output = await site.command(*command, expect=expect, stream="output")
    [outcome] = json.loads(output)
    assert isinstance(outcome, dict)
    return outcome


@pytest.mark.parametrize(("firmware", "tls"), [(Firmware.BIOS, True), (Firmware.UEFI, False)])
async def test_one_command_boots_a_pc_from_ram(
    tmp_path: Path, proven: Proven, firmware: Firmware, tls: bool
):
    power = SystemState.S5 if firmware is Firmware.BIOS else SystemState.S0
    spec = FakeSpec(tmp_path / "amt", tls=tls, power=power, machine=QemuSpec(firmware))
    async with fake_amt(spec) as device, site_of(tmp_path, device) as (site, image):
        outcome = await amt_boot(site, device.host, "--image", image)
        machine = device.machine
        assert machine is not None
        await proven(site, machine, MEMTEST_SAYS, door=Door.AMT)

    job, boot = outcome["amt_boot"], outcome["boot"]
    assert job["doing"] == "done", job
    assert [phase["phase"] for phase in boot["phases"]] == PHASES
    assert boot["sent_bytes"] == boot["image_bytes"] > 100_000
    stub = boot["transfers"][0]
    assert (stub["name"], stub["protocol"]) == ("stub.iso", "redirection")
    assert 200_000 < stub["sent_bytes"] <= 600_000
    assert device.violations == []


async def test_a_reset_in_the_middle_of_a_read_does_not_end_the_boot(tmp_path: Path):
    spec = FakeSpec(
        tmp_path / "amt",
        power=SystemState.S0,
        machine=QemuSpec(Firmware.BIOS),
        redirection_manners=RedirectionManners(reset_in_read=40),
    )
    async with fake_amt(spec) as device, site_of(tmp_path, device) as (site, image):
        outcome = await amt_boot(site, device.host, "--image", image)

    assert outcome["amt_boot"]["doing"] == "done", outcome
    assert device.violations == []


async def test_a_connection_cut_in_the_middle_is_told_and_the_command_can_be_run_again(
    tmp_path: Path,
):
    spec = FakeSpec(
        tmp_path / "amt",
        power=SystemState.S0,
        machine=QemuSpec(Firmware.BIOS),
        redirection_manners=RedirectionManners(cut_after_reads=40),
    )
    async with fake_amt(spec) as device, site_of(tmp_path, device) as (site, image):
        cut = await amt_boot(site, device.host, "--image", image, expect=1)
        again = await amt_boot(site, device.host, "--image", image)

    assert cut["amt_boot"]["failure"] == "lost"
    assert "ended the connection" in cut["amt_boot"]["error"]
    assert cut["boot"]["phase"] == "failed"
    assert again["amt_boot"]["doing"] == "done", again


async def test_one_click_recovery_boots_a_pc_without_any_redirection(
    tmp_path: Path, proven: Proven
):
    spec = FakeSpec(
        tmp_path / "amt",
        tls=True,
        version="16.1.30",
        wsman_manners=WsmanManners(one_click_recovery=True),
        machine=QemuSpec(Firmware.UEFI),
    )
    async with fake_amt(spec) as device, site_of(tmp_path, device) as (site, image):
        outcome = await amt_boot(site, device.host, "--image", image, "--method", "ocr")
        assert device.machine is not None
        await proven(site, device.machine, MEMTEST_SAYS, door=Door.ONE_CLICK_RECOVERY)
        root = x509.load_pem_x509_certificate(site.root.read_bytes())

    job, boot = outcome["amt_boot"], outcome["boot"]
    assert job["doing"] == "done", job
    assert (job["taken"], job["reads"]) == ("ocr", 0)
    assert [fetched.error for fetched in device.fetched] == [""]
    assert device.fetched[0].content_type == "application/efi"
    assert device.fetched[0].url.endswith("/stub.efi")
    assert device.state.roots == [root.public_bytes(Encoding.DER)]
    assert [p for p in PHASES if p != "attached"] == [phase["phase"] for phase in boot["phases"]]
    assert "IDER" not in device.state.sessions
