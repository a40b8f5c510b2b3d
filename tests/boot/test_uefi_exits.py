"""Under UEFI, leaving the menu for the machine's own disk goes on in the firmware's boot order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import BootDevice, NicModel, QemuNic, QemuSpec
from bootserver.model import Firmware
from tests.fixtures.dos_disc import EFI_STARTED, plain_disk
from tests.fixtures.packaged import MEMTEST, packaged
from tests.fixtures.pxe_net import SERVER, TAP, documented_lines, pxe_net
from tests.fixtures.secure_boot import make_key_pair, packaged_shim
from tests.fixtures.server import Site, serving

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOOT_S = 600  # five boots in a row, on a busy host

Qemu = Callable[[QemuSpec], Awaitable[QemuMachine]]


def sticks(*paths: Path) -> tuple[str, ...]:
    """QEMU's arguments for USB sticks that are tried one after the other, behind the network."""
    arguments = ["-device", "qemu-xhci,id=usb"]
    for number, path in enumerate(paths, 1):
        node = f"driver=raw,read-only=on,file.driver=file,file.filename={path}"
        arguments += ["-blockdev", f"node-name=stick{number},{node}"]
        arguments += ["-device", f"usb-storage,bus=usb.0,drive=stick{number},bootindex={number}"]
    return tuple(arguments)


def without_ipv6() -> tuple[str, ...]:
    """OVMF's own switches (OvmfPkg/README): it waits for a minute for an IPv6 server."""
    return ("-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=n")


async def test_each_way_out_of_the_menu_leads_to_the_next_boot_option(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keys = make_key_pair(tmp_path)
    site = Site(
        tmp_path / "site",
        address="*",
        host=SERVER,
        boot_port=8080,
        tftp_port=69,
        extra="[boot]\nopen_menu = true\nmenu_timeout_s = 3\n"
        f'[stub.signing]\nkey = "{keys.key}"\ncertificate = "{keys.certificate}"\n',
    )
    site.add(packaged(MEMTEST))
    program = await site.query("stub", "build", "", "--format", "efi")
    media: list[Path] = []
    for key, value in (("PACK", "true"), ("PACK", "false"), ("SHIM", str(packaged_shim()))):
        with monkeypatch.context() as setting:
            setting.setenv(f"BOOTSERVER_STUB__{key}", value)
            media.append((await site.build_stub("")).rename(tmp_path / f"{len(media)}.iso"))
    disk = plain_disk(tmp_path / "disk.img", "")
    lines = documented_lines("dnsmasq").replace(
        f"http://{SERVER}:8080/nbp/snponly.efi", program["urls"]["stub"]
    )
    async with pxe_net(tmp_path / "net", lines) as net:
        site.entering = net.entering
        async with serving(site):
            machine = await qemu(
                QemuSpec(
                    Firmware.UEFI,
                    boot_from=BootDevice.NETWORK,
                    nics=(QemuNic(NicModel.VIRTIO, tap=TAP),),
                    extra_args=(*without_ipv6(), *sticks(*media, disk)),
                    entering=net.entering,
                )
            )
            seen = await machine.wait_for(EFI_STARTED, timeout_s=BOOT_S)

    ways = re.findall(
        r">>Start (PXE) |>>Start (HTTP) |starting the (small iPXE)|starting the (full iPXE)"
        r"|(start_image)|/b/\w+/(boot\.ipxe)\.\.\. ok",
        seen.serial,
    )
    script = "boot.ipxe"
    assert ["".join(way) for way in ways] == [
        *("PXE", script),
        *("HTTP", "small iPXE", script),  # the stub as one program
        *("small iPXE", script),  # a packed stub, once and not again with the full iPXE
        script,  # one that is not packed
        *(script, "start_image"),  # shim's words, when what it started has come back
    ]
