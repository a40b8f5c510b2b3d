"""ramdisk.efi in real UEFI firmware: started by iPXE, it boots ISOs from memory, or says why not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BUILD = PROJECT / "stub" / "build"
BOOT_S = 300  # an emulated machine on a busy host; a quiet one takes 20 to 40
PAGE_BYTES = 4096
HUGE_BYTES = 64 << 30

GRUB_RUNS = "Welcome to GRUB"
STARTING = "bootserver: starting the image"
GUEST_DONE = "GUEST DONE"

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@dataclass
class Served:
    """The test's server: which images it has, and what was asked of it."""

    port: int = 0
    images: dict[str, Path] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://{HOST_ADDRESS}:{self.port}{path}"

    async def loader(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(BUILD / "ramdisk.efi")

    async def image(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        name = request.match_info["name"]
        if name not in self.images:
            return web.Response(status=404, text="nobody sees this")
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

    async def huge(self, request: web.Request) -> web.StreamResponse:
        """An image that no machine has room for; the machine hangs up."""
        response = web.StreamResponse(headers={"Content-Length": str(HUGE_BYTES)})
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async def unmeasured(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()  # chunked: no Content-Length
        await response.prepare(request)
        await response.write(bytes(100_000))
        return response


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = Served()
    app = web.Application()
    app.router.add_get("/nbp/ramdisk.efi", server.loader)
    app.router.add_get("/b/KEY/phase/handoff", server.beacon)
    app.router.add_get("/b/KEY/truncated.iso", server.truncated)
    app.router.add_get("/b/KEY/huge.iso", server.huge)
    app.router.add_get("/b/KEY/unmeasured.iso", server.unmeasured)
    app.router.add_get("/b/KEY/{name}", server.image)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture(scope="session")
def linux() -> LinuxIso:
    return linux_iso()


def machine_for(stick: Path, served: Served, *lines: str, memory_mib: int = 1024) -> QemuSpec:
    """A machine with a stick that holds iPXE and this script, `RUN` standing for ramdisk.efi."""
    run = f"imgexec {served.url('/nbp/ramdisk.efi')}"
    script = "\n".join(["#!ipxe", "dhcp", *lines, "echo SCRIPT ENDS", "shell", ""])
    fat_image(
        stick,
        {
            "EFI/BOOT/BOOTX64.EFI": (BUILD / "ipxe-amd64.efi").read_bytes(),
            "autoexec.ipxe": script.replace("RUN", run).encode(),
        },
        size_bytes=4 << 20,
    )
    return QemuSpec(
        Firmware.UEFI, memory_mib=memory_mib, usb_disk=stick, boot_from=BootDevice.DISK
    )


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


@pytest.mark.parametrize("mode", ["auto", "own"])
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


async def test_memtest_boots_though_its_efi_image_lies_outside_the_volume(
    qemu: Qemu, served: Served, tmp_path: Path
):
    served.images["image.iso"] = packaged(MEMTEST)
    machine = await qemu(
        machine_for(
            tmp_path / "stick.img",
            served,
            f"RUN url=/b/KEY/image.iso sha256={sha256(packaged(MEMTEST))}",
        )
    )
    seen = await machine.wait_for(f"{STARTING}|SCRIPT ENDS", timeout_s=BOOT_S)

    assert "SCRIPT ENDS" not in seen.serial


async def test_each_failure_comes_back_in_a_sentence_and_the_next_boot_works(
    qemu: Qemu, served: Served, tmp_path: Path, linux: LinuxIso
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
        "url=/b/KEY/truncated.iso": r"the download broke off after 3000000 of 9000000 bytes",
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
