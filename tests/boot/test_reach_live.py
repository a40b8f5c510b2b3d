"""Live discs boot by their kernels, fetch their roots over HTTP, and call home."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from yarl import URL

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, QemuNic, QemuSpec
from bootserver.model import Firmware
from tests.fixtures import live_shapes
from tests.fixtures.booted import Proven
from tests.fixtures.live_discs import (
    DEBIAN,
    FEDORA,
    GENTOO,
    LARGE,
    DiscLayout,
    live_disc,
)
from tests.fixtures.live_systems import PAYLOAD_SHA256, UP
from tests.fixtures.packaged import ON_SERIAL
from tests.fixtures.server import BOOT_S, Site, boot_record, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.reach]

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]
LIVE_BOOT_S = 6 * BOOT_S  # systemd under emulation, on a host as busy as can be
# A BIOS machine's clock goes no faster than its guest: on a busy host, ACPI and DHCP would give up.
# Nothing in that clock is random then: the kernel asks the processor. A UEFI guest stood still.
STEADY = {
    Firmware.BIOS: ("-icount", "shift=1", "-cpu", "qemu64,+rdrand"),
    Firmware.UEFI: ("-cpu", "qemu64,+rdrand"),
}

# On what a root lies that was fetched, and the type of that.
FETCHED = {
    "live-boot": r"\S+ ramfs",
    "dracut": r"/tmp/curl_fetch_url\S+ overlay",
}
BIOS, UEFI = Firmware.BIOS, Firmware.UEFI
DEBIAN_12, DEBIAN_13 = "bookworm", "trixie"
# The recipe, the disc and its Debian release ("" is the host's); words of the disc's own menu.
BOOTS = [
    ("fedora-live", FEDORA, "", UEFI, "quiet"),
    ("unknown-linux", GENTOO, "", BIOS, "dokeymap cdroot"),
    # Discs built with live-boot, each with both releases of it.
    ("grml", live_shapes.GRML_2022, DEBIAN_12, BIOS, "apm=power-off vga=791 net.ifnames=0"),
    ("grml", live_shapes.GRML_2025, DEBIAN_13, UEFI, "apm=power-off nomce"),
    ("kali-live", live_shapes.KALI, DEBIAN_12, UEFI, "components splash noeject"),
    ("kali-live", live_shapes.KALI, DEBIAN_13, BIOS, "components splash noeject"),
    ("clonezilla", live_shapes.CLONEZILLA, DEBIAN_12, UEFI, "username=user ocs_live_batch=no"),
    ("clonezilla", live_shapes.CLONEZILLA, DEBIAN_13, BIOS, "vga=788 ocs_live_batch=no"),
    ("gparted", live_shapes.GPARTED, DEBIAN_12, BIOS, "username=user vga=788 noeject"),
    ("gparted", live_shapes.GPARTED, DEBIAN_13, UEFI, "net.ifnames=0 noeject"),
    ("finnix", live_shapes.FINNIX, DEBIAN_12, UEFI, "boot=live quiet"),
    ("finnix", live_shapes.FINNIX, DEBIAN_13, BIOS, "boot=live quiet"),
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.parametrize(
    ("recipe", "layout", "release", "firmware", "words"),
    BOOTS,
    ids=["-".join(filter(None, (boot[0], *boot[2:4]))) for boot in BOOTS],
)
async def test_a_live_disc_fetches_its_root_and_boots_with_the_arguments_of_its_own_menu(
    qemu: Qemu,
    site: Site,
    proven: Proven,
    recipe: str,
    layout: DiscLayout,
    release: str,
    firmware: Firmware,
    words: str,
):
    up = await boot_of(live_disc(layout, release), recipe, qemu, site, proven, firmware)

    assert re.fullmatch(FETCHED[layout.system.name], f"{up['medium']} {up['type']}")
    assert set(words.split()) <= set(up["arguments"].split())


@pytest.mark.parametrize("firmware", Firmware)
async def test_a_disc_beyond_4_gib_boots_with_its_root_from_behind_them(
    qemu: Qemu, site: Site, proven: Proven, firmware: Firmware
):
    disc = live_disc(LARGE)
    find = ("xorriso", "-indev", disc, "-find", LARGE.squashfs, "-exec", "report_lba")
    report = subprocess.run(find, check=True, capture_output=True, text=True).stdout
    # File data lba:  0 ,  2290880 ,    39937 , 81790000 , '/live/filesystem.squashfs'
    first_lba = re.search(r"File data lba: +0 , +(\d+) ", report)
    assert first_lba is not None
    assert int(first_lba[1]) * 2048 > 4 << 30

    up = await boot_of(disc, "debian-live", qemu, site, proven, firmware)

    assert up["type"] == "ramfs"


async def test_a_system_that_came_over_tftp_fetches_its_root_and_calls_home_over_http(
    qemu: Qemu, site: Site
):
    stub = await site.query("stub", "build", site.add(live_disc(DEBIAN), side_car=ON_SERIAL))
    script = f"tftp://{site.host}:{site.tftp_port}{URL(stub['urls']['script']).path}"
    nic = QemuNic(has_rom=True, boot_file=script)
    spec = QemuSpec(
        BIOS, boot_from=BootDevice.NETWORK, nics=(nic,), memory_mib=2048, extra_args=STEADY[BIOS]
    )
    async with serving(site):
        machine = await qemu(spec)
        await machine.wait_for(UP, timeout_s=LIVE_BOOT_S)
        boot = await boot_record(site, "os_up")

    protocols = {transfer["name"]: transfer["protocol"] for transfer in boot["transfers"]}
    assert protocols == {
        "tree/live/vmlinuz": "tftp",
        "tree/live/initrd.img": "tftp",
        "tree/live/filesystem.squashfs": "http",
    }


async def boot_of(
    disc: Path, recipe: str, qemu: Qemu, site: Site, proven: Proven, firmware: Firmware
) -> re.Match[str]:
    """What the system says that has fetched its root and called home."""
    image = site.add(disc, side_car=ON_SERIAL)
    explained = await site.query("images", "explain", image)
    assert (explained["recipe"], explained[firmware]["method"]) == (recipe, "kernel")
    stub = await site.build_stub(image)
    async with serving(site):
        machine = await qemu(
            QemuSpec(firmware, cdrom=stub, memory_mib=2048, extra_args=STEADY[firmware])
        )
        seen, boot = await proven(site, machine, UP, phase="os_up", timeout_s=LIVE_BOOT_S)

    up = re.search(UP, seen.serial)
    assert up is not None
    assert up["payload"] == PAYLOAD_SHA256
    assert not re.search(r"findiso|bootid|toram|LABEL| ip= ", up["arguments"])
    phases = [phase["phase"] for phase in boot["phases"]]
    assert phases[-3:] == ["handed_off", "root_fetched", "os_up"]
    return up
