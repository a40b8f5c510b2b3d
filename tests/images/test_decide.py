"""How an image boots on one machine, or why not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.images.arguments import fill
from bootserver.images.decide import Site, decide, ways_of
from bootserver.images.markers import MARKERS, TEXTS
from bootserver.images.recipes import RECIPE_NAMES
from bootserver.model import (
    ElToritoEntry,
    FileVersion,
    Firmware,
    Image,
    ImageSettings,
    IsoFacts,
    Machine,
    Method,
    PlainDisk,
)

BIOS_ENTRY = ElToritoEntry(0x00, True, 0, 4, 30)
UEFI_ENTRY = ElToritoEntry(0xEF, True, 0, 2880, 40)
MIB = 1 << 20
SITE = Site(os_room_mib=64, bios_limit_mib=2816)
WITH_WIMBOOT = Site(os_room_mib=64, bios_limit_mib=2816, wimboot=True)

BIOS_PC = Machine(firmware=Firmware.BIOS, architecture="i386", memory_mib=4096)
UEFI_PC = Machine(firmware=Firmware.UEFI, architecture="x86_64", memory_mib=4096)
IA32 = Machine(firmware=Firmware.UEFI, architecture="i386")
ARM64 = Machine(firmware=Firmware.UEFI, architecture="arm64")

LIVE = {
    "/live/vmlinuz": 8 * MIB,
    "/live/initrd.img": 40 * MIB,
    "/live/filesystem.squashfs": 400 * MIB,
}
PE = {"/sources/boot.wim": 250 * MIB, "/bootmgr": MIB, "/boot/bcd": 1, "/boot/boot.sdi": 3 * MIB}


def image(
    *entries: ElToritoEntry,
    mib: int = 300,
    markers: Mapping[str, int] | tuple[str, ...] = (),
    disk: PlainDisk | None = None,
    recipe: str = "",
) -> Image:
    facts = IsoFacts(
        mib * MIB,
        el_torito=entries,
        markers=markers if isinstance(markers, Mapping) else dict.fromkeys(markers, 1),
        plain_disk=disk,
    )
    version = FileVersion(mib * MIB, 0, 0)
    settings = ImageSettings(recipe=recipe)
    return Image("rescue", "/rescue.iso", version, facts=facts, settings=settings)


def method_of(disc: Image, machine: Machine, site: Site = SITE) -> Method | None:
    way = decide(disc, machine, site).way
    return way.method if way else None


@pytest.mark.parametrize(
    ("machine", "method"), [(BIOS_PC, Method.MEMDISK), (UEFI_PC, Method.RAMDISK)]
)
def test_each_firmware_has_its_method_for_a_whole_disc(machine: Machine, method: Method):
    assert method_of(image(BIOS_ENTRY, UEFI_ENTRY), machine) is method


def test_a_boot_file_without_a_catalog_entry_is_enough_for_uefi():
    both = image(BIOS_ENTRY, markers=("/efi/boot/bootx64.efi",))

    assert method_of(both, UEFI_PC) is Method.RAMDISK


def test_a_machine_that_tells_nothing_is_taken_for_a_bios_machine_with_enough_memory():
    assert method_of(image(BIOS_ENTRY, mib=2000), Machine()) is Method.MEMDISK


def test_an_image_that_has_not_been_read_boots_whole():
    unread = Image("rescue", "/rescue.iso", FileVersion(300 * MIB, 0, 0))

    assert method_of(unread, BIOS_PC) is Method.MEMDISK
    assert method_of(unread, UEFI_PC) is Method.RAMDISK


@pytest.mark.parametrize(
    ("machine", "disc", "words"),
    [
        (UEFI_PC, image(BIOS_ENTRY), "no EFI boot file, so it boots BIOS machines only"),
        (BIOS_PC, image(UEFI_ENTRY), "it boots machines with UEFI"),
        (BIOS_PC, image(), "no boot entry for BIOS machines"),
        (BIOS_PC, image(BIOS_ENTRY, mib=2817), "there is room for 2816 MiB"),
        (UEFI_PC, image(UEFI_ENTRY, mib=4033), "needs 4097 MiB of memory"),
        (IA32, image(UEFI_ENTRY), "IA32"),
        (IA32, image(markers=LIVE), "IA32"),
        (ARM64, image(UEFI_ENTRY), "arm64 one, for which there is no RAM disk loader"),
        (ARM64, image(markers=LIVE), "what rescue boots is for x64"),
        (BIOS_PC, image(markers={"/b.b00": 1, "/boot.cfg": 1}), "switch the machine to UEFI"),
    ],
)
def test_what_cannot_boot_is_refused_in_words(machine: Machine, disc: Image, words: str):
    decision = decide(disc, machine, SITE)

    assert decision.way is None
    assert words in decision.refusal


def test_nobody_is_sent_to_legacy_boot_for_a_disc_that_boots_nowhere():
    assert decide(image(), UEFI_PC, SITE).refusal == "rescue has no EFI boot file"


def test_an_image_over_four_gigabytes_boots_whole_under_uefi_alone():
    large = image(BIOS_ENTRY, UEFI_ENTRY, mib=5000)
    machine = Machine(firmware=Firmware.UEFI, architecture="x86_64", memory_mib=8192)

    assert method_of(large, machine) is Method.RAMDISK
    assert method_of(large, BIOS_PC) is None


def test_an_image_that_just_fits_is_not_refused():
    assert method_of(image(BIOS_ENTRY, mib=2816), BIOS_PC) is Method.MEMDISK
    assert method_of(image(UEFI_ENTRY, mib=4032), UEFI_PC) is Method.RAMDISK


def test_a_kernel_needs_no_boot_entry_and_no_room_for_the_whole_image():
    large = image(mib=9000, markers=LIVE)

    assert method_of(large, BIOS_PC) is Method.KERNEL
    assert method_of(large, UEFI_PC) is Method.KERNEL


def test_a_kernel_is_refused_where_what_it_fetches_does_not_fit():
    small = Machine(firmware=Firmware.BIOS, memory_mib=743)
    enough = Machine(firmware=Firmware.BIOS, memory_mib=744)
    live = image(markers=LIVE)

    refused = decide(live, small, SITE)

    assert refused.needed_mib == 3.5 * (8 + 40) + 400 + 176
    assert refused.refusal == (
        "rescue needs 744 MiB of memory (48 to start, 696 for its system and its files); "
        "this machine has 743"
    )
    assert method_of(live, enough) is Method.KERNEL


def test_what_a_bios_loads_must_fit_below_four_gigabytes_also_in_an_initramfs():
    markers = {"/boot/linux26": MIB, "/boot/initrd.img": MIB, "/.pve-cd-id.txt": 1}
    machine = Machine(firmware=Firmware.BIOS, memory_mib=65536)

    assert method_of(image(mib=1500, markers=markers), machine) is Method.KERNEL
    assert (
        "3002 MiB loaded below 4 GiB"
        in decide(image(mib=3000, markers=markers), machine, SITE).refusal
    )


def test_windows_boots_whole_until_the_site_supplies_wimboot():
    pe = image(BIOS_ENTRY, UEFI_ENTRY, markers=PE)

    assert method_of(pe, BIOS_PC) is Method.MEMDISK
    assert method_of(pe, UEFI_PC) is Method.RAMDISK
    assert method_of(pe, BIOS_PC, WITH_WIMBOOT) is Method.WIMBOOT
    assert method_of(pe, UEFI_PC, WITH_WIMBOOT) is Method.WIMBOOT


def test_the_next_best_way_is_taken_where_the_best_does_not_work():
    hirens = image(BIOS_ENTRY, mib=3000, markers=PE | {"/hbcd_pe.ini": 1})

    refused = decide(hirens, BIOS_PC, SITE)
    assert "there is room for 2816 MiB; rescue would start from its boot.wim" in refused.refusal
    assert method_of(hirens, BIOS_PC, WITH_WIMBOOT) is Method.WIMBOOT


def test_wimboot_is_no_advice_for_a_machine_that_it_would_not_help():
    small = Machine(firmware=Firmware.BIOS, memory_mib=512)

    refused = decide(image(BIOS_ENTRY, markers=PE), small, SITE)

    assert refused.refusal.startswith("rescue needs 1062 MiB of memory (300 for the image")
    assert "wimboot" not in refused.refusal
    assert refused.needed_mib == 300 + 250 + 512


def test_an_arm64_disc_is_for_arm64_machines():
    markers = {"/install.a64/vmlinuz": 1, "/install.a64/initrd.gz": 1, "/dists": 0}
    disc = image(UEFI_ENTRY, markers=markers | {"/efi/boot/bootaa64.efi": 1})

    assert method_of(disc, ARM64) is Method.KERNEL
    assert "for arm64 machines" in decide(disc, UEFI_PC, SITE).refusal
    assert "for arm64 machines" in decide(disc, BIOS_PC, SITE).refusal


@pytest.mark.parametrize(
    ("disk", "bios", "uefi"),
    [
        (PlainDisk("floppy", boot_code=True, efi_partition=False), Method.MEMDISK, None),
        (PlainDisk("harddisk", boot_code=False, efi_partition=True), None, Method.RAMDISK),
    ],
)
def test_a_plain_disk_boots_by_what_is_on_it(
    disk: PlainDisk, bios: Method | None, uefi: Method | None
):
    assert method_of(image(disk=disk), BIOS_PC) is bios
    assert method_of(image(disk=disk), UEFI_PC) is uefi


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (BIOS_PC, "rescue has no code in its boot sector"),
        (UEFI_PC, "rescue has no EFI system partition"),
    ],
)
def test_what_a_plain_disk_lacks_is_told_in_its_own_terms(machine: Machine, words: str):
    empty = PlainDisk("harddisk", boot_code=False, efi_partition=False)

    assert decide(image(disk=empty), machine, SITE).refusal == words


def test_a_side_car_makes_a_live_disc_boot_whole():
    assert method_of(image(BIOS_ENTRY, markers=LIVE, recipe="disc"), BIOS_PC) is Method.MEMDISK


def test_a_side_car_cannot_put_on_the_disc_what_is_not_there():
    decision = decide(image(BIOS_ENTRY, recipe="arch"), BIOS_PC, SITE)

    assert decision.way is None
    assert "rescue has no /*/boot/x86_64/vmlinuz*" in decision.refusal


def test_all_the_ways_are_those_of_both_firmwares():
    pe = image(BIOS_ENTRY, markers=PE)

    assert [way.method for way in ways_of(pe, SITE)] == [Method.MEMDISK, Method.RAMDISK]
    assert [way.method for way in ways_of(pe, WITH_WIMBOOT)] == [
        *(Method.WIMBOOT, Method.MEMDISK),
        *(Method.WIMBOOT, Method.RAMDISK),
    ]


NAMES = st.sampled_from(["", "0", "-6.1", "x86_64", ".img-6.1", "..", "64-full", "~+"])
PATHS = st.builds(lambda marker, name: marker.replace("*", name), st.sampled_from(MARKERS), NAMES)
FACTS = st.builds(
    IsoFacts,
    size_bytes=st.integers(0, 1 << 36),
    volume_id=st.sampled_from(["", "DVD_ROM", "Ubuntu-Server 1", "ESXI", "MT86PLUS_64", "Kali"]),
    el_torito=st.lists(st.sampled_from([BIOS_ENTRY, UEFI_ENTRY])).map(tuple),
    markers=st.dictionaries(PATHS, st.sampled_from([0, 1, 1 << 30]), max_size=20),
    texts=st.dictionaries(
        st.sampled_from(TEXTS),
        st.sampled_from(["Kali", "menuentry x {\nlinux /boot/vmlinuz-6.1 ${a} boot=live\n}\n"]),
    ),
)


@pytest.mark.slow
@settings(max_examples=300)
@given(FACTS, st.sampled_from(["", *sorted(RECIPE_NAMES)]))
def test_whatever_is_on_a_disc_there_is_a_safe_way_or_a_sentence(facts: IsoFacts, recipe: str):
    version = FileVersion(facts.size_bytes, 0, 0)
    settings = ImageSettings(recipe=recipe)
    disc = Image("rescue", "/rescue.iso", version, facts=facts, settings=settings)

    for machine in (BIOS_PC, UEFI_PC, IA32, ARM64, Machine()):
        decision = decide(disc, machine, WITH_WIMBOOT)

        assert bool(decision.way) is not bool(decision.refusal)
        if decision.way:
            # raises where iPXE cannot be given them as they are
            fill(decision.way.arguments, tree_url="http://a/t/", iso_url="http://a/i.iso")
            paths = (decision.way.program, *decision.way.initrds)
            assert all(facts.markers[path] for path in paths if path)
            assert 0 < decision.needed_mib <= (machine.memory_mib or 1 << 30)
