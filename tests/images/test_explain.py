"""What an image is and what will come of it, in sentences and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bootserver.images.decide import Site
from bootserver.images.explain import explain
from bootserver.json_values import to_json
from bootserver.model import (
    ElToritoEntry,
    FileVersion,
    Firmware,
    Image,
    ImageSettings,
    IsoFacts,
    Machine,
    Method,
)
from tests.fixtures.menu_files import menus_of

MB = 1_000_000
MIB = 1 << 20
SITE = Site(os_room_mib=64, bios_limit_mib=2816)
ENTRIES = (ElToritoEntry(0x00, True, 0, 4, 30), ElToritoEntry(0xEF, True, 0, 2880, 40))
LIVE = {
    "/live/vmlinuz": 8 * MB,
    "/live/initrd.img": 41 * MB,
    "/live/filesystem.squashfs": 152 * MB,
}


def image(markers: Mapping[str, int] | None = None, recipe: str = "", **facts: Any) -> Image:
    size_bytes = 206 * MB
    return Image(
        "rescue",
        "/rescue.iso",
        FileVersion(size_bytes, 0, 0),
        facts=IsoFacts(size_bytes, el_torito=ENTRIES, markers=markers or {}, **facts),
        settings=ImageSettings(recipe=recipe),
    )


def test_a_live_system_is_explained_from_its_files():
    explained = explain(image(LIVE), SITE)

    assert explained.recipe == "debian-live"
    assert explained.reasons == (
        "it has /live/filesystem.squashfs",
        "it has /live/vmlinuz",
    )
    assert explained.bios.method == explained.uefi.method == "kernel"
    assert explained.bios.sentence.startswith(
        "BIOS: iPXE loads the kernel /live/vmlinuz and its initrd /live/initrd.img (49.0 MB); the "
        "system then fetches /live/filesystem.squashfs (152.0 MB) over HTTP. The machine needs "
        "485 MiB of memory."
    )
    assert explained.ram_bytes == 485 * MIB


def test_padding_that_was_cut_off_is_a_caveat():
    whole = image(LIVE)
    cut = replace(whole, facts=replace(whole.facts, missing_bytes=307_200))

    *others, caveat = explain(cut, SITE).caveats

    assert tuple(others) == explain(whole, SITE).caveats
    assert caveat.startswith("the file ends 307,200 bytes before its volume does")


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, Firmware, Method]]]:
    """The ways that the boot tests have proved: none, until a test adds some."""
    ways: set[tuple[str, Firmware, Method]] = set()
    monkeypatch.setattr(f"{explain.__module__}.is_booted", lambda *way: way in ways)
    explain.cache_clear()
    yield ways
    explain.cache_clear()


def test_only_what_was_booted_on_this_firmware_in_this_way_is_verified(booted):
    booted.add(("debian-live", Firmware.BIOS, Method.KERNEL))
    booted.add(("debian-live", Firmware.UEFI, Method.MEMDISK))  # which is not how UEFI boots it

    live = explain(image(LIVE), SITE)

    assert (live.bios.verified, live.uefi.verified) == (True, False)
    assert "Unverified" not in live.bios.sentence
    reason = "(Unverified: no boot test of ours has booted this kind in this way.)"
    assert reason in live.uefi.sentence


def test_a_disc_of_an_unknown_kind_is_never_verified(booted):
    booted.update(("disc", firmware, method) for firmware in Firmware for method in Method)

    disc = explain(image(), SITE)

    for outlook in (disc.bios, disc.uefi):
        assert not outlook.verified
        assert "(Unverified: the boot of another disc of an unknown kind" in outlook.sentence


def test_a_refusal_is_not_verified(booted):
    booted.update(("dban", Firmware.UEFI, method) for method in Method)

    assert not explain(image({"/dban.bzi": MB}), SITE).uefi.verified


def unknown_linux(arguments: str, kernel_bytes: int = MB, **more: int) -> Image:
    """A disc of no known kind with a boot menu of one entry."""
    disc = image({"/k": kernel_bytes, "/i": MB} | {f"/{path}": MB for path in more})
    assert disc.facts
    return replace(disc, facts=replace(disc.facts, menus=menus_of(arguments)))


MOST = 110 * MB  # of the image's 206


@pytest.mark.parametrize(
    ("arguments", "seeks"),
    [
        ("coreos.liveiso=fedora-coreos-40 ignition.firstboot", "coreos.liveiso=fedora-coreos-40"),
        (
            "dokeymap root=live:CDLABEL=Gentoo-x rd.live.dir=/ rd.live.squashimg=image.squashfs",
            "root=live:CDLABEL=Gentoo-x",
        ),
        ("archisolabel=A", "archisolabel=A"),
        ("root=LABEL=R ro", "root=LABEL=R"),
        ("inst.stage2=hd:LABEL=F", "inst.stage2=hd:LABEL=F"),
    ],
)
def test_a_system_that_looks_for_its_disc_is_never_verified(booted, arguments: str, seeks: str):
    booted.update(("unknown-linux", kind, method) for kind in Firmware for method in Method)

    explained = explain(unknown_linux(arguments, MOST), SITE)

    assert explained.recipe == "unknown-linux"
    assert (explained.bios.method, explained.uefi.method) == ("kernel", "ramdisk")
    assert (explained.bios.verified, explained.uefi.verified) == (False, False)
    assert f"(Unverified: by {seeks} its system looks for its disc" in explained.bios.sentence
    assert "(Unverified: its system looks for its disc, which it" in explained.uefi.sentence


def test_an_unknown_system_whose_fetching_is_guessed_is_nothing_that_we_have_booted(booted):
    booted.update(("unknown-linux", kind, method) for kind in Firmware for method in Method)
    live = unknown_linux("root=live:CDLABEL=X", MOST, **{"liveos/squashfs.img": MB})

    explained = explain(live, SITE)

    assert "fetches /liveos/squashfs.img" in explained.bios.sentence
    for outlook in (explained.bios, explained.uefi):
        assert not outlook.verified
        assert "(Unverified: how its system fetches its root is told from" in outlook.sentence


def test_a_disc_of_which_most_is_not_loaded_is_not_verified_and_said_so(booted):
    booted.update(("unknown-linux", kind, method) for kind in Firmware for method in Method)

    most, little = (explain(unknown_linux("quiet", size), SITE) for size in (MOST, 90 * MB))

    assert most.bios.verified
    assert not little.bios.verified
    assert "most of the disc is not loaded: 44 % of it is" in little.bios.sentence
    assert little.uefi.verified  # the whole disc


def test_a_whole_image_is_explained_for_each_firmware():
    explained = explain(image(volume_id="WHO_KNOWS"), SITE)

    assert "memdisk starts it there" in explained.bios.sentence
    assert "as a disk, which some systems see too" in explained.uefi.sentence
    assert explained.reasons == ("nothing on it tells a kind that is known",)
    assert explained.bios.ram_bytes == (197 + 64) * MIB
    assert any("no longer sees a disc in memory" in caveat for caveat in explained.caveats)


def test_what_wimboot_would_make_of_a_disc_is_told_where_the_site_has_none():
    pe = image({"/sources/boot.wim": 100 * MB, "/boot/bcd": MB, "/boot/boot.sdi": 3 * MB})
    with_wimboot = replace(SITE, wimboot=True)

    # boot.sdi, BCD, and boot.wim twice (204 MB are 195 MiB), and 512 MiB for its system.
    told = " By wimboot, which this site does not supply, it needs 707 MiB."
    assert told in explain(pe, SITE).uefi.sentence
    assert "wimboot" not in explain(image(), SITE).uefi.sentence
    assert told not in explain(pe, with_wimboot).uefi.sentence


def test_windows_is_said_not_to_see_its_disc_in_memory():
    setup = image({"/sources/boot.wim": MB, "/sources/install.wim": MB})

    told = " ".join(explain(setup, SITE).lines())

    assert "what lies beside boot.wim it does not see" in told
    assert "must be given it from a share" in told


def test_a_refusal_is_a_sentence_and_no_method():
    explained = explain(image({"/dban.bzi": MB}), SITE)

    assert explained.uefi.method == ""
    assert "BIOS machines only" in explained.uefi.refusal
    assert explained.uefi.sentence == f"UEFI: does not boot: {explained.uefi.refusal}."
    assert explained.boots_on == (Firmware.BIOS,)


def test_an_arm64_disc_is_explained_for_arm64_machines_which_we_have_not_booted(booted):
    booted.add(("debian-live", Firmware.UEFI, Method.KERNEL))
    disc = image({**LIVE, "/efi/boot/bootaa64.efi": 1})
    assert disc.facts
    arm64 = replace(disc, facts=replace(disc.facts, el_torito=ENTRIES[1:]))

    explained = explain(arm64, SITE)

    assert explained.uefi.method == "kernel"
    assert "for arm64 machines" in explained.bios.refusal
    assert not explained.uefi.verified


def test_a_known_machine_gets_its_own_sentence():
    machine = Machine(firmware=Firmware.UEFI, architecture="x86_64", memory_mib=480)

    explained = explain(image(LIVE), SITE, machine)

    assert explained.machine is not None
    assert explained.machine.method == ""
    assert "needs 485 MiB of memory" in explained.machine.refusal
    assert "this machine has 480" in explained.machine.sentence
    assert explained.uefi.method == "kernel"  # that of a machine with enough memory
    assert explained.ram_bytes == 485 * MIB


def test_a_machine_with_enough_memory_is_told_how_much_it_has():
    machine = Machine(firmware=Firmware.BIOS, memory_mib=4096)

    explained = explain(image(LIVE), SITE, machine)

    assert explained.machine is not None
    assert explained.machine.sentence.startswith("This machine (BIOS): iPXE loads")
    assert "needs 485 MiB of memory and has 4,096." in explained.machine.sentence


def test_a_side_car_is_named_as_the_reason():
    explained = explain(image(LIVE, recipe="disc"), SITE)

    assert explained.recipe == "disc"
    assert explained.reasons == ("its side-car says so",)
    assert explained.bios.method == "memdisk"


def test_all_of_it_goes_into_json():
    told = json.loads(json.dumps(to_json(explain(image(LIVE), SITE, Machine()))))

    assert told["recipe"] == "debian-live"
    assert told["reasons"][0] == "it has /live/filesystem.squashfs"
    assert told["bios"]["method"] == told["uefi"]["method"] == "kernel"
    assert told["bios"].keys() == {
        *("method", "entry", "sentence", "ram_bytes", "refusal", "verified")
    }
    assert told["ram_bytes"] == told["machine"]["ram_bytes"] == 485 * MIB
    assert told["caveats"] == []


def test_a_person_gets_the_same_in_lines():
    lines = explain(image({"/dban.bzi": MB}), SITE).lines()

    assert lines[0] == "rescue is taken for: DBAN (wipes all disks) [dban]"
    assert lines[1] == "Why: it has /dban.bzi."
    assert lines[2].startswith(
        "BIOS: iPXE loads the kernel /dban.bzi (1.0 MB); nothing else of the"
    )
    assert lines[3].startswith("UEFI: does not boot: rescue is DBAN")
    assert lines[4].startswith("Note: it asks before it wipes")


def test_an_image_is_explained_once_until_it_changes():
    first = explain(image(LIVE), SITE)

    assert explain(image(LIVE), SITE) is first
    assert explain(image(LIVE, recipe="kali-live"), SITE) is not first
    assert explain(image({**LIVE, "/casper/vmlinuz": 1}), SITE) is not first
