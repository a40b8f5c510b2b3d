"""GRUB's menus in real shapes: what starts by itself, as told by hand, and as GRUB itself has it.

The judge is GRUB's own emulator: it runs each menu from an ISO. Its `linux`, `initrd` and the like
are functions there, which print their words; so it shows what it would load when no key is
pressed.
"""

from __future__ import annotations

import os
import posixpath
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.images.menus.grub import read_grub
from bootserver.model import DiscMenu, EntryKind, Firmware
from tests.fixtures.menu_files import FakeMenuFiles
from tests.images.menus.shapes import Shape, Start
from tests.images.menus.shapes_grub import GRUB_BIOS_SHAPES, GRUB_SHAPES
from tests.images.menus.soundness import mutated

CASES = [
    *((shape, Firmware.UEFI) for shape in GRUB_SHAPES),
    *((shape, Firmware.BIOS) for shape in GRUB_BIOS_SHAPES),
]
every_shape = pytest.mark.parametrize(
    ("shape", "firmware"), CASES, ids=[shape.kind for shape, _ in CASES]
)

GRUB_S = 60  # a loaded machine is slow
ENDED = rb"Press any key|Failed to boot|GNU GRUB"

JUDGE = """
function print { echo "<$1"; shift; for word in "$@"; do echo "<=$word"; done; }
function judged_linux { print linux "$@"; }
function judged_initrd { print initrd "$@"; }
function judged_linux16 { print linux "$@"; }
function judged_initrd16 { print initrd "$@"; }
function judged_linuxefi { print linux "$@"; }
function judged_initrdefi { print initrd "$@"; }
function chainloader { print program; }
function multiboot2 { print program; }
function module2 { true; }
function fwsetup { print program; }
"""
# GRUB 2.12's emulator has commands of these names, and prefers its own to functions.
OWN_COMMANDS = re.compile(
    r"(?m)((?:^|[;{]|\b(?:then|else|do)\b)[ \t]*|\b(?:linux|initrd)=)"
    r"(linux|initrd)(?=(?:16|efi)?[\s$])"
)


def read(shape: Shape, firmware: Firmware) -> DiscMenu:
    return read_grub(FakeMenuFiles(shape.files), next(iter(shape.files)), firmware)


@every_shape
def test_what_starts_by_itself_is_what_the_menu_means(shape: Shape, firmware: Firmware) -> None:
    menu = read(shape, firmware)

    assert menu.default is not None, menu.doubt
    entry = menu.entries[menu.default]
    arguments = " ".join(entry.arguments)
    assert Start(entry.title, entry.kernel, entry.initrds, arguments, entry.parents) == shape.start
    assert (len(menu.entries), menu.unread, entry.unread) == (shape.entries, (), "")


@every_shape
def test_grub_finds_no_mistake_in_the_scripts(shape: Shape, firmware: Firmware) -> None:
    for path, text in shape.files.items():
        if path.endswith(".cfg"):
            check = subprocess.run(["grub-script-check"], input=text.encode(), capture_output=True)
            assert (check.returncode, check.stderr) == (0, b""), path


@every_shape
def test_grub_itself_starts_the_same(shape: Shape, firmware: Firmware, tmp_path: Path) -> None:
    menu = read(shape, firmware)
    assert menu.default is not None
    entry = menu.entries[menu.default]

    loaded = started_by_grub(shape, firmware, tmp_path)

    if entry.kind is EntryKind.LINUX:
        arguments = [word.replace('"', "") for word in entry.arguments]
        assert loaded["linux"] == [entry.kernel, *arguments]
        assert loaded.get("initrd", []) == list(entry.initrds)
    else:
        assert loaded.keys() <= {"program", "linux"}


def started_by_grub(shape: Shape, firmware: Firmware, directory: Path) -> dict[str, list[str]]:
    """The words of the last commands that GRUB runs before it would boot."""
    first = next(iter(shape.files))
    platform, cpu = ("efi", "x86_64") if firmware is Firmware.UEFI else ("pc", "i386")
    files = {
        "/judge/grub.cfg": f"{JUDGE}prefix=($root){posixpath.dirname(first)}\n"
        f"grub_platform={platform}\ngrub_cpu={cpu}\nsource {first}\ntimeout=0\n",
        # A menu that is opened by another one would wait for its own timeout.
        **{
            path: OWN_COMMANDS.sub(r"\1judged_\2", text)
            + ("\ntimeout=0\n" if path.endswith(".cfg") else "")
            for path, text in shape.files.items()
        },
    }
    for path, text in files.items():
        place = directory / "tree" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    iso = directory / "disc.iso"
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "DISC", "-o", iso, directory / "tree"],
        check=True,
        capture_output=True,
    )
    (directory / "map").write_text(f"(hd0) {iso}\n")
    loaded = dict[str, list[str]]()
    words = list[str]()
    for kind, word in re.findall(r"<(=?)([^\r\n]*)", shown_by_grub(directory / "map")):
        if kind:
            words.append(word)
        else:
            words = loaded[word] = []
    for name, count in (("linux", 1), ("initrd", None)):
        if name in loaded:
            paths = loaded[name][:count]
            loaded[name][:count] = [re.sub(r"^\([^)]*\)", "", path).lower() for path in paths]
    if "linux" in loaded:
        words = [re.sub(r"=UUID=[\d-]+$", "=UUID=", word) for word in loaded["linux"]]
        loaded["linux"] = [word for word in words if word]  # the disc's ID is not told
    return loaded


def shown_by_grub(device_map: Path) -> str:
    """What GRUB's emulator shows, up to its first wait for a key or its end."""
    child, terminal = pty.fork()
    if not child:
        # Without a display, gfxterm stays off, and all output is text.
        environment = {**os.environ, "TERM": "dumb", "SDL_VIDEODRIVER": "none"}
        os.execvpe(
            "grub-emu",
            ["grub-emu", "-r", "hd0", "-d", "/judge", "-m", str(device_map)],
            environment,
        )
    try:
        termios.tcsetwinsize(terminal, (60, 1000))
        shown, end = b"", time.monotonic() + GRUB_S
        while not re.search(ENDED, shown):
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            assert ready, shown
            try:
                shown += os.read(terminal, 1 << 16)
            except OSError:  # the end of the program
                break
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    return shown.decode()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_mixed_menus_are_read(data: st.DataObject) -> None:
    files = data.draw(mutated(GRUB_SHAPES))

    menu = read_grub(FakeMenuFiles(files), next(iter(files)), Firmware.UEFI)

    assert (menu.default is None) == bool(menu.doubt)
    assert menu.default is None or 0 <= menu.default < len(menu.entries) <= 64
    assert all((entry.kind is EntryKind.LINUX) == bool(entry.kernel) for entry in menu.entries)
