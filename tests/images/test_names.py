"""What a download is called: by its URL, by what the server says, or by a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from bootserver.errors import ImageError
from bootserver.images.add import add_image
from tests.images.mirror import Mirror, serving

Where = Callable[[web.Request], None]


async def added(mirror: Mirror, directory: Path, path: str, where: Where | None = None) -> str:
    """The name that the image gets which is fetched from `path`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if where is not None:
            where(request)
        return await mirror.handle(request)

    async with serving(handle) as address:
        return (await add_image(address + path, directory)).relative_to(directory).as_posix()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/pub/rescue.iso", "rescue.iso"),
        ("/pub/Rescue%201.ISO", "Rescue 1.iso"),
        ("/pub%2Frescue.img", "rescue.img"),
        ("/projects/gparted/files/gparted.iso/download", "gparted.iso"),
        ("/gparted.iso/download?use_mirror=x", "gparted.iso"),
        ("/get.php?file=rescue.iso", "rescue.iso"),
        ("/get.php?id=7&path=/pub/discs/rescue.iso&x=1", "rescue.iso"),
        ("/a.iso/get.php?file=b.iso", "a.iso"),
    ],
)
async def test_name_is_the_last_part_of_the_url_that_looks_like_one(
    directory: Path, mirror: Mirror, path: str, name: str
) -> None:
    assert await added(mirror, directory, path) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="rescue.iso"', "rescue.iso"),
        ("attachment; filename=rescue.iso", "rescue.iso"),
        ("attachment;FILENAME=rescue.iso;", "rescue.iso"),
        ("attachment; filename*=UTF-8''r%C3%A9scue%20%E2%82%AC.iso", "réscue €.iso"),
        ("attachment; filename=\"r_scue.iso\"; filename*=UTF-8''r%C3%A9scue.iso", "réscue.iso"),
        ("attachment; filename*=UTF-8''APNG.iso; filename=\"APNG.iso\"", "APNG.iso"),
        ('attachment; filename="a; b.iso"', "a; b.iso"),
        ("attachment; filename=my rescue disc.iso", "my rescue disc.iso"),
        ('attachment; filename="..\\\\..\\\\x.iso"', "x.iso"),
        ('attachment; filename="../../x.iso"', "x.iso"),
        ('attachment; filename="index.html"', "other.iso"),
        ("attachment; filename*=UTF-8''%1B[31m.iso", "other.iso"),
        ("attachment", "other.iso"),
        ("=;;\"'", "other.iso"),
    ],
)
async def test_server_says_the_name(
    directory: Path, mirror: Mirror, header: str, name: str
) -> None:
    mirror.headers["Content-Disposition"] = header

    assert await added(mirror, directory, "/other.iso/download") == name
    assert mirror.requests == ["bytes=0-0", None]


async def test_redirect_says_the_name(directory: Path, mirror: Mirror) -> None:
    def where(request: web.Request) -> None:
        if request.path == "/latest":
            raise web.HTTPFound("/mirror/gparted-live-1.7.iso?viasf=1")

    assert await added(mirror, directory, "/latest", where) == "gparted-live-1.7.iso"


async def test_url_that_ends_with_a_name_needs_no_question(directory: Path, mirror: Mirror) -> None:
    mirror.headers["Content-Disposition"] = 'attachment; filename="other.iso"'

    assert await added(mirror, directory, "/rescue.iso") == "rescue.iso"
    assert mirror.requests == [None]


@pytest.mark.parametrize("path", ["/", "/rescue", "/get.php?id=7"])
async def test_url_without_a_name_asks_for_one_before_the_download(
    directory: Path, mirror: Mirror, path: str
) -> None:
    with pytest.raises(ImageError, match="nothing gives the image a name") as caught:
        await added(mirror, directory, path)

    assert "--name" in caught.value.hint
    assert mirror.requests == ["bytes=0-0"]


@pytest.mark.parametrize(
    ("path", "disposition", "message", "hint"),
    [
        ("/x.iso.zst", "", "x.iso.zst is packed in a way that is not undone here", "unpack it"),
        ("/X.7Z", "", "X.7Z is packed in a way that is not undone here", "unpack it"),
        ("/get.php?file=x.tar", "", "x.tar is packed", "unpack it"),
        ("/get", "attachment; filename=x.img.zst", "x.img.zst is packed", "unpack it"),
        ("/x.qcow2/download", "", "x.qcow2 is a virtual disk", "qemu-img convert"),
        ("/x.iso.torrent", "", "x.iso.torrent is no image but says where one is", "download that"),
    ],
)
async def test_url_of_what_is_no_image_says_what_it_is_before_the_download(
    directory: Path, mirror: Mirror, path: str, disposition: str, message: str, hint: str
) -> None:
    mirror.headers["Content-Disposition"] = disposition

    with pytest.raises(ImageError, match=message) as caught:
        await added(mirror, directory, path)

    assert hint in caught.value.hint
    assert mirror.requests == ["bytes=0-0"]


async def test_server_that_refuses_the_question_is_told(directory: Path, mirror: Mirror) -> None:
    def where(request: web.Request) -> None:
        raise web.HTTPForbidden

    with pytest.raises(ImageError, match="/get answered 403 Forbidden"):
        await added(mirror, directory, "/get", where)


async def test_question_that_nobody_answers_is_told(directory: Path) -> None:
    with pytest.raises(ImageError, match="cannot be reached"):
        await add_image("http://127.0.0.1:9/get", directory)
