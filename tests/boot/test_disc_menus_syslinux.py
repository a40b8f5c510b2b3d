"""isolinux itself judges our reader of its menus: what does it load when no key is pressed?

One boot shows all the menus. No kernel on the disc is one, so that isolinux says what it loads,
fails, and goes on to the next menu by MENU ONERROR.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from bootserver.bench.qemu import QemuMachine
from bootserver.bench.qemu_command import QemuSpec
from bootserver.images.menus.syslinux import read_syslinux
from bootserver.model import DiscMenu, EntryKind, Firmware
from bootserver.stub.packages import PackageSource
from tests.fixtures import bootable
from tests.fixtures.menu_files import FakeMenuFiles
from tests.fixtures.server import BOOT_S
from tests.images.menus.shapes import ISOLINUX, SYSLINUX_SHAPES, Files, Start

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MODULES = ("menu.c32", "whichsys.c32", "ifcpu64.c32", "libcom32.c32", "libutil.c32")
# To each menu: the serial line, for that is what we see, and a menu that is soon drawn there.
SMALL = "SERIAL 0 115200\nMENU WIDTH 24\nMENU MARGIN 1\nMENU ROWS 2\n"
TWO = "LABEL one\nKERNEL /one\nLABEL two\nKERNEL /two\nINITRD /two.img,/more.img\n"
SUBMENU = "MENU BEGIN sub\nLABEL a\nKERNEL a\nLABEL b\nKERNEL b\n{}\nMENU END\n"

RULES = (
    f"DEFAULT one\nDEFAULT two\n{TWO}",
    f"DEFAULT one\nPROMPT 1\nTIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"DEFAULT one\nPROMPT 0\nTIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"DEFAULT one\nPROMPT 1\nTOTALTIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"PROMPT 1\nTIMEOUT 5\nDEFAULT two\n{TWO}",
    f"TIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"DEFAULT /lone initrd=/two.img foo\n{TWO}",
    f"DEFAULT two foo=1\n{TWO}",
    f"UI menu.c32\nDEFAULT two\nTIMEOUT 5\n{TWO}",
    f"UI menu.c32\nDEFAULT one\nTIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"UI menu.c32\nPROMPT 1\nDEFAULT one\nTIMEOUT 5\n{TWO}MENU DEFAULT\n",
    f"UI menu.c32\nTIMEOUT 5\n{TWO}MENU DEFAULT\n",
    f"UI menu.c32\nTIMEOUT 5\n{TWO}",
    f"DEFAULT menu.c32\nTIMEOUT 5\n{TWO}MENU DEFAULT\n",
    f"DEFAULT menu.c32\nTIMEOUT 5\n{TWO}",
    f"UI menu.c32\nTIMEOUT 5\nONTIMEOUT two\n{TWO}MENU HIDE\n",
    f"UI menu.c32\nTIMEOUT 5\nDEFAULT two\n{TWO}MENU HIDE\n",
    f"UI menu.c32\nMENU SHIFTKEY\nTIMEOUT 5\nONTIMEOUT one\n{TWO}MENU DEFAULT\n",
    f"UI menu.c32\nMENU HIDDEN\nTIMEOUT 5\nONTIMEOUT two\n{TWO}",
    f"UI menu.c32\nTIMEOUT 5\nDEFAULT b\n{TWO}{SUBMENU.format('')}",
    f"UI menu.c32\nTIMEOUT 5\n{TWO}{SUBMENU.format('MENU START')}",
    f"UI menu.c32\nTIMEOUT 5\nONTIMEOUT two\n{TWO}{SUBMENU.format('MENU START')}",
    f"UI menu.c32\nTIMEOUT 5\n{TWO}MENU SEPARATOR\nLABEL c\nMENU DISABLE\nMENU DEFAULT\nKERNEL c\n",
    f"DEFAULT one\n{TWO}LABEL one\nKERNEL /lone\n",
    "DEFAULT lone\nLABEL lone\nAPPEND initrd=/two.img\n",
    "DEFAULT a\nLABEL a\nKERNEL /one\nLINUX /two foo\nINITRD one\nINITRD two\n",
    "APPEND initrd=/two.img\nDEFAULT a\nLABEL a\nLINUX /one\nLABEL b\nLINUX b\nAPPEND -\n",
    "APPEND initrd=/two.img\nDEFAULT b\nLABEL a\nLINUX /one\nLABEL b\nLINUX /two\nAPPEND -\n",
    f"default TWO\n{TWO}label TWO\nlinux /one\n",
    f"DEFAULT two\nTEXT HELP\nDEFAULT one\nENDTEXT\n# DEFAULT one\nSAY DEFAULT one\n{TWO}",
)


def menus() -> Iterator[Files]:
    """The menus to be judged, their first file first; that of the local disk is the last."""
    yield from ({ISOLINUX: rule} for rule in RULES)
    for shape in SYSLINUX_SHAPES:
        # No graphical menu is packaged; Multiboot's loader ends without an error.
        asks = re.search(r"gfxboot|mboot|LABEL auto", " ".join(shape.files.values()))
        if isinstance(shape.start, Start) and not asks:
            yield {
                path: re.sub(r"(?i)localboot .*", "KERNEL /nowhere", text)
                for path, text in shape.files.items()
            }
    (erases,) = (s for s in SYSLINUX_SHAPES if "ERASES" in " ".join(s.files.values()))
    yield erases.files


def on_the_disc(number: int, files: Files) -> Files:
    """A menu in a directory of its own, which waits for no key and ends with the next menu."""
    top = f"/m{number:02}"
    ready = {}
    for path, text in files.items():
        if not path.endswith(".cfg"):
            ready[path] = text
            continue
        text = re.sub(r"(?im)^(\s*timeout) \d+", r"\1 3", text)
        text = re.sub(r"(?im)^(\s*(?:config|include)) /", rf"\1 {top}/", text)
        text = re.sub(r"(?im)^(ui) /.*/", r"\1 /isolinux/", text)
        text = re.sub(r"(?m)(CONFIG .*) /", rf"\1 {top}/", text)
        text = text.replace("quiet", "silent")  # isolinux would be, too
        text = text.replace("bzImage", "bzimage")  # case counts on a disc with Rock Ridge names
        ready[top + path] = f"{SMALL}MENU ONERROR .config /next/{number:02}.cfg\n{text}"
    return ready


def loaded(serial: str) -> list[str]:
    """The files that isolinux says it has loaded, or that it starts the local disk."""
    said = re.findall(r"Loading (\S+?)\.\.\. ?ok|Booting from (local disk)", serial)
    return [file.lower() or disk for file, disk in said]


def is_same(said: list[str], wanted: list[str]) -> bool:
    """True if isolinux loaded these files; where its names are relative, they end the same."""
    return len(said) == len(wanted) and all(
        path == name or path.endswith(f"/{name.removeprefix('../')}")
        for name, path in zip(said, wanted, strict=True)
    )


def expected(menu: DiscMenu) -> list[str]:
    """The same by our reader."""
    assert menu.default is not None, menu
    entry = menu.entries[menu.default]
    assert not entry.unread, entry
    if entry.kind is EntryKind.LOCAL_DISK:
        return ["local disk"]
    return [entry.kernel, *entry.initrds]


def judged_disc(tmp_path: Path) -> tuple[Path, list[list[str]]]:
    """The disc with all menus, and what our reader says that each of them loads."""
    files: Files = {
        "/isolinux/isolinux.cfg": "DEFAULT go\nLABEL go\nCONFIG /next/00.cfg\n",
        "/boot/grub/grub.cfg": "",
    }
    wanted, number = list[list[str]](), 0
    for number, menu in enumerate(menus(), 1):
        ready = on_the_disc(number, menu)
        first = next(iter(ready))
        wanted.append(
            expected(read_syslinux(FakeMenuFiles({**ready, "/lone": ""}), first, Firmware.BIOS))
        )
        files |= ready | {path: "no kernel" for path in wanted[-1] if path.startswith("/")}
        files[f"/judged/{number:02}"] = "no kernel"
        files[f"/next/{number - 1:02}.cfg"] = (
            f"{SMALL}DEFAULT /judged/{number:02}\nONERROR go\n"
            f"LABEL go\nCONFIG {first}\nAPPEND {posixpath.dirname(first)}\n"
        )
    package = PackageSource(tmp_path / "packages").unpack("syslinux-common").root
    modules = package / "usr/lib/syslinux/modules/bios"
    tree: bootable.Files = {
        **{path.lstrip("/"): text for path, text in files.items()},
        **{f"isolinux/{name}": modules / name for name in MODULES},
        "isolinux/vesamenu.c32": modules / "menu.c32",  # it shows the same menu as text
    }
    return bootable.bootable_iso(tmp_path / "menus.iso", tree, volume_id="MENUS"), wanted


async def test_isolinux_loads_what_our_reader_says(
    qemu: Callable[[QemuSpec], Awaitable[QemuMachine]], tmp_path: Path
) -> None:
    disc, wanted = judged_disc(tmp_path)

    machine = await qemu(QemuSpec(Firmware.BIOS, cdrom=disc))

    seen = await machine.wait_for("Booting from local disk", timeout_s=2 * BOOT_S)
    parts = re.split(r"Loading /judged/\d+\.\.\. ok", seen.serial)[1:]
    said = [loaded(part) for part in parts]
    assert len(said) == len(wanted)
    assert [pair for pair in zip(said, wanted, strict=True) if not is_same(*pair)] == []
