"""Our UEFI loader starts packed iPXE, the small or the full one, and few bytes are read for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest

from bootserver.bench.ports import free_port
from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import CdBus, NicModel, QemuNic, QemuSpec
from bootserver.config import PROJECT, SigningConfig
from bootserver.model import Firmware
from bootserver.stub.efi_file import embed
from bootserver.stub.fat import fat_image
from bootserver.stub.pack import pack
from bootserver.stub.pe_from_elf import pe_from_elf
from bootserver.stub.sign import sign_program
from tests.fixtures.pure_c import efi_program_elf, tracing_program
from tests.fixtures.secure_boot import make_key_pair, secure_boot_vars

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOOT_S = 300  # an emulated machine on a busy host; a quiet one takes 10 to 20
FULL_BYTES_MAX = 520_000
SMALL_BYTES_MAX = 225_000

BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"
BUILD = PROJECT / "stub" / "build"
NATIVE = QemuNic(NicModel.E1000)  # OVMF has no driver for it, iPXE has
DRIVEN = QemuNic(NicModel.VIRTIO)  # OVMF has a driver for it

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


# Says its words by way of addresses in its data, among them two that gcc 14 stores at once.
ADDRESSES = r"""
#include <efi.h>

typedef void speaker(EFI_SYSTEM_TABLE *firmware);
struct pair { speaker *first, *second; };

static void one(EFI_SYSTEM_TABLE *firmware)
{
    firmware->ConOut->OutputString(firmware->ConOut, (CHAR16 *)L"ONE ");
}

static void two(EFI_SYSTEM_TABLE *firmware)
{
    firmware->ConOut->OutputString(firmware->ConOut, (CHAR16 *)L"TWO ");
}

static speaker *const table[] = {one, two};
static const CHAR16 *const words[] = {L"", L"THREE"};
static volatile unsigned zero; /* so that no compiler sees through the tables */

__attribute__((noinline)) static void fill(struct pair *pair)
{
    pair->first = one;
    pair->second = two;
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *firmware)
{
    struct pair pair;

    (void)image;
    fill(&pair);
    pair.first(firmware);
    pair.second(firmware);
    table[zero](firmware);
    table[zero + 1](firmware);
    firmware->ConOut->OutputString(firmware->ConOut, (CHAR16 *)words[zero + 1]);
    return EFI_ABORTED;
}
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
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
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
        "SNP.BIN": pack((BUILD / "snponly.efi").read_bytes()),
        "IPXE.BIN": pack((BUILD / "ipxe-amd64.efi").read_bytes()),
    }


def stub_files(packed: dict[str, bytes], port: int) -> dict[str, bytes]:
    return {
        BOOT_PATH: (BUILD / "efi-loader.efi").read_bytes(),
        "autoexec.ipxe": SCRIPT.format(port=port).encode(),
        **packed,
    }


def single_file(packed: dict[str, bytes], port: int) -> bytes:
    loader = (BUILD / "efi-loader.efi").read_bytes()
    return embed(loader, packed | {"SCRIPT": SCRIPT.format(port=port).encode()})


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


def uefi(iso: Path, *nics: QemuNic, bus: CdBus = CdBus.IDE) -> QemuSpec:
    return QemuSpec(Firmware.UEFI, cdrom=iso, cdrom_bus=bus, nics=nics)


@pytest.mark.parametrize("bus", CdBus)
async def test_the_full_ipxe_drives_what_the_firmware_does_not(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes], bus: CdBus
):
    async with listening("/full") as listener:
        iso = write_iso(tmp_path / "stub.iso", stub_files(packed, listener.port))
        machine = await qemu(uefi(iso, NATIVE, bus=bus))
        caller = await listener.next_caller(machine)

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

    assert caller.path == "/small"
    assert caller.cd_bytes <= SMALL_BYTES_MAX


async def test_of_two_cards_the_one_with_a_cable_is_used_and_a_debug_build_says_so(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes]
):
    async with listening("/small") as listener:
        files = stub_files(packed, listener.port)
        files[BOOT_PATH] = tracing_program(tmp_path, "efi-loader")
        iso = write_iso(tmp_path / "stub.iso", files)
        machine = await qemu(uefi(iso, replace(DRIVEN, linked=False), DRIVEN))
        caller = await listener.next_caller(machine)

    assert caller.path == "/small"
    assert "bootserver: trace: the parts lie on its volume" in machine.serial_text()
    assert "bootserver: trace: a card has a link" in machine.serial_text()


async def test_a_card_without_a_cable_is_nothing_for_the_small_ipxe(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes]
):
    async with listening("/full") as listener:
        iso = write_iso(tmp_path / "stub.iso", stub_files(packed, listener.port))
        machine = await qemu(uefi(iso, replace(DRIVEN, linked=False), NATIVE))
        caller = await listener.next_caller(machine)

    assert caller.path == "/full"
    assert "small iPXE" not in machine.serial_text()


async def test_when_the_small_ipxe_comes_back_the_full_one_is_started(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes]
):
    async with listening("/full") as listener:
        iso = write_iso(tmp_path / "stub.iso", stub_files(packed, listener.port))
        machine = await qemu(uefi(iso, DRIVEN))
        first = await listener.next_caller(machine)  # gets a 404, so the script gives up
        second = await listener.next_caller(machine)

    assert (first.path, second.path) == ("/small", "/full")
    assert "the small iPXE did not boot" in machine.serial_text()


async def test_a_damaged_part_is_told_and_does_not_stop_the_other(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes]
):
    damaged = bytearray(packed["SNP.BIN"])
    damaged[len(damaged) // 2] ^= 0x10
    async with listening("/full") as listener:
        files = stub_files(packed | {"SNP.BIN": bytes(damaged)}, listener.port)
        machine = await qemu(uefi(write_iso(tmp_path / "stub.iso", files), DRIVEN))
        caller = await listener.next_caller(machine)

    assert caller.path == "/full"
    assert r"bootserver: \SNP.BIN is damaged" in machine.serial_text()


async def test_without_any_ipxe_the_firmware_gets_the_machine_back(qemu: Qemu, tmp_path: Path):
    iso = write_iso(tmp_path / "stub.iso", stub_files({}, port=1))
    machine = await qemu(uefi(iso, DRIVEN))

    seen = await machine.wait_for(r"iPXE did not boot: 0x8\w{14}e", timeout_s=BOOT_S)

    assert r"bootserver: \SNP.BIN cannot be read" in seen.serial
    await machine.wait_for(
        r"BdsDxe: (failed to start|No bootable)|UEFI Interactive Shell", timeout_s=BOOT_S
    )


async def test_secure_boots_refusal_of_ipxe_is_told(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes]
):
    pair = make_key_pair(tmp_path)
    files = stub_files(packed, port=1)
    files[BOOT_PATH] = sign_program(
        files[BOOT_PATH],
        SigningConfig(key=pair.key, certificate=pair.certificate),
        tmp_path / "cache",
    )
    iso = write_iso(tmp_path / "stub.iso", files)
    variables = secure_boot_vars(tmp_path / "vars.fd", pair.certificate)
    machine = await qemu(replace(uefi(iso, NATIVE), secure_boot_vars=variables))

    await machine.wait_for(
        "bootserver: Secure Boot refuses iPXE: it is not signed", timeout_s=BOOT_S
    )
    await machine.wait_for("bootserver: iPXE did not boot", timeout_s=BOOT_S)


@pytest.mark.parametrize(("nic", "path"), [(NATIVE, "/full"), (DRIVEN, "/small")])
async def test_one_file_carries_ipxe_and_its_script(
    qemu: Qemu, tmp_path: Path, packed: dict[str, bytes], nic: QemuNic, path: str
):
    async with listening(path) as listener:
        iso = write_iso(
            tmp_path / "stub.iso",
            {BOOT_PATH: single_file(packed, listener.port)},
        )
        machine = await qemu(uefi(iso, nic))
        caller = await listener.next_caller(machine)

    assert caller.path == path


async def test_addresses_in_data_are_right_where_the_firmware_has_put_the_program(
    qemu: Qemu, tmp_path: Path
):
    program = pe_from_elf(efi_program_elf(tmp_path, ADDRESSES))
    machine = await qemu(uefi(write_iso(tmp_path / "program.iso", {BOOT_PATH: program})))

    await machine.wait_for("ONE TWO ONE TWO THREE", timeout_s=BOOT_S)
