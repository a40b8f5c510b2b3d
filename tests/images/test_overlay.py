"""Where the site's own files go on a whole disc."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootserver.files.open_version import open_file
from bootserver.images.overlay import served_image
from bootserver.images.tree import ImageTrees
from bootserver.model import ByteRange, FileVersion, Image, ImageSettings
from tests.fixtures.udf import EMBEDDED, SHORT, udf_volume

FILE = b"set timeout=30\n" * 100


async def disc_with_replacement(path: Path) -> bytes:
    """The whole disc as it is served with another /grub.cfg."""
    own = path.with_suffix(".own")
    own.write_bytes(b"set timeout=0")
    settings = ImageSettings(replace={"/grub.cfg": str(own)})
    version = FileVersion.of(path.stat())
    image = Image("a", str(path), version, sha256="ab" * 32, settings=settings)
    trees = ImageTrees()
    try:
        served = await served_image(trees, image)
    finally:
        trees.close()
    with await open_file(served.content, served.layout) as file:
        return file.read(ByteRange(0, file.size_bytes))


async def test_a_replacement_lies_where_the_file_lay(tmp_path: Path):
    path = udf_volume(tmp_path / "a.iso", {"grub.cfg": FILE}, allocation=SHORT)

    expected = path.read_bytes().replace(FILE, b"set timeout=0".ljust(len(FILE), b"\n"))

    assert expected != path.read_bytes()
    assert await disc_with_replacement(path) == expected


@pytest.mark.parametrize(("allocation", "hole_bytes"), [(EMBEDDED, 0), (SHORT, 5000)])
async def test_a_file_without_sectors_for_all_of_it_stays_as_it_is(
    tmp_path: Path, allocation: int, hole_bytes: int
):
    files = {"grub.cfg": FILE if hole_bytes else FILE[:1000]}
    path = udf_volume(tmp_path / "a.iso", files, allocation=allocation, hole_bytes=hole_bytes)

    assert await disc_with_replacement(path) == path.read_bytes()
