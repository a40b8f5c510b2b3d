"""The QEMU command line of a machine, option by option."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bootserver.bench.qemu_command import (
    BootDevice,
    CdBus,
    Chipset,
    NicModel,
    QemuNic,
    QemuSpec,
    command_line,
)
from bootserver.model import Firmware

WORKDIR = Path("/w")


def options(spec: QemuSpec, name: str) -> list[str]:
    """The values of every `-name` on the machine's command line, in order."""
    command = command_line(spec, WORKDIR)
    return [value for option, value in pairwise(command) if option == name]


def blockdevs(spec: QemuSpec) -> dict[str, tuple[str, bool]]:
    """Node name to (file, read-only)."""
    nodes = [json.loads(text) for text in options(spec, "-blockdev")]
    assert all(node["driver"] == "raw" and node["file"]["driver"] == "file" for node in nodes)
    return {node["node-name"]: (node["file"]["filename"], node["read-only"]) for node in nodes}


def test_bios_machine_in_full():
    spec = QemuSpec(Firmware.BIOS, cdrom=Path("/iso/stub.iso"))

    assert command_line(spec, WORKDIR) == [
        "qemu-system-x86_64",
        "-no-user-config",
        "-nodefaults",
        "-accel",
        "tcg",
        "-m",
        "1024",
        "-display",
        "none",
        "-vga",
        "std",
        "-chardev",
        "file,id=serial,path=/w/serial.txt",
        "-serial",
        "chardev:serial",
        "-boot",
        "strict=on",
        "-machine",
        "pc",
        "-blockdev",
        '{"node-name": "cd", "driver": "raw", "read-only": true, '
        '"file": {"driver": "file", "filename": "/iso/stub.iso"}}',
        "-device",
        "ide-cd,id=cd-drive,bus=ide.0,drive=cd,bootindex=0",
        "-netdev",
        "user,id=net0",
        "-device",
        "e1000,id=nic0,netdev=net0,mac=52:54:00:12:34:56,romfile=",
    ]


def test_uefi_machine_writes_only_to_its_own_variables():
    spec = QemuSpec(Firmware.UEFI, chipset=Chipset.Q35)

    assert options(spec, "-machine") == ["q35,pflash0=code,pflash1=vars"]
    assert blockdevs(spec) == {
        "code": ("/usr/share/OVMF/OVMF_CODE_4M.fd", True),
        "vars": ("/w/vars.fd", False),
    }


def test_secure_boot_machine_lets_nobody_else_write_its_variables():
    spec = QemuSpec(Firmware.UEFI, secure_boot_vars=Path("/keys/vars.fd"))

    assert options(spec, "-machine") == ["q35,smm=on,pflash0=code,pflash1=vars"]
    assert options(spec, "-global") == [
        "driver=cfi.pflash01,property=secure,value=on",
        "ICH9-LPC.disable_s3=1",
    ]
    assert blockdevs(spec) == {
        "code": ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", True),
        "vars": ("/w/vars.fd", False),
    }


def test_usb_cd_is_a_scsi_drive_behind_bulk_only_transport():
    spec = QemuSpec(Firmware.BIOS, cdrom=Path("/a.iso"), cdrom_bus=CdBus.USB, nics=())

    assert options(spec, "-device") == [
        "qemu-xhci,id=usb",
        "usb-bot,id=bot,bus=usb.0",
        "scsi-cd,id=cd-drive,bus=bot.0,drive=cd,bootindex=0",
    ]


def test_boot_from_disk_puts_the_stick_before_the_cd():
    spec = QemuSpec(
        Firmware.BIOS,
        cdrom=Path("/a.iso"),
        usb_disk=Path("/b.img"),
        boot_from=BootDevice.DISK,
        nics=(),
    )

    assert options(spec, "-device") == [
        "qemu-xhci,id=usb",
        "ide-cd,id=cd-drive,bus=ide.0,drive=cd,bootindex=1",
        "usb-storage,id=disk-drive,bus=usb.0,drive=disk,bootindex=0",
    ]


def test_media_are_read_only():
    spec = QemuSpec(Firmware.BIOS, cdrom=Path("/a.iso"), usb_disk=Path("/b.img"))

    assert blockdevs(spec) == {"cd": ("/a.iso", True), "disk": ("/b.img", True)}


def test_machine_without_discs_has_no_usb_and_no_block_devices():
    spec = QemuSpec(Firmware.BIOS, nics=())

    assert options(spec, "-device") == []
    assert options(spec, "-blockdev") == []


def test_each_card_has_its_own_network_and_mac_and_no_option_rom():
    spec = QemuSpec(
        Firmware.BIOS, nics=(QemuNic(NicModel.VIRTIO), QemuNic(NicModel.E1000E, linked=False))
    )

    assert options(spec, "-netdev") == ["user,id=net0", "user,id=net1"]
    assert options(spec, "-device") == [
        "virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:12:34:56,romfile=",
        "e1000e,id=nic1,netdev=net1,mac=52:54:00:12:34:57,romfile=",
    ]


def test_boot_from_network_starts_with_the_first_card():
    spec = QemuSpec(
        Firmware.BIOS,
        cdrom=Path("/a.iso"),
        boot_from=BootDevice.NETWORK,
        nics=(QemuNic(has_rom=True), QemuNic(NicModel.VIRTIO)),
    )

    assert options(spec, "-device") == [
        "ide-cd,id=cd-drive,bus=ide.0,drive=cd,bootindex=1",
        "e1000,id=nic0,netdev=net0,mac=52:54:00:12:34:56,bootindex=0",
        "virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:12:34:57,romfile=",
    ]


@pytest.mark.parametrize(
    "ways", [{"boot_from": BootDevice.NETWORK}, {"uefi_vars": Path("/vars.fd")}, {}]
)
def test_uefi_that_boots_from_the_network_has_random_numbers(ways: dict[str, Any]):
    devices = options(QemuSpec(Firmware.UEFI, **ways), "-device")

    assert ("virtio-rng-pci" in devices) is bool(ways)


def test_user_mode_network_names_its_boot_file():
    spec = QemuSpec(Firmware.BIOS, nics=(QemuNic(boot_file="tftp://10.0.2.2:6969/a,b"),))

    assert options(spec, "-netdev") == ["user,id=net0,bootfile=tftp://10.0.2.2:6969/a,,b"]


def test_card_on_a_tap_device_runs_no_scripts_of_the_host():
    spec = QemuSpec(Firmware.BIOS, nics=(QemuNic(tap="tap0"), QemuNic()))

    assert options(spec, "-netdev") == [
        "tap,id=net0,ifname=tap0,script=no,downscript=no",
        "user,id=net1",
    ]


def test_smbios_tells_only_what_is_set():
    spec = QemuSpec(Firmware.BIOS, uuid="11111111-2222-3333-4444-555555555555", serial="S1")

    assert options(spec, "-smbios") == [
        "type=1,uuid=11111111-2222-3333-4444-555555555555,serial=S1"
    ]
    assert options(QemuSpec(Firmware.BIOS), "-smbios") == []


def test_comma_in_a_value_is_doubled():
    spec = QemuSpec(Firmware.BIOS, manufacturer="Acme, Inc.", product="P")

    assert options(spec, "-smbios") == ["type=1,manufacturer=Acme,, Inc.,product=P"]


def test_comma_in_a_media_path_stays_as_it_is():
    assert blockdevs(QemuSpec(Firmware.BIOS, cdrom=Path("/a,b.iso")))["cd"] == ("/a,b.iso", True)


def test_memory_and_extra_arguments_are_passed_on():
    spec = QemuSpec(Firmware.BIOS, memory_mib=512, extra_args=("-kernel", "ipxe.lkrn"))

    assert options(spec, "-m") == ["512"]
    assert command_line(spec, WORKDIR)[-2:] == ["-kernel", "ipxe.lkrn"]


def cd_blockdev(spec: QemuSpec) -> dict[str, Any]:
    (cd,) = (json.loads(text) for text in options(spec, "-blockdev"))
    assert (cd["node-name"], cd["read-only"]) == ("cd", True)
    return cd


def test_slow_cd_is_throttled_by_a_filter_on_top_of_its_file():
    spec = QemuSpec(Firmware.BIOS, cdrom=Path("/iso/a.iso"), cdrom_bytes_per_s=150_000)

    (group,) = (json.loads(text) for text in options(spec, "-object"))
    cd = cd_blockdev(spec)
    assert group == {
        "qom-type": "throttle-group",
        "id": "cd-rate",
        "limits": {"bps-read": 150_000},
    }
    assert (cd["driver"], cd["throttle-group"]) == ("throttle", "cd-rate")
    assert cd["file"]["file"] == {"driver": "file", "filename": "/iso/a.iso"}


def test_far_cd_comes_from_its_socket():
    spec = QemuSpec(Firmware.BIOS, cdrom=Path("/iso/a.iso"), cdrom_socket=Path("/w/cd.socket"))

    assert options(spec, "-object") == []
    assert cd_blockdev(spec)["file"] == {
        "driver": "nbd",
        "server": {"type": "unix", "path": "/w/cd.socket"},
    }
