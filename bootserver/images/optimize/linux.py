"""A new image of a Linux disc: paths left out, files in its initramfs, kernel arguments.

xorriso writes it: it keeps the partition tables of a disc that is a disk as well. The disc's own
menus say which files are an initramfs, and they get the arguments.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bootserver.disc.volume import Volume, open_volume
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.files.cpio import appendix, newc_archive
from bootserver.files.open_version import OpenFile, open_version
from bootserver.files.programs import run_program
from bootserver.images.iso import inspect_iso
from bootserver.images.optimize.wishes import (
    ON_DISC,
    ChangedFile,
    Difference,
    OptimizeWishes,
    added_files,
    tree_bytes,
)
from bootserver.model import CD_SECTOR_BYTES, ByteRange, EntryKind, Image, MenuEntry, Piece

ADDED_LIMIT_BYTES = 256 << 20  # in memory, and in each initramfs
CONFIG_LIMIT_BYTES = 1 << 20
CHUNK_BYTES = 4 << 20
TIMEOUT_S = 3600.0  # for xorriso, which copies the whole disc

_CONFIG_FOLDERS = {"boot", "efi", "grub", "grub2", "isolinux", "loader", "syslinux"}
# A line with a kernel's arguments. They end before a backslash that continues the line, and before
# what Debian's installer takes for the new system.
_ARGUMENTS_END = r"\b(?P<own>[^\r\n]*?))(?P<end>[ \t]+---?(?=\s)[^\r\n]*|[ \t]*\\|[ \t]*)(?=\r?$)"
_GRUB, _SYSLINUX, _SYSTEMD_BOOT = (
    re.compile(rf"^(?P<begin>[ \t]*{begin}{_ARGUMENTS_END}", re.IGNORECASE | re.MULTILINE)
    for begin in (r"linux(?:efi|16)?[ \t]+\S+", "append", "options")
)
_OF_SYSLINUX = re.compile(r"^[ \t]*(?:label|append)\b", re.IGNORECASE | re.MULTILINE)
_DATES_AT = 16 * CD_SECTOR_BYTES + 813  # creation and modification, in the primary descriptor
_WRITTEN_AT = 946_684_800  # 2000-01-01, so that equal orders give equal bytes


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What is done to a disc; paths are as they are on it."""

    replaced: Mapping[str, tuple[Piece, ...]]
    dropped: tuple[str, ...]
    difference: Difference
    saved_bytes: int  # about

    @property
    def is_empty(self) -> bool:
        """True if nothing is to be changed."""
        return not self.replaced and not self.dropped


def plan_live(image: Image, wishes: OptimizeWishes) -> LivePlan:
    """What is to be done to a Linux disc; blocks. Raises ImageError for what cannot be done."""
    if wishes != OptimizeWishes(
        drop_paths=wishes.drop_paths, added=wishes.added, arguments=wishes.arguments
    ):
        raise ImageError(
            f"{image.id} is no disc of Windows PE",
            hint="of a Linux disc, leave paths out, put files in, or give kernel arguments",
        )
    entries = [
        entry
        for menu in (image.facts.menus if image.facts else ())
        for entry in menu.entries
        if entry.kind is EntryKind.LINUX
    ]
    if (wishes.added or wishes.arguments) and not entries:
        raise ImageError(
            f"what {image.id} boots is not known: it has no menu that can be read",
            hint="see: bootserver images explain",
        )
    with open_version(image.content) as disc:
        volume = open_volume(disc.fd, disc.size_bytes, Path(image.path).name)
        if volume.has_udf:
            raise ImageError(
                f"{image.id} has UDF, which xorriso does not keep", hint="leave it as it is"
            )
        dropped = [_exact(volume, path.removeprefix(ON_DISC)) for path in wishes.drop_paths]
        _require_unused(dropped, entries, image)
        archive = _archive(wishes)
        initramfs = dict(_with_archive(volume, entries, archive)) if archive else {}
        configs = dict(_with_arguments(volume, wishes.arguments)) if wishes.arguments else {}
        removed = tuple(ChangedFile(ON_DISC + path, tree_bytes(volume, path)) for path in dropped)
    return LivePlan(
        replaced={**initramfs, **configs},
        dropped=tuple(dropped),
        difference=Difference(
            added=tuple(ChangedFile(f"{path} (initramfs)", len(archive)) for path in initramfs),
            removed=removed,
            notes=tuple(f"{path} gives the kernel {wishes.arguments}" for path in configs),
        ),
        saved_bytes=sum(f.size_bytes for f in removed) - len(initramfs) * len(archive),
    )


def write_live(
    image: Image, plan: LivePlan, wishes: OptimizeWishes, folder: Path, cancelled: threading.Event
) -> Path:
    """The new disc, in that folder; blocks. Raises ImageError."""
    new = folder / "new.iso"
    commands = ["-disk_pattern", "off", "-iso_rr_pattern", "off"]  # a name may have a * in it
    commands += ["-indev", image.path, "-outdev", str(new), "-boot_image", "any", "replay"]
    with open_version(image.content) as disc:
        created, modified = _dates(disc)
        commands += ["-volume_date", "c", created, "-volume_date", "uuid", modified]
        for path in plan.dropped:
            commands += ["-rm_r", path, "--"]
        for number, (path, pieces) in enumerate(sorted(plan.replaced.items())):
            file = folder / str(number)
            _write(file, disc, pieces)
            commands += ["-map", str(file), path]
        disc.check_unchanged()
    _run_xorriso([*commands, "-commit", "-end"], image.id, folder, cancelled)
    _require_as_planned(new, plan, wishes)
    return new


def _require_unused(dropped: Iterable[str], entries: Iterable[MenuEntry], image: Image) -> None:
    menus = image.facts.menus if image.facts else ()
    used = {path for entry in entries for path in (entry.kernel, *entry.initrds) if path}
    used |= {menu.source.lower() for menu in menus}
    for path in dropped:
        if any(f"{file}/".startswith(f"{path.lower()}/") for file in used):
            raise ImageError(f"{path} has what {image.id} boots", hint="leave it in")


def _exact(volume: Volume, path: str) -> str:
    """The path as it is on the disc, which may differ in case; ImageNotFoundError without it."""
    exact = ""
    for part in path.strip("/").split("/"):
        names = [node.name for node in volume.children(exact or "/")]
        found = [n for n in names if n == part] or [n for n in names if n.lower() == part.lower()]
        if not found:
            raise ImageNotFoundError(
                f"there is no {path} on the disc", hint="check its name, or leave it out"
            )
        exact += f"/{found[0]}"
    return exact


def _archive(wishes: OptimizeWishes) -> bytes:
    """What is added to each initramfs; b"" for nothing."""
    paths = added_files(wishes.added)
    try:
        if sum(file.stat().st_size for file in paths.values()) > ADDED_LIMIT_BYTES:
            raise ImageError(
                f"what is put in has more than {ADDED_LIMIT_BYTES:,} bytes",
                hint="it goes into the machine's memory: put in less",
            )
        files = {path: file.read_bytes() for path, file in paths.items()}
        return newc_archive(files) if files else b""
    except OSError as err:
        raise ImageError(f"{err.filename} cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise ImageError(f"the files make no archive: {err}", hint="choose other paths") from err


def _with_archive(
    volume: Volume, entries: Iterable[MenuEntry], archive: bytes
) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    """Each initramfs that lacks the archive at its end, and what it consists of with it."""
    for path in sorted({entry.initrds[-1] for entry in entries if entry.initrds}):
        exact = _exact(volume, path)
        node = volume.find(exact)
        end = ByteRange(max(node.size_bytes - len(archive), 0), node.size_bytes)
        if volume.content(node, end) != archive:
            yield exact, (*node.pieces, appendix(node.size_bytes, archive))


def _with_arguments(volume: Volume, arguments: str) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    """Each menu on the disc that does not give them, and what it consists of when it does."""
    words = arguments.split()

    def given(line: re.Match[str]) -> str:
        missing = [word for word in words if word not in line["own"].split()]
        return " ".join([line["begin"], *missing]) + line["end"]

    configs = volume.paths(
        lambda path: path.endswith((".cfg", ".conf")),
        lambda path: path.split("/")[1] in _CONFIG_FOLDERS,
    )
    for path in sorted(configs):
        node = volume.find(path)
        if node.is_directory or node.size_bytes > CONFIG_LIMIT_BYTES:
            continue
        text = volume.content(node, ByteRange(0, node.size_bytes)).decode("latin-1")
        lines = _SYSLINUX if _OF_SYSLINUX.search(text) else _GRUB
        lines = _SYSTEMD_BOOT if path.endswith(".conf") else lines
        if (edited := lines.sub(given, text)) != text:
            yield _exact(volume, path), (edited.encode("latin-1"),)


def _dates(disc: OpenFile) -> tuple[str, str]:
    """When the volume was created and modified: loaders look for a disc by the second."""
    text = disc.read(ByteRange(_DATES_AT, _DATES_AT + 34)).decode("ascii", "replace")
    dates = text[:16], text[17:33]
    if not all(re.fullmatch(r"[0-9]{16}", date) for date in dates):
        raise ImageError("the disc has no date", hint="make it again with xorriso")
    return dates


def _write(file: Path, disc: OpenFile, pieces: Iterable[Piece]) -> None:
    try:
        with file.open("wb") as written:
            for piece in pieces:
                if isinstance(piece, bytes):
                    written.write(piece)
                    continue
                for part in piece.steps(CHUNK_BYTES):
                    written.write(disc.read(part))
        file.chmod(0o644)
        os.utime(file, (_WRITTEN_AT, _WRITTEN_AT))
    except OSError as err:
        raise ImageError(
            f"{file.parent} cannot be written: {err.strerror}", hint="check the disk"
        ) from err


def _run_xorriso(commands: list[str], name: str, folder: Path, cancelled: threading.Event) -> None:
    try:
        ended = run_program(
            ("xorriso", "-no_rc", *commands),
            cancelled=cancelled,
            timeout_s=TIMEOUT_S,
            folder=folder,
            environment={"SOURCE_DATE_EPOCH": str(_WRITTEN_AT)},
        )
    except FileNotFoundError as err:
        raise ImageError(
            f"{name} cannot be written anew: xorriso is missing",
            hint="run: apt-get install xorriso",
        ) from err
    if ended.stopped_because or ended.status:
        failures = [line for line in ended.errors.splitlines() if "FAIL" in line]
        reason = failures[0].partition(" : ")[2] if failures else f"it ended with {ended.status}"
        raise ImageError(
            f"{name} cannot be written anew: {ended.stopped_because or reason}",
            hint="check the disk, and the room on it",
        )


def _require_as_planned(path: Path, plan: LivePlan, wishes: OptimizeWishes) -> None:
    """Raise ImageError unless the new disc has what it should, and its menus give the arguments."""
    with path.open("rb") as file:
        volume = open_volume(file.fileno(), path.stat().st_size, path.name)
        sizes = {place: volume.find(place).size_bytes for place in plan.replaced}
    if sizes != {place: sum(map(len, pieces)) for place, pieces in plan.replaced.items()}:
        raise ImageError("the new image has other files than it should", hint="report it")
    words = set(wishes.arguments.split())
    for menu in inspect_iso(path).menus:
        for entry in menu.entries:
            if entry.kind is EntryKind.LINUX and not words <= set(entry.arguments):
                raise ImageError(
                    f"the entry {entry.title!r} of {menu.source} does not take the arguments",
                    hint="put them into the disc's menu yourself, with a side-car's [replace]",
                )
