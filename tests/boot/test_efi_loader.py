"""Our UEFI loader starts packed iPXE, the small or the full one, and few bytes are read for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import CdBus, Nic, NicModel, QemuSpec
from bootserver.config import PROJECT
from bootserver.model import Firmware
from bootserver.stub.fat import fat_image
from bootserver.stub.pack import pack
from tests.fixtures.server import free_port

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOOT_S = 300
FULL_BYTES_MAX = 520_000
SMALL_BYTES_MAX = 225_000

BUILD = PROJECT / "stub" / "build"
NATIVE = Nic(NicModel.E1000)  # OVMF has no driver for it, iPXE has
DRIVEN = Nic(NicModel.VIRTIO)  # OVMF has a driver for it

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]

# Asks for /small or /full, by which iPXE runs it; like the stub's own, it ends after one round only
# where that is asked for.
SCRIPT = """#!ipxe
set who full
isset ${{try_once}} && set who small ||
:again
echo the ${{who}} iPXE runs the script
dhcp && imgfetch http://10.0.2.2:{port}/${{who}} && shell ||
isset ${{try_once}} || goto again
exit 1
"""


@dataclass
class Caller:
    """Who has fetched something, and how much of the CD had been read by then."""

    path: str
    cd_bytes: int


@dataclass
class Listener:
    """A web server that keeps its clients waiting until they have been looked at."""

    port: int
    answered: frozenset[str]  # paths; the others get a 404
    requests: asyncio.Queue[tuple[str, asyncio.Event]] = field(default_factory=asyncio.Queue)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        seen = asyncio.Event()
        await self.requests.put((path, seen))
        await seen.wait()
        status = "200 OK" if path in self.answered else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async def next_caller(self, machine: QemuMachine) -> Caller:
        """The next request, which is answered once the CD's counter has been read."""
        async with asyncio.timeout(BOOT_S):
            path, seen = await self.requests.get()
        cd_bytes = await machine.cd_bytes_read() if machine.spec.cdrom else 0
        seen.set()
        return Caller(path, cd_bytes)


@asynccontextmanager
async def listening(*answered: str) -> AsyncIterator[Listener]:
    listener = Listener(free_port(), frozenset(answered))
    server = await asyncio.start_server(listener.handle, "127.0.0.1", listener.port)
    async with server:
        yield listener


@pytest.fixture(scope="session")
def packed() -> dict[str, bytes]:
    return {
        "IPXE.BIN": pack((BUILD / "ipxe-amd64.efi").read_bytes()),
        "SNP.BIN": pack((BUILD / "snponly.efi").read_bytes()),
    }


def stub_files(packed: dict[str, bytes], port: int) -> dict[str, bytes]:
    return {
        "EFI/BOOT/BOOTX64.EFI": (BUILD / "efi-loader.efi").read_bytes(),
        "autoexec.ipxe": SCRIPT.format(port=port).encode(),
        **packed,
    }


def write_iso(path: Path, files: dict[str, bytes]) -> Path:
    """An ISO that boots `files` under UEFI and has nothing else on it."""
    esp = fat_image(files)
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3)
    iso.add_fp(BytesIO(esp), len(esp), "/EFI.IMG;1")
    iso.add_eltorito(
        "/EFI.IMG;1", "/BOOT.CAT;1", platform_id=0xEF, efi=True, boot_load_size=len(esp) // 512
    )
    iso.write(str(path))
    iso.close()
    return path


def uefi(iso: Path, *nics: Nic, bus: CdBus = CdBus.IDE) -> QemuSpec:
    return QemuSpec(Firmware.UEFI, cdrom=iso, cdrom_bus=bus, nics=nics)


@pytest.mark.parametrize("bus", CdBus)
async def test_the_full_ipxe_drives_what_the_firmware_does_not(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes], bus: CdBus
):
    async with listening("/full") as listener:
        iso = write_iso(tmp_path / "stub.iso", stub_files(packed, listener.port))
        machine = await qemu(uefi(iso, NATIVE, bus=bus))
        caller = await listener.next_caller(machine)

    print(caller)
    assert caller.path == "/full"
    assert caller.cd_bytes <= FULL_BYTES_MAX


@pytest.mark.parametrize("bus", CdBus)
async def test_the_small_ipxe_uses_the_firmwares_driver(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes], bus: CdBus
):
    async with listening("/small") as listener:
        iso = write_iso(tmp_path / "stub.iso", stub_files(packed, listener.port))
        machine = await qemu(uefi(iso, DRIVEN, bus=bus))
        caller = await listener.next_caller(machine)

    print(caller)
    assert caller.path == "/small"
    assert caller.cd_bytes <= SMALL_BYTES_MAX
