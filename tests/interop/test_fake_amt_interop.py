"""The fake AMT device against consoles that others wrote for real AMT.

MeshCentral's modules are run unmodified under node; amtterm is Debian's.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.fake_amt import (
    BootFrom,
    FakeAmtDevice,
    FakeSpec,
    RedirectionManners,
    Segments,
    fake_amt,
)
from bootserver.bench.fake_amt.event_log import boot_started, login_failed
from tests.fixtures.meshcentral import DRIVERS, meshcentral

pytestmark = [pytest.mark.interop, pytest.mark.slow]

WAIT_S = 60
AT_REBOOT, AT_ONCE = 0, 2
# MeshCentral sends nothing by itself; whether firmware minds is not known.
PATIENT = {"rx_timeout_s": 600.0}


@dataclass(frozen=True)
class Running:
    """A console that runs, and what it has said when it ended."""

    process: asyncio.subprocess.Process

    async def said(self) -> str:
        """All of its output, once it has ended by itself."""
        assert self.process.stdout is not None
        # Its standard input stays open: at the end of that it would stop, whatever it is doing.
        async with asyncio.timeout(WAIT_S):
            output = await self.process.stdout.read()
            await self.process.wait()
        return output.decode(errors="replace")


@asynccontextmanager
async def running(*command: str | Path, **environment: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def redirecting(
    device: FakeAmtDevice, iso: Path, *, start: int = AT_ONCE, password: str = ""
) -> AsyncIterator[Running]:
    """MeshCentral redirects the ISO."""
    arguments = (device.host, device.spec.user, password or device.spec.password)
    async with running(
        *("node", "-r", DRIVERS / "ports.js", DRIVERS / "ider.js", iso, *arguments),
        *(str(int(device.spec.tls)), str(start)),
        MESHCENTRAL=str(meshcentral()),
        REDIRECTION_PORT=str(device.redirection_port),
    ) as console:
        yield console


def manage(device: FakeAmtDevice) -> AbstractAsyncContextManager[Running]:
    """MeshCentral's WS-MAN client, which boots the redirected CD."""
    return running(
        *("node", DRIVERS / "wsman.js", device.host, str(device.wsman_port)),
        *(device.spec.user, device.spec.password, str(int(device.spec.tls))),
        MESHCENTRAL=str(meshcentral()),
    )


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / "disc.iso"
    path.write_bytes(b"".join(number.to_bytes(4, "big") * 512 for number in range(1000)))
    return path


def spec(tmp_path: Path, *, tls: bool = False, **manners: Any) -> FakeSpec:
    patient = RedirectionManners(**PATIENT | manners)
    return FakeSpec(tmp_path / "amt", tls=tls, redirection_manners=patient)


async def read_all(device: FakeAmtDevice) -> bytes:
    """The whole disc, by READs of all sizes."""
    blocks, data, lba = await device.capacity(), b"", 0
    for count in (1, 2, 3, 4, 5, 31, 32, 64, *[128] * 100):
        if lba == blocks:
            break
        count = min(count, blocks - lba)
        data += await device.read_blocks(lba, count)
        lba += count
    return data


@pytest.mark.parametrize(
    "manners",
    [
        {},
        {"tls": True},
        {"dma": False},
        {"readbfr": 512},
        {"readbfr": 4096},
        {"segments": Segments.BYTES},
        {"segments": Segments.JOINED, "ping_s": 0.2, "heartbeat_s": 0.1},
        {"reset_in_read": 3},
    ],
    ids=str,
)
async def test_meshcentrals_disc_is_read_byte_by_byte(
    tmp_path: Path, iso: Path, manners: dict[str, Any]
):
    async with fake_amt(spec(tmp_path, **manners)) as device, redirecting(device, iso):
        await device.drives_on(timeout_s=WAIT_S)

        assert await read_all(device) == iso.read_bytes()
        assert device.violations == []


async def test_meshcentral_answers_what_systems_ask_of_drives(tmp_path: Path, iso: Path):
    async with fake_amt(spec(tmp_path)) as device, redirecting(device, iso):
        await device.drives_on(timeout_s=WAIT_S)

        ready = await device.scsi(bytes(6))
        sizes = await device.scsi(bytes.fromhex("1A 00 3F 00 04 00"))
        unknown = await device.scsi(bytes.fromhex("51 00 00 00 00 00 00 00 22 00"))

        assert ready.is_good
        assert sizes.data == bytes.fromhex("00 05 80 00")
        assert unknown.sense == (5, 0x20, 0)


async def test_meshcentral_with_the_wrong_password_is_refused(tmp_path: Path, iso: Path):
    async with fake_amt(spec(tmp_path)) as device:
        async with redirecting(device, iso, password="guess") as console:
            said = await console.said()

        assert said.split() == ["state", "1", "state", "2", "state", "0"]
        assert len(device.state.events) == 1
        assert device.violations == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_meshcentral_boots_the_redirected_cd(tmp_path: Path, iso: Path, tls: bool):
    async with fake_amt(spec(tmp_path, tls=tls)) as device:
        device.state.events += [login_failed(0x65000000), boot_started(0x65000001)]
        async with redirecting(device, iso, start=AT_REBOOT), manage(device) as manager:
            told = json.loads(await manager.said())

            boot = await device.booted(timeout_s=WAIT_S)
            await device.wait_until(lambda: device.ider is not None and device.ider.reads == 3)

        assert boot.source is BootFrom.REDIRECTED_CD
        assert told["AMT_GeneralSettings"]["DigestRealm"] == device.state.realm
        assert told["AMT_EthernetPortSettings"]["IPAddress"] == "10.0.2.15"
        assert ["AMT", "15.0.47"] in told["software"]
        assert told["sources"] == 4
        assert told["log"][0] == "Starting operating system boot process"
        assert device.violations == []


async def test_amtterm_is_on_the_hosts_serial_line(tmp_path: Path):
    # It logs in with the password in clear, as the first devices had it.
    old = spec(tmp_path, auth_types=(1,), heartbeat_s=0.2)
    async with fake_amt(old) as device:
        address = (device.host, str(device.redirection_port))
        environment = {"AMT_PASSWORD": device.spec.password, "TERM": "dumb"}
        async with running("amtterm", "-u", "admin", *address, **environment) as console:
            await device.wait_until(lambda: device.state.sessions == {"SOL"}, timeout_s=WAIT_S)
            stdin, stdout = console.process.stdin, console.process.stdout
            assert stdin is not None
            assert stdout is not None
            await asyncio.wait_for(stdout.readuntil(b"escape"), WAIT_S)

            device.print_serial(b"boot: linux\r\n")
            stdin.write(b"rescue\r")

            await asyncio.wait_for(stdout.readuntil(b"boot: linux\r\n"), WAIT_S)
            await device.wait_until(lambda: device.typed == b"rescue\r", timeout_s=WAIT_S)
        assert device.violations == []
