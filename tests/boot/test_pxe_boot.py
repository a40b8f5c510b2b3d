"""Machines without a stub: their firmware's own PXE or HTTP boot, with the site's DHCP server.

The DHCP server is dnsmasq with the lines of docs/pxe.md, word for word.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, NicModel, QemuNic, QemuSpec, nic_mac
from bootserver.config import PROJECT
from bootserver.model import Firmware
from tests.fixtures.booted import Door, Proven
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, ON_SERIAL, packaged
from tests.fixtures.pxe_net import SERVER, TAP, PxeNet, documented_lines, pxe_net
from tests.fixtures.server import BOOT_S, Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

# An ordinary DHCP server, which knows nothing of booting.
ADDRESSES_ONLY = "dhcp-range=192.0.2.100,192.0.2.200,12h\n"

# OVMF tries PXE before HTTP boot, for minutes; these are its own switches (OvmfPkg/README).
NO_PXE = tuple(
    argument
    for name in ("IPv4PXESupport", "IPv6PXESupport")
    for argument in ("-fw_cfg", f"name=opt/org.tianocore/{name},string=n")
)

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[PxeNet]:
    """A network where dnsmasq is the DHCP server."""
    async with pxe_net(tmp_path / "net", documented_lines("dnsmasq")) as net:
        yield net


def open_site(path: Path, **where: Any) -> Site:
    """A site whose menu is open to all, and boots Memtest86+ when no image is chosen."""
    image = MEMTEST.removesuffix(".iso")
    boot = f'[boot]\nopen_menu = true\nmenu_default = "{image}"\nmenu_timeout_s = 3\n'
    site = Site(path / "site", extra=boot, **where)
    site.add(packaged(MEMTEST), side_car=ON_SERIAL)
    return site


def site_on(net: PxeNet, path: Path) -> Site:
    """The same on that network, with the default ports: firmware's TFTP knows no other."""
    return open_site(
        path, address="*", host=SERVER, boot_port=8080, tftp_port=69, entering=net.entering
    )


def bios_with_plain_pxe(net: PxeNet, path: Path) -> QemuSpec:
    """A BIOS machine whose PXE is not known as iPXE's.

    All of QEMU's PXE ROMs are iPXE, and say so to the DHCP server. This one is iPXE as well, but
    says otherwise: it gets what any PXE ROM gets, and offers undionly.kpxe what any ROM offers.
    """
    script = path / "rom.ipxe"
    script.write_text("#!ipxe\nset net0/user-class PXE ROM\nautoboot net0\n")
    rom = PROJECT / "stub" / "build" / "ipxe.lkrn"
    return QemuSpec(
        Firmware.BIOS,
        nics=(QemuNic(tap=TAP),),
        extra_args=("-kernel", str(rom), "-initrd", str(script)),
        entering=net.entering,
    )


def uefi(net: PxeNet, *extra_args: str) -> QemuSpec:
    """A UEFI machine that boots from the network by OVMF's own driver and nothing else."""
    return QemuSpec(
        Firmware.UEFI,
        boot_from=BootDevice.NETWORK,
        nics=(QemuNic(NicModel.VIRTIO, tap=TAP),),
        extra_args=extra_args,
        entering=net.entering,
    )


def boot_files(dhcp_log: str) -> list[str]:
    """The boot files that the DHCP server named, each once, in order."""
    named = re.findall(r"bootfile(?:-name| name:) +(\S+)", dhcp_log)
    return list(dict.fromkeys(named))


async def assert_booted(proven: Proven, site: Site, machine: QemuMachine, door: Door) -> None:
    """The machine runs Memtest86+, and the ledger has its boot up to the hand-off."""
    _, boot = await proven(site, machine, MEMTEST_SAYS, door=door)
    assert boot["image"] == MEMTEST.removesuffix(".iso")
    assert boot["sent_bytes"] == boot["image_bytes"] > 0
    assert boot["machine"]["mac"] == nic_mac(0)
    assert boot["machine"]["memory_mib"] == 1024


async def test_a_bios_machine_goes_by_undionly_to_the_menu_and_boots_the_default(
    qemu: Qemu, net: PxeNet, tmp_path: Path, proven: Proven
):
    site = site_on(net, tmp_path)
    async with serving(site):
        machine = await qemu(bios_with_plain_pxe(net, tmp_path))
        await machine.wait_for("using undionly", timeout_s=BOOT_S)
        await machine.wait_for("what shall this machine boot", timeout_s=BOOT_S)
        await assert_booted(proven, site, machine, Door.PXE)

    assert boot_files(net.dhcp_log()) == ["undionly.kpxe", f"http://{SERVER}:8080/boot.ipxe"]


async def test_a_card_whose_rom_is_ipxe_gets_the_script_at_once(
    qemu: Qemu, net: PxeNet, tmp_path: Path, proven: Proven
):
    site = site_on(net, tmp_path)
    async with serving(site):
        machine = await qemu(
            QemuSpec(
                Firmware.BIOS,
                boot_from=BootDevice.NETWORK,
                nics=(QemuNic(has_rom=True, tap=TAP),),
                entering=net.entering,
            )
        )
        await assert_booted(proven, site, machine, Door.PXE)

    assert boot_files(net.dhcp_log()) == [f"http://{SERVER}:8080/boot.ipxe"]


async def test_uefi_pxe_loads_snponly_over_tftp_which_finds_the_script_by_itself(
    qemu: Qemu, net: PxeNet, tmp_path: Path, proven: Proven
):
    site = site_on(net, tmp_path)
    async with serving(site):
        machine = await qemu(uefi(net))
        await assert_booted(proven, site, machine, Door.PXE)

    assert boot_files(net.dhcp_log()) == ["snponly.efi"]  # and no machine asked a second time


async def test_uefi_http_boot_loads_snponly_over_http_which_finds_the_script_by_itself(
    qemu: Qemu, net: PxeNet, tmp_path: Path, proven: Proven
):
    site = site_on(net, tmp_path)
    async with serving(site):
        machine = await qemu(uefi(net, *NO_PXE))
        await assert_booted(proven, site, machine, Door.HTTP_BOOT)

    assert boot_files(net.dhcp_log()) == [f"http://{SERVER}:8080/nbp/snponly.efi"]


@pytest.mark.parametrize(
    "firmware", [pytest.param(Firmware.BIOS, marks=pytest.mark.reach), Firmware.UEFI]
)
async def test_a_proxy_adds_the_boot_file_to_what_another_dhcp_server_says(
    qemu: Qemu, tmp_path: Path, proven: Proven, firmware: Firmware
):
    proxy = documented_lines("dnsmasq beside another DHCP server")
    async with pxe_net(tmp_path / "net", ADDRESSES_ONLY, proxy) as net:
        site = site_on(net, tmp_path)
        async with serving(site):
            is_bios = firmware is Firmware.BIOS
            machine = await qemu(bios_with_plain_pxe(net, tmp_path) if is_bios else uefi(net))
            await assert_booted(proven, site, machine, Door.PXE)

        assert boot_files(net.dhcp_log(1)) == []


async def test_the_script_over_tftp_on_any_port_is_enough_for_ipxe(
    qemu: Qemu, tmp_path: Path, proven: Proven
):
    site = open_site(tmp_path)
    boot_file = f"tftp://10.0.2.2:{site.tftp_port}/boot.ipxe"
    async with serving(site):
        machine = await qemu(
            QemuSpec(
                Firmware.BIOS,
                boot_from=BootDevice.NETWORK,
                nics=(QemuNic(has_rom=True, boot_file=boot_file),),
            )
        )
        await assert_booted(proven, site, machine, Door.PXE)
