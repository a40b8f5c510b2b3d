"""The types that every part shares, as frozen data.

A sector is 2,048 bytes on a CD and 512 bytes in an El Torito load count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from bootserver.pci import PciId

CD_SECTOR_BYTES = 2048

# What UEFI starts from removable media on x64 (UEFI 2.10, 3.5.1.1), as a marker.
EFI_BOOT_FILE = "/efi/boot/bootx64.efi"


class Firmware(StrEnum):
    """What starts the machine: iPXE's `${platform}` is `pcbios` or `efi`."""

    BIOS = "bios"
    UEFI = "uefi"


class StubFormat(StrEnum):
    """What kind of file a stub is."""

    ISO = "iso"  # for a CD drive, real or virtual; starts from a USB stick as well
    IMG = "img"  # the same with a GPT, for USB sticks
    EFI = "efi"  # one UEFI program, for firmware that boots a URL


class Architecture(StrEnum):
    """A kind of machine that a stub can start; all but `bios` are UEFI."""

    BIOS = "bios"
    X64 = "x64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card as iPXE tells it."""

    mac: str
    pci: PciId | None = None  # None on another bus


@dataclass(frozen=True, slots=True)
class Machine:
    """A PC as it describes itself to us, through iPXE's settings or AMT.

    `mac` is lower-case with colons, `uuid` lower-case with dashes; "" where not told.
    """

    mac: str = ""
    uuid: str = ""
    serial: str = ""
    asset: str = ""  # the asset tag, which sites give themselves
    manufacturer: str = ""
    product: str = ""
    firmware: Firmware | None = None
    architecture: str = ""
    memory_mib: int | None = None
    nics: tuple[Nic, ...] = ()  # `mac` is that of the one it booted from

    @property
    def name(self) -> str:
        """The best of the names that it gave; "" if it gave none."""
        return self.mac or self.uuid or self.serial or self.asset


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, stop) of a file."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def steps(self, most_bytes: int) -> Iterator[ByteRange]:
        """The same in order, as ranges of at most so many bytes."""
        for start in range(self.start, self.stop, most_bytes):
            yield ByteRange(start, min(start + most_bytes, self.stop))


Piece = ByteRange | bytes  # of what is served: a range of a file on disk, or bytes of ours


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells one content of a path from the next; equal versions have equal bytes.

    Not the ctime: replacing a file by rename changes the old one's, and its bytes are still good.
    """

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The version that os.stat or os.fstat saw."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Content:
    """One version of a file, by its digest: what is to be served, not yet opened."""

    path: str
    version: FileVersion
    sha256: str


@dataclass(frozen=True, slots=True)
class ElToritoEntry:
    """One entry of an El Torito boot catalog (El Torito 1.0, section 2)."""

    platform_id: int  # 0x00 = x86 BIOS, 0xEF = UEFI
    bootable: bool
    media: int  # 0 = no emulation, 1-3 = floppy, 4 = hard disk
    load_sectors: int  # 512-byte sectors
    lba: int  # first 2,048-byte sector
    holds_efi: bool = False  # its image is a FAT volume with EFI/BOOT


@dataclass(frozen=True, slots=True)
class PlainDisk:
    """What a disk image without an ISO 9660 or UDF volume holds."""

    kind: str  # "floppy" or "harddisk", as memdisk names them
    boot_code: bool  # the first sector has code that a BIOS would start
    efi_partition: bool  # it has an EFI system partition, or is one itself


class EntryKind(StrEnum):
    """What an entry of a disc's boot menu starts."""

    LINUX = "linux"
    LOCAL_DISK = "local-disk"  # the machine's own disk, or what its firmware boots next
    OTHER = "other"  # a program, another loader, a memory test, power off


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One entry of a disc's boot menu; paths are lower case from `/`."""

    title: str
    kind: EntryKind
    name: str = ""  # GRUB's --id, syslinux's label, the file of a systemd-boot entry
    parents: tuple[str, ...] = ()  # titles of the submenus that it is in, the outermost first
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()  # for the kernel, as the loader would pass them on
    unread: str = ""  # what of it cannot be told, to be read after "it"; "" if all can


@dataclass(frozen=True, slots=True)
class DiscMenu:
    """The boot menu that a disc shows on machines with one kind of firmware."""

    source: str  # the file that it begins with
    loader: str  # whose language it is in: "GRUB", "syslinux" or "systemd-boot"
    firmware: Firmware
    entries: tuple[MenuEntry, ...] = ()
    default: int | None = None  # the entry that starts by itself; None if that cannot be told
    doubt: str = ""  # why it cannot, in a sentence without its full stop
    unread: tuple[str, ...] = ()  # what else of the menu cannot be told, each a sentence


@dataclass(frozen=True, slots=True)
class IsoFacts:
    """What an image says about itself; the recipes decide from this and nothing else."""

    size_bytes: int
    missing_bytes: int = 0  # of the end of its volume, where there is only padding
    volume_id: str = ""
    system_id: str = ""
    publisher: str = ""
    application: str = ""
    has_udf: bool = False
    has_compressed: bool = False  # files in its tree, by zisofs: those are not served
    el_torito: tuple[ElToritoEntry, ...] = ()
    # What the recipes ask for, by lower-case path from `/`: sizes in bytes, 0 for a directory. And
    # the beginnings of the small files that say what the disc is.
    markers: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    menus: tuple[DiscMenu, ...] = ()  # one for each kind of firmware at most
    plain_disk: PlainDisk | None = None  # for an image that is no disc

    def boots(self, firmware: Firmware) -> bool:
        """True if the image as a whole has what this firmware boots.

        That is an El Torito entry of its platform. UEFI firmware does not mind the platform of an
        image with EFI/BOOT. The boot file in the disc's tree will do. Of a plain disk it is the
        boot sector's code, or an EFI system partition.
        """
        if self.plain_disk is not None:
            uefi = firmware is Firmware.UEFI
            return self.plain_disk.efi_partition if uefi else self.plain_disk.boot_code
        entries = [entry for entry in self.el_torito if entry.bootable]
        if firmware is Firmware.BIOS:
            # An emulated floppy may start both; what is not emulated is a program, or that volume.
            return any(e.platform_id == 0x00 and (e.media or not e.holds_efi) for e in entries)
        has_entry = any(entry.platform_id == 0xEF or entry.holds_efi for entry in entries)
        return has_entry or EFI_BOOT_FILE in self.markers


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What a person says about an image, in the side-car; "" and empty where nothing is said."""

    memdisk: str = ""  # memdisk's arguments
    arguments: str = ""  # more kernel arguments
    recipe: str = ""  # the name of the recipe to use, whatever the disc looks like
    entry: str = ""  # the entry of the disc's own menu: its name, its title, or "#" and a number
    # Files of the site's: into the initramfs, by their path there. And in place of files of the
    # disc, by their path on it. The values are absolute paths.
    inject: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_files(self) -> set[str]:
        """The absolute paths of the site's files that it names."""
        return {*self.inject.values(), *self.replace.values()}


@dataclass(frozen=True, slots=True)
class Image:
    """A recovery image in the library.

    Listed from the moment its file is whole; it can be booted once `sha256` is known and `problem`
    is empty.
    """

    id: str  # its file's path in the library, without `.iso` or `.img`
    path: str
    version: FileVersion
    title: str = ""
    sha256: str = ""
    facts: IsoFacts | None = field(default=None, hash=False)
    problem: str = ""  # why it cannot be booted, for a person
    settings: ImageSettings = field(default=ImageSettings(), hash=False)

    @property
    def size_bytes(self) -> int:
        """The size of its file."""
        return self.version.size_bytes

    @property
    def content(self) -> Content:
        """Its file as the library has read it."""
        return Content(self.path, self.version, self.sha256)


class Method(StrEnum):
    """What a machine does to boot an image; each has a script template of its name."""

    MEMDISK = "memdisk"  # BIOS: the whole image in memory, behind INT 13h
    RAMDISK = "ramdisk"  # UEFI: the whole image in memory, as a disk that the system finds too
    KERNEL = "kernel"  # its kernel and initrd, which fetch the rest themselves
    WIMBOOT = "wimboot"  # the files of Windows PE, by the site's wimboot
    CHAIN = "chain"  # one program that is on the disc


@dataclass(frozen=True, slots=True)
class Way:
    """How an image boots on one kind of firmware, with the paths that are on this very disc.

    Paths are lower case from `/`. In `arguments`, `{tree}` stands for the URL of the disc's tree,
    which ends in `/`. `{iso}` stands for that of the whole image, which ends in `.iso`.
    """

    method: Method
    program: str = ""  # the kernel, the program, or a disk image on the disc for memdisk
    initrds: tuple[str, ...] = ()
    arguments: str = ""
    iso_in_initramfs: str = ""  # where the whole image goes as one more initrd
    files: tuple[tuple[str, str], ...] = ()  # wimboot: name and path, boot.wim last
    memdisk: str = ""  # memdisk's arguments that this image needs; "" = the site's
    hook: str = ""  # the make of initramfs into which a script goes that says when the system is up


class Prepare(StrEnum):
    """What is done for a machine whose network Windows PE has no driver for; see config.toml."""

    AUTO = "auto"  # the driver is put in
    ASK = "ask"  # the machine's screen offers that
    OFF = "off"  # the machine is warned


@dataclass(frozen=True, slots=True)
class BootPlan:
    """How one boot goes: decided when its script is rendered, and read by all that serves it."""

    recipe: str  # the name of what the image is
    way: Way
    # The version of the image that this holds for. "" of a boot that an older bootserver began:
    # only its recipe and method are known.
    image_sha256: str = ""
    image_bytes: int = 0  # what the script fetches of it
    root: str = ""  # what the system fetches then: a path, {iso} for the whole image, "" unknown
    calls_home: bool = False  # the system says when it is up
    entry: str = ""  # of the disc's menu, where a person chose one for this boot
    profile: str = ""  # the id of the run-time profile that the script follows
    warning: str = ""  # what the system will lack on this machine, in a sentence
    variant: str = ""  # what was put into the disc for this machine, and why, in a sentence
    variant_etag: str = ""  # that disc's, as it is served; "" = the disc as it is


class BootPhase(StrEnum):
    """How far a boot has come, in order; FAILED and EXPIRED end it from anywhere."""

    CREATED = "created"
    STUB_BUILT = "stub_built"
    ATTACHED = "attached"
    POWERED = "powered"
    STUB_STARTED = "stub_started"
    SCRIPT_SERVED = "script_served"
    FETCHING = "fetching"
    FETCHED = "fetched"
    HANDED_OFF = "handed_off"
    ROOT_FETCHED = "root_fetched"  # by the system that was started
    OS_UP = "os_up"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class BootEvent:
    """A session reached a phase. `detail` is for a person; `at` is UTC."""

    session: str
    phase: BootPhase
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BootSession:
    """One boot of one machine: `key` is the secret in its own URLs, `token` its stub's."""

    id: str
    key: str
    token: str
    image: str
    created_at: datetime
    machine: Machine = Machine()
    address: str = ""  # the client's IP address
    phase: BootPhase = BootPhase.CREATED
    phase_at: datetime | None = None
    plan: BootPlan | None = None  # from its script on
    sent_bytes: int = 0
    error: str = ""
    stalled: str = ""  # why it does not move, most likely, in a sentence; "" while it moves

    @property
    def machine_name(self) -> str:
        """What the ledger calls its machine: the best name that it gave, else its address."""
        return self.machine.name or self.address

    @property
    def image_bytes(self) -> int:
        """How much its script fetches of the image; 0 until there is a script."""
        return self.plan.image_bytes if self.plan else 0

    @property
    def recipe(self) -> str:
        """What the image is, by the name of its recipe; "" until there is a script."""
        return self.plan.recipe if self.plan else ""

    @property
    def method(self) -> str:
        """What the machine does to boot it, as in Method; "" until there is a script."""
        return self.plan.way.method.value if self.plan else ""

    @property
    def warning(self) -> str:
        """What the system will lack on the machine, in a sentence, or ""."""
        return self.plan.warning if self.plan else ""

    @property
    def variant(self) -> str:
        """What was put into the disc for the machine, and why, in a sentence, or ""."""
        return self.plan.variant if self.plan else ""


REDIRECTION = "redirection"  # the protocol of what goes over AMT's virtual drive


class TransferEnd(StrEnum):
    """How the sending of a file ended."""

    COMPLETE = "complete"  # all of it is in the kernel's hands
    CLIENT_LEFT = "client_left"
    STALLED = "stalled"  # the client took nothing for the idle time-out
    FILE_CHANGED = "file_changed"
    SERVER_LEFT = "server_left"  # it was stopped, or its disk failed


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file on its way to a machine; ranges of the same file are one transfer.

    A file that is fetched anew, because the first try broke off, is another one.
    """

    session: str
    number: int  # from 1 within the session
    name: str  # "image.iso", "tree/live/vmlinuz"
    protocol: str  # "http", "tftp", or REDIRECTION
    started_at: datetime
    size_bytes: int  # of the whole file
    progress_at: datetime | None = None  # when bytes last went out
    ended_at: datetime | None = None
    sent_bytes: int = 0
    outcome: str = ""  # a TransferEnd; "" = under way
    stalled_s: float = 0.0  # in pauses of a second or more
    retransmits: int = 0  # segments that TCP sent again
    link: str = ""  # what the connection tells of itself: "the link is at 100 Mb/s"
    recent_bytes_per_s: float | None = None  # over its last seconds; None until that is known
    requests: int = 1  # for the whole file, or for ranges of it
    first_byte: int | None = None  # the lowest position that went out; None if that is not known
    last_byte: int | None = None  # the highest one
    holes: int | None = 0  # gaps in what the machine has of the file; None: too many to follow

    @property
    def is_redirected(self) -> bool:
        """True for what the machine reads of a redirected disc: some of it, and now and then."""
        return self.protocol == REDIRECTION

    @property
    def bytes_per_s(self) -> float:
        """The mean rate, up to its end or to the last bytes; 0.0 for what took no time at all."""
        until = self.ended_at or self.progress_at
        seconds = (until - self.started_at).total_seconds() if until else 0.0
        return self.sent_bytes / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class SeenMachine:
    """A machine that booted from here, as it was the last time."""

    machine: Machine
    name: str  # BootSession.machine_name
    address: str
    seen_at: datetime
    session: str
    image: str
