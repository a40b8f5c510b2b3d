"""syslinux' and isolinux' menus; the manual's file and section stand where a rule is tested."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.images.menus.syslinux import (
    ISOLINUX_CONFIGS,
    MAX_ENTRIES,
    SYSLINUX_EFI_CONFIGS,
    read_syslinux,
)
from bootserver.model import DiscMenu, EntryKind, Firmware, MenuEntry
from tests.fixtures.menu_files import FakeMenuFiles
from tests.images.menus.shapes import SYSLINUX_SHAPES, Shape
from tests.images.menus.soundness import assert_sound, calls_of, mutated, start_as_data

CONFIG = "/isolinux/isolinux.cfg"


def menu_of(config: str, firmware: Firmware = Firmware.BIOS, /, **others: str) -> DiscMenu:
    """The menu of a disc with this isolinux.cfg, and other files by their path on it."""
    return read_syslinux(FakeMenuFiles({CONFIG: config, **others}), CONFIG, firmware)


def start_of(config: str, **others: str) -> MenuEntry:
    """The entry that starts by itself."""
    menu = menu_of(config, **others)
    assert menu.default is not None, menu.doubt
    return menu.entries[menu.default]


TWO = """
LABEL one
  KERNEL /one
  APPEND initrd=/one.img a=1
LABEL two
  KERNEL /two
  APPEND initrd=/two.img a=2
"""


def test_the_last_default_counts() -> None:  # syslinux.cfg.txt, DEFAULT
    assert start_of("DEFAULT one\nDEFAULT two" + TWO).name == "two"


def test_keywords_have_no_case_and_labels_have() -> None:  # menu.txt, The simple menu system
    assert start_of("default two" + TWO.lower()).kernel == "/two"
    assert menu_of("DEFAULT Two" + TWO).default is None


def test_ontimeout_is_what_starts_at_a_prompt_that_times_out() -> None:  # .cfg.txt, ONTIMEOUT
    assert start_of("DEFAULT one\nPROMPT 1\nTIMEOUT 50\nONTIMEOUT two" + TWO).name == "two"
    assert start_of("DEFAULT one\nPROMPT 1\nTOTALTIMEOUT 50\nONTIMEOUT two" + TWO).name == "two"


def test_ontimeout_is_nothing_where_there_is_no_timeout() -> None:  # .cfg.txt, TIMEOUT, PROMPT
    assert start_of("DEFAULT one\nPROMPT 1\nONTIMEOUT two" + TWO).name == "one"
    assert start_of("DEFAULT one\nPROMPT 0\nTIMEOUT 50\nONTIMEOUT two" + TWO).name == "one"


def test_ontimeout_is_what_starts_in_a_menu_that_times_out() -> None:  # menu.txt, at its end
    assert start_of("UI menu.c32\nDEFAULT one\nTIMEOUT 50\nONTIMEOUT two" + TWO).name == "two"
    assert start_of("UI menu.c32\nDEFAULT one\nONTIMEOUT two" + TWO).name == "one"


def test_a_disc_whose_default_is_the_local_disk_does_not_start_the_entry_that_erases() -> None:
    menu = menu_of(
        "DEFAULT local\nTIMEOUT 100\nPROMPT 1\n"
        "LABEL auto\n MENU LABEL Install, ERASES ALL DISKS\n KERNEL vmlinuz\n APPEND auto\n"
        "LABEL local\n MENU LABEL Boot from the disk\n LOCALBOOT 0x80\n"
    )

    assert menu.default == 1
    assert menu.entries[1].kind is EntryKind.LOCAL_DISK
    assert menu.entries[0].title == "Install, ERASES ALL DISKS"


def test_a_prompt_that_waits_for_ever_has_what_enter_starts_for_its_default() -> None:
    assert start_of("PROMPT 1\nTIMEOUT 0\nDEFAULT two" + TWO).name == "two"


def test_default_may_be_a_command_line_of_its_own() -> None:  # syslinux.cfg.txt, DEFAULT
    entry = start_of("DEFAULT /boot/vmlinuz initrd=/x foo\n", **{"/boot/vmlinuz": "kernel"})

    assert entry.kernel == "/boot/vmlinuz"
    assert entry.initrds == ("/x",)
    assert entry.arguments == ("foo",)


def test_default_may_be_a_label_with_more_arguments() -> None:  # syslinux.cfg.txt, DEFAULT
    assert start_of("DEFAULT two b=3" + TWO).arguments == ("a=2", "b=3")


def test_a_default_that_is_neither_label_nor_file_is_in_doubt() -> None:
    menu = menu_of("DEFAULT three" + TWO)

    assert menu.default is None
    assert menu.doubt == '"three" is neither a label nor a file of the disc'
    assert [entry.name for entry in menu.entries] == ["one", "two"]


def test_a_configuration_without_default_and_ui_waits() -> None:  # syslinux.cfg.txt, DEFAULT
    assert "waits" in menu_of(TWO).doubt
    assert start_of("TIMEOUT 10\nONTIMEOUT two" + TWO).name == "two"


def test_implicit_0_forbids_what_is_no_label() -> None:  # syslinux.cfg.txt, IMPLICIT
    menu = menu_of("IMPLICIT 0\nDEFAULT /one\n" + TWO, **{"/one": "kernel"})

    assert menu.default is None
    assert "IMPLICIT" in menu.doubt


@pytest.mark.parametrize("ui", ["UI menu.c32", "UI vesamenu.c32", "UI /isolinux/menu.c32 ~"])
def test_in_a_menu_default_names_an_entry(ui: str) -> None:  # menu.txt, DEFAULT
    assert start_of(f"DEFAULT two\n{ui}" + TWO).name == "two"


@pytest.mark.parametrize("ui", ["UI menu.c32", "DEFAULT menu.c32", "DEFAULT vesamenu.c32"])
def test_menu_default_decides_where_default_does_not(ui: str) -> None:  # menu.txt, MENU DEFAULT
    assert start_of(f"{ui}{TWO}  MENU DEFAULT\n").name == "two"
    assert start_of(f"{ui}{TWO}").name == "one"


def test_default_is_stronger_than_menu_default_only_with_ui() -> None:  # menu.txt, DEFAULT
    assert start_of(f"UI menu.c32\nDEFAULT one{TWO}  MENU DEFAULT\n").name == "one"


def test_a_menu_begins_behind_what_cannot_be_chosen() -> None:  # menu.txt, MENU DISABLE
    config = "UI menu.c32\nLABEL -\n MENU LABEL Systems:\n MENU DISABLE\nMENU SEPARATOR\n" + TWO

    assert start_of(config).name == "one"
    assert [entry.name for entry in menu_of(config).entries] == ["one", "two"]


def test_a_hidden_entry_is_in_no_menu_but_can_start() -> None:  # menu.txt, MENU HIDE
    config = f"UI menu.c32\nTIMEOUT 9\n{TWO}  MENU HIDE\n"

    assert [entry.name for entry in menu_of(config).entries] == ["one"]
    assert start_of(config + "LABEL x\nKERNEL x\nMENU HIDE\nONTIMEOUT two").name == "two"


def test_a_menu_on_shift_starts_its_default_at_once() -> None:  # menu.txt, MENU SHIFTKEY
    config = "UI menu.c32\nMENU SHIFTKEY\nTIMEOUT 9\nONTIMEOUT one\n"

    assert start_of(f"{config}{TWO}MENU DEFAULT\n").name == "two"


def test_submenus_are_the_parents_of_their_entries() -> None:  # menu.txt, MENU BEGIN
    menu = menu_of(
        f"UI menu.c32{TWO}"
        "MENU BEGIN more\n MENU TITLE ^More of them\n LABEL back\n MENU EXIT\n"
        "  LABEL three\n   KERNEL three\n"
        "  MENU BEGIN deep\n LABEL four\n KERNEL four\n MENU END\n"
        "MENU END\nLABEL five\n KERNEL five\n"
    )

    assert [(entry.name, entry.parents) for entry in menu.entries] == [
        ("one", ()),
        ("two", ()),
        ("three", ("More of them",)),
        ("four", ("More of them", "deep")),
        ("five", ()),
    ]
    assert menu.default == 0


def test_default_and_menu_start_begin_in_a_submenu() -> None:  # menu.txt, DEFAULT, MENU START
    submenu = "MENU BEGIN\nLABEL a\nKERNEL a\nLABEL b\nKERNEL b\n{}\nMENU END\n"

    assert start_of(f"UI menu.c32\nDEFAULT b\n{TWO}{submenu.format('')}").name == "b"
    assert start_of(f"UI menu.c32\n{TWO}{submenu.format('MENU START')}").name == "a"


def test_a_menu_that_begins_on_a_submenu_is_in_doubt() -> None:
    config = "UI menu.c32\nMENU BEGIN\nLABEL a\nKERNEL a\nMENU END\n"

    assert "another menu" in menu_of(config + TWO).doubt


def test_a_submenu_times_out_as_the_menu_around_it() -> None:  # menu.txt, MENU BEGIN
    submenu = "MENU BEGIN\nMENU START\nLABEL a\nKERNEL a\nMENU END\n"

    assert start_of(f"UI menu.c32\nTIMEOUT 9\nONTIMEOUT two\n{TWO}{submenu}").name == "two"


@pytest.mark.parametrize("include", ["INCLUDE", "MENU INCLUDE", "include"])
def test_included_files_are_read_in_place(include: str) -> None:  # syslinux.cfg.txt, INCLUDE
    menu = menu_of(f"DEFAULT one\n{include} more.cfg\n", **{"/isolinux/more.cfg": TWO})

    assert [entry.name for entry in menu.entries] == ["one", "two"]
    assert menu.default == 0


def test_an_included_file_is_looked_for_in_the_current_directory() -> None:  # isolinux.txt
    files = {
        "/isolinux/a/b.cfg": "INCLUDE c.cfg",
        "/isolinux/c.cfg": TWO,
        "/top.cfg": "DEFAULT two",
    }

    assert start_of("INCLUDE a/b.cfg\nINCLUDE /top.cfg", **files).name == "two"


def test_an_included_file_that_is_not_there_is_none() -> None:
    assert start_of("INCLUDE gone.cfg\nDEFAULT two" + TWO).name == "two"


def test_a_file_that_is_included_with_a_name_is_a_submenu() -> None:  # menu.txt, INCLUDE
    menu = menu_of(
        f"UI menu.c32{TWO}INCLUDE m.cfg Tools", **{"/isolinux/m.cfg": "LABEL t\nKERNEL t"}
    )

    assert menu.entries[2].parents == ("Tools",)


def test_files_that_include_themselves_end() -> None:  # syslinux.cfg.txt, INCLUDE: 16 levels
    menu = menu_of(f"INCLUDE isolinux.cfg\nDEFAULT one{TWO}")

    assert menu.default is None
    assert menu.unread


def test_append_before_the_labels_is_for_those_without() -> None:  # .cfg.txt, APPEND, APPEND -
    config = (
        "APPEND all=1\nLABEL a\nKERNEL a\nLABEL b\nKERNEL b\nAPPEND -\nLABEL c\nKERNEL c\nAPPEND x"
    )

    assert [entry.arguments for entry in menu_of(config).entries] == [("all=1",), (), ("x",)]


def test_initrd_and_its_argument_are_lists_of_files() -> None:  # syslinux.cfg.txt, INITRD, APPEND
    config = (
        "DEFAULT a\nLABEL a\nLINUX a\nINITRD /u.img,b.img\nLABEL c\nLINUX c\nAPPEND x initrd=d,/e y"
    )
    menu = menu_of(config)

    assert menu.entries[0].initrds == ("/u.img", "/isolinux/b.img")
    assert menu.entries[1].initrds == ("/isolinux/d", "/e")
    assert menu.entries[1].arguments == ("x", "y")


def test_two_initrds_are_unread_because_versions_differ() -> None:
    config = "DEFAULT a\nLABEL a\nLINUX a\nAPPEND initrd=b initrd=c"

    assert "twice" in start_of(config).unread
    assert not start_of(config.replace("initrd=c", "initrd=b")).unread


def test_of_sysappend_only_what_needs_no_network_adds_arguments() -> None:  # .cfg.txt, SYSAPPEND
    config = "DEFAULT one\nSYSAPPEND {}" + TWO

    assert not start_of(config.format(3)).unread
    assert "SYSAPPEND" in start_of(config.format("0x40000")).unread


def test_a_label_without_a_kernel_is_the_kernels_name() -> None:  # syslinux.cfg.txt, LABEL
    assert start_of("DEFAULT linux\nLABEL linux\nAPPEND a").kernel == "/isolinux/linux"


def test_the_first_of_two_labels_with_one_name_counts() -> None:  # syslinux.cfg.txt, LABEL
    assert start_of(f"DEFAULT one\n{TWO}LABEL one\nKERNEL other").kernel == "/one"


def test_the_last_kernel_of_a_label_counts() -> None:  # syslinux.cfg.txt, LABEL
    assert start_of("DEFAULT a\nLABEL a\nKERNEL b\nLINUX c d\nAPPEND e").arguments == ("d", "e")


@pytest.mark.parametrize(
    "lines",
    [
        "KERNEL memdisk\nINITRD dos.img",
        "LINUX memtest86+",
        "KERNEL memtest.bin",
        "KERNEL mt86plus",
        "KERNEL hdt.c32",
        "KERNEL /boot/ipxe.lkrn",
        "COM32 reboot",
        "COM32 poweroff.c32",
        "COM32 chain.c32\nAPPEND file=/boot/grub.img",
        "COM32 chain.c32\nAPPEND hd0 ntldr=/bootmgr",
        "COM32 mboot.c32\nAPPEND xen.gz --- vmlinuz a --- initrd.img",
        "BOOT grub.bin",
        "BSS x",
        "FDIMAGE floppy",
        "PXE x",
        "KERNEL grub.com",
        "KERNEL",
    ],
)
def test_programs_and_other_loaders_are_no_linux(lines: str) -> None:  # .cfg.txt, KERNEL-LIKE
    assert start_of(f"DEFAULT a\nLABEL a\n{lines}").kind is EntryKind.OTHER


@pytest.mark.parametrize(
    "lines",
    [
        "LOCALBOOT 0x80",
        "LOCALBOOT -1",
        "localboot 0",
        "COM32 chain\nAPPEND hd0",
        "KERNEL chain.c32\nAPPEND hd0 1 swap",
        "KERNEL /syslinux/chain.c32 mbr:0x12345678",
    ],
)
def test_a_local_boot_is_of_the_local_disk(lines: str) -> None:  # .cfg.txt, LOCALBOOT; chain.txt
    assert start_of(f"DEFAULT a\nLABEL a\n{lines}").kind is EntryKind.LOCAL_DISK


def test_a_name_without_extension_is_that_of_the_program_that_is_there() -> None:
    others = {"/isolinux/tool.c32": "", "/isolinux/vmlinuz": "", "/isolinux/vmlinuz.img": ""}

    assert start_of("DEFAULT tool", **others).kind is EntryKind.OTHER  # syslinux-cli.txt
    assert start_of("DEFAULT vmlinuz", **others).kind is EntryKind.LINUX


def test_linux_c32_starts_linux() -> None:
    entry = start_of("DEFAULT a\nLABEL a\nCOM32 linux.c32 /vmlinuz initrd=/i x")

    assert (entry.kernel, entry.initrds, entry.arguments) == ("/vmlinuz", ("/i",), ("x",))


def test_config_leads_to_another_menu() -> None:  # syslinux.cfg.txt, CONFIG
    more = "DEFAULT x\nLABEL x\nKERNEL x\nLABEL back\nCONFIG /isolinux/isolinux.cfg"
    menu = menu_of(
        f"UI menu.c32\nTIMEOUT 9\nDEFAULT two{TWO}"
        "LABEL m\nMENU LABEL ^More...\nCONFIG /m/more.cfg /m\n",
        **{"/m/more.cfg": more},
    )

    assert menu.default == 1
    assert [(entry.name, entry.parents) for entry in menu.entries[2:]] == [("x", ("More...",))]
    assert menu.entries[2].kernel == "/m/x"


def test_a_menu_program_shows_the_files_that_it_is_given() -> None:  # menu.txt, ALTERNATE
    others = {"/isolinux/look.cfg": "MENU TITLE x", "/isolinux/m.cfg": f"{TWO}MENU DEFAULT"}

    assert start_of("DEFAULT vesamenu.c32 look.cfg m.cfg", **others).name == "two"
    assert start_of(f"UI menu.c32 look.cfg ~{TWO}", **others).name == "one"


def test_menus_that_lead_to_each_other_are_in_doubt() -> None:
    menu = menu_of("DEFAULT a\nLABEL a\nCONFIG isolinux.cfg")

    assert menu.default is None
    assert menu.doubt


def test_whichsys_takes_the_command_for_the_loader() -> None:
    config = "DEFAULT w\nLABEL w\nCOM32 whichsys.c32\nAPPEND -pxe- p -sys- one -iso- two x" + TWO

    assert start_of(config).arguments == ("a=2", "x")
    efi = menu_of(config, Firmware.UEFI)
    assert efi.default is not None
    assert efi.entries[efi.default].kernel == "/one"


def test_ifcpu64_is_said_to_be_taken_for_64_bits() -> None:
    menu = menu_of("DEFAULT i\nLABEL i\nCOM32 ifcpu64.c32\nAPPEND two -- one" + TWO)

    assert menu.default is not None
    assert menu.entries[menu.default].kernel == "/two"
    assert "64-bit" in menu.unread[0]


def test_a_graphical_menu_takes_the_default_label() -> None:  # gfxboot.c32
    program = {"/isolinux/gfxboot.c32": ""}

    assert start_of(f"UI gfxboot bootlogo\nDEFAULT two{TWO}", **program).name == "two"
    assert menu_of(f"UI gfxboot bootlogo\nDEFAULT x.c32{TWO}", **program).default is None


def test_help_texts_and_comments_are_no_commands() -> None:  # menu.txt, TEXT HELP
    config = "# DEFAULT one\nDEFAULT two\nSAY DEFAULT one\nF1 help.txt\nSERIAL 0 115200" + TWO

    assert start_of(config + "TEXT HELP\nLABEL two\nDEFAULT one\nENDTEXT\n").kernel == "/two"


def test_lines_may_end_as_in_dos() -> None:
    assert start_of(("DEFAULT two" + TWO).replace("\n", "\r\n")).arguments == ("a=2",)


def test_paths_are_those_of_the_disc() -> None:  # isolinux.txt, pathnames
    config = "DEFAULT a\nLABEL a\nLINUX ::Boot/VMLINUZ\nINITRD ../A//b.img"
    entry = start_of(config)

    assert (entry.kernel, entry.initrds) == ("/boot/vmlinuz", ("/a/b.img",))


def test_the_places_of_configurations_are_the_manuals() -> None:  # .cfg.txt, LOCATION/NAME
    assert ISOLINUX_CONFIGS[:3] == (
        "/boot/isolinux/isolinux.cfg",
        "/boot/isolinux/syslinux.cfg",
        "/isolinux/isolinux.cfg",
    )
    assert ISOLINUX_CONFIGS[8:10] == ("/isolinux.cfg", "/syslinux.cfg")
    assert SYSLINUX_EFI_CONFIGS[:3] == (
        "/efi/boot/extlinux.conf",
        "/efi/boot/syslx64.cfg",
        "/efi/boot/syslinux.cfg",
    )


def test_a_menu_without_its_file_is_in_doubt() -> None:
    menu = read_syslinux(FakeMenuFiles({}), CONFIG, Firmware.BIOS)

    assert menu.doubt == "the disc has no /isolinux/isolinux.cfg"


def test_no_more_entries_are_kept_than_people_read() -> None:
    labels = "".join(f"LABEL l{n}\nKERNEL k{n}\n" for n in range(900))
    menu = menu_of("DEFAULT l899\n" + labels)

    assert len(menu.entries) == MAX_ENTRIES
    assert menu.default is None
    assert menu.unread


@pytest.mark.parametrize("shape", SYSLINUX_SHAPES, ids=lambda shape: shape.kind)
def test_a_menu_in_the_shape_of_a_real_disc_starts_what_its_maker_meant(shape: Shape) -> None:
    menu = read_syslinux(FakeMenuFiles(shape.files), next(iter(shape.files)), Firmware.BIOS)

    assert start_as_data(menu) == shape.start
    assert len(menu.entries) == shape.entries
    assert not any(entry.unread for entry in menu.entries)


@pytest.mark.parametrize("shape", SYSLINUX_SHAPES, ids=lambda shape: shape.kind)
def test_a_menu_that_is_not_read_whole_says_so(shape: Shape) -> None:
    path = next(iter(shape.files))
    whole = read_syslinux(FakeMenuFiles(shape.files), path, Firmware.BIOS)
    for reads in range(20):
        files = FakeMenuFiles(shape.files, reads)
        menu = read_syslinux(files, path, Firmware.BIOS)

        assert menu == whole or (menu.default is None and menu.doubt and menu.unread)
        if files.reads_left:
            assert menu == whole


@given(mutated(SYSLINUX_SHAPES), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_any_menu_is_read_within_bounds(files: dict[str, str], reads: int) -> None:
    menu = read_syslinux(FakeMenuFiles(files, reads), next(iter(files)), Firmware.BIOS)

    assert_sound(menu)


@pytest.mark.parametrize(
    "line",
    [
        "LABEL x{n}\nKERNEL k{n}\n",
        "MENU BEGIN a{n}\nLABEL x{n}\nCONFIG c{n}\n",
        "INCLUDE a{n}.cfg\n",
        "LABEL x{n}\nCOM32 ifcpu64.c32 x{n}\n",
        "LABEL x{n}\nMENU DISABLE\nMENU SEPARATOR\n",
        "LABEL x\nAPPEND initrd=a initrd=b\n",
        "DEFAULT x{n}\nUI menu.c32 isolinux.cfg\nLABEL x{n}\nKERNEL menu.c32 ~\n",
        " \t ",
    ],
)
def test_the_work_grows_as_the_menu_does(line: str) -> None:
    def work(lines: int) -> int:
        text = "".join(line.replace("{n}", str(n)) for n in range(lines))
        return calls_of(lambda: menu_of(text))

    assert work(800) < 3 * work(400)
