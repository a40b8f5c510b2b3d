"""Side-cars: what a person says about an image, and clear complaints about mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.images.sidecar import SideCar, read_sidecar


def _read(tmp_path: Path, text: str | bytes) -> SideCar:
    (tmp_path / "rescue.v2.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_sidecar(tmp_path / "rescue.v2.iso")


def test_no_file_is_an_empty_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "rescue.iso") == SideCar(title="", memdisk="")


def test_both_keys_are_read(tmp_path: Path) -> None:
    sidecar = _read(tmp_path, 'title = "Rescue disc"\nmemdisk = "iso raw mem=3500M"\n')

    assert sidecar == SideCar(title="Rescue disc", memdisk="iso raw mem=3500M")


def test_byte_order_mark_of_notepad_is_no_mistake(tmp_path: Path) -> None:
    assert _read(tmp_path, b'\xef\xbb\xbftitle = "R\xc3\xa9sue"\n').title == "Résue"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('titel = "x"', "rescue.v2.toml: 'titel' is no known key", "title and memdisk"),
        ('memdisk = "iso; shell"', "'memdisk' has a value that cannot be used", "letters"),
        ('memdisk = "iso\\n"', "'memdisk' has a value", "letters"),
        ("memdisk = 1", "'memdisk' has a value", "text"),
        ('title = "two\\nlines"', "'title' has a value", "one line"),
        ("title = ", "rescue.v2.toml is not valid TOML", "title ="),
        ("a=" + "[" * 20_000, "rescue.v2.toml is not valid TOML", "title ="),
        (b"\xff\xfe", "is not UTF-8", "UTF-8"),
        ("#" * 70_000, "larger than 65,536 bytes", "few keys"),
    ],
)
def test_mistake_is_told_with_key_and_hint(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    with pytest.raises(ImageError) as caught:
        _read(tmp_path, text)

    assert message in caught.value.message
    assert hint in caught.value.hint


def test_directory_of_that_name_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()

    with pytest.raises(ImageError, match=r"a\.toml cannot be read"):
        read_sidecar(tmp_path / "a.iso")
