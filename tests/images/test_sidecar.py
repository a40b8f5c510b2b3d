"""Side-cars: what a person says about an image, and clear complaints about mistakes in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.images.sidecar import FILES_LIMIT_BYTES, SideCar, read_sidecar
from bootserver.model import ImageSettings


def _read(tmp_path: Path, text: str | bytes) -> SideCar:
    (tmp_path / "rescue.v2.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_sidecar(tmp_path / "rescue.v2.iso")


def test_no_file_is_an_empty_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "rescue.iso") == SideCar(title="", settings=ImageSettings())


def test_all_keys_are_read(tmp_path: Path) -> None:
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "wlan.bin").write_bytes(b"firmware")
    (tmp_path / "preseed.cfg").write_text("d-i")

    sidecar = _read(
        tmp_path,
        """
        title = "Rescue disc"
        memdisk = "iso raw mem=3500M"
        arguments = "console=ttyS0,115200 ds=nocloud;s=http://192.0.2.1/"
        recipe = "disc"
        [inject]
        "preseed.cfg" = "preseed.cfg"
        "lib/firmware/wlan.bin" = "extras/wlan.bin"
        [replace]
        "/boot/grub/grub.cfg" = "preseed.cfg"
        """,
    )

    assert sidecar == SideCar(
        title="Rescue disc",
        settings=ImageSettings(
            memdisk="iso raw mem=3500M",
            arguments="console=ttyS0,115200 ds=nocloud;s=http://192.0.2.1/",
            recipe="disc",
            inject={
                "preseed.cfg": f"{tmp_path}/preseed.cfg",
                "lib/firmware/wlan.bin": f"{tmp_path}/extras/wlan.bin",
            },
            replace={"/boot/grub/grub.cfg": f"{tmp_path}/preseed.cfg"},
        ),
    )


def test_byte_order_mark_of_notepad_is_no_mistake(tmp_path: Path) -> None:
    assert _read(tmp_path, b'\xef\xbb\xbftitle = "R\xc3\xa9sue"\n').title == "Résue"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('titel = "x"', "rescue.v2.toml: 'titel' is no known key", "title, memdisk, arguments"),
        ('memdisk = "iso; shell"', "'memdisk' has a value that cannot be used", "letters"),
        ('memdisk = "iso\\n"', "'memdisk' has a value", "letters"),
        ("memdisk = 1", "'memdisk' has a value", "text"),
        ('title = "two\\nlines"', "'title' has a value", "one line"),
        ('arguments = "quiet ${shell}"', "'arguments' has a value", "1,000 characters"),
        ("recipe = true", "'recipe' has a value", "images explain"),
        ('recipe = "debian-life"', "'recipe' is 'debian-life', which is no", "mean debian-live?"),
        ('recipe = "?"', "'recipe' is '\\?', which is no recipe", "one of agama, alpine"),
        ('inject = "preseed.cfg"', "'inject' has a value", "file beside the image"),
        ('[inject]\n"/etc/motd" = "motd"', "'inject' has a value .* at '/etc/motd'", "initramfs"),
        ('[inject]\n"a/../b" = "motd"', "'inject' has a value .* at 'a/../b'", "initramfs"),
        ('[inject]\n"" = "motd"', "'inject' has a value .* at ''", "initramfs"),
        ('[inject]\n"motd" = 1', "'inject' has a value .* at 'motd'", "file beside the image"),
        ('[replace]\n"boot.cfg" = "b"', "'replace' has a value .* at 'boot.cfg'", "/path/on"),
        ('[replace]\n"/a//b" = "b"', "'replace' has a value .* at '/a//b'", "/path/on"),
        ("title = ", "rescue.v2.toml is not valid TOML", "title ="),
        ("a=" + "[" * 20_000, "rescue.v2.toml is not valid TOML", "title ="),
        (b"\xff\xfe", "is not UTF-8", "UTF-8"),
        ("#" * 70_000, "larger than 65,536 bytes", "few keys"),
    ],
)
def test_mistake_is_told_with_key_and_hint(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        _read(tmp_path, text)

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.cfg", "which cannot be read: No such file or directory"),
        ("../secret", "which is no path from the image's directory"),
        ("sub/../../secret", "which is no path from the image's directory"),
        ("/etc/passwd", "which is no path from the image's directory"),
        ("a\\u0000b", "which is no path from the image's directory"),
        ("", "which is no path from the image's directory"),
        ("out.link", "which leads out of the image's directory"),
        ("sub.link/secret", "which leads out of the image's directory"),
        ("loop.link", "which cannot be read: Too many levels of symbolic links"),
        ("sub", "which is no regular file"),
        ("fifo", "which is no regular file"),
    ],
)
@pytest.mark.parametrize("key", ["inject", "replace"])
def test_file_is_a_regular_one_in_the_images_directory(
    tmp_path: Path, key: str, name: str, reason: str
) -> None:
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("not for machines")
    (images / "out.link").symlink_to(tmp_path / "secret")
    (images / "sub.link").symlink_to(tmp_path)
    (images / "loop.link").symlink_to("loop.link")
    os.mkfifo(images / "fifo")
    place = "file" if key == "inject" else "/file"

    with pytest.raises(ImageError) as caught:
        _read(images, f'[{key}]\n"{place}" = "{name}"\n')

    assert f"rescue.v2.toml: '{key}' names" in caught.value.message
    assert caught.value.message.endswith(reason)
    assert f"in {images}" in caught.value.hint


@pytest.mark.parametrize("recipe", sorted(RECIPE_NAMES))
def test_every_recipe_can_be_named(tmp_path: Path, recipe: str) -> None:
    assert _read(tmp_path, f'recipe = "{recipe}"').settings.recipe == recipe


def test_link_within_the_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "v1.cfg").write_text("d-i")
    (tmp_path / "preseed.cfg").symlink_to("v1.cfg")

    settings = _read(tmp_path, '[inject]\n"preseed.cfg" = "preseed.cfg"\n').settings

    assert settings.inject == {"preseed.cfg": f"{tmp_path}/v1.cfg"}


def test_files_fill_no_more_than_their_limit_together(tmp_path: Path) -> None:
    text = '[inject]\n"a" = "half"\n[replace]\n"/b" = "rest"\n'
    for name in ("half", "rest"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, FILES_LIMIT_BYTES // 2)
    assert _read(tmp_path, text).settings.inject

    os.truncate(tmp_path / "rest", FILES_LIMIT_BYTES // 2 + 1)

    with pytest.raises(ImageError, match="'inject' and 'replace' have 268,435,457 bytes"):
        _read(tmp_path, text)


def test_directory_of_that_name_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()

    with pytest.raises(ImageError, match=r"a\.toml cannot be read"):
        read_sidecar(tmp_path / "a.iso")
