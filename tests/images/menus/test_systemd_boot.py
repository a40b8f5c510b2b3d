"""systemd-boot's menu; the specification or manual page stands where a rule is tested."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.images.menus.systemd_boot import (
    MAX_ENTRIES,
    bls_entries,
    in_order,
    read_systemd_boot,
    version_key,
)
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry
from tests.fixtures.menu_files import FakeMenuFiles
from tests.images.menus.shapes import SYSTEMD_BOOT_SHAPES, Shape
from tests.images.menus.soundness import assert_sound, mutated, start_as_data

LINUX = "linux /vmlinuz\n"


def menu_of(conf: str | None = None, /, **entries: Any) -> DiscMenu:
    """The menu of a disc with this loader.conf and these entries, by the names of their files."""
    files: dict[str, str | bytes] = {"/vmlinuz": "kernel", "/shell.efi": "program"}
    for name, content in entries.items():
        folder = "/loader/entries/" if name.endswith(".conf") else "/EFI/Linux/"
        files[folder + name if not name.startswith("/") else name] = content
    if conf is not None:
        files["/loader/loader.conf"] = conf
    menu = read_systemd_boot(FakeMenuFiles(files), Firmware.UEFI)
    assert menu is not None
    return menu


def names_of(menu: DiscMenu) -> list[str]:
    return [entry.name for entry in menu.entries]


def start_of(conf: str | None = None, /, **entries: Any) -> MenuEntry:
    """The entry that starts by itself."""
    menu = menu_of(conf, **entries)
    assert menu.default is not None, menu.doubt
    return menu.entries[menu.default]


def unified(**sections: str) -> bytes:
    """A unified kernel image, as far as its menu is concerned: sections by their names."""
    table, data = b"", b""
    start = 0x40 + 24 + 8 + 40 * len(sections)
    for name, text in sections.items():
        content = text.encode()
        place = start + len(data)
        header = struct.pack("<8sIIII", f".{name}".encode(), len(content), 0, 512, place)
        table += header.ljust(40, b"\0")
        data += content.ljust(512, b"\0")
    pe = b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, len(sections), 8, 0) + bytes(8)
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + pe + table + data


def test_an_entry_is_read_whole() -> None:  # UAPI.1, Type #1 Boot Loader Entry Keys
    entry = start_of(
        **{
            "a.conf": "# comment\ntitle   Some Linux\nversion 6.1\nlinux /vmlinuz\n"
            "initrd /ucode.img\ninitrd\t/Some/Initrd.img\noptions root=x  quiet\noptions more\n",
        }
    )

    assert entry == MenuEntry(
        "Some Linux",
        EntryKind.LINUX,
        name="a.conf",
        kernel="/vmlinuz",
        initrds=("/ucode.img", "/some/initrd.img"),
        arguments=("root=x", "quiet", "more"),
    )


def test_paths_begin_at_the_top() -> None:
    assert start_of(**{"a.conf": "linux vmlinuz"}).kernel == "/vmlinuz"


def test_versions_are_compared_as_the_specification_does() -> None:  # UAPI.10, Examples
    ordered = (
        "122.1 123~rc1-1 123 123-a 123-a.1 123-1 123-1.1 123^post1 123.a-1 123.1-1 123a-1 124-1"
    )
    for older, newer in pairwise(ordered.split()):
        assert version_key(older) < version_key(newer), (older, newer)
    assert version_key("00123_x") == version_key("123x")
    assert version_key("~") < version_key("") < version_key("0")
    assert version_key("A") < version_key("a") < version_key("ab") < version_key("1")
    assert version_key("9") < version_key("10")


def test_without_sort_keys_the_newest_name_is_first() -> None:  # UAPI.1, Sorting
    menu = menu_of(**{f"linux-{n}.conf": LINUX for n in ("6.9", "6.10", "5.20")})

    assert names_of(menu) == ["linux-6.10.conf", "linux-6.9.conf", "linux-5.20.conf"]
    assert menu.default == 0


def test_sort_keys_come_first_and_then_machines_and_versions() -> None:  # UAPI.1, Sorting
    menu = menu_of(
        **{
            "z.conf": LINUX,
            "a.conf": f"{LINUX}sort-key b\nmachine-id 1\nversion 9",
            "b.conf": f"{LINUX}sort-key b\nmachine-id 1\nversion 10",
            "c.conf": f"{LINUX}sort-key b\nmachine-id 0\nversion 1",
            "d.conf": f"{LINUX}sort-key a\nmachine-id 7\nversion 1",
        }
    )

    assert names_of(menu) == ["d.conf", "c.conf", "b.conf", "a.conf", "z.conf"]


def test_entries_that_failed_too_often_come_last() -> None:  # systemd-boot(7), BOOT COUNTING
    menu = menu_of(**{"c+0-3.conf": LINUX, "b+2-1.conf": LINUX, "a.conf": LINUX})

    assert names_of(menu) == ["b+2-1.conf", "a.conf", "c+0-3.conf"]


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("a.conf", "a.conf"),
        ("A*", "a.conf"),
        ("?.conf", "c.conf"),
        ("[ab].conf", "b.conf"),
        ("nothing*", "c.conf"),
        ("@saved", "c.conf"),
        ("@other", "c.conf"),
        ("a", "a.conf"),  # as before systemd 246
    ],
)
def test_the_default_is_the_first_that_the_pattern_fits(
    pattern: str, start: str
) -> None:  # loader.conf(5), default
    entries = {f"{name}.conf": LINUX for name in "abc"}

    assert start_of(f"timeout 3\ndefault {pattern}\n", **entries).name == start


def test_the_last_default_counts() -> None:
    assert start_of("default a*\ndefault b*", **{"a.conf": LINUX, "b.conf": LINUX}).name == "b.conf"


def test_a_default_is_found_with_and_without_its_boot_counter() -> None:
    entries = {"a+3.conf": LINUX, "b.conf": LINUX}

    assert start_of("default a.conf", **entries).name == "a+3.conf"
    assert start_of("default a+3.conf", **entries).name == "a+3.conf"


def test_a_default_that_versions_of_the_loader_take_differently_is_in_doubt() -> None:
    menu = menu_of("default *f", **{"z.conf": LINUX, "a-f.conf": LINUX})

    assert menu.default is None
    assert "versions" in menu.doubt


def test_a_default_that_the_loader_makes_up_is_in_doubt() -> None:  # loader.conf(5), Table 1
    menu = menu_of("default auto-windows", **{"a.conf": LINUX})

    assert menu.default is None
    assert "auto-windows" in menu.doubt


def test_what_is_not_there_or_not_for_pcs_is_no_entry() -> None:  # UAPI.1, architecture
    menu = menu_of(
        **{
            "a.conf": "linux /gone",
            "b.conf": f"{LINUX}architecture aa64",
            "c.conf": f"{LINUX}architecture X64",
            "d.conf": "title nothing",
            "auto-e.conf": LINUX,
            "f.txt": LINUX,
        }
    )

    assert names_of(menu) == ["c.conf"]


def test_a_program_is_no_linux() -> None:  # UAPI.1, efi
    menu = menu_of(**{"a.conf": "title Shell\nefi /shell.efi\noptions x", "b.conf": LINUX})

    assert [entry.kind for entry in menu.entries] == [EntryKind.LINUX, EntryKind.OTHER]
    assert menu.entries[1].kernel == ""


def test_what_is_not_read_of_an_entry_is_said() -> None:
    assert "devicetree" in start_of(**{"a.conf": f"{LINUX}devicetree /x.dtb"}).unread


def test_a_unified_kernel_image_is_its_own_kernel() -> None:  # UAPI.5
    image = unified(
        osrel='ID=some\nPRETTY_NAME="Some Linux 3"\nVERSION_ID=3\n',
        cmdline="quiet root=x\n",
        linux="kernel",
        initrd="initrd",
    )

    assert start_of(**{"Some-3.efi": image}) == MenuEntry(
        "Some Linux 3",
        EntryKind.LINUX,
        name="some-3.efi",
        kernel="/efi/linux/some-3.efi",
        arguments=("quiet", "root=x"),
    )


def test_an_image_without_a_kernel_is_shown_and_no_linux() -> None:  # systemd-boot 252 itself
    menu = menu_of(**{"a.efi": unified(osrel="PRETTY_NAME=X"), "b.conf": LINUX})

    assert names_of(menu) == ["b.conf", "a.efi"]
    assert (menu.entries[1].kind, menu.entries[1].kernel) == (EntryKind.OTHER, "")


def test_unified_kernel_images_are_sorted_among_the_entries() -> None:  # UAPI.1, Type #2
    def image(version: str) -> bytes:
        return unified(osrel=f"NAME=X\nID=x\nVERSION_ID={version}", linux="k")

    menu = menu_of(
        **{
            "a.efi": image("1"),
            "b.efi": image("2"),
            "c.conf": f"{LINUX}sort-key w",
            "d.conf": LINUX,
        }
    )

    assert names_of(menu) == ["c.conf", "b.efi", "a.efi", "d.conf"]
    assert [entry.title for entry in menu.entries[1:3]] == ["X (2)", "X (1)"]


def test_an_entry_may_name_a_unified_kernel_image() -> None:  # UAPI.1, uki
    image = {"/u.efi": unified(osrel="ID=x", cmdline="a", linux="k")}

    assert start_of(**{"a.conf": "uki /u.efi", **image}).arguments == ("a",)
    assert start_of(**{"a.conf": "efi /u.efi\noptions b", **image}).arguments == ("b",)


@pytest.mark.parametrize("size", [0, 2, 0x3F, 0x44, 0x60, 0x80])
def test_an_image_that_is_cut_off_is_no_entry(size: int) -> None:
    menu = menu_of(**{"a.efi": unified(osrel="ID=x", linux="k")[:size], "b.conf": LINUX})

    assert names_of(menu) == ["b.conf"]


def test_a_disc_without_entries_has_no_menu() -> None:
    assert read_systemd_boot(FakeMenuFiles({"/vmlinuz": ""}), Firmware.UEFI) is None
    assert "no entries" in menu_of("timeout 3").doubt


def test_bios_machines_have_no_menu() -> None:
    files = FakeMenuFiles({"/loader/entries/a.conf": LINUX, "/vmlinuz": ""})

    assert read_systemd_boot(files, Firmware.BIOS) is None


def test_entries_of_any_directory_can_be_read() -> None:
    files = FakeMenuFiles({"/boot/loader/entries/A.conf": "linux /a\noptions $opts"})
    entries = list(bls_entries(files, "/boot/loader/entries"))

    assert [(entry.linux, entry.options, entry.id) for entry in in_order(entries)] == [
        ("/a", "$opts", "a.conf")
    ]


def test_too_many_entries_leave_the_default_in_doubt() -> None:
    menu = menu_of(**{f"{n}.conf": LINUX for n in range(MAX_ENTRIES + 1)})

    assert len(menu.entries) == MAX_ENTRIES
    assert menu.default is None
    assert menu.unread


@pytest.mark.parametrize("shape", SYSTEMD_BOOT_SHAPES, ids=lambda shape: shape.kind)
def test_a_menu_in_the_shape_of_a_real_disc_starts_what_its_maker_meant(shape: Shape) -> None:
    menu = read_systemd_boot(FakeMenuFiles(shape.files), Firmware.UEFI)

    assert menu is not None
    assert start_as_data(menu) == shape.start
    assert len(menu.entries) == shape.entries


@pytest.mark.parametrize("shape", SYSTEMD_BOOT_SHAPES, ids=lambda shape: shape.kind)
def test_a_menu_that_is_not_read_whole_says_so(shape: Shape) -> None:
    whole = read_systemd_boot(FakeMenuFiles(shape.files), Firmware.UEFI)
    for reads in range(20):
        menu = read_systemd_boot(FakeMenuFiles(shape.files, reads), Firmware.UEFI)

        assert menu is not None
        assert menu == whole or (menu.default is None and menu.doubt and menu.unread)


@given(mutated(SYSTEMD_BOOT_SHAPES), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_any_menu_is_read_within_bounds(files: dict[str, str], reads: int) -> None:
    menu = read_systemd_boot(FakeMenuFiles(files, reads), Firmware.UEFI)

    if menu is not None:
        assert_sound(menu)


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_any_program_is_read_within_bounds(noise: bytes, place: int, number: int) -> None:
    image = bytearray(unified(osrel="ID=x", cmdline="a b", linux="k"))
    image[place : place + len(noise)] = noise
    image[0x3C:0x40] = struct.pack("<I", number % (1 << 32)) if number % 3 else image[0x3C:0x40]

    assert_sound(menu_of("", **{"a.efi": bytes(image), "b.conf": LINUX}))
