"""The menu of systemd-boot: entries of the Boot Loader Specification and unified kernel images.

The Boot Loader Specification (UAPI.1) says what an entry is, and in which order they stand. UAPI.10
says how versions compare, loader.conf(5) which entry is the default, UAPI.5 what is in a unified
kernel image. Nothing is remembered in the firmware's variables: a disc is for any machine.
"""

from __future__ import annotations

import fnmatch
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bootserver.images.menus.files import MenuFiles, TooMuchToReadError, disc_path
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry

LOADER_CONF = "/loader/loader.conf"
ENTRIES = "/loader/entries"
UNIFIED = "/efi/linux"

MAX_ENTRIES = 64
MAX_SECTIONS = 96  # of a PE file, as Windows has it
MAX_SECTION_BYTES = 65536  # of those that are read; a kernel takes no longer command line
_HEAD_BYTES = 4096  # a PE file's headers, as a rule

_SEGMENT = re.compile(r"[^0-9A-Za-z~^.-]*(~?)(-?)(\^?)(\.?)(?:0*([0-9]+)|([A-Za-z]*))")
_COUNTER = re.compile(r"\+(\d+)(?:-(\d+))?(?=\.(?:conf|efi)$)")


# Entries that the loader makes up itself, if what they start is there (loader.conf(5), Table 1).
_AUTOMATIC = (
    "auto-efi-default",
    "auto-efi-shell",
    "auto-osx",
    "auto-reboot-to-firmware-setup",
    "auto-windows",
)


@dataclass(frozen=True, slots=True)
class BlsEntry:
    """One entry as its file says it; only the path of the file itself is the disc's."""

    file: str
    title: str = ""
    version: str = ""
    machine_id: str = ""
    sort_key: str = ""
    architecture: str = ""
    linux: str = ""
    efi: str = ""  # a program
    uki: str = ""  # a unified kernel image
    initrds: tuple[str, ...] = ()
    options: str = ""
    unread: str = ""

    @property
    def id(self) -> str:
        """The file's name without boot counters (systemd-boot(7), BOOT COUNTING)."""
        return _COUNTER.sub("", self.file.rpartition("/")[2])


def read_systemd_boot(files: MenuFiles, firmware: Firmware) -> DiscMenu | None:
    """The menu of a disc or an EFI system partition; None if it has none for this firmware.

    A unified kernel image is a kernel without an initrd: it brings its own, and its arguments.
    """
    if firmware is not Firmware.UEFI:
        return None
    found, unread, conf = list[BlsEntry](), list[str](), None
    try:
        conf = files.text(LOADER_CONF)
        for entry in _all(files):
            found.append(entry)
            if len(found) > MAX_ENTRIES:
                unread.append(f"The menu has more than {MAX_ENTRIES} entries")
                break
    except TooMuchToReadError:
        unread.append("The menu has more files than are read of one disc")
    if conf is None and not found and not unread:
        return None
    entries = in_order(found[:MAX_ENTRIES])
    default = _default(entries, conf or "")
    if unread:
        default = "not all files of the menu were read"
    source = LOADER_CONF if conf is not None or not entries else entries[0].file
    index, doubt = (default, "") if isinstance(default, int) else (None, default)
    shown = tuple(_shown(entries))
    return DiscMenu(source, "systemd-boot", firmware, shown, index, doubt, tuple(unread))


def bls_entries(files: MenuFiles, directory: str) -> Iterator[BlsEntry]:
    """The entries whose files are in a directory, by name (UAPI.1, type #1); not checked."""
    for name in files.names(directory):
        if name.endswith(".conf") and not name.startswith("."):
            path = disc_path(directory, name)
            text = files.text(path)
            if text is not None:
                yield _entry(path, text)


def in_order(entries: list[BlsEntry]) -> list[BlsEntry]:
    """The entries as a menu shows them: the first is the default (UAPI.1, Sorting)."""

    def keyed(entry: BlsEntry, value: str) -> str:
        return value if entry.sort_key else ""  # compared only among those with a sort key

    def tries(entry: BlsEntry) -> tuple[int, int]:
        match = _COUNTER.search(entry.file)
        return (int(match[1][:9]), -int((match[2] or "0")[:9])) if match else (-1, 0)

    # Sorts are stable: what counts least comes first.
    entries = sorted(entries, key=tries, reverse=True)
    entries.sort(key=lambda entry: version_key(entry.id), reverse=True)
    entries.sort(key=lambda entry: version_key(keyed(entry, entry.version)), reverse=True)
    entries.sort(key=lambda entry: keyed(entry, entry.machine_id))
    entries.sort(key=lambda entry: (not entry.sort_key, entry.sort_key))
    entries.sort(key=lambda entry: tries(entry)[0] == 0)  # those that have failed too often
    return entries


def version_key(version: str) -> list[tuple[int | str, ...]]:
    """Sorts versions, the newest last (UAPI.10)."""
    key, position = list[tuple[int | str, ...]](), 0
    while match := _SEGMENT.match(version, position):
        tilde, dash, caret, dot, number, letters = match.groups()
        position = match.end()
        before = tuple(int(not sign) for sign in (dash, caret, dot))
        # What has ended is older than what goes on, but for `~`.
        if not (dash or caret or dot or number or letters) and position == len(version):
            key.append((int(not tilde), 0))
            break
        segment = (1, len(number), number) if number is not None else (0, 0, letters)
        key.append((int(not tilde), 1, *before, *segment))
    return key


def _all(files: MenuFiles) -> Iterator[BlsEntry]:
    """The entries that the loader shows: what they start is there, and for PCs of 64 bits."""
    for name in files.names(UNIFIED):
        if name.endswith(".efi") and not name.startswith((".", "auto-")):
            entry = _unified(files, disc_path(UNIFIED, name))
            if entry is not None and entry.title:
                yield entry
    for entry in bls_entries(files, ENTRIES):
        starts = _path(entry.linux or entry.efi or entry.uki)
        if entry.architecture not in ("", "x64") or not starts or files.size(starts) is None:
            continue
        if entry.id.startswith("auto-"):  # a name for the loader's own
            continue
        if not entry.linux and (image := _unified(files, starts)) is not None and image.uki:
            # Arguments of its own take the place of the image's (systemd-stub(7)).
            options = entry.options or image.options
            entry = replace(entry, uki=starts, efi="", options=options, unread=image.unread)
        yield entry


def _entry(path: str, text: str) -> BlsEntry:
    """An entry of type #1; a key counts as it was given last, but for initrds and options."""
    values, initrds, options = dict[str, str](), list[str](), list[str]()
    starts, unread = "", ""
    for key, value in _pairs(text, " \t"):
        match key:
            case "title" | "version" | "machine-id" | "sort-key":
                values[key.replace("-", "_")] = value
            case "architecture":
                values[key] = value.lower()
            case "linux" | "efi" | "uki":
                starts = key
                values[key] = value
            case "initrd":
                initrds.append(value)
            case "options":
                options.append(value)
            case "devicetree" | "devicetree-overlay" | "profile" | "extra" | "uki-url":
                unread = f"has a line that is not read ({key})"
    for key in {"linux", "efi", "uki"} - {starts}:
        values.pop(key, None)
    return BlsEntry(
        path, **values, initrds=tuple(initrds), options=" ".join(options), unread=unread
    )


def _path(written: str) -> str:
    """The path on the disc, "" for none."""
    return disc_path("/", written) if written else ""


def _pairs(text: str, separators: str) -> Iterator[tuple[str, str]]:
    """The lines KEY VALUE of a file, without comments and quotes."""
    split = re.compile(rf"([^{separators}]*)[{separators}]+(.*)", re.DOTALL)
    for line in re.split(r"[\n\r]", text):
        match = split.fullmatch(line.strip(" \t"))
        if match and not line.lstrip(" \t").startswith("#"):
            value = match[2]
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            yield match[1], value


def _unified(files: MenuFiles, path: str) -> BlsEntry | None:
    """A unified kernel image by what is in it (UAPI.5); None for another program.

    The loader shows what has the name of a system (.osrel), be it without a kernel: a program.
    """
    sections = _sections(files, path)
    if ".osrel" not in sections:
        return None
    has_kernel = ".linux" in sections

    def text(name: str) -> str:
        data = files.piece(path, *sections[name]) if name in sections else b""
        return data.decode("utf-8", "replace").partition("\0")[0]

    system = dict(_pairs(text(".osrel"), "="))

    def first(*names: str) -> str:
        return next((system[name] for name in names if name in system), "")

    options = " ".join(text(".cmdline").split())
    return BlsEntry(
        path,
        title=first("PRETTY_NAME", "IMAGE_ID", "NAME", "ID"),
        version=first("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"),
        sort_key=first("IMAGE_ID", "ID"),
        uki=path if has_kernel else "",
        efi="" if has_kernel else path,
        options=options,
        unread="has several profiles" if ".profile" in sections else "",
    )


def _sections(files: MenuFiles, path: str) -> dict[str, tuple[int, int]]:
    """Where each section of a PE file lies in it: offset and size; the first of a name.

    The offset of the PE header is at 0x3C. Of that header, from `PE\\0\\0`: 6 number of sections,
    20 size of the optional header, 24 that header, then 40 bytes for each section: 0 name,
    8 size in memory, 16 size in the file, 20 offset in the file.
    """
    head = files.piece(path, 0, _HEAD_BYTES)
    if head[:2] != b"MZ" or len(head) < 0x40:
        return {}
    start = struct.unpack_from("<I", head, 0x3C)[0]
    if start + 24 > len(head):
        head, start = files.piece(path, start, _HEAD_BYTES), 0
    if head[start : start + 4] != b"PE\0\0" or len(head) < start + 24:
        return {}
    count, optional = struct.unpack_from("<H12xH", head, start + 6)
    found: dict[str, tuple[int, int]] = {}
    for number in range(min(count, MAX_SECTIONS)):
        offset = start + 24 + optional + 40 * number
        if offset + 40 > len(head):
            break
        name, in_memory, in_file, lies_at = struct.unpack_from("<8sI4xII", head, offset)
        size = min(in_memory, in_file, MAX_SECTION_BYTES)
        found.setdefault(name.rstrip(b"\0").decode("latin-1"), (lies_at, size))
    return found


def _default(entries: list[BlsEntry], conf: str) -> int | str:
    """The number of the default entry, or why it cannot be told (loader.conf(5))."""
    pattern = ""
    for key, value in _pairs(conf, " \t"):
        if key == "default" and (value[:1] != "@" or value.lower() == "@saved"):
            pattern = value.lower()
    if not entries:
        return "it has no entries"
    if pattern in ("", "@saved"):  # nothing is saved yet
        return 0
    # Before systemd 246 an entry's name had no `.conf`, and until 253 the boot counter.
    ways = (
        [entry.id for entry in entries],
        [entry.file.rpartition("/")[2] for entry in entries],
        [entry.id.rpartition(".")[0] for entry in entries],
    )

    def match(name: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern)

    found = {
        next(number for number, name in enumerate(names) if match(name))
        for names in ways
        if any(map(match, names))
    }
    if len(found) > 1:
        return f"versions of the loader differ in which entry is {pattern}"
    if found:
        return found.pop()
    if any(map(match, _AUTOMATIC)):
        return f"its default, {pattern}, is none of the disc's own entries"
    return 0


def _shown(entries: list[BlsEntry]) -> Iterator[MenuEntry]:
    """The entries as a person sees them; what has the same title has its version with it."""
    titles = Counter(entry.title for entry in entries)
    for entry in entries:
        title = entry.title or entry.id
        if entry.title and titles[entry.title] > 1:
            title += f" ({entry.version or entry.id})"
        kernel = _path(entry.linux or entry.uki)
        kind = EntryKind.LINUX if kernel else EntryKind.OTHER
        yield MenuEntry(
            title,
            kind,
            name=entry.file.rpartition("/")[2],
            kernel=kernel,
            initrds=tuple(map(_path, entry.initrds)) if entry.linux else (),
            arguments=tuple(entry.options.split()) if kernel else (),
            unread=entry.unread,
        )
