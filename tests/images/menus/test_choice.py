"""Which entry is booted: the one that was asked for or the disc's own, and never another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootserver.errors import ImageError
from bootserver.images.menus.choice import Choice, entry_for, menu_for
from bootserver.model import DiscMenu, EntryKind, Firmware, IsoFacts, MenuEntry

FILES = {"/k": 1, "/i": 1}


def linux(title: str, *arguments: str, name: str = "") -> MenuEntry:
    return MenuEntry(title, EntryKind.LINUX, name, (), "/k", ("/i",), arguments)


LIVE, INSTALL = linux("Live", name="live"), linux("Install")
LOCAL = MenuEntry("Boot from disk", EntryKind.LOCAL_DISK, "local")


def facts(*entries: MenuEntry, default: int | None = 0, doubt: str = "") -> IsoFacts:
    menu = DiscMenu("/grub.cfg", "GRUB", Firmware.BIOS, entries, default, doubt)
    return IsoFacts(0, markers=FILES, menus=(menu,))


def asked(disc: IsoFacts, wanted: str = "") -> Choice:
    taken = entry_for(disc, Firmware.BIOS, wanted)
    assert isinstance(taken, Choice)
    return taken


def test_the_disc_s_own_default_is_taken():
    assert entry_for(facts(LIVE, INSTALL, default=1), Firmware.BIOS, "") == INSTALL


def test_a_default_that_is_the_machine_s_disk_is_a_choice_of_the_others():
    choice = asked(facts(LOCAL, linux("ERASES ALL DISKS", name="auto"), LIVE))

    assert choice.numbers == (1, 2)
    assert choice.reason == "boots “Boot from disk” by itself, and that is the machine's own disk"


@pytest.mark.parametrize(
    "title",
    [
        "Erase all disks",
        "auto - ERASES ALL DISKS",
        "Wipe this computer",
        "Automated install",
        "Auto-install to the first disk",
        "Unattended installation",
        "Factory reset",
        "Overwrite the disk with zeros",
    ],
)
def test_a_default_whose_title_threatens_disks_is_asked_for(title: str):
    assert asked(facts(linux(title), LIVE)).numbers == (0, 1)


@pytest.mark.parametrize(
    "argument",
    [
        "inst.ks=http://example.org/ks",
        "ks=cdrom:/ks.cfg",
        "autoinstall",
        "auto=true",
        "preseed/file=/cdrom/preseed.cfg",
        "autoyast=device://sr0/a.xml",
        "nuke=dwipe",
        "autonuke",
        "coreos.inst.install_dev=/dev/sda",
    ],
)
def test_a_default_that_needs_no_answers_is_asked_for(argument: str):
    assert argument in asked(facts(linux("Install", argument))).reason


@pytest.mark.parametrize(
    "title", ["Live system (amd64)", "Install", "Rescue", "Try or Install Ubuntu Server"]
)
def test_an_ordinary_default_is_not_asked_for(title: str):
    assert entry_for(facts(linux(title, "quiet", "splash")), Firmware.BIOS, "") is not None
    assert isinstance(entry_for(facts(linux(title)), Firmware.BIOS, ""), MenuEntry)


def test_a_default_that_cannot_be_told_is_a_choice_with_its_reason():
    choice = asked(facts(LIVE, INSTALL, default=None, doubt="the default is in a variable"))

    assert choice.reason == "the default is in a variable"
    assert choice.numbers == (0, 1)


def test_a_default_of_which_a_part_is_unread_is_never_replaced_by_another():
    unread = replace(LIVE, unread="takes its kernel from $x, which nothing sets")

    assert asked(facts(unread, INSTALL)).numbers == (1,)


def test_a_default_whose_kernel_is_not_on_the_disc_is_never_replaced_by_another():
    assert "/gone is not on the disc" in asked(facts(replace(LIVE, kernel="/gone"), INSTALL)).reason


def test_a_disc_without_any_entry_that_boots_has_no_menu():
    memtest = MenuEntry("Memory test", EntryKind.OTHER)

    with pytest.raises(ImageError, match="no boot menu that names a kernel"):
        entry_for(facts(LOCAL, memtest), Firmware.BIOS, "")


@pytest.mark.parametrize("wanted", ["live", "Live", "#2"])
def test_an_entry_is_found_by_name_title_and_number(wanted: str):
    assert entry_for(facts(LOCAL, LIVE), Firmware.BIOS, wanted) == LIVE


@pytest.mark.parametrize("wanted", ["Alive", "#0", "#3", "LIVE", "2"])
def test_an_entry_that_there_is_not_is_refused(wanted: str):
    with pytest.raises(ImageError, match="has no entry"):
        entry_for(facts(LOCAL, LIVE), Firmware.BIOS, wanted)


def test_of_two_entries_of_one_title_the_number_is_asked_for():
    with pytest.raises(ImageError, match="2 entries “Install”; give one as “#2”"):
        entry_for(facts(LIVE, INSTALL, INSTALL), Firmware.BIOS, "Install")


def test_an_entry_that_was_asked_for_and_cannot_be_booted_is_refused():
    with pytest.raises(ImageError, match="“Boot from disk”, but that is the machine's own disk"):
        entry_for(facts(LOCAL, LIVE), Firmware.BIOS, "local")


def test_who_asks_for_a_destructive_entry_by_name_gets_it():
    wipe = linux("Erase all disks", "autonuke", name="wipe")

    assert entry_for(facts(LIVE, wipe), Firmware.BIOS, "wipe") == wipe


def test_a_kernel_that_is_a_program_for_uefi_is_nothing_for_a_bios():
    unified = replace(LIVE, kernel="/efi/linux/live.efi", initrds=())
    disc = replace(facts(unified), markers=FILES | {unified.kernel: 1})

    assert entry_for(disc, Firmware.UEFI, "") == unified
    with pytest.raises(ImageError, match="no boot menu that names a kernel"):
        entry_for(disc, Firmware.BIOS, "")


def test_a_menu_for_other_firmware_will_do_where_there_is_no_own():
    uefi = DiscMenu("/loader", "systemd-boot", Firmware.UEFI, (LIVE,), 0)
    bios = DiscMenu("/isolinux.cfg", "syslinux", Firmware.BIOS, (INSTALL,), 0)

    assert menu_for(IsoFacts(0, menus=(uefi,)), Firmware.BIOS) == uefi
    assert menu_for(IsoFacts(0, menus=(uefi, bios)), Firmware.BIOS) == bios
    assert menu_for(IsoFacts(0), Firmware.BIOS) is None
