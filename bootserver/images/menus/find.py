"""Which boot menu a disc shows: where its loaders look for one, and in which order.

A loader for one kind of firmware comes first on it. A menu for the other will do: its kernels are
the same. loopback.cfg comes last: it is for loaders that boot a disc from a file, and makers show
the other menus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bootserver.disc.volume import Volume
from bootserver.errors import ImageError
from bootserver.images.menus.files import MenuFiles, TooMuchToReadError
from bootserver.images.menus.grub import read_grub
from bootserver.images.menus.syslinux import ISOLINUX_CONFIGS, SYSLINUX_EFI_CONFIGS, read_syslinux
from bootserver.images.menus.systemd_boot import read_systemd_boot
from bootserver.model import ByteRange, DiscMenu, Firmware

TEXT_LIMIT_BYTES = 64 * 1024
READ_LIMIT_BYTES = 4 * 1024**2  # of one disc: an UKI's sections are larger than any text
READS_LIMIT = 400

# GRUB has no place of its own on a disc: the maker of the disc writes one into its core image.
GRUB_CONFIGS = (
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/efi/boot/grub.cfg",
    "/grub/grub.cfg",
    "/efi/*/grub.cfg",
    "/boot/grub/x86_64-efi/grub.cfg",
    "/boot/grub/i386-pc/grub.cfg",
)
LOOPBACK_CONFIGS = ("/boot/grub/loopback.cfg", "/boot/grub2/loopback.cfg")


def find_menus(files: MenuFiles) -> tuple[DiscMenu, ...]:
    """The menu for each kind of firmware, as far as there is one that offers something."""
    menus = []
    for firmware in Firmware:
        offers: DiscMenu | None = None
        try:
            for menu in _menus(files, firmware):
                if any(entry.kernel and files.size(entry.kernel) for entry in menu.entries):
                    offers = menu
                    break
        except TooMuchToReadError:
            pass  # what comes after it is not read
        if offers:
            menus.append(offers)
    return tuple(menus)


def _menus(files: MenuFiles, firmware: Firmware) -> Iterator[DiscMenu]:
    """All menus there are, the most likely first."""
    if firmware is Firmware.BIOS:
        yield from _read_all(files, ISOLINUX_CONFIGS, read_syslinux, firmware)
    yield from _read_all(files, GRUB_CONFIGS, read_grub, firmware)
    if menu := read_systemd_boot(files, firmware):
        yield menu
    if firmware is Firmware.UEFI:
        configs = (*SYSLINUX_EFI_CONFIGS, *ISOLINUX_CONFIGS)
        yield from _read_all(files, configs, read_syslinux, firmware)
    yield from _read_all(files, LOOPBACK_CONFIGS, read_grub, firmware)


def _read_all(
    files: MenuFiles,
    places: tuple[str, ...],
    read: Callable[[MenuFiles, str, Firmware], DiscMenu],
    firmware: Firmware,
) -> Iterator[DiscMenu]:
    for path in _paths(files, places):
        yield read(files, path, firmware)


def _paths(files: MenuFiles, places: tuple[str, ...]) -> Iterator[str]:
    """The files that are there; `*` stands for the name of a directory."""
    for place in places:
        before, star, after = place.partition("*")
        paths = [f"{before}{name}{after}" for name in files.names(before)] if star else [place]
        yield from (path for path in paths if files.size(path))


class VolumeFiles:
    """MenuFiles of a disc."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._left = {"reads": READS_LIMIT, "bytes": READ_LIMIT_BYTES}

    def text(self, path: str) -> str | None:
        size_bytes = self.size(path)
        if size_bytes is None:
            return None
        if size_bytes > TEXT_LIMIT_BYTES:
            raise TooMuchToReadError
        return self.piece(path, 0, size_bytes).decode("utf-8", "replace").replace("\0", "")

    def names(self, directory: str) -> list[str]:
        self._spend("reads", 1)
        try:
            return sorted({node.name.lower() for node in self._volume.children(directory)})
        except ImageError:
            return []

    def size(self, path: str) -> int | None:
        self._spend("reads", 1)
        try:
            node = self._volume.find(path)
        except ImageError:  # not there, or not to be served
            return None
        return None if node.is_directory else node.size_bytes

    def piece(self, path: str, offset: int, size_bytes: int) -> bytes:
        self._spend("reads", 1)
        try:
            node = self._volume.find(path)
        except ImageError:
            return b""
        size_bytes = max(min(size_bytes, node.size_bytes - offset), 0)
        self._spend("bytes", size_bytes)
        return self._volume.content(node, ByteRange(offset, offset + size_bytes))

    def _spend(self, what: str, number: int) -> None:
        if self._left[what] < number:
            raise TooMuchToReadError
        self._left[what] -= number
