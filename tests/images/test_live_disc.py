"""New images of Linux discs, judged by xorriso."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.files.cpio import newc_archive
from bootserver.images.iso import inspect_iso
from bootserver.images.optimize.wishes import OptimizeWishes
from bootserver.images.optimize.write import preview
from bootserver.model import IsoFacts
from tests.fixtures.bootable import Files, bootable_iso
from tests.fixtures.drivers import write_folder
from tests.fixtures.workplace import Workplace

INITRD = b"an archive" * 99
ISOLINUX = """\
default one
label one
  linux /Live/Kernel
  append initrd=/Live/initrd.gz boot=live --- quiet
"""
GRUB = """\
menuentry "One" {
  linux /Live/Kernel boot=live \\
    quiet
  initrd /Live/initrd.gz
}
"""
SYSTEMD_BOOT = "title One\nlinux /Live/Kernel\noptions boot=live quiet\n"
FILES: Files = {
    "Live/Kernel": b"kernel" * 999,
    "Live/initrd.gz": INITRD,
    "Live/filesystem.squashfs": b"hsqs" * 5000,
    "Support/manual.txt": b"manual" * 9999,
    "Support*/kept.txt": b"kept",
    "*": b"star",
    ".disk/info": b"Homemade Linux\n",
    "isolinux/isolinux.cfg": ISOLINUX,
    "boot/grub/grub.cfg": GRUB,
    "loader/entries/one.conf": SYSTEMD_BOOT,
}


class Discs(Workplace):
    """A library with one Linux disc."""

    source = "live"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        bootable_iso(self.images / "live.iso", FILES, volume_id="HOMEMADE_LINUX")

    def facts(self, path: Path) -> IsoFacts:
        return inspect_iso(path)

    def extracted(self, name: str, path: str, work: Path) -> bytes:
        """A file of the disc, as xorriso reads it."""
        xorriso("-indev", self.images / f"{name}.iso", "-extract", path, work / "extracted")
        (work / "extracted").chmod(0o644)
        data = (work / "extracted").read_bytes()
        (work / "extracted").unlink()
        return data


@pytest.fixture
def discs(tmp_path: Path) -> Discs:
    return Discs(tmp_path)


@pytest.fixture
def wishes(tmp_path: Path) -> OptimizeWishes:
    hook = write_folder(tmp_path / "hook", {"hook.sh": b"#!/bin/sh\n"})
    return OptimizeWishes(
        drop_paths=("/support", "disc:/*"),
        added=((hook, "/hooks"),),
        arguments="console=ttyS0 quiet",
    )


def xorriso(*words: str | Path) -> str:
    command = ("xorriso", "-no_rc", "-osirrox", "on", *words)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout


def boot_records(disc: Path) -> list[str]:
    """El Torito and partition tables as xorriso has them, without sectors, sizes and GPT's ids."""
    text = xorriso("-indev", disc, "-report_el_torito", "plain", "-report_system_area", "plain")
    lines = [line for line in text.splitlines() if "GUID" not in line]
    return [" ".join(word for word in line.split() if not word.isdigit()) for line in lines]


@pytest.mark.interop
async def test_paths_go_files_come_into_the_initramfs_and_kernels_get_arguments(
    discs: Discs, wishes: OptimizeWishes, tmp_path: Path
):
    report = await discs.optimize(wishes)

    new = discs.images / "new.iso"
    assert report.size_bytes == new.stat().st_size
    archive = newc_archive({"/hooks/hook.sh": b"#!/bin/sh\n"})
    initrd = discs.extracted("new", "/Live/initrd.gz", tmp_path)
    assert initrd == INITRD + bytes(-len(INITRD) % 4) + archive
    assert discs.extracted("new", "/isolinux/isolinux.cfg", tmp_path).decode() == ISOLINUX.replace(
        "boot=live ---", "boot=live console=ttyS0 quiet ---"
    )
    assert discs.extracted("new", "/boot/grub/grub.cfg", tmp_path).decode() == GRUB.replace(
        "boot=live \\", "boot=live console=ttyS0 quiet \\"
    )
    entry = discs.extracted("new", "/loader/entries/one.conf", tmp_path).decode()
    assert entry == SYSTEMD_BOOT.replace("quiet", "quiet console=ttyS0")
    for path in ("/Live/filesystem.squashfs", "/Live/Kernel", "/isolinux/ldlinux.c32"):
        assert discs.extracted("new", path, tmp_path) == discs.extracted("live", path, tmp_path)
    names = xorriso("-indev", new, "-ls", "/").replace("'", "").split()
    assert set(names) & {"Support", "Support*", "*"} == {"Support*"}
    assert boot_records(new) == boot_records(discs.images / "live.iso")
    assert [file.path for file in report.removed] == ["disc:/Support", "disc:/*"]


async def test_what_is_written_again_has_nothing_to_change(discs: Discs, wishes: OptimizeWishes):
    wishes = replace(wishes, drop_paths=())
    await discs.optimize(wishes)

    again = await discs.optimize(wishes, source="new", name="again")

    assert again.result == ""
    assert not (discs.images / "again.iso").exists()


async def test_a_preview_says_the_same_and_equal_wishes_give_equal_bytes(
    discs: Discs, wishes: OptimizeWishes
):
    planned = await preview(discs.image(), wishes, discs.drivers, name="new")
    done = await discs.optimize(wishes)
    await discs.optimize(wishes, name="again")

    assert (planned.added, planned.removed, planned.notes) == (done.added, done.removed, done.notes)
    assert (discs.images / "new.iso").read_bytes() == (discs.images / "again.iso").read_bytes()


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        (OptimizeWishes(drop_wifi=True), "live is no disc of Windows PE"),
        (OptimizeWishes(drop_paths=("/live",)), "/Live has what live boots"),
        (OptimizeWishes(drop_paths=("/none",)), "there is no /none on the disc"),
    ],
)
async def test_what_cannot_be_done_is_refused(discs: Discs, wishes: OptimizeWishes, sentence: str):
    with pytest.raises(ImageError, match=sentence):
        await discs.optimize(wishes)

    assert [path.name for path in discs.images.iterdir()] == ["live.iso"]
