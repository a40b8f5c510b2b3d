"""A look at the image directory: which files are images, and which cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootserver.errors import ImageError
from bootserver.images import directory as directory_module
from bootserver.images.directory import image_id_of, image_paths, look
from bootserver.model import FileVersion


def test_only_visible_regular_iso_and_img_files_are_images(directory: Path, tmp_path: Path) -> None:
    for name in (
        "b.iso",
        "UPPER.ISO",
        "dos.img",
        ".hidden.iso",
        ".hidden.img",
        "notes.txt",
        "Rescue 1.0.iso",
    ):
        (directory / name).touch()
    (directory / "dir.iso").mkdir()
    os.mkfifo(directory / "fifo.iso")
    (directory / "dangling.iso").symlink_to(tmp_path / "nowhere")
    (tmp_path / "elsewhere.iso").touch()
    (directory / "linked.iso").symlink_to(tmp_path / "elsewhere.iso")

    seen, ignored = look(directory)

    assert sorted(seen) == ["Rescue 1.0", "UPPER", "b", "dos", "linked"]
    assert ignored == {}


def test_folders_are_part_of_the_id(directory: Path) -> None:
    for name in ("top.iso", "linux/debian.iso", "linux/old/debian.iso", "win.iso/setup.ISO"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (directory / "linux" / "debian.toml").write_text('title = "Debian"')

    seen, ignored = look(directory)

    assert sorted(seen) == ["linux/debian", "linux/old/debian", "top", "win.iso/setup"]
    assert seen["linux/debian"].sidecar.title == "Debian"
    assert seen["linux/old/debian"].sidecar.title == ""
    assert ignored == {}
    assert image_id_of(seen["win.iso/setup"].path, directory) == "win.iso/setup"


@pytest.mark.parametrize(
    "folder",
    [
        ".snapshot",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "#recycle",
        "@eaDir",
        ".Trash-1000",
    ],
)
def test_what_was_deleted_and_older_versions_are_no_images(directory: Path, folder: str) -> None:
    (directory / folder).mkdir()
    (directory / folder / "old.iso").touch()

    assert look(directory) == ({}, {})


def test_linked_folder_is_entered_once_and_circles_end(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "share" / "deep").mkdir(parents=True)
    (tmp_path / "share" / "deep" / "far.iso").touch()
    (tmp_path / "share" / "back").symlink_to(directory)
    (directory / "a-link").symlink_to(tmp_path / "share")
    (directory / "b-link").symlink_to(tmp_path / "share")
    (directory / "real").mkdir()
    (directory / "real" / "near.iso").touch()
    (directory / "a-real-link").symlink_to(directory / "real")
    (directory / "up").symlink_to(directory)
    (directory / "self").symlink_to(directory / "self")
    (directory / "self.iso").symlink_to(directory / "self.iso")

    seen, ignored = look(directory)

    assert sorted(seen) == ["a-link/deep/far", "real/near"]
    assert ignored == {}


def test_library_without_end_is_read_no_further_than_its_limit(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "ENTRIES_LIMIT", 10)
    (directory / "a.iso").touch()
    for name in ("many", "some"):
        (directory / name).mkdir()
        (directory / name / "b.iso").touch()
    for number in range(10):
        (directory / "many" / f"{number}.iso").touch()

    seen, ignored = look(directory)

    assert sorted(seen) == ["a"]
    assert sorted(ignored) == ["many", "some"]
    assert "has over 10 files" in ignored["many"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("debian.iso.xz", "bootserver images add"),
        ("DEBIAN.ISO.GZ", "bootserver images add"),
        ("my disc.zip", "images add '"),
        ("debian.iso.zst", "unpack it"),
        ("tools.7z", "unpack it"),
        ("boot.wim", "Windows image"),
        ("shellx64.efi", "UEFI program"),
        ("vm.vhdx", "qemu-img convert"),
        ("floppy.ima", "rename it to end in .img"),
        ("dump.nrg", "convert it to .iso"),
        ("debian.iso.crdownload", "download that has not ended"),
        ("debian.iso.torrent", "download that"),
        ("linux/initramfs.xz", "images add"),
    ],
)
def test_what_may_be_meant_as_an_image_is_told_with_what_to_do(
    directory: Path, name: str, advice: str
) -> None:
    (directory / name).parent.mkdir(exist_ok=True)
    (directory / name).touch()

    seen, ignored = look(directory)

    assert seen == {}
    assert list(ignored) == [name]
    assert advice in ignored[name]


def test_compressed_file_beside_its_image_is_told_nothing_of(directory: Path) -> None:
    for name in ("a.iso", "a.iso.xz", "b.img", "b.zip", "c.iso.gz"):
        (directory / name).touch()

    assert list(look(directory)[1]) == ["c.iso.gz"]


def test_companions_of_images_are_told_nothing_of(directory: Path) -> None:
    for name in ("a.iso", "a.iso.sha256", "a.iso.asc", "SHA256SUMS", "README.txt", ".a.iso.part"):
        (directory / name).touch()
    (directory / "a.toml").write_text('[inject]\n"x.gz" = "x.gz"\n')
    (directory / "x.gz").touch()

    assert look(directory)[1] == {}


def test_of_the_files_of_an_unpacked_disc_a_hundred_are_told(directory: Path) -> None:
    for number in range(150):
        (directory / f"{number}.wim").touch()

    assert len(look(directory)[1]) == 100


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
    assert sorted(ignored) == [r"bad\udcff.iso", r"two\nlines.iso"]


def test_paths_are_sorted_by_name(directory: Path) -> None:
    for name in ("c", "a", "b"):
        (directory / f"{name}.iso").touch()

    assert [path.stem for path in image_paths(directory)] == ["a", "b", "c"]


def test_missing_directory_is_told(directory: Path) -> None:
    with pytest.raises(ImageError, match="nowhere cannot be read: No such file") as caught:
        look(directory / "nowhere")

    assert "[images] path" in caught.value.hint


def test_folder_that_cannot_be_read_is_told_and_hides_no_other(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "locked").mkdir()
    (directory / "open").mkdir()
    (directory / "open" / "a.iso").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:  # tests may run as root, whom no mode stops
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    seen, ignored = look(directory)

    assert sorted(seen) == ["open/a"]
    assert ignored == {"locked": "cannot be read: Permission denied"}
