"""A look at the image directory: which files are images, and which cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.images.directory import image_paths, look
from bootserver.model import FileVersion


def test_only_visible_regular_iso_and_img_files_are_images(directory: Path, tmp_path: Path) -> None:
    for name in (
        "b.iso",
        "UPPER.ISO",
        "dos.img",
        ".hidden.iso",
        ".hidden.img",
        "c.iso.part",
        "notes.txt",
        "Rescue 1.0.iso",
    ):
        (directory / name).touch()
    (directory / "sub").mkdir()
    (directory / "sub" / "deep.iso").touch()
    (directory / "dir.iso").mkdir()
    os.mkfifo(directory / "fifo.iso")
    (directory / "dangling.iso").symlink_to(tmp_path / "nowhere")
    (tmp_path / "elsewhere.iso").touch()
    (directory / "linked.iso").symlink_to(tmp_path / "elsewhere.iso")

    seen, ignored = look(directory)

    assert sorted(seen) == ["Rescue 1.0", "UPPER", "b", "dos", "linked"]
    assert ignored == {}


def test_image_is_seen_with_its_version_and_its_sidecar(directory: Path) -> None:
    (directory / "a.iso").write_bytes(b"data")
    (directory / "a.toml").write_text('title = "Rescue"')

    image = look(directory)[0]["a"]

    assert image.path == directory / "a.iso"
    assert image.version == FileVersion.of((directory / "a.iso").stat())
    assert image.sidecar.title == "Rescue"
    assert image.sidecar_error is None


def test_spoilt_sidecar_is_as_none_and_its_error_is_kept(directory: Path) -> None:
    (directory / "a.iso").touch()
    (directory / "a.toml").write_text('title = "Rescue"\ntitel = "Rescue"\n')

    image = look(directory)[0]["a"]

    assert image.sidecar.title == ""
    assert image.sidecar_error is not None
    assert "'titel' is no known key" in image.sidecar_error.message


def test_of_two_files_with_one_id_the_first_is_the_image(directory: Path) -> None:
    (directory / "A.iso").touch()
    (directory / "A.ISO").touch()

    seen, ignored = look(directory)

    assert seen["A"].path.name == "A.ISO"
    assert ignored == {"A.iso": "A.ISO has the same id"}


def test_disc_and_disk_of_one_name_are_not_both_images(directory: Path) -> None:
    (directory / "a.iso").touch()
    (directory / "a.img").touch()

    seen, ignored = look(directory)

    assert seen["a"].path.name == "a.img"
    assert ignored == {"a.iso": "a.img has the same id"}


def test_file_of_a_sidecar_that_has_gone_is_an_error_at_the_next_look(directory: Path) -> None:
    (directory / "a.iso").touch()
    (directory / "a.toml").write_text('[inject]\n"preseed.cfg" = "a.cfg"\n')
    (directory / "a.cfg").touch()
    assert look(directory)[0]["a"].sidecar_error is None

    (directory / "a.cfg").unlink()

    error = look(directory)[0]["a"].sidecar_error
    assert error is not None
    assert "'inject' names 'a.cfg', which cannot be read" in error.message


def test_name_that_is_no_text_is_ignored_and_shown_in_ascii(directory: Path) -> None:
    (directory / "good.iso").touch()
    (directory / os.fsdecode(b"bad\xff.iso")).touch()
    (directory / "two\nlines.iso").touch()

    seen, ignored = look(directory)

    assert list(seen) == ["good"]
    assert sorted(ignored) == [r"'bad\udcff.iso'", r"'two\nlines.iso'"]


def test_paths_are_sorted_by_name(directory: Path) -> None:
    for name in ("c", "a", "b"):
        (directory / f"{name}.iso").touch()

    assert [path.stem for path in image_paths(directory)] == ["a", "b", "c"]


def test_missing_directory_is_told(directory: Path) -> None:
    with pytest.raises(ImageError, match="nowhere cannot be read: No such file") as caught:
        look(directory / "nowhere")

    assert "[images] path" in caught.value.hint
