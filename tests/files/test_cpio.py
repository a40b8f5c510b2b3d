"""Archives for an initramfs: exact bytes, and what the paths may be."""

from __future__ import annotations

import pytest

from bootserver.files.cpio import appendix, newc_archive

# Written by hand after the kernel's buffer-format: /a/b with "hi\n", /run with a script.
EXPECTED = (
    b"070701"
    b"00000001"  # inode
    b"000041ed"  # a directory, 0755
    b"0000000000000000"  # user and group root
    b"00000002"  # links
    b"00000000"  # 1970
    b"00000000"  # no data
    b"00000000000000000000000000000000"  # devices
    b"00000002"  # the name with its NUL
    b"00000000"
    b"a\0"
    b"070701"
    b"00000002"
    b"000081a4"  # a file, 0644
    b"0000000000000000"
    b"00000001"
    b"00000000"
    b"00000003"  # "hi\n"
    b"00000000000000000000000000000000"
    b"00000004"
    b"00000000"
    b"a/b\0\0\0"
    b"hi\n\0"
    b"070701"
    b"00000003"
    b"000081ed"  # a file, 0755
    b"0000000000000000"
    b"00000001"
    b"00000000"
    b"0000000a"
    b"00000000000000000000000000000000"
    b"00000004"
    b"00000000"
    b"run\0\0\0"
    b"#!/bin/sh\n\0\0"
    b"070701"
    b"00000000"
    b"00000000"
    b"0000000000000000"
    b"00000001"
    b"00000000"
    b"00000000"
    b"00000000000000000000000000000000"
    b"0000000b"
    b"00000000"
    b"TRAILER!!!\0\0\0\0"
)


def names(archive: bytes) -> list[tuple[int, str]]:
    """Mode and name of each entry, read by the table in the kernel's documentation."""
    found, place = [], 0
    while place < len(archive):
        header = archive[place : place + 110]
        assert header[:6] == b"070701"
        assert place % 4 == 0
        size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        name = archive[place + 110 : place + 110 + name_size]
        assert name.endswith(b"\0")
        found.append((int(header[14:22], 16), name[:-1].decode()))
        place += (110 + name_size + 3) // 4 * 4
        place += (size + 3) // 4 * 4
    assert place == len(archive)
    return found


def test_an_archive_is_as_the_kernel_documents_it() -> None:
    assert newc_archive({"/run": b"#!/bin/sh\n", "a/b": b"hi\n"}) == EXPECTED


def test_no_files_make_an_archive_of_nothing() -> None:
    assert names(newc_archive({})) == [(0, "TRAILER!!!")]


def test_directories_come_before_what_is_in_them() -> None:
    archive = newc_archive({"/etc/b/c/d": b"", "/etc/b-1/x": b"", "/etc/a": b""})

    assert names(archive)[:-1] == [
        (0o40755, "etc"),
        (0o100644, "etc/a"),
        (0o40755, "etc/b"),
        (0o40755, "etc/b/c"),
        (0o100644, "etc/b/c/d"),
        (0o40755, "etc/b-1"),
        (0o100644, "etc/b-1/x"),
    ]


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (b"#!/bin/sh\n", 0o100755),
        (b"\x7fELF\x02\x01", 0o100755),
        (b"# a comment", 0o100644),
        (b"\x7fEL", 0o100644),
        (b"", 0o100644),
    ],
)
def test_scripts_and_programs_are_executable(data: bytes, mode: int) -> None:
    assert names(newc_archive({"x": data}))[0] == (mode, "x")


@pytest.mark.parametrize("directory", ["bin", "sbin", "lib", "lib64"])
def test_no_directory_takes_the_place_of_a_link_into_usr(directory: str) -> None:
    archive = newc_archive({f"/{directory}/below/x": b""})

    assert [name for _, name in names(archive)][:-1] == [
        f"{directory}/below",
        f"{directory}/below/x",
    ]


def test_equal_files_make_equal_archives() -> None:
    one = newc_archive({"/b": b"2", "/a": b"1"})

    assert one == newc_archive({"a": b"1", "./b": b"2"})


@pytest.mark.parametrize("path", ["/etc/x", "etc/x", "//etc//x", "./etc/./x", "/./etc/x"], ids=repr)
def test_a_path_is_taken_from_the_root(path: str) -> None:
    assert newc_archive({path: b"1"}) == newc_archive({"etc/x": b"1"})


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "//.",
        "etc/",
        "etc/.",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "a\0b",
        "TRAILER!!!",
        "/TRAILER!!!",
        "x" * 4096,
        "\ud800",
    ],
    ids=lambda path: repr(path)[:20],
)
def test_a_path_that_is_no_files_place_is_refused(path: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the text differs)
        newc_archive({path: b""})


def test_names_with_dots_and_other_letters_are_names() -> None:
    archive = newc_archive({"/...": b"", "/..a": b"", "/été": b"", "/d/TRAILER!!!": b""})

    assert [name for _, name in names(archive)][:-1] == ["...", "..a", "d", "d/TRAILER!!!", "été"]


@pytest.mark.parametrize("files", [{"/a": b"", "a": b""}, {"/a": b"", "/a/b": b""}])
def test_two_files_at_one_place_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"'/?a' is"):
        newc_archive(files)


@pytest.mark.parametrize(("size_bytes", "padding"), [(0, 0), (1, 3), (2, 2), (3, 1), (4, 0)])
def test_an_appendix_begins_where_the_kernel_looks(size_bytes: int, padding: int) -> None:
    assert appendix(size_bytes, b"070701") == bytes(padding) + b"070701"
