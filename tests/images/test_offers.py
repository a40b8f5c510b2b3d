"""The ways that a recipe makes of the paths on one disc, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bootserver.images.arguments import PLACES, fill
from bootserver.images.recipes import RECIPES, Recipe, identify
from bootserver.images.recipes.offers import Kernel, Offer, OwnMenu, Wimboot, Wishes
from bootserver.model import (
    DiscMenu,
    EntryKind,
    Firmware,
    IsoFacts,
    MenuEntry,
    Method,
    PlainDisk,
    Way,
)
from tests.fixtures.menu_files import menus_of
from tests.images.corpus import BY_NAME, DISCS, INITRD, KERNEL, Disc, facts_of

MIB = 1 << 20
NIC = "BOOTIF=01-{card}"
ROWS = {recipe.name: recipe for recipe in RECIPES}
NOT_EVERYWHERE = {"kaspersky", "dban", "esxi", "debian-i386", "kali-install.386"}


WISHES = Wishes(64)


def offer(facts: IsoFacts, firmware: Firmware = Firmware.BIOS) -> Offer:
    """The best that the image's recipe has to offer."""
    recipe = identify(facts).recipe
    boot = recipe.boots(firmware)[0]
    offered = boot.offer(facts, firmware, WISHES)
    assert isinstance(offered, Offer), offered
    return offered


def no_braces(arguments: str) -> bool:
    """True if nothing is left to fill in but the boot's own values."""
    for place in PLACES:
        arguments = arguments.replace(place, "")
    return "{" not in arguments


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_arguments_of_every_row_reach_the_kernel_as_they_are(recipe: Recipe):
    for boot in (*recipe.bios, *recipe.uefi):
        arguments = getattr(boot, "arguments", "")
        for place in ("{medium}", "{base}", "{iso_kib}"):
            arguments = arguments.replace(place, "1")
        assert no_braces(arguments), arguments


def test_kiwi_s_own_initramfs_gets_a_ram_disk_as_large_as_the_iso():
    facts = replace(facts_of(BY_NAME["suse-live-by-publisher"]), size_bytes=(3 << 30) + 2048)

    assert "ramdisk_size=3145730" in offer(facts).way.arguments.split()


@pytest.mark.parametrize("disc", DISCS, ids=lambda disc: disc.name)
@pytest.mark.parametrize("firmware", Firmware)
def test_every_way_names_files_that_are_on_the_disc(disc: Disc, firmware: Firmware):
    facts = facts_of(disc)
    recipe = identify(facts).recipe

    for boot in recipe.boots(firmware):
        offered = boot.offer(facts, firmware, WISHES)
        if isinstance(offered, str):
            assert disc.name in NOT_EVERYWHERE or isinstance(boot, OwnMenu)
            continue
        assert isinstance(offered, Offer)
        way = offered.way
        paths = [*filter(None, [way.program]), *way.initrds, *(path for _, path in way.files)]
        assert all(facts.markers[path] > 0 for path in paths)
        # Nothing is left to fill in but the boot's own URLs.
        filled = fill(way.arguments, tree_url="http://192.0.2.1:80/t/", iso_url="http://a/i.iso")
        assert no_braces(way.arguments)
        assert filled == filled.replace("${}", "")


KERNELS = [(row, boot) for row in RECIPES for boot in row.bios if isinstance(boot, Kernel)]


def needed_by_some_disc(
    alternatives: Sequence[object], less: Callable[[Kernel, int], Kernel]
) -> Iterator[bool]:
    """Whether each alternative, of those who have just these, is what some disc boots by."""
    for number in range(len(alternatives)):
        yield any(
            row.name == disc.recipe
            and less(boot, number).offer(facts_of(disc), Firmware.BIOS, WISHES)
            != boot.offer(facts_of(disc), Firmware.BIOS, WISHES)
            for row, boot in KERNELS
            if alternatives in (boot.places, boot.medium)
            for disc in DISCS
        )


@pytest.mark.parametrize("places", sorted({boot.places for _, boot in KERNELS}))
def test_every_place_of_a_kernel_is_that_of_some_disc(places: tuple[tuple[str, str], ...]):
    def less(boot: Kernel, number: int) -> Kernel:
        return replace(boot, places=places[:number] + places[number + 1 :])

    assert all(needed_by_some_disc(places, less))


@pytest.mark.parametrize("medium", sorted({boot.medium for _, boot in KERNELS} - {()}))
def test_every_place_of_what_is_fetched_is_that_of_some_disc(medium: tuple[str, ...]):
    def less(boot: Kernel, number: int) -> Kernel:
        return replace(boot, medium=medium[:number] + medium[number + 1 :])

    assert all(needed_by_some_disc(medium, less))


def test_debian_live_boots_its_kernel_which_fetches_the_squashfs():
    way = offer(facts_of(BY_NAME["debian-live"])).way

    assert way == Way(
        Method.KERNEL,
        "/live/vmlinuz",
        ("/live/initrd.img",),
        f"components boot=live fetch={{tree}}live/filesystem.squashfs ip=dhcp {NIC}",
        hook="live-boot",
    )


def test_the_newest_of_several_kernels_gets_its_own_initrd():
    way = offer(facts_of(BY_NAME["debian-live-versions"])).way

    assert way.program == "/live/vmlinuz-6.1.0-18-amd64"
    assert way.initrds == ("/live/initrd.img-6.1.0-18-amd64",)


def test_grml_kernel_initrd_and_file_system_are_of_one_flavour():
    way = offer(facts_of(BY_NAME["grml-two-flavours"])).way

    assert way.program == "/boot/grmlfullamd64/vmlinuz"
    assert way.initrds == ("/boot/grmlfullamd64/initrd.img",)
    assert "fetch={tree}live/grml-full-amd64/grml-full-amd64.squashfs" in way.arguments


def test_rescatux_numbers_its_kernel_and_initrd():
    way = offer(facts_of(BY_NAME["rescatux"])).way

    assert (way.program, way.initrds) == ("/live/vmlinuz1", ("/live/initrd1.img",))


@pytest.mark.parametrize(
    ("disc", "kernel"),
    [
        ("fedora-41-live", "/images/pxeboot/vmlinuz"),
        ("fedora-42-live", "/boot/x86_64/loader/linux"),
        ("fedora-old-live", "/isolinux/vmlinuz0"),
    ],
)
def test_fedora_kernel_is_found_in_each_of_its_places(disc: str, kernel: str):
    way = offer(facts_of(BY_NAME[disc])).way

    assert way.program == kernel
    assert "root=live:{tree}liveos/squashfs.img rd.live.image" in way.arguments


@pytest.mark.parametrize(
    ("disc", "kernel", "initrd"),
    [
        ("rhel-boot", "/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"),
        ("fedora-42-netinst", "/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd"),
        ("centos-6-dvd", "/isolinux/vmlinuz", "/isolinux/initrd.img"),
    ],
)
def test_anaconda_is_found_in_each_of_its_places(disc: str, kernel: str, initrd: str):
    way = offer(facts_of(BY_NAME[disc])).way

    assert (way.program, way.initrds) == (kernel, (initrd,))
    assert "inst.stage2={tree}" in way.arguments


def test_an_installer_of_32_bits_is_for_bios_machines():
    facts = facts_of(BY_NAME["debian-i386"])

    assert offer(facts).way.program == "/install.386/vmlinuz"
    refusal = ROWS["debian-installer"].uefi[0].offer(facts, Firmware.UEFI, WISHES)
    assert str(refusal).startswith("has no /install.amd/vmlinuz with /install.amd/initrd.gz and no")


def test_a_suse_disc_without_its_root_gets_it_where_its_packages_are():
    dvd, net = (offer(facts_of(BY_NAME[name])).way for name in ("leap", "leap-net"))

    assert dvd.arguments == f"install={{tree}} netsetup=dhcp {NIC}"
    assert net.arguments == f"netsetup=dhcp {NIC}"


@pytest.mark.parametrize(
    ("disc", "base", "kernel"),
    [
        ("arch", "arch", "/arch/boot/x86_64/vmlinuz-linux"),
        ("blackarch", "blackarch", "/blackarch/boot/x86_64/vmlinuz-linux"),
        ("cachyos", "arch", "/arch/boot/x86_64/vmlinuz-linux-cachyos"),
    ],
)
def test_archiso_is_told_its_directory_and_loads_microcode_first(disc: str, base: str, kernel: str):
    way = offer(facts_of(BY_NAME[disc])).way

    assert way.program == kernel
    assert f"archisobasedir={base} archiso_http_srv={{tree}}" in way.arguments
    assert way.initrds[:2] == (f"/{base}/boot/amd-ucode.img", f"/{base}/boot/intel-ucode.img")
    assert "initramfs" in way.initrds[2]


def test_subiquity_is_kept_from_taking_the_iso_for_its_configuration():
    arguments = offer(facts_of(BY_NAME["ubuntu-server"])).way.arguments

    assert {"url={iso}", "cloud-config-url=/dev/null"} <= set(arguments.split())


def test_casper_fetches_the_iso_into_a_ramfs_and_needs_it_once_and_half_a_gigabyte():
    facts = replace(facts_of(BY_NAME["mint"]), size_bytes=3000 * MIB)

    assert "root=/dev/ram0" in offer(facts).way.arguments.split()
    assert offer(facts).needed_bytes == 3512 * MIB + 3.5 * offer(facts).loaded_bytes


def test_alpine_configures_the_card_that_it_was_booted_from():
    assert NIC in offer(facts_of(BY_NAME["alpine"])).way.arguments.split()


def with_menu(disc: str, arguments: str, **more: Any) -> IsoFacts:
    """The disc with a menu that starts its kernel with these arguments by itself."""
    facts = facts_of(BY_NAME[disc])
    way = offer(facts).way
    entry = MenuEntry(
        "Live", EntryKind.LINUX, kernel=way.program, arguments=tuple(arguments.split()), **more
    )
    other = MenuEntry("Other", EntryKind.OTHER)
    menu = DiscMenu("/boot/grub/grub.cfg", "GRUB", Firmware.UEFI, (other, entry), default=1)
    return replace(facts, menus=(menu,))


@pytest.mark.parametrize(
    ("disc", "said", "kept"),
    [
        (
            "debian-live",
            "boot=live locales=de_DE.UTF-8 quiet findiso= toram bootid=1 live-media=/dev/sr0 ip=",
            "locales=de_DE.UTF-8 quiet",
        ),
        (
            "kali-live",
            "boot=live components username=root nomodeset ---",
            "components username=root nomodeset",
        ),
        (
            "clonezilla",
            "boot=live keyboard-layouts=fr ocs_live_run=ocs-sr-restore-disk",
            "keyboard-layouts=fr",
        ),
        (
            "mint",
            "boot=casper file=/cdrom/preseed/mint.seed locale=fr_FR root=/dev/sr0",
            "file=/cdrom/preseed/mint.seed locale=fr_FR",
        ),
        (
            "fedora-41-live",
            "root=live:CDLABEL=F rd.live.image rd.live.check rd.live.ram=1 nomodeset",
            "nomodeset",
        ),
        (
            "arch",
            "archisobasedir=arch archisosearchuuid=2026 cow_label=X cow_spacesize=2G copytoram",
            "cow_spacesize=2G",
        ),
    ],
)
def test_what_the_disc_tells_its_own_kernel_is_kept_where_it_is_not_about_its_medium(
    disc: str, said: str, kept: str
):
    plain = offer(facts_of(BY_NAME[disc])).way.arguments
    facts = with_menu(disc, said)

    for firmware in Firmware:  # a disc has often a menu for one of them only
        arguments = offer(facts, firmware).way.arguments
        own = [word for word in arguments.split() if word not in plain.split()]
        assert own == [word for word in kept.split() if word not in plain.split()]
        assert arguments.startswith(kept)


def test_the_menu_on_a_fedora_disc_says_what_its_kernel_is_told_beside():
    disc = BY_NAME["fedora-41-live"]
    menu = (
        b"DEFAULT linux\nLABEL linux\n  KERNEL /images/pxeboot/vmlinuz\n"
        b"  APPEND initrd=/images/pxeboot/initrd.img root=live:CDLABEL=F rd.live.image quiet rhgb\n"
    )
    facts = facts_of(replace(disc, files={**disc.files, "isolinux/isolinux.cfg": menu}))

    for firmware in Firmware:
        assert offer(facts, firmware).way.arguments == (
            "quiet rhgb root=live:{tree}liveos/squashfs.img rd.live.image rd.neednet=1 "
            f"ip=dhcp {NIC}"
        )


def test_of_two_names_of_a_kernel_each_firmware_takes_that_of_its_own_menu():
    """live-build's: ISOLINUX and GRUB call it differently, and may tell it different things."""
    disc = BY_NAME["kali-live"]
    isolinux = b"""\
default live
label live
  linux /live/vmlinuz
  initrd /live/initrd.img
  append boot=live lang=de
"""
    grub = b"""\
menuentry "Live" {
  linux /live/vmlinuz-6.12-amd64 boot=live lang=fr
  initrd /live/initrd.img-6.12-amd64
}
"""
    files = {
        "live/vmlinuz-6.12-amd64": KERNEL,
        "live/initrd.img-6.12-amd64": INITRD,
        "isolinux/isolinux.cfg": isolinux,
        "boot/grub/grub.cfg": grub,
    }
    facts = facts_of(replace(disc, files={**disc.files, **files}))

    bios, uefi = (offer(facts, firmware).way for firmware in (Firmware.BIOS, Firmware.UEFI))

    assert (bios.program, bios.initrds) == ("/live/vmlinuz", ("/live/initrd.img",))
    assert uefi.program == "/live/vmlinuz-6.12-amd64"
    assert uefi.initrds == ("/live/initrd.img-6.12-amd64",)
    assert (bios.arguments.split()[0], uefi.arguments.split()[0]) == ("lang=de", "lang=fr")


def test_what_a_row_says_otherwise_gives_way_to_the_disc_and_what_it_must_say_does_not():
    arguments = offer(with_menu("kali-live", "boot=live")).way.arguments.split()

    assert "username=kali" not in arguments
    assert any(word.startswith("fetch={tree}") for word in arguments)


@pytest.mark.parametrize(
    "facts",
    [
        with_menu("kali-live", "boot=live nomodeset", unread="has a variable that is not set"),
        replace(with_menu("kali-live", "boot=live nomodeset"), menus=()),
    ],
    ids=["unread", "no menu"],
)
def test_a_menu_that_does_not_tell_what_it_starts_has_no_say(facts: IsoFacts):
    assert offer(facts).way.arguments == offer(facts_of(BY_NAME["kali-live"])).way.arguments


def test_an_entry_that_the_disc_does_not_start_by_itself_has_no_say():
    facts = with_menu("kali-live", "boot=live nomodeset")
    [menu] = facts.menus

    for default in (0, None):
        other = replace(facts, menus=(replace(menu, default=default),))
        assert "nomodeset" not in offer(other).way.arguments


def test_live_boot_needs_the_squashfs_its_initramfs_unpacked_and_some_room():
    facts = facts_of(BY_NAME["debian-live"])
    sizes = {"/live/vmlinuz": 8 * MIB, "/live/initrd.img": 41 * MIB}
    facts = replace(facts, markers=sizes | {"/live/filesystem.squashfs": 152 * MIB})

    assert offer(facts).needed_bytes == (3.5 * (8 + 41) + 152 + 176) * MIB
    assert offer(facts).loaded_bytes == 49 * MIB


def test_proxmox_has_its_iso_in_the_initramfs_and_in_memory_twice():
    facts = replace(facts_of(BY_NAME["proxmox-ve"]), size_bytes=1000 * MIB)
    files = facts.markers["/boot/linux26"] + facts.markers["/boot/initrd.img"]

    offered = offer(facts)

    assert offered.way.iso_in_initramfs == "/proxmox.iso"
    assert offered.loaded_bytes == 1000 * MIB + files
    assert offered.needed_bytes == 2512 * MIB + 3.5 * files


@pytest.mark.parametrize(
    ("firmware", "manager"),
    [
        (Firmware.BIOS, ("bootmgr", "/bootmgr")),
        (Firmware.UEFI, ("bootmgfw.efi", "/efi/boot/bootx64.efi")),
    ],
)
def test_wimboot_gets_the_manager_the_store_and_the_wim_last(
    firmware: Firmware, manager: tuple[str, str]
):
    way = offer(facts_of(BY_NAME["winpe-adk"]), firmware).way

    assert way.files == (
        manager,
        ("BCD", "/boot/bcd"),
        ("boot.sdi", "/boot/boot.sdi"),
        ("boot.wim", "/sources/boot.wim"),
    )


def test_symantec_like_discs_are_not_given_to_wimboot_without_their_store():
    wim = IsoFacts(0, markers={"/sources/boot.wim": 100, "/bootmgr": 1})

    assert (
        Wimboot(store_needed=True).offer(wim, Firmware.BIOS, WISHES) == "has no BCD and no boot.sdi"
    )
    assert isinstance(Wimboot().offer(wim, Firmware.BIOS, WISHES), Offer)


def test_windows_in_memory_needs_its_wim_once_more():
    facts = facts_of(BY_NAME["winpe-adk"])
    facts = replace(facts, size_bytes=300 * MIB, markers={"/sources/boot.wim": 250 * MIB})

    whole = ROWS["winpe"].bios[-1].offer(facts, Firmware.BIOS, WISHES)

    assert isinstance(whole, Offer)
    assert whole.way.method is Method.MEMDISK
    assert whole.needed_bytes == (300 + 250 + 512) * MIB


def test_esxi_and_memtest_are_chained_on_uefi():
    esxi = offer(facts_of(BY_NAME["esxi"]), Firmware.UEFI).way
    memtest = offer(facts_of(BY_NAME["memtest"]), Firmware.UEFI).way

    assert esxi == Way(Method.CHAIN, "/efi/boot/bootx64.efi", arguments="-c {tree}boot.cfg")
    assert memtest == Way(Method.CHAIN, "/efi/boot/bootx64.efi")


@pytest.mark.parametrize("kind", ["floppy", "harddisk"])
def test_a_plain_disk_tells_memdisk_its_kind(kind: str):
    facts = IsoFacts(1_474_560, plain_disk=PlainDisk(kind, boot_code=True, efi_partition=False))

    assert identify(facts).recipe.name == "disk-image"
    assert offer(facts).way == Way(Method.MEMDISK, memdisk=kind)


def test_an_unknown_linux_boots_as_its_own_menu_says():
    grub = offer(facts_of(BY_NAME["unknown-grub"])).way
    isolinux = offer(facts_of(BY_NAME["unknown-isolinux"])).way

    assert (grub.program, grub.initrds) == ("/boot/vmlinuz-6.6", ("/boot/initrd-6.6.gz",))
    assert grub.arguments == "quiet splash root=/dev/ram0"
    assert (isolinux.program, isolinux.initrds) == ("/isolinux/vmlinuz", ("/isolinux/initrd.gz",))


def test_a_root_that_the_discs_own_arguments_name_is_fetched_from_there():
    for firmware in Firmware:
        offered = offer(facts_of(BY_NAME["gentoo"]), firmware)

        assert offered.fetched == "/image.squashfs"
        assert "root=live:{tree}image.squashfs" in offered.way.arguments.split()


def test_an_unknown_linux_that_tells_nothing_is_no_offer_of_its_family():
    facts = IsoFacts(0, markers={"/k": 1, "/i": 1}, menus=menus_of("quiet"))

    assert isinstance(OwnMenu(any_family=False).offer(facts, Firmware.UEFI, WISHES), str)
    assert isinstance(OwnMenu(any_family=True).offer(facts, Firmware.UEFI, WISHES), Offer)


def test_signatures_and_sums_are_no_kernels():
    place = Kernel(places=(("/live/vmlinuz*", "/live/initrd*"),))
    names = ("vmlinuz-1", "vmlinuz-1.sig", "vmlinuz-1.sha256", "initrd.img-1", "initrd.img-1.asc")
    facts = IsoFacts(0, markers={f"/live/{name}": 1 for name in names})

    offered = place.offer(facts, Firmware.BIOS, WISHES)

    assert isinstance(offered, Offer)
    assert (offered.way.program, offered.way.initrds) == (
        "/live/vmlinuz-1",
        ("/live/initrd.img-1",),
    )


def test_a_directory_or_an_empty_file_is_no_kernel():
    facts = IsoFacts(0, markers={"/linux": 0, "/initrd.gz": 9})

    refusal = Kernel(places=(("/linux", "/initrd.gz"),)).offer(facts, Firmware.BIOS, WISHES)

    assert refusal == "has no /linux with /initrd.gz"


def test_an_initrd_of_another_version_is_not_taken_though_it_is_newer():
    names = ("vmlinuz-6.1", "vmlinuz-5.9", "initrd.img-6.1", "initrd.img-6.2", "initrd.img-5.9")
    facts = IsoFacts(0, markers={f"/live/{name}": 1 for name in names})

    offered = Kernel(places=(("/live/vmlinuz*", "/live/initrd*"),)).offer(
        facts, Firmware.BIOS, WISHES
    )

    assert isinstance(offered, Offer)
    assert offered.way.program == "/live/vmlinuz-6.1"
    assert offered.way.initrds == ("/live/initrd.img-6.1",)
