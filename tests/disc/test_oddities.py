"""Discs as some programs make them: compressed files, links that UDF lost, forgotten marks."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootserver.disc.volume import Volume, open_volume
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.images.iso import inspect_iso
from bootserver.model import ByteRange
from tests.fixtures.isos import make_iso

pytestmark = pytest.mark.interop

KERNEL = b"kernel " * 20_000
ZISOFS_MAGIC = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
ZISOFS_BLOCK_BYTES = 32 * 1024


@contextmanager
def opened(path: Path) -> Iterator[Volume]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield open_volume(fd, path.stat().st_size, path.name)
    finally:
        os.close(fd)


def content(volume: Volume, path: str) -> bytes:
    return volume.content(volume.find(path), ByteRange(0, 1 << 20))


def laid_out(tmp_path: Path, kernel: bytes = KERNEL) -> Path:
    tree = tmp_path / "tree"
    (tree / "live").mkdir(parents=True)
    (tree / "live" / "vmlinuz").write_bytes(kernel)
    (tree / "live" / "initrd.img").write_bytes(os.urandom(10_000))
    (tree / "live" / "empty").touch()
    (tree / "kernel").symlink_to("live/vmlinuz")
    (tree / "absolute").symlink_to("/live/vmlinuz")
    (tree / "system").symlink_to("live")
    return tree


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def zisofs(data: bytes) -> bytes:
    """As mkzftree packs a file: magic, size, header words, log2 of a block; offsets; blocks."""
    blocks = [
        zlib.compress(data[at : at + ZISOFS_BLOCK_BYTES])
        for at in range(0, len(data), ZISOFS_BLOCK_BYTES)
    ]
    offset, offsets = 16 + 4 * (len(blocks) + 1), []
    for block in (*blocks, b""):
        offsets.append(offset)
        offset += len(block)
    header = ZISOFS_MAGIC + struct.pack("<LBBxx", len(data), 4, 15)
    return header + struct.pack(f"<{len(offsets)}L", *offsets) + b"".join(blocks)


@pytest.fixture(params=["zisofs", "zisofs 2", "with Joliet", "with UDF"])
def compressed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A disc of which the kernel is compressed; its initrd did not become smaller by that."""
    path = tmp_path / "a.iso"
    if request.param == "with UDF":
        tree = laid_out(tmp_path, zisofs(KERNEL))
        run("genisoimage", "-quiet", "-z", "-udf", "-R", "-o", path, tree)
        return path
    version = "on" if request.param == "zisofs 2" else "off"
    joliet = "on" if request.param == "with Joliet" else "off"
    run(
        *("xorriso", "-outdev", path, "-joliet", joliet, "-map", laid_out(tmp_path), "/"),
        *("-zisofs", f"level=9:version_2={version}", "-set_filter_r", "--zisofs", "/", "--"),
        "-commit",
    )
    return path


def test_compressed_file_is_refused_in_words_and_the_others_are_served(compressed: Path):
    with opened(compressed) as volume:
        for path in ("/live/vmlinuz", "/LIVE/VMLINUZ", "/kernel", "/system/vmlinuz"):
            with pytest.raises(ImageError, match="has vmlinuz compressed by zisofs") as caught:
                volume.find(path)
            assert "damaged" not in caught.value.message
            assert "boot the disc whole" in caught.value.hint
        assert volume.find("/live/initrd.img").size_bytes == 10_000
        assert {node.name for node in volume.children("/live")} == {"initrd.img", "empty"}


def test_recipes_do_without_what_is_compressed(compressed: Path):
    facts = inspect_iso(compressed)

    assert facts.has_compressed
    assert "/live/initrd.img" in facts.markers
    assert "/live/vmlinuz" not in facts.markers


def test_disc_without_compressed_files_is_not_said_to_have_any(tmp_path: Path):
    assert not inspect_iso(make_iso(tmp_path / "a.iso", {"live/vmlinuz": KERNEL})).has_compressed


def test_links_that_udf_has_as_empty_files_are_followed(tmp_path: Path):
    path = tmp_path / "a.iso"
    run("genisoimage", "-quiet", "-udf", "-r", "-o", path, laid_out(tmp_path))

    with opened(path) as volume:
        assert volume.has_udf
        for name in ("/kernel", "/absolute", "/system/vmlinuz", "/KERNEL"):
            assert content(volume, name) == KERNEL
        assert content(volume, "/live/empty") == b""
        nodes = {node.name: node for node in volume.children("/")}
    assert nodes["kernel"].size_bytes == nodes["absolute"].size_bytes == len(KERNEL)
    assert nodes["system"].is_directory


@pytest.mark.parametrize(
    "command",
    [
        ("genisoimage", "-quiet", "-udf", "-R", "-o"),
        ("genisoimage", "-quiet", "-udf", "-J", "-R", "-o"),
        ("genisoimage", "-quiet", "-J", "-R", "-o"),
        ("xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-o"),
    ],
    ids=lambda command: " ".join(command),
)
def test_links_to_nothing_are_not_found_and_not_listed(tmp_path: Path, command: tuple[str, ...]):
    tree = laid_out(tmp_path)
    (tree / "nothing").symlink_to("live/none")
    (tree / "live" / "outside").symlink_to("/etc/passwd")
    (tree / "itself").symlink_to("itself")
    (tree / "below").symlink_to("live/vmlinuz/none")
    run(*command, tmp_path / "a.iso", tree)

    with opened(tmp_path / "a.iso") as volume:
        for path in (
            "/nothing",
            "/NOTHING",
            "/live/outside",
            "/system/outside",
            "/itself",
            "/below",
        ):
            with pytest.raises(ImageNotFoundError):
                volume.find(path)
        listed = {node.name for path in ("/", "/live") for node in volume.children(path)}
    assert listed == {"absolute", "empty", "initrd.img", "kernel", "live", "system", "vmlinuz"}


def test_names_count_where_the_mark_of_rock_ridge_was_forgotten(tmp_path: Path):
    path = make_iso(tmp_path / "a.iso", {"live/Kernel-6.1_long.name": KERNEL})
    data = path.read_bytes()
    mark = b"SP\x07\x01\xbe\xef\0"
    assert data.count(mark) == 1
    at = data.index(mark)
    end = at - 34 + data[at - 34]
    path.write_bytes(data[:at] + data[at + len(mark) : end] + bytes(len(mark)) + data[end:])

    with opened(path) as volume:
        assert [node.name for node in volume.children("/live")] == ["Kernel-6.1_long.name"]
        assert content(volume, "/live/Kernel-6.1_long.name") == KERNEL
