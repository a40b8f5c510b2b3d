"""busybox and 7-Zip unpack our initramfs archives, alone and behind another one."""

from __future__ import annotations

import gzip
import stat
import subprocess
import zlib
from pathlib import Path

import pytest

from bootserver.files.cpio import appendix, newc_archive

pytestmark = pytest.mark.interop

FILES = {
    "/etc/deep/er/config": b"x = 1\n",
    "/etc/config": b"y = 2",  # no multiple of 4
    "/init.d/run": b"#!/bin/sh\necho ran\n",
    "/empty": b"",
    "/big.bin": bytes(range(256)) * 4001,
    "/größe": b"123",
}


def unpacked(archive: bytes, directory: Path) -> Path:
    """The directory with what busybox took from the archive, over what was there."""
    directory.mkdir(exist_ok=True)
    subprocess.run(
        ["busybox", "cpio", "-idmu"], input=archive, cwd=directory, check=True, capture_output=True
    )
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(directory)}": path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def archives_in(initrd: bytes) -> list[bytes]:
    """The archives of an initrd, found as the kernel does: plain at multiples of 4, or gzip'ed."""
    archives, place = [], 0
    while place < len(initrd):
        if initrd[place] == 0:
            place += 1
        elif initrd[place : place + 2] == b"\x1f\x8b":
            member = zlib.decompressobj(wbits=31)
            archives.append(member.decompress(initrd[place:]))
            assert member.eof
            place = len(initrd) - len(member.unused_data)
        else:
            assert initrd[place : place + 6] == b"070701"
            assert place % 4 == 0
            archives.append(initrd[place:])
            break
    return archives


def test_busybox_unpacks_what_was_put_in(tmp_path: Path) -> None:
    tree = unpacked(newc_archive(FILES), tmp_path / "tree")

    assert contents(tree) == FILES
    assert stat.S_IMODE((tree / "init.d/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "etc/config").stat().st_mode) == 0o644
    assert stat.S_IMODE((tree / "etc/deep").stat().st_mode) == 0o755
    assert {path.stat().st_mtime for path in tree.rglob("*") if path.is_file()} == {0}


def test_7zip_tests_and_extracts_it(tmp_path: Path) -> None:
    archive = tmp_path / "our.cpio"
    archive.write_bytes(newc_archive(FILES))

    subprocess.run(
        ["7z", "x", "-y", f"-o{tmp_path / 'tree'}", archive], check=True, capture_output=True
    )

    assert contents(tmp_path / "tree") == FILES


@pytest.mark.parametrize("odd_bytes", range(4))
def test_what_is_appended_to_a_gziped_initrd_adds_and_replaces(
    tmp_path: Path, odd_bytes: int
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "etc").mkdir(parents=True)
    (theirs / "etc/config").write_bytes(b"as delivered, and longer than ours")
    (theirs / "init").write_bytes(b"#!/bin/sh\n" + bytes(1000))
    packed = subprocess.run(
        ["busybox", "cpio", "-o", "-H", "newc"],
        input=b".\netc\netc/config\ninit\n",
        cwd=theirs,
        check=True,
        capture_output=True,
    ).stdout
    initrd = gzip.compress(packed, mtime=0)
    initrd += bytes((odd_bytes - len(initrd)) % 4)  # of every length there can be

    whole = initrd + appendix(len(initrd), newc_archive(FILES))

    assert len(initrd) % 4 == odd_bytes
    for archive in archives_in(whole):
        tree = unpacked(archive, tmp_path / "tree")
    assert contents(tree) == {"/init": b"#!/bin/sh\n" + bytes(1000), **FILES}
