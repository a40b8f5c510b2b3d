"""What a disc's own boot menus say: kernel, initrds and arguments of each entry.

Reads the common shape of GRUB's and of syslinux's configuration, not their languages: no
variables, no conditions, no included files. Paths and words that would not be safe in an iPXE
script or in a URL are left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bootserver.images.arguments import is_plain

MAX_ENTRIES = 64  # of one file: a menu for people has fewer
MENUS_KEPT = 256  # parsed: a library's images are asked about each time a machine boots

_SAFE_PATH = re.compile(r"/[a-z0-9._+~/-]+")
_QUOTED = re.compile(r"""\"([^\"]*)\"|'([^']*)'""")
_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|\S)+""")  # quotes hold blanks together
_GRUB_LINE = re.compile(r"(?P<verb>linux|initrd)(?:16|efi|\$.*)?")
_GRUB_CONTINUED = re.compile(r"\\\r?\n")  # a line goes on behind a backslash at its end
_GRUB_DEFAULT = re.compile(r"default=(?P<value>.+)")
# Not Linux, or no system: programs of syslinux, memory tests, other loaders.
_NO_SYSTEM = re.compile(r"\.(c32|bin|bs|0|img|com)$|/mem(test|disk)[^/]*$")
# What says where the ISO lies as a file or which disc it is on: over the network that is nowhere.
_OF_A_MEDIUM = re.compile(
    r"(initrd|BOOT_IMAGE|iso-scan/filename|findiso|fromiso|img_dev|img_loop)="
)
_SEPARATORS = {"--", "---"}  # between the arguments for now and those for the installed system


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One system that a disc's menu offers; paths are lower case from `/`."""

    source: str  # the file that says so
    title: str
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]


@dataclass(slots=True)
class _Draft:
    """An entry while its lines are read."""

    title: str
    name: str = ""
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


def menu_entries(texts: Mapping[str, str]) -> list[MenuEntry]:
    """The entries of all the configurations, in the order of `texts`; a file's default first."""
    return [
        entry
        for path, text in texts.items()
        if path.endswith(".cfg")
        for entry in _entries_of(path, text)
    ]


@lru_cache(MENUS_KEPT)
def _entries_of(path: str, text: str) -> tuple[MenuEntry, ...]:
    return _grub(path, text) if "grub" in path else _syslinux(path, text)


def named_paths(texts: Mapping[str, str]) -> set[str]:
    """Every kernel and initrd that the configurations name, whether the disc has it or not."""
    return {path for entry in menu_entries(texts) for path in (entry.kernel, *entry.initrds)}


def first_system(texts: Mapping[str, str], files: Mapping[str, int]) -> MenuEntry | None:
    """The first entry whose kernel and initrds are among `files`; one without an initrd last."""
    whole = [
        entry
        for entry in menu_entries(texts)
        if all(files.get(path) for path in (entry.kernel, *entry.initrds))
    ]
    return next((entry for entry in whole if entry.initrds), whole[0] if whole else None)


def _grub(path: str, text: str) -> tuple[MenuEntry, ...]:
    """loopback.cfg and grub.cfg: `menuentry TITLE {`, `linux FILE WORDS`, `initrd FILES`, `}`."""
    default, drafts = "0", list[_Draft]()
    for words in _lines(_GRUB_CONTINUED.sub(" ", text)):
        if len(drafts) > MAX_ENTRIES:
            break
        match = _GRUB_LINE.fullmatch(words[0])
        if words[0] == "menuentry" and len(words) > 1:
            drafts.append(_Draft(title=words[1]))
        elif words[0] == "set" and len(words) > 1 and (said := _GRUB_DEFAULT.match(words[1])):
            default = said["value"]
        elif match and match["verb"] == "linux" and drafts and len(words) > 1:
            drafts[-1].kernel = _grub_path(words[1])
            drafts[-1].arguments = words[2:]
        elif match and match["verb"] == "initrd" and drafts:
            drafts[-1].initrds = [_grub_path(word) for word in words[1:]]
    for index, draft in enumerate(drafts):
        draft.name = default if default in (str(index), draft.title) else ""
    return _finished(path, drafts, default)


def _grub_path(word: str) -> str:
    """The path without a device before it: `(loop)/casper/vmlinuz` is `/casper/vmlinuz`."""
    return re.sub(r"^\([^)]*\)", "", word)


def _syslinux(path: str, text: str) -> tuple[MenuEntry, ...]:
    """isolinux.cfg and its like: `LABEL NAME`, `KERNEL FILE`, `INITRD FILES`, `APPEND WORDS`."""
    default, drafts = "", list[_Draft]()
    for words in _lines(text):
        if len(drafts) > MAX_ENTRIES:
            break
        verb, rest = words[0].lower(), words[1:]
        if verb == "default" and rest:
            default = rest[0]
        elif verb == "label" and rest:
            drafts.append(_Draft(title=rest[0], name=rest[0]))
        elif not drafts:
            continue
        elif verb == "menu" and rest and rest[0].lower() == "label":
            drafts[-1].title = " ".join(rest[1:]).replace("^", "")
        elif verb == "menu" and rest and rest[0].lower() == "default":
            default = drafts[-1].name
        elif verb in ("kernel", "linux") and rest:
            drafts[-1].kernel = rest[0]
        elif verb == "initrd" and rest:
            drafts[-1].initrds = rest[0].split(",")
        elif verb == "append":
            drafts[-1].arguments = rest
            for word in rest:
                if word.startswith("initrd="):
                    drafts[-1].initrds = word.removeprefix("initrd=").split(",")
    return _finished(path, drafts, default)


def _lines(text: str) -> Iterator[list[str]]:
    """The words of each line that has any; quotes are taken off."""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        words = [_QUOTED.sub(r"\1\2", word) for word in _WORD.findall(line)]
        if any(words):
            yield words


def _finished(source: str, drafts: list[_Draft], default: str) -> tuple[MenuEntry, ...]:
    """The drafts that name a system by safe paths, the default one first."""
    drafts = sorted(drafts[:MAX_ENTRIES], key=lambda draft: draft.name != default)
    folder = posixpath.dirname(source)
    entries = []
    for draft in drafts:
        kernel = _safe_path(folder, draft.kernel)
        initrds = tuple(_safe_path(folder, initrd) for initrd in draft.initrds)
        if kernel and all(initrds) and not _NO_SYSTEM.search(kernel):
            arguments = tuple(_kept(draft.arguments))
            entries.append(MenuEntry(source, draft.title, kernel, initrds, arguments))
    return tuple(entries)


def _safe_path(folder: str, written: str) -> str:
    """The path on the disc, "" for none or an unsafe one; without a slash it is in `folder`."""
    if not written:
        return ""
    path = posixpath.normpath(posixpath.join(folder, written.lower().removeprefix("::")))
    return path if _SAFE_PATH.fullmatch(path) else ""


def _kept(words: list[str]) -> list[str]:
    """The arguments that make sense without the medium, and are safe."""
    return [
        word
        for word in words
        if word not in _SEPARATORS and not _OF_A_MEDIUM.match(word) and is_plain(word)
    ]
