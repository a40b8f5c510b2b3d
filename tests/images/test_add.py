"""Adding images: named safely, whole, of the digest asked for and never in place of another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bootserver.errors import ImageError
from bootserver.images.add import add_image
from tests.fixtures.isos import make_iso
from tests.images.files import names, sha256
from tests.images.mirror import Mirror


async def test_other_name_can_be_given(directory: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    path = await add_image(str(tmp_path / "a.iso"), directory, name="rescue 2.0.iso")

    assert path.name == "rescue 2.0.iso"


async def test_name_may_have_a_folder_which_is_made(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    path = await add_image(str(tmp_path / "a.iso"), directory, name="windows/11/setup")
    again = await add_image(str(tmp_path / "a.iso"), directory, name="windows/11/setup.iso")

    assert path == again == directory / "windows" / "11" / "setup.iso"


async def test_folder_that_cannot_be_made_is_told(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)
    (directory / "windows").touch()

    with pytest.raises(ImageError, match=r"the folder .*windows cannot be made"):
        await add_image(str(tmp_path / "a.iso"), directory, name="windows/setup")


@pytest.mark.parametrize(
    ("source", "name", "file_name"),
    [
        ("a.img", None, "a.img"),
        ("A.IMG", None, "A.img"),
        ("a.img", "rescue", "rescue.img"),
        ("a.iso", "rescue.img", "rescue.img"),
        ("download", "rescue", "rescue.iso"),
    ],
)
async def test_disk_image_stays_one(
    directory: Path, tmp_path: Path, content: bytes, source: str, name: str | None, file_name: str
) -> None:
    (tmp_path / source).write_bytes(content)

    path = await add_image(str(tmp_path / source), directory, name=name)

    assert path.name == file_name
    assert names(directory) == [file_name]


async def test_name_of_a_disc_is_not_given_to_a_disk(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    make_iso(directory / "a.iso")
    (tmp_path / "a.img").write_bytes(content)

    with pytest.raises(ImageError, match=r"a\.iso already exists, with other content"):
        await add_image(str(tmp_path / "a.img"), directory)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".iso",
        ".hidden",
        "../up",
        "a/../b",
        "/a",
        "a//b",
        "a/",
        "a/.b",
        "a\\b",
        "two\nlines",
        "\x1b[0m",
        "x" * 250,
    ],
)
async def test_unsafe_name_is_refused(
    directory: Path, tmp_path: Path, content: bytes, name: str
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError) as caught:
        await add_image(str(tmp_path / "a.iso"), directory, name=name)

    assert "name" in caught.value.message
    assert names(tmp_path) == ["a.iso", "images"]
    assert names(directory) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.iso", "http://[::1/a.iso", "http:///a.iso"])
async def test_address_that_cannot_be_used_is_told(directory: Path, url: str) -> None:
    with pytest.raises(ImageError) as caught:
        await add_image(url, directory)

    assert caught.value.hint


async def test_file_that_is_no_iso_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "a.iso").write_bytes(b"hello")

    with pytest.raises(ImageError, match=r"a\.iso is not an ISO"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert names(directory) == []


async def test_missing_file_is_told(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.iso cannot be read: No such file"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert names(directory) == []


async def test_missing_directory_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError, match=r"image directory .*nowhere cannot be read"):
        await add_image(str(tmp_path / "a.iso"), tmp_path / "nowhere")


async def test_right_digest_is_accepted_in_any_case(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    path = await add_image(
        str(tmp_path / "a.iso"), directory, sha256=f" {sha256(content).upper()}\n"
    )

    assert path.exists()


async def test_wrong_digest_is_told_with_both_and_leaves_nothing(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)

    with pytest.raises(ImageError) as caught:
        await add_image(str(tmp_path / "a.iso"), directory, sha256="0" * 64)

    assert sha256(content) in caught.value.message
    assert "0" * 64 in caught.value.message
    assert names(directory) == []


async def test_digest_that_is_none_is_refused_at_once(directory: Path) -> None:
    with pytest.raises(ImageError, match="not a SHA-256 digest"):
        await add_image("http://127.0.0.1:9/a.iso", directory, sha256="abc")


async def test_name_of_another_image_is_refused_and_that_image_stays(
    directory: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.iso").write_bytes(content)
    other = make_iso(directory / "a.ISO").read_bytes()

    with pytest.raises(ImageError, match=r"a\.ISO already exists, with other content"):
        await add_image(str(tmp_path / "a.iso"), directory)

    assert names(directory) == ["a.ISO"]
    assert (directory / "a.ISO").read_bytes() == other


async def test_same_content_again_is_fine(directory: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.iso").write_bytes(content)
    first = await add_image(str(tmp_path / "a.iso"), directory)

    with capture_logs() as logs:
        again = await add_image(str(tmp_path / "a.iso"), directory)

    assert again == first
    assert [log["event"] for log in logs] == ["image.already_there"]


async def test_existing_image_of_another_size_is_told_before_the_download(
    directory: Path, mirror: Mirror
) -> None:
    make_iso(directory / "rescue.iso")
    steps: list[int] = []

    with pytest.raises(ImageError, match=r"rescue\.iso already exists, with other content"):
        await add_image(mirror.url, directory, progress=lambda done, total: steps.append(done))

    assert steps == []
    assert names(directory) == ["rescue.iso"]


async def test_existing_image_of_the_digest_asked_for_needs_no_server(
    directory: Path, content: bytes
) -> None:
    (directory / "a.iso").write_bytes(content)

    path = await add_image("http://127.0.0.1:9/a.iso", directory, sha256=sha256(content))

    assert path == directory / "a.iso"


async def test_downloading_the_same_content_again_is_fine(directory: Path, mirror: Mirror) -> None:
    first = await add_image(mirror.url, directory)

    assert await add_image(mirror.url, directory) == first
    assert names(directory) == ["rescue.iso"]


@pytest.mark.slow
def test_aiohttp_is_imported_by_a_download_only() -> None:
    code = "import sys, bootserver.images.add; print('aiohttp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"
