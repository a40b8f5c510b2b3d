"""The menus of a disc: GRUB's and syslinux's, as far as they name a system."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.images.bootconfig import MenuEntry, first_system, menu_entries, named_paths

LOOPBACK = "/boot/grub/loopback.cfg"
GRUB = "/boot/grub/grub.cfg"
ISOLINUX = "/isolinux/isolinux.cfg"


def test_a_loopback_entry_is_read_without_what_points_to_the_iso():
    text = """\
menuentry "Try Ubuntu, nobody's fool" --class ubuntu {
\tset gfxpayload=keep
\tlinux\t/casper/vmlinuz  iso-scan/filename=${iso_path} --- quiet splash
\tinitrd\t/casper/initrd
}
"""

    assert menu_entries({LOOPBACK: text}) == [
        MenuEntry(
            LOOPBACK,
            "Try Ubuntu, nobody's fool",
            "/casper/vmlinuz",
            ("/casper/initrd",),
            ("quiet", "splash"),
        )
    ]


def test_device_names_and_case_do_not_hide_a_path():
    text = "menuentry x {\nlinuxefi (loop)/Live/VMLINUZ quiet\ninitrdefi ($root)/live/Initrd.IMG\n}"

    [entry] = menu_entries({GRUB: text})

    assert (entry.kernel, entry.initrds) == ("/live/vmlinuz", ("/live/initrd.img",))


@pytest.mark.parametrize("end", ["\\\n", "\\\r\n"])
def test_a_line_goes_on_behind_a_backslash(end: str):
    grub = f"menuentry V {{\nlinux /boot/vmlinuz {end}  root=live:LABEL=V ro {end} quiet\n}}\n"

    [entry] = menu_entries({"/boot/grub/grub.cfg": grub})

    assert (entry.kernel, entry.arguments) == (
        "/boot/vmlinuz",
        ("root=live:LABEL=V", "ro", "quiet"),
    )


def test_several_initrds_keep_their_order():
    text = "menuentry x {\nlinux /k\ninitrd /ucode.img /initrd.img\n}"

    assert menu_entries({GRUB: text})[0].initrds == ("/ucode.img", "/initrd.img")


def test_a_path_that_hangs_on_a_variable_is_no_entry():
    text = "menuentry x {\nlinux ${prefix}/k\ninitrd /i\n}\nmenuentry y {\nlinux /k\ninitrd $i\n}"

    assert menu_entries({GRUB: text}) == []


def test_grub_default_comes_first_by_number_and_by_title():
    entries = "".join(f"menuentry {t} {{\nlinux /{t}\n}}\n" for t in ("one", "two", "three"))

    by_number = menu_entries({GRUB: f"set default=1\n{entries}"})
    by_title = menu_entries({GRUB: f'set default="three"\n{entries}'})

    assert [entry.title for entry in by_number] == ["two", "one", "three"]
    assert [entry.title for entry in by_title] == ["three", "one", "two"]


def test_isolinux_takes_its_initrd_from_either_line_and_paths_from_its_folder():
    text = """\
default vesamenu.c32
label linux
  menu label ^Install
  kernel vmlinuz
  append initrd=initrd.img,extra.img root=live:CDLABEL=X quiet
label rescue
  linux /boot/../rescue/vmlinuz
  initrd /rescue/initrd.img
"""

    first, second = menu_entries({ISOLINUX: text})

    assert first == MenuEntry(
        ISOLINUX,
        "Install",
        "/isolinux/vmlinuz",
        ("/isolinux/initrd.img", "/isolinux/extra.img"),
        ("root=live:CDLABEL=X", "quiet"),
    )
    assert (second.kernel, second.initrds) == ("/rescue/vmlinuz", ("/rescue/initrd.img",))


def test_isolinux_default_is_named_or_marked():
    labels = "label a\nkernel /a\nlabel b\nkernel /b\n"

    named = menu_entries({ISOLINUX: f"DEFAULT b\n{labels}"})
    marked = menu_entries({ISOLINUX: f"{labels}menu default\n"})

    assert [entry.kernel for entry in named] == ["/b", "/a"]
    assert [entry.kernel for entry in marked] == ["/b", "/a"]


def test_programs_of_syslinux_and_memory_tests_are_no_systems():
    names = ("chain.c32", "memdisk", "/boot/memtest86+", "/boot/mt86.bin", "grub.img")
    text = "".join(f"label x\nkernel {name}\n" for name in names)

    assert menu_entries({ISOLINUX: text}) == []


def test_what_a_boot_loader_would_change_and_unsafe_paths_are_left_out():
    text = """\
menuentry x {
linux /k quiet ${evil} a||b 'two words' #comment {tree} c&&d console=ttyS0,115200n8
initrd /i
}
menuentry y {
linux "/k with blank"
}
menuentry z {
linux /k;reboot
}
"""

    [entry] = menu_entries({GRUB: text})

    assert entry.arguments == ("quiet", "a||b", "c&&d", "console=ttyS0,115200n8")


def test_the_first_entry_that_is_wholly_on_the_disc_is_proposed():
    text = "".join(
        f"menuentry {name} {{\nlinux /{name}\ninitrd /{name}.img\n}}\n" for name in ("a", "b", "c")
    )

    entry = first_system({GRUB: text}, {"/a": 1, "/b": 1, "/b.img": 1, "/c": 1, "/c.img": 1})

    assert entry is not None
    assert entry.title == "b"


def test_a_system_with_an_initrd_is_proposed_before_one_without():
    texts = {
        GRUB: "menuentry tool {\nlinux /tool\n}\nmenuentry os {\nlinux /os\ninitrd /os.img\n}\n"
    }

    both = first_system(texts, {"/tool": 1, "/os": 1, "/os.img": 1})
    tool = first_system(texts, {"/tool": 1})

    assert both is not None
    assert both.title == "os"
    assert tool is not None
    assert tool.title == "tool"
    assert first_system(texts, {}) is None


def test_the_texts_go_before_one_another_in_their_order():
    texts = {LOOPBACK: "menuentry l {\nlinux /l\n}", ISOLINUX: "label i\nkernel /i\n"}

    assert [entry.kernel for entry in menu_entries(texts)] == ["/l", "/i"]


def test_every_named_path_is_told_whether_it_is_there_or_not():
    texts = {GRUB: "menuentry x {\nlinux /a\ninitrd /b /c\n}", "/.disk/info": "linux /nothing"}

    assert named_paths(texts) == {"/a", "/b", "/c"}


def test_a_menu_without_end_is_cut():
    text = "".join(f"menuentry x {{\nlinux /k{n}\n}}\n" for n in range(1000))

    assert len(menu_entries({GRUB: text})) == 64


WORDS = st.sampled_from(
    ["menuentry", "linux", "initrd", "label", "kernel", "append", "default", "menu", "set", "{"]
) | st.text(string.printable, max_size=8)


@given(st.lists(st.lists(WORDS, max_size=5).map(" ".join), max_size=12).map("\n".join))
def test_whatever_a_menu_holds_only_plain_words_come_out(text: str):
    for entry in menu_entries({GRUB: text, ISOLINUX: text}):
        for word in (entry.kernel, *entry.initrds):
            assert not set(word) & set(" \t\"'`$#|&;{}\\\n")
        for word in entry.arguments:
            assert not set(word) & set(" \t${}\\\n")
        assert all(path.startswith("/") for path in (entry.kernel, *entry.initrds))
        assert ".." not in entry.kernel.split("/")
