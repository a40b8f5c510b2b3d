"""What a stub consists of, decided as plain data before a byte is written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bootserver.errors import StubError
from bootserver.model import CD_SECTOR_BYTES, Architecture, Firmware, StubFormat
from bootserver.stub.fat import fat_image
from bootserver.stub.pack import pack
from bootserver.stub.render import render_isolinux, render_stub
from bootserver.stub.spec import StubSpec

Pack = Callable[[bytes], bytes]

VOLUME_ID = "BOOTSERVER"
BIOS_PLATFORM, UEFI_PLATFORM = 0x00, 0xEF
ISOLINUX_PATH, ESP_PATH = "/ISOLINUX.BIN", "/EFI.IMG"
SHIM = "shim"  # the site's, by the name under which plan_stub asks for it

# Beside the files, SeaBIOS and isolinux read volume descriptors, boot catalog, path and root
# directory, and the first sectors twice. Measured in QEMU, see docs/booting.md.
BIOS_OVERHEAD_BYTES = 16 * 1024
# OVMF looks at every partition and at the beginning of each for every file system it knows.
UEFI_OVERHEAD_BYTES = 76 * 1024


# Where UEFI looks for the program on removable media (UEFI 2.10, 3.5.1.1).
BOOT_X64, BOOT_ARM64 = "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTAA64.EFI"
# Where iPXE looks for its script, and our loader for what it unpacks (stub/efi/loader.c).
SCRIPT, SMALL_IPXE, FULL_IPXE = "autoexec.ipxe", "SNP.BIN", "IPXE.BIN"
CARRIED_SCRIPT = "SCRIPT"  # inside a stub that is one program


@dataclass(frozen=True, slots=True)
class StubFile:
    """One file on the stub; `path` is an ISO 9660 name from the root, `/NAME.EXT`."""

    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One El Torito entry, no emulation; `load_sectors` in 512 bytes."""

    path: str
    platform_id: int
    load_sectors: int
    boot_info_table: bool


@dataclass(frozen=True, slots=True)
class StubPlan:
    """Everything about a stub; `digest` names it: cache key, ETag and bug-report id."""

    format: StubFormat
    volume_id: str
    files: tuple[StubFile, ...]
    boot_entries: tuple[BootEntry, ...]
    boot_sector: bytes = field(repr=False)  # isohdpfx.bin: starts isolinux.bin from a USB stick
    read_bytes: Mapping[Firmware, int]  # how much is read, about, until the script runs
    digest: str

    def file(self, path: str) -> StubFile | None:
        """The file at that path, if there is one."""
        return next((file for file in self.files if file.path == path), None)


def plan_stub(
    spec: StubSpec,
    token: str,
    loader: Callable[[str], bytes],
    *,
    format: StubFormat = StubFormat.ISO,
    pack: Pack = pack,
) -> StubPlan:
    """The stub for `spec` as an ISO or an image; `loader` gives a loader's bytes by name."""
    script = _script(spec, token)
    files: list[StubFile] = []
    boot_entries: list[BootEntry] = []
    boot_sector = b""
    read_bytes: dict[Firmware, int] = {}
    if Architecture.BIOS in spec.architectures:
        boot_sector = loader("isohdpfx.bin")
        files += _bios_files(spec, script, loader)
        boot_entries.append(
            BootEntry(ISOLINUX_PATH, BIOS_PLATFORM, load_sectors=4, boot_info_table=True)
        )
        read_bytes[Firmware.BIOS] = BIOS_OVERHEAD_BYTES + _sector_bytes(f.data for f in files)
    if esp_files := _esp_files(spec, script, loader, pack):
        esp = fat_image(esp_files)
        files.append(StubFile(ESP_PATH, esp))
        read_bytes[Firmware.UEFI] = UEFI_OVERHEAD_BYTES + _sector_bytes(
            data for path, data in esp_files.items() if path not in (BOOT_ARM64, SMALL_IPXE)
        )
        # The real size: firmware takes it for the size of the partition.
        boot_entries.append(
            BootEntry(ESP_PATH, UEFI_PLATFORM, len(esp) // 512, boot_info_table=False)
        )
    if not boot_entries:
        raise StubError("a stub for no architecture", hint="name one in [stub] architectures")
    parts = (format, VOLUME_ID, tuple(files), tuple(boot_entries), boot_sector)
    return StubPlan(*parts, read_bytes=read_bytes, digest=_digest(*parts))


def plan_program(
    spec: StubSpec,
    token: str,
    loader: Callable[[str], bytes],
    carry: Callable[[Mapping[str, bytes]], bytes],
    *,
    pack: Pack = pack,
) -> StubPlan:
    """The stub as one UEFI program; `carry` makes one that has these parts inside.

    Raises StubError for a spec without x64 machines.
    """
    if Architecture.X64 not in spec.architectures:
        raise StubError(
            "a stub of the format efi is for x64 machines", hint="add x64 to [stub] architectures"
        )
    parts = {
        CARRIED_SCRIPT: _script(spec, token),
        SMALL_IPXE: pack(loader("snponly.efi")),
        FULL_IPXE: pack(loader("ipxe-amd64.efi")),
    }
    files = (StubFile("/STUB.EFI", carry(parts)),)
    decided = (StubFormat.EFI, VOLUME_ID, files, (), b"")
    read_bytes = {Firmware.UEFI: len(files[0].data)}
    return StubPlan(*decided, read_bytes=read_bytes, digest=_digest(*decided))


def _script(spec: StubSpec, token: str) -> bytes:
    return render_stub(spec.image, spec.network, spec.script_urls(token)).encode("ascii")


def _bios_files(
    spec: StubSpec, script: bytes, loader: Callable[[str], bytes]
) -> tuple[StubFile, ...]:
    return (
        StubFile(ISOLINUX_PATH, loader("isolinux.bin")),
        StubFile("/LDLINUX.C32", loader("ldlinux.c32")),
        StubFile("/ISOLINUX.CFG", render_isolinux(spec.serial).encode("ascii")),
        StubFile("/IPXE.KRN", loader("ipxe.lkrn")),
        StubFile("/AUTOEXEC.IPXE", script),
    )


def _esp_files(
    spec: StubSpec, script: bytes, loader: Callable[[str], bytes], pack: Pack
) -> dict[str, bytes]:
    """What is on the FAT volume that UEFI firmware boots from, in the order in which it is read."""
    files: dict[str, bytes] = {}
    if Architecture.X64 in spec.architectures and spec.shim_loads:
        # Plain: shims before 16.1 do not judge what our loader would start from memory, so the
        # firmware would refuse it.
        files[BOOT_X64] = loader(SHIM)
        files[f"EFI/BOOT/{spec.shim_loads}"] = loader("ipxe-amd64.efi")
    elif Architecture.X64 in spec.architectures and spec.pack:
        files[BOOT_X64] = loader("efi-loader.efi")
        files[SCRIPT] = script
        files[SMALL_IPXE] = pack(loader("snponly.efi"))  # read where the firmware drives the card
        files[FULL_IPXE] = pack(loader("ipxe-amd64.efi"))
    elif Architecture.X64 in spec.architectures:
        files[BOOT_X64] = loader("ipxe-amd64.efi")
    if Architecture.ARM64 in spec.architectures:
        files[BOOT_ARM64] = loader("ipxe-arm64.efi")
    return files | {SCRIPT: script} if files else {}


def _digest(
    format: StubFormat,
    volume_id: str,
    files: tuple[StubFile, ...],
    boot_entries: tuple[BootEntry, ...],
    boot_sector: bytes,
) -> str:
    """SHA-256 over all that decides the stub's bytes."""
    digest = hashlib.sha256(f"{format}\0{volume_id}\0".encode())
    for file in files:
        digest.update(f"{file.path}\0{len(file.data)}\0".encode())
        digest.update(file.data)
    for entry in boot_entries:
        digest.update(repr(entry).encode())
    digest.update(boot_sector)
    return digest.hexdigest()


def _sector_bytes(pieces: Iterable[bytes]) -> int:
    """The bytes of all pieces, each rounded up to whole CD sectors."""
    return sum(-(-len(piece) // CD_SECTOR_BYTES) * CD_SECTOR_BYTES for piece in pieces)
