"""ramdisk.efi in UEFI firmware: started by iPXE, it boots ISOs from memory, or says why not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import struct
import subprocess
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import HOST_ADDRESS, BootDevice, QemuSpec
from bootserver.config import PROJECT
from bootserver.model import Firmware
from tests.fixtures.isos import make_iso
from tests.fixtures.linux_iso import TAIL_BYTES, LinuxIso, efi_loader, fat_image, linux_iso
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.png import pixel
from tests.fixtures.pure_c import tracing_program

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BUILD = PROJECT / "stub" / "build"
BOOT_S = 300  # an emulated machine on a busy host; a quiet one takes 20 to 40
PAGE_BYTES = 4096
HUGE_BYTES = 64 << 30

MEMTEST_BLUE = (0, 0, 170)
STARTING = "bootserver: starting the image"
GUEST_DONE = "GUEST DONE"

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@dataclass
class Served:
    """The test's server: which images it has, and what was asked of it."""

    port: int = 0
    images: dict[str, Path] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    program: Path = BUILD / "ramdisk.efi"

    def url(self, path: str) -> str:
        return f"http://{HOST_ADDRESS}:{self.port}{path}"

    async def loader(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.program)

    async def image(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        name = request.match_info["name"]
        if name not in self.images:
            return web.Response(status=404, text="the firmware does not show this")
        return web.FileResponse(self.images[name])

    async def beacon(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        return web.Response(text="#!ipxe\n")

    async def truncated(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "9000000"})
        await response.prepare(request)
        await response.write(bytes(3_000_000))
        assert request.transport is not None
        request.transport.close()
        return response

    async def stalled(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "9000000"})
        await response.prepare(request)
        await response.write(bytes(2_000_000))
        await self.over.wait()
        return response

    async def huge(self, request: web.Request) -> web.StreamResponse:
        """An image that no machine has room for; the machine hangs up."""
        response = web.StreamResponse(headers={"Content-Length": str(HUGE_BYTES)})
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async def unmeasured(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()  # chunked: no Content-Length
        await response.prepare(request)
        for _ in range(2):
            await response.write(bytes(100_000))
        return response


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = Served()
    app = web.Application()
    app.router.add_get("/nbp/ramdisk.efi", server.loader)
    app.router.add_get("/b/KEY/phase/handoff", server.beacon)
    app.router.add_get("/b/KEY/truncated.iso", server.truncated)
    app.router.add_get("/b/KEY/stalled.iso", server.stalled)
    app.router.add_get("/b/KEY/huge.iso", server.huge)
    app.router.add_get("/b/KEY/unmeasured.iso", server.unmeasured)
    app.router.add_get("/b/KEY/{name}", server.image)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        server.over.set()
        await runner.cleanup()


@pytest.fixture(scope="session")
def linux() -> LinuxIso:
    return linux_iso()


def machine_for(stick: Path, served: Served, *lines: str, memory_mib: int = 1024) -> QemuSpec:
    """A machine with a stick that holds iPXE and this script, `RUN` standing for ramdisk.efi."""
    # As our scripts do: of what iPXE still holds it makes an initrd, and GRUB 2.12 then has none.
    run = f"imgexec --autofree {served.url('/nbp/ramdisk.efi')}"
    script = "\n".join(["#!ipxe", "dhcp", *lines, "echo SCRIPT ENDS", "shell", ""])
    fat_image(
        stick,
        {
            "EFI/BOOT/BOOTX64.EFI": (BUILD / "ipxe-amd64.efi").read_bytes(),
            "autoexec.ipxe": script.replace("RUN", run).encode(),
        },
        size_bytes=4 << 20,
    )
    return QemuSpec(Firmware.UEFI, memory_mib=memory_mib, usb_disk=stick, boot_from=BootDevice.DISK)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def guest_said(serial: str) -> dict[str, str]:
    """What the Linux ISO's init printed."""
    return dict(re.findall(r"GUEST (SIZE|TAIL|PAYLOAD) (\S+)", serial))


def last_bytes_as_disk(iso: Path) -> bytes:
    """What the guest's disc ends with: the ISO, made whole pages."""
    content = iso.read_bytes()
    return (content + bytes(-len(content) % PAGE_BYTES))[-TAIL_BYTES:]


@pytest.mark.parametrize("mode", [pytest.param("auto", marks=pytest.mark.reach), "own"])
async def test_linux_finds_the_whole_iso_in_memory(
    qemu: Qemu, served: Served, tmp_path: Path, linux: LinuxIso, mode: str
):
    served.images["image.iso"] = linux.path
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            f"RUN url=/b/KEY/image.iso sha256={linux.sha256} size={linux.path.stat().st_size} "
            f"mode={mode} notify=/b/KEY/phase/handoff",
        )
    )
    seen = await machine.wait_for(f"{GUEST_DONE}|SCRIPT ENDS", timeout_s=BOOT_S)

    assert served.requests == ["/b/KEY/image.iso", "/b/KEY/phase/handoff"]
    assert guest_said(seen.serial) == {
        "SIZE": str(-(-linux.path.stat().st_size // PAGE_BYTES) * PAGE_BYTES),
        "TAIL": hashlib.sha256(last_bytes_as_disk(linux.path)).hexdigest(),
        "PAYLOAD": linux.payload_sha256,
    }
    assert re.search(r"\d+%  \d+ of \d+ MB  \d+\.\d MB/s  \d+:\d\d left", seen.serial)


async def test_memtest_runs_though_its_efi_image_lies_outside_the_volume(
    qemu: Qemu, served: Served, tmp_path: Path
):
    """By a debug build, which says each step."""
    served.program = tmp_path / "tracing.efi"
    served.program.write_bytes(tracing_program(tmp_path, "ramdisk"))
    served.images["image.iso"] = packaged(MEMTEST)
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            f"RUN url=/b/KEY/image.iso sha256={sha256(packaged(MEMTEST))}",
        )
    )
    seen = await machine.wait_for(f"{STARTING}|SCRIPT ENDS", timeout_s=BOOT_S)
    assert "trace: downloading /b/KEY/image.iso" in seen.serial
    assert "trace: loading the boot file by the firmware: no error" in seen.serial

    picture = tmp_path / "screen.png"  # Memtest86+ writes nothing to the serial line
    async with asyncio.timeout(BOOT_S):
        while not picture.exists() or pixel(picture.read_bytes(), 320, 300) != MEMTEST_BLUE:
            assert "SCRIPT ENDS" not in machine.serial_text()
            await asyncio.sleep(1)
            await machine.screenshot(picture)


async def test_each_failure_comes_back_in_a_sentence_and_the_next_boot_works(
    qemu: Qemu, served: Served, tmp_path: Path, linux: LinuxIso, closed_port: int
):
    plain = tmp_path / "plain.iso"
    plain.write_bytes(os.urandom(20_000_000))
    broken = make_iso(tmp_path / "broken.iso", {"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(9000)})
    empty = tmp_path / "empty.iso"
    empty.write_bytes(b"")
    served.images |= {
        "image.iso": linux.path,
        "plain.iso": plain,
        "broken.iso": broken,
        "empty.iso": empty,
    }
    failures = {
        "url=/b/KEY/huge.iso": "too little memory: the image needs 65537 MiB in one piece",
        "url=/b/KEY/image.iso colour=red": "the option colour=red is not understood",
        f"url=/b/KEY/image.iso sha256={'0' * 64}": "the image is not the one it should be",
        "url=/b/KEY/image.iso size=4096": r"the image has \d+ bytes, and should have 4096",
        "url=/b/KEY/missing.iso": "the download of /b/KEY/missing.iso failed: not found",
        f"url=http://{HOST_ADDRESS}:{closed_port}/x.iso": "the download .* connection refused",
        "url=/b/KEY/truncated.iso": "the download broke off after 3000000 of 9000000 bytes",
        "url=/b/KEY/stalled.iso": r"the download broke off after 2000000 of .* \(no answer",
        "url=/b/KEY/unmeasured.iso": "the server does not say how long the image is",
        "url=/b/KEY/empty.iso": "the image is empty",
        "url=/b/KEY/plain.iso": "the image has no boot file for x86-64 UEFI",
        "url=/b/KEY/plain.iso mode=own": "the image has no boot file for x86-64 UEFI",
        "url=/b/KEY/broken.iso": "the image's boot file cannot be loaded",
        "url=/b/KEY/huge.iso size=68719476736": "too little memory: the image needs 65537 MiB",
    }
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            *(f"RUN {words} || echo BACK {number}" for number, words in enumerate(failures)),
            f"RUN url=/b/KEY/image.iso sha256={linux.sha256}",
        )
    )
    seen = await machine.wait_for(f"{GUEST_DONE}|SCRIPT ENDS", timeout_s=BOOT_S)

    before = 0
    for number, sentence in enumerate(failures.values()):
        back = seen.serial.index(f"BACK {number}")
        assert re.search(f"bootserver: {sentence}", seen.serial[before:back]), sentence
        before = back
    assert guest_said(seen.serial)["PAYLOAD"] == linux.payload_sha256
    first_mib, last_mib = re.findall(r"the largest that is free has (\d+) MiB", seen.serial)
    assert abs(int(first_mib) - int(last_mib)) <= 1  # the smallest image that could leak has 9 MB


async def test_every_kind_of_disc_starts_its_boot_file(qemu: Qemu, served: Served, tmp_path: Path):
    kinds = make_discs(tmp_path / "discs")
    served.images |= {f"{kind}.iso": path for kind, path in kinds.items()}
    boots = [(kind, mode) for kind in kinds for mode in ("auto", "own")]
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            *(
                f"RUN url=/b/KEY/{kind}.iso mode={mode} || echo BACK {kind} {mode}"
                for kind, mode in boots
            ),
        )
    )
    seen = await machine.wait_for("SCRIPT ENDS", timeout_s=BOOT_S)

    before = 0
    for kind, mode in boots:
        back = seen.serial.index(f"BACK {kind} {mode}")
        assert f"GRUB OF {kind}" in seen.serial[before:back], (kind, mode)
        assert "the image's boot file came back" in seen.serial[before:back], (kind, mode)
        before = back


def make_discs(work: Path) -> dict[str, Path]:
    """Discs whose boot file (a GRUB that says which disc it found, and leaves) lies where the
    firmware finds it, and where it does not."""
    discs = {
        "eltorito": master(work, "eltorito", efi_image=True),
        "hidden": master(work, "hidden", efi_image=True),
        "unchecked": master(work, "unchecked", efi_image=True),
        "platform0": master(work, "platform0", efi_image=True, option="-b"),
        "hidden0": master(work, "hidden0", efi_image=True, option="-b"),
        "iso9660": master(work, "iso9660", efi_image=False),
        "udf": work / "udf.iso",
        "disk": work / "disk.iso",
    }
    hide_behind_gpt(discs["hidden"])
    hide_behind_gpt(discs["hidden0"])
    spoil_boot_catalog(discs["unchecked"])
    tree = lay_out(work / "udf", "udf") / "efi"
    tree.mkdir()
    (tree / "boot").mkdir()
    (tree / "boot" / "bootx64.efi").write_bytes(efi_loader())
    subprocess.run(
        ["genisoimage", "-quiet", "-R", "-udf", "-hide", "efi", "-o", discs["udf"], tree.parent],
        check=True,
        capture_output=True,
    )
    fat_image(
        discs["disk"],
        {
            "EFI/BOOT/BOOTX64.EFI": efi_loader(),
            ".disk/info": b"x",
            "boot/grub/grub.cfg": grub_config("disk"),
        },
        size_bytes=8 << 20,
    )
    return discs


def grub_config(kind: str) -> bytes:
    return f"echo GRUB OF {kind}\nexit\n".encode()


def lay_out(tree: Path, kind: str) -> Path:
    (tree / ".disk").mkdir(parents=True)
    (tree / ".disk" / "info").write_bytes(b"x")
    (tree / "boot" / "grub").mkdir(parents=True)
    (tree / "boot" / "grub" / "grub.cfg").write_bytes(grub_config(kind))
    return tree


def master(work: Path, kind: str, *, efi_image: bool, option: str = "-e") -> Path:
    """An ISO with the boot file in an El Torito image, or only as a file.

    By the option `-b` the catalog says that the image is for a BIOS.
    """
    tree = lay_out(work / kind, kind)
    boot: tuple[str, ...] = ()
    if efi_image:
        fat_image(tree / "efi.img", {"EFI/BOOT/BOOTX64.EFI": efi_loader()}, size_bytes=4 << 20)
        boot = (option, "efi.img", "-no-emul-boot")
    else:
        (tree / "EFI" / "BOOT").mkdir(parents=True)
        (tree / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(efi_loader())
    iso = work / f"{kind}.iso"
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-R", *boot, "-o", iso, tree],
        check=True,
        capture_output=True,
    )
    return iso


def hide_behind_gpt(iso: Path) -> None:
    """Write a GPT without an EFI partition before the volume: firmware that sees one looks for
    no El Torito catalog (UEFI 2.10 §5.3)."""
    sectors = iso.stat().st_size // 512
    basic_data = uuid.UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7").bytes_le
    entry = struct.pack("<16s16sQQQ72x", basic_data, b"\1" * 16, 40, sectors - 40, 0)
    entries = entry + bytes(127 * 128)

    def header(own: int, other: int, table: int) -> bytes:
        def pack(crc: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII",
                *(b"EFI PART", 0x10000, 92, crc, 0, own, other, 34, sectors - 34),
                *(b"\2" * 16, table, 128, 128, zlib.crc32(entries)),
            )

        return pack(zlib.crc32(pack(0))).ljust(512, b"\0")

    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, sectors - 1)
    with iso.open("r+b") as file:
        file.write(mbr.ljust(510, b"\0") + b"\x55\xaa" + header(1, sectors - 1, 2) + entries)
        file.seek((sectors - 33) * 512)
        file.write(entries + header(sectors - 1, 1, sectors - 33))


def spoil_boot_catalog(iso: Path) -> None:
    """Make the boot catalog's checksum wrong, which the firmware minds and we don't."""
    with iso.open("r+b") as file:
        file.seek(17 * 2048 + 71)
        checksum = int.from_bytes(file.read(4), "little") * 2048 + 28
        file.seek(checksum)
        spoilt = file.read(1)[0] ^ 0xFF
        file.seek(checksum)
        file.write(bytes([spoilt]))


@pytest.mark.reach
async def test_iso_above_4_gib_lies_above_4_gib(
    qemu: Qemu, served: Served, tmp_path: Path, linux: LinuxIso
):
    large = tmp_path / "large.iso"
    shutil.copyfile(linux.path, large)
    size_bytes = (4600 << 20) + PAGE_BYTES
    with large.open("r+b") as file:
        file.truncate(size_bytes - TAIL_BYTES)  # a hole in between
        file.seek(0, os.SEEK_END)
        file.write(tail := os.urandom(TAIL_BYTES))
    served.images["image.iso"] = large
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            f"RUN url=/b/KEY/image.iso size={size_bytes}",
            memory_mib=8192,
        )
    )
    seen = await machine.wait_for(f"{GUEST_DONE}|SCRIPT ENDS", timeout_s=2 * BOOT_S)

    address = re.search("GUEST ADDRESS (0x[0-9a-f]+)", seen.serial)
    assert address is not None
    assert int(address[1], 16) >= 4 << 30
    assert guest_said(seen.serial) == {
        "SIZE": str(size_bytes),
        "TAIL": hashlib.sha256(tail).hexdigest(),
        "PAYLOAD": linux.payload_sha256,
    }
