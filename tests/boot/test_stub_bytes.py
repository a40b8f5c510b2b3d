"""How many bytes a machine reads over the slow path before its first HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import CdBus, NicModel, QemuNic, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.server import BOOT_S, Site

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

NATIVE = QemuNic(NicModel.E1000)  # OVMF has no driver for it, iPXE has
DRIVEN = QemuNic(NicModel.VIRTIO)  # OVMF has a driver for it


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def bytes_until_the_first_request(machine: QemuMachine, site: Site) -> int:
    """What was read from the CD when the machine has sent its first request, and waits."""
    counted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not counted.done():
            counted.set_result(await machine.cd_bytes_read())
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", site.boot_port)
    async with server, asyncio.timeout(BOOT_S):
        return await counted


@pytest.mark.parametrize(
    ("firmware", "nic", "most"),
    [
        (Firmware.BIOS, NATIVE, 560_000),
        (Firmware.UEFI, NATIVE, 530_000),  # 526,336 with iPXE 2.0
        (Firmware.UEFI, DRIVEN, 235_000),
    ],
)
@pytest.mark.parametrize("bus", CdBus)
async def test_few_bytes_are_redirected_before_the_first_request(
    qemu: Qemu, site: Site, firmware: Firmware, nic: QemuNic, most: int, bus: CdBus
):
    stub = await site.build_stub(site.add(packaged(MEMTEST)))
    machine = await qemu(QemuSpec(firmware, cdrom=stub, cdrom_bus=bus, nics=(nic,)))

    count = await bytes_until_the_first_request(machine, site)

    print(f"{firmware}, {nic.model}, {bus}: {count:,} bytes")
    assert count <= most
