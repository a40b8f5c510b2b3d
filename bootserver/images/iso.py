"""What an ISO says about itself, read from its directories and never from its files' content.

pycdlib parses, and parses strictly; this module adds what a file from anywhere needs besides: the
check that the file is whole, and a bound on what a broken or hostile one can make us read.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from pycdlib import PyCdlib

from bootserver.errors import ImageError
from bootserver.model import CD_SECTOR_BYTES, ElToritoEntry, IsoFacts

# The paths that the recipes ask for: lower-case, `*` for a part of one name.
MARKERS = (
    "/.alpine-release",
    "/.cd-info",
    "/.discinfo",
    "/.disk/info",
    "/.pve-cd-id.txt",
    "/.treeinfo",
    "/apks",
    "/arch",
    "/arch/boot/*_ucode.img",
    "/arch/boot/x86_64/initramfs-linux*.img",
    "/arch/boot/x86_64/vmlinuz-linux*",
    "/arch/x86_64/airootfs.erofs",
    "/arch/x86_64/airootfs.sfs",
    "/b.b00",
    "/boot.cfg",
    "/boot/bcd",
    "/boot/boot.sdi",
    "/boot/floppy.img",
    "/boot/grml*/initrd.img",
    "/boot/grml*/vmlinuz",
    "/boot/grub/grub.cfg",
    "/boot/grub/initrd.xz",
    "/boot/grub/k-x86_64",
    "/boot/grub/loopback.cfg",
    "/boot/initramfs-*",
    "/boot/initrd.img",
    "/boot/linux26",
    "/boot/modloop-*",
    "/boot/vmlinuz-*",
    "/boot/x86_64/loader/initrd",
    "/boot/x86_64/loader/linux",
    "/boot/x86_64/root",
    "/bootmgr",
    "/bootmgr.efi",
    "/casper",
    "/casper/*.squashfs",
    "/casper/initrd*",
    "/casper/install-sources.yaml",
    "/casper/vmlinuz*",
    "/checksums",
    "/clonezilla-live-version",
    "/content",
    "/data/*.srm",
    "/dban.bzi",
    "/dists",
    "/efi/boot/bootaa64.efi",
    "/efi/boot/bootia32.efi",
    "/efi/boot/bootx64.efi",
    "/efi/boot/crypto64.efi",
    "/efi/microsoft/boot/bcd",
    "/efi/microsoft/boot/efisys.bin",
    "/gparted-live-version",
    "/grml",
    "/hbcd*.ini",
    "/images/install.img",
    "/images/pxeboot/initrd.img",
    "/images/pxeboot/vmlinuz",
    "/install.amd/initrd.gz",
    "/install.amd/vmlinuz",
    "/isolinux/isolinux.bin",
    "/isolinux/isolinux.cfg",
    "/kernel.dat",
    "/live",
    "/live/*.squashfs",
    "/live/grml*/*.squashfs",
    "/live/initrd*",
    "/live/tails.module",
    "/live/vmlinuz*",
    "/liveos/squashfs.img",
    "/media.1",
    "/pool",
    "/proxmox/packages",
    "/pve-base.squashfs",
    "/ramdisk.dat",
    "/repodata",
    "/shredos",
    "/sources/boot.wim",
    "/sources/install.esd",
    "/sources/install.wim",
    "/sysresccd",
    "/sysresccd/boot/*_ucode.img",
    "/sysresccd/boot/x86_64/sysresccd.img",
    "/sysresccd/boot/x86_64/vmlinuz",
    "/sysresccd/x86_64/airootfs.sfs",
)

# Facts kept from an earlier run are good only while the markers and the parser are the same.
INSPECTION_REVISION = hashlib.sha256(
    "\n".join(("1", version("pycdlib"), *MARKERS)).encode()
).hexdigest()[:16]

# An ISO of 5,000 files makes pycdlib read 1 to 12 MB, in 0.1 to 0.3 s of CPU.
READ_BUDGET_BYTES = 128 * 1024**2
READ_LIMIT_BYTES = 8 * 1024**2
CPU_BUDGET_S = 20.0

_COPY_AGAIN = "copy it again, and compare its SHA-256 with the publisher's"


def inspect_iso(path: Path, *, name: str = "") -> IsoFacts:
    """The facts the recipes decide from; raises ImageError for what is no whole ISO.

    An ISO without a boot entry is no error here. `name` stands for the file in messages. An error
    that comes from reading the file, and not from what is in it, has an OSError as its cause.
    """
    name = name or path.name
    try:
        with open_regular(path) as file:
            return _inspect(file, name)
    except OSError as err:
        raise ImageError(
            f"{name} cannot be read: {err.strerror or err}",
            hint="check the file's permissions and the disk or share it is on",
        ) from err


def open_regular(path: Path) -> BinaryIO:
    """The file, opened for unbuffered reading; OSError for a FIFO or device, without blocking."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path.name} is not a regular file")
        return os.fdopen(fd, "rb", buffering=0)
    except BaseException:
        os.close(fd)
        raise


def _inspect(file: BinaryIO, name: str) -> IsoFacts:
    size_bytes = os.fstat(file.fileno()).st_size
    claimed_bytes = _claimed_size(file, name)
    if claimed_bytes > size_bytes:
        raise ImageError(
            f"{name} is truncated: its volume has {claimed_bytes:,} bytes, the file {size_bytes:,}",
            hint=_COPY_AGAIN,
        )
    iso = PyCdlib()
    try:
        iso.open_fp(_BoundedReader(file.fileno()))
        return IsoFacts(
            size_bytes=size_bytes,
            volume_id=_text(iso.pvd.volume_identifier),
            system_id=_text(iso.pvd.system_identifier),
            publisher=_text(iso.pvd.publisher_identifier.text),
            application=_text(iso.pvd.application_identifier.text),
            has_udf=iso.has_udf(),
            el_torito=tuple(_el_torito(iso)),
            markers=frozenset(_markers(iso)),
        )
    except OSError:
        raise
    except Exception as err:  # pycdlib meets hostile bytes with whatever its parsing trips over
        raise ImageError(f"{name} is damaged: {err}", hint=_COPY_AGAIN) from err


def _claimed_size(file: BinaryIO, name: str) -> int:
    """Where the volumes end by their own descriptors: the largest claim, in bytes."""
    iso_bytes = _iso9660_size(file)
    if iso_bytes is not None:
        return max(iso_bytes, _udf_end(file))
    if _read_sector(file, 16)[1:6] == b"BEA01":
        raise ImageError(
            f"{name} is a UDF image without an ISO 9660 part, and such images cannot be read",
            hint="make the image as a UDF bridge (oscdimg -u1, genisoimage -udf)",
        )
    raise ImageError(
        f"{name} is not an ISO 9660 or UDF image",
        hint="give an .iso file; unpack it first if it is compressed",
    )


def _iso9660_size(file: BinaryIO) -> int | None:
    """The size in the primary volume descriptor, None without one (ECMA-119 §8.4).

    offset  size  meaning
         0     1  descriptor type: 1 = primary, 255 = the last
         1     5  "CD001"
        80     4  volume space size in blocks, little-endian
       128     2  bytes in a block, little-endian
    """
    for sector in range(16, 32):
        descriptor = _read_sector(file, sector)
        if descriptor[1:6] != b"CD001":
            return None
        if descriptor[0] == 1:
            blocks, block_bytes = struct.unpack_from("<L44xH", descriptor, 80)
            return int(blocks * block_bytes)
    return None


def _udf_end(file: BinaryIO) -> int:
    """The end of the UDF partition, 0 without one: -u2 media say the truth only there.

    Anchor at sector 256: tag 2, at 16 length and start of the volume descriptor sequence
    (ECMA-167 3/10.2). Partition descriptor: tag 5, at 188 first sector, at 192 sectors (3/10.5).
    """
    anchor = _read_sector(file, 256)
    if _udf_tag(anchor) != 2:
        return 0
    length_bytes, first = struct.unpack_from("<LL", anchor, 16)
    for sector in range(first, first + min(length_bytes // CD_SECTOR_BYTES, 64)):
        descriptor = _read_sector(file, sector)
        if _udf_tag(descriptor) == 5:
            start, sectors = struct.unpack_from("<LL", descriptor, 188)
            return int(start + sectors) * CD_SECTOR_BYTES
    return 0


def _udf_tag(sector: bytes) -> int:
    """A descriptor tag's identifier, 0 if its checksum is wrong (ECMA-167 3/7.2)."""
    checksum = (sum(sector[:16]) - sector[4]) % 256
    return int.from_bytes(sector[:2], "little") if sector[4] == checksum else 0


def _read_sector(file: BinaryIO, sector: int) -> bytes:
    """One sector, filled with zeros past the end of the file."""
    data = os.pread(file.fileno(), CD_SECTOR_BYTES, sector * CD_SECTOR_BYTES)
    return data.ljust(CD_SECTOR_BYTES, b"\0")


def _text(raw: bytes) -> str:
    """An identifier as people see it: without padding and what cannot be printed."""
    text = raw.decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable()).strip()


def _el_torito(iso: PyCdlib) -> Iterator[ElToritoEntry]:
    """The boot catalog's entries in order; a section's platform is in its header."""
    catalog = iso.eltorito_boot_catalog
    if catalog is None:
        return
    default_platform = catalog.validation_entry.platform_id
    yield _entry(default_platform, catalog.initial_entry)
    for section in catalog.sections:
        for entry in section.section_entries:
            yield _entry(section.platform_id, entry)
    for entry in catalog.standalone_entries:  # written without a section by some old tools
        yield _entry(default_platform, entry)


def _entry(platform_id: int, entry: Any) -> ElToritoEntry:
    return ElToritoEntry(
        platform_id=platform_id,
        bootable=entry.boot_indicator == 0x88,
        media=entry.boot_media_type,
        load_sectors=entry.sector_count,
        lba=entry.load_rba,
    )


def _markers(iso: PyCdlib) -> set[str]:
    """The marker paths in any of the volume's trees."""
    # Straight from the parsed records: pycdlib's look-ups by path keep the whole volume alive in
    # an lru_cache.
    found = _marked(iso.pvd.root_directory_record(), _record_children)
    if iso.joliet_vd is not None:
        found |= _marked(iso.joliet_vd.root_directory_record(), _record_children)
    if iso.has_udf():
        found |= _marked(iso.udf_root, _udf_children)
    return found


def _marked(root: Any, children: Callable[[Any], Iterator[tuple[str, Any]]]) -> set[str]:
    """The markers below `root`, going down only where one can be."""
    found = set()
    pending = [("", root)]
    while pending:
        path, directory = pending.pop()
        for name, child in children(directory):
            child_path = f"{path}/{name}"
            if _MARKER.fullmatch(child_path):
                found.add(child_path)
            if _MARKER_PARENT.fullmatch(child_path) and child is not None and child.is_dir():
                pending.append((child_path, child))
    return found


def _record_children(directory: Any) -> Iterator[tuple[str, Any]]:
    """Each child of an ISO 9660 or Joliet directory, once by every name it has."""
    for child in directory.children:
        if child.is_dot() or child.is_dotdot():
            continue
        # VMLINUZ.;1 is vmlinuz: ISO 9660 gives every file an extension and a version.
        yield re.sub(r";\d+$", "", _text(child.file_identifier())).rstrip(".").lower(), child
        if child.rock_ridge is not None:
            yield _text(child.rock_ridge.name()).lower(), child


def _udf_children(directory: Any) -> Iterator[tuple[str, Any]]:
    for identifier in directory.fi_descs.values():
        if not identifier.is_parent():
            name = identifier.fi.decode(identifier.encoding, "replace")
            yield name.lower(), identifier.file_entry


def _marker_pattern(markers: set[str]) -> re.Pattern[str]:
    """Matches any of the paths; `*` stands for characters that are safe in a script and a URL."""
    return re.compile("|".join(re.escape(m).replace(r"\*", "[a-z0-9._+~-]*") for m in markers))


_MARKER = _marker_pattern(set(MARKERS))
_MARKER_PARENT = _marker_pattern(
    {str(parent) for marker in MARKERS for parent in Path(marker).parents} - {"/"}
)


class _BoundedReader(io.FileIO):
    """A file that stops pycdlib when lying lengths or cycles make it read or work without end."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, closefd=False)
        self._left_bytes = READ_BUDGET_BYTES
        self._deadline_s = time.thread_time() + CPU_BUDGET_S

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= READ_LIMIT_BYTES:
            raise ValueError(f"its directories ask for {size} bytes in one piece")
        data = super().read(size)
        # A read past the end costs a sector too: it brings nothing, and must not be free for ever.
        self._left_bytes -= max(len(data), CD_SECTOR_BYTES)
        if self._left_bytes < 0 or time.thread_time() > self._deadline_s:
            raise ValueError("its directories have no end")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and offset < 0:
            raise ValueError("a directory points before the start of the volume")
        return super().seek(offset, whence)
