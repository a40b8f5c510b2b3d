"""How an image boots on a machine, or why not."""

from __future__ import annotations

import pytest

from bootserver.images.recipes import Limits, Method, decide
from bootserver.model import ElToritoEntry, FileVersion, Firmware, Image, IsoFacts, Machine

BIOS_ENTRY = ElToritoEntry(0x00, True, 0, 4, 30)
UEFI_ENTRY = ElToritoEntry(0xEF, True, 0, 2880, 40)
LIMITS = Limits(os_room_mib=64, bios_limit_mib=2816)
MIB = 1 << 20

BIOS_PC = Machine(firmware=Firmware.BIOS, architecture="i386", memory_mib=4096)
UEFI_PC = Machine(firmware=Firmware.UEFI, architecture="x86_64", memory_mib=4096)


def image(*entries: ElToritoEntry, mib: int = 300, markers: tuple[str, ...] = ()) -> Image:
    facts = IsoFacts(mib * MIB, el_torito=entries, markers=frozenset(markers))
    return Image("rescue", "/rescue.iso", FileVersion(mib * MIB, 0, 0), facts=facts)


@pytest.mark.parametrize(
    ("machine", "method"), [(BIOS_PC, Method.MEMDISK), (UEFI_PC, Method.RAMDISK)]
)
def test_each_firmware_has_its_method(machine: Machine, method: Method):
    assert decide(image(BIOS_ENTRY, UEFI_ENTRY), machine, LIMITS).method is method


def test_a_boot_file_without_a_catalog_entry_is_enough_for_uefi():
    both = image(BIOS_ENTRY, markers=("/efi/boot/bootx64.efi",))

    assert decide(both, UEFI_PC, LIMITS).method is Method.RAMDISK


def test_a_machine_that_tells_nothing_is_taken_for_a_bios_machine_with_enough_memory():
    assert decide(image(BIOS_ENTRY, mib=2000), Machine(), LIMITS).method is Method.MEMDISK


@pytest.mark.parametrize(
    ("machine", "disc", "words"),
    [
        (UEFI_PC, image(BIOS_ENTRY), "no EFI boot file, so it boots BIOS machines only"),
        (BIOS_PC, image(UEFI_ENTRY), "it boots machines with UEFI"),
        (BIOS_PC, image(), "no boot entry for BIOS machines"),
        (BIOS_PC, image(BIOS_ENTRY, mib=2817), "there is room for 2816 MiB"),
        (UEFI_PC, image(UEFI_ENTRY, mib=4033), "needs 4097 MiB of memory"),
        (Machine(firmware=Firmware.UEFI, architecture="i386"), image(UEFI_ENTRY), "IA32"),
        (Machine(firmware=Firmware.UEFI, architecture="arm64"), image(UEFI_ENTRY), "arm64"),
    ],
)
def test_what_cannot_boot_is_refused_in_words(machine: Machine, disc: Image, words: str):
    decision = decide(disc, machine, LIMITS)

    assert decision.method is None
    assert words in decision.refusal


def test_an_image_over_four_gigabytes_boots_under_uefi_alone():
    large = image(BIOS_ENTRY, UEFI_ENTRY, mib=5000)
    machine = Machine(firmware=Firmware.UEFI, architecture="x86_64", memory_mib=8192)

    assert decide(large, machine, LIMITS).method is Method.RAMDISK
    assert decide(large, BIOS_PC, LIMITS).method is None


def test_an_image_that_just_fits_is_not_refused():
    assert decide(image(BIOS_ENTRY, mib=2816), BIOS_PC, LIMITS).method is Method.MEMDISK
    assert decide(image(UEFI_ENTRY, mib=4032), UEFI_PC, LIMITS).method is Method.RAMDISK
