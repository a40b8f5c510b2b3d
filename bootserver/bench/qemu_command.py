"""What an emulated PC is made of, and the QEMU command line that makes it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootserver.model import Firmware

QEMU = "qemu-system-x86_64"
ACCELERATOR = "tcg"  # emulated: needs no /dev/kvm, and a boot takes the same path everywhere
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_CODE_SECURE_BOOT = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

HOST_ADDRESS = "10.0.2.2"  # the host's loopback, as the guest's user-mode network shows it
CD_NODE = "cd"  # QEMU's name for the CD's content, for its read counters
CD_DRIVE = "cd-drive"  # and for the drive
DISK_DRIVE = "disk-drive"
_CD_RATE = "cd-rate"  # QEMU's name for the limit of a slow CD


class Chipset(StrEnum):
    """The main board: i440fx with IDE, or Q35 with AHCI and PCI Express."""

    PC = "pc"
    Q35 = "q35"


class CdBus(StrEnum):
    """How the CD drive is attached; USB (bulk-only) is what a redirected CD looks like."""

    IDE = "ide"
    USB = "usb"


class BootDevice(StrEnum):
    """What the firmware tries first."""

    CD = "cd"
    DISK = "disk"
    NETWORK = "network"


class NicModel(StrEnum):
    """Network cards, by QEMU's device names."""

    E1000 = "e1000"
    E1000E = "e1000e"
    VIRTIO = "virtio-net-pci"


@dataclass(frozen=True, slots=True)
class QemuNic:
    """A network card on its own user-mode network; `linked=False` leaves its cable out.

    iPXE's virtio driver does not notice a missing cable, its Intel drivers do.
    """

    model: NicModel = NicModel.E1000
    linked: bool = True
    has_rom: bool = False  # QEMU's option ROM for it, which is iPXE: a BIOS has no PXE without
    boot_file: str = ""  # what the user-mode network's own DHCP server names to boot
    tap: str = ""  # the tap device it is on, in place of the user-mode network


@dataclass(frozen=True, slots=True)
class QemuSpec:
    """Everything that makes one emulated PC different from another.

    `usb_disk` is a stick with that file's bytes on it, write-protected. A slow CD is one that QEMU
    itself throttles, or one that comes from an NBD server at `cdrom_socket` (bootserver.bench.nbd).
    `empty_cd_drive` waits for a disc that is put in while the machine runs. `secure_boot_vars` are
    UEFI variables with keys enrolled and Secure Boot on. A UEFI machine with them enforces it; such
    firmware runs on the Q35 board only. A tap device in another network namespace is reached from
    there. `entering` is the command that enters it, such as `nsenter`, to be put before QEMU's own.
    """

    firmware: Firmware
    chipset: Chipset = Chipset.PC
    memory_mib: int = 1024
    cdrom: Path | None = None
    cdrom_bus: CdBus = CdBus.IDE
    cdrom_bytes_per_s: int = 0  # 0 = as fast as it goes
    cdrom_socket: Path | None = None  # the NBD server that has the CD, in place of the file
    empty_cd_drive: bool = False  # goes with no `cdrom`
    usb_disk: Path | None = None
    boot_from: BootDevice = BootDevice.CD
    nics: tuple[QemuNic, ...] = (QemuNic(),)
    uuid: str = ""
    serial: str = ""
    manufacturer: str = ""
    product: str = ""
    uefi_vars: Path | None = None  # the variables it starts with, else OVMF's own
    secure_boot_vars: Path | None = None
    serial_socket: Path | None = None  # who listens there is at the serial line's other end
    extra_args: tuple[str, ...] = ()
    entering: tuple[str, ...] = ()


def nic_mac(number: int) -> str:
    """The MAC address of the machine's nth network card, counted from 0."""
    return f"52:54:00:12:34:{0x56 + number:02x}"


def nic_id(number: int) -> str:
    """QEMU's name for the machine's nth network card."""
    return f"nic{number}"


def serial_path(workdir: Path) -> Path:
    """Where the machine's serial line is written."""
    return workdir / "serial.txt"


def vars_path(workdir: Path) -> Path:
    """The machine's own copy of the UEFI variables."""
    return workdir / "vars.fd"


def ovmf_files(spec: QemuSpec) -> tuple[Path, Path]:
    """The firmware's code, and the variables that the machine starts with."""
    if spec.secure_boot_vars:
        return OVMF_CODE_SECURE_BOOT, spec.secure_boot_vars
    return OVMF_CODE, spec.uefi_vars or OVMF_VARS


def command_line(spec: QemuSpec, workdir: Path) -> list[str]:
    """QEMU's command line for this machine, whose own files are in `workdir`."""
    return [
        *(QEMU, "-no-user-config", "-nodefaults"),
        *("-accel", ACCELERATOR, "-m", str(spec.memory_mib)),
        *("-display", "none", "-vga", "std"),
        *("-chardev", _serial_line(spec, workdir), "-serial", "chardev:serial"),
        # Strict: only what has a bootindex is tried. Otherwise OVMF spends minutes on PXE before
        # it tells that the disc does not boot.
        *("-boot", "strict=on"),
        *_firmware_args(spec, workdir),
        *_smbios_args(spec),
        *_drive_args(spec),
        *_nic_args(spec),
        *_entropy_args(spec),
        *spec.extra_args,
    ]


def _firmware_args(spec: QemuSpec, workdir: Path) -> list[str]:
    """SeaBIOS is QEMU's own; OVMF comes in two flash chips, code and variables."""
    if spec.firmware is Firmware.BIOS:
        return ["-machine", spec.chipset.value]
    code, _ = ovmf_files(spec)
    chips = "pflash0=code,pflash1=vars"
    flash = [
        *_blockdev("code", code, read_only=True),
        *_blockdev("vars", vars_path(workdir), read_only=False),
    ]
    if not spec.secure_boot_vars:
        return [*flash, "-machine", f"{spec.chipset},{chips}"]
    return [
        *flash,
        *("-machine", f"{Chipset.Q35},smm=on,{chips}"),
        # Only the firmware's own system management mode may write variables.
        *("-global", "driver=cfi.pflash01,property=secure,value=on"),
        # OVMF's secure build does not know how to come back from S3 on a PC of this kind.
        *("-global", "ICH9-LPC.disable_s3=1"),
    ]


def _smbios_args(spec: QemuSpec) -> list[str]:
    """What the machine says about itself (SMBIOS 3.6 §7.2, System Information)."""
    system = {
        "uuid": spec.uuid,
        "serial": spec.serial,
        "manufacturer": spec.manufacturer,
        "product": spec.product,
    }
    fields = [f"{name}={_value(value)}" for name, value in system.items() if value]
    return ["-smbios", ",".join(["type=1", *fields])] if fields else []


def _drive_args(spec: QemuSpec) -> list[str]:
    cd_index = f"bootindex={0 if spec.boot_from is BootDevice.CD else 1}"
    disk_index = f"bootindex={0 if spec.boot_from is BootDevice.DISK else 1}"
    args: list[str] = []
    has_cd_drive = spec.empty_cd_drive or spec.cdrom is not None
    if spec.usb_disk or (has_cd_drive and spec.cdrom_bus is CdBus.USB):
        args += ["-device", "qemu-xhci,id=usb"]
    if has_cd_drive:
        disc = ""
        if spec.cdrom:
            args += _cd_content(spec, spec.cdrom)
            disc = f",drive={CD_NODE},{cd_index}"
        if spec.cdrom_bus is CdBus.USB:
            args += ["-device", "usb-bot,id=bot,bus=usb.0"]
            args += ["-device", f"scsi-cd,id={CD_DRIVE},bus=bot.0{disc}"]
        else:
            args += ["-device", f"ide-cd,id={CD_DRIVE},bus=ide.0{disc}"]
    if spec.usb_disk:
        args += _blockdev("disk", spec.usb_disk, read_only=True)
        args += ["-device", f"usb-storage,id={DISK_DRIVE},bus=usb.0,drive=disk,{disk_index}"]
    return args


def _serial_line(spec: QemuSpec, workdir: Path) -> str:
    """The serial line's other end; what comes over it is always written down, too."""
    written = _value(str(serial_path(workdir)))
    if spec.serial_socket:
        socket = _value(str(spec.serial_socket))
        return f"socket,id=serial,path={socket},server=off,logfile={written},logappend=on"
    return f"file,id=serial,path={written}"


def _cd_content(spec: QemuSpec, cdrom: Path) -> list[str]:
    """What the CD drive reads from. The limit is a filter on top, so that its reads are counted."""
    node: dict[str, object] = _raw(cdrom, read_only=True)
    if spec.cdrom_socket:
        node = far_disc(spec.cdrom_socket)
    args: list[str] = []
    if spec.cdrom_bytes_per_s:
        limits = {"bps-read": spec.cdrom_bytes_per_s}
        group = {"qom-type": "throttle-group", "id": _CD_RATE, "limits": limits}
        args += ["-object", json.dumps(group)]
        node = {"driver": "throttle", "throttle-group": _CD_RATE, "read-only": True, "file": node}
    return [*args, "-blockdev", json.dumps({"node-name": CD_NODE, **node})]


def far_disc(socket: Path) -> dict[str, object]:
    """A disc that comes from the NBD server at `socket`, as a block node without a name."""
    server = {"type": "unix", "path": str(socket)}
    return {"driver": "raw", "read-only": True, "file": {"driver": "nbd", "server": server}}


def local_disc(path: Path) -> dict[str, object]:
    """A disc that is a file here, as a block node without a name."""
    return _raw(path, read_only=True)


def _nic_args(spec: QemuSpec) -> list[str]:
    args: list[str] = []
    for number, nic in enumerate(spec.nics):
        card = f"{nic.model},id={nic_id(number)},netdev=net{number},mac={nic_mac(number)}"
        if not nic.has_rom:  # the firmware's PXE must not get in the way
            card += ",romfile="
        if spec.boot_from is BootDevice.NETWORK and number == 0:
            card += ",bootindex=0"
        args += ["-netdev", _network(number, nic), "-device", card]
    return args


def _entropy_args(spec: QemuSpec) -> list[str]:
    """OVMF since 2024 has no network without random numbers (CVE-2023-45237).

    Boot options in its variables may lead there as well.
    """
    from_network = spec.boot_from is BootDevice.NETWORK or spec.uefi_vars is not None
    needs_them = spec.firmware is Firmware.UEFI and from_network
    return ["-device", "virtio-rng-pci"] if needs_them else []


def _network(number: int, nic: QemuNic) -> str:
    if nic.tap:
        return f"tap,id=net{number},ifname={_value(nic.tap)},script=no,downscript=no"
    boot_file = f",bootfile={_value(nic.boot_file)}" if nic.boot_file else ""
    return f"user,id=net{number}{boot_file}"


def _blockdev(node: str, path: Path, *, read_only: bool) -> list[str]:
    return ["-blockdev", json.dumps({"node-name": node, **_raw(path, read_only=read_only)})]


def _raw(path: Path, *, read_only: bool) -> dict[str, object]:
    return {
        "driver": "raw",
        "read-only": read_only,
        "file": {"driver": "file", "filename": str(path)},
    }


def _value(text: str) -> str:
    """`text` as a value among QEMU's comma-separated options, where a comma is written twice."""
    return text.replace(",", ",,")
