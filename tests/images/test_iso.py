"""inspect_iso: the facts of real ISOs, and a clear refusal of everything else."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootserver.disc import source as source_module
from bootserver.errors import ImageError
from bootserver.images.iso import MARKERS, MARKERS_LIMIT, TEXTS, inspect_iso
from bootserver.model import ElToritoEntry, Firmware, IsoFacts, PlainDisk
from tests.fixtures.discs import mastered, patched, tree_of
from tests.fixtures.isos import (
    FLOPPY_BYTES,
    hybrid_iso,
    make_iso,
    mislabelled_iso,
    truncated_iso,
    windows_iso,
)
from tests.fixtures.udf import udf_volume

LIVE_FILES = {
    ".disk/info": b"Debian GNU/Linux 12 Live",
    "live/filesystem.squashfs": b"hsqs",
    "live/vmlinuz-6.1.0-28-amd64": b"kernel",
    "home/unrelated.txt": b"",
}
LIVE_MARKERS = {
    "/.disk/info": 24,
    "/live": 0,
    "/live/filesystem.squashfs": 4,
    "/live/vmlinuz-6.1.0-28-amd64": 6,
}


def test_volume_descriptor_is_read_as_text_without_padding(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", volume_id="ARCH_202411", publisher="ARCH LINUX")

    facts = inspect_iso(path)

    assert (facts.volume_id, facts.publisher) == ("ARCH_202411", "ARCH LINUX")
    assert facts.size_bytes == path.stat().st_size


@pytest.mark.interop
@pytest.mark.parametrize("tool", ["xorriso", "genisoimage"])
@pytest.mark.parametrize("fat", ["12", "16", "32"])
def test_efi_image_that_is_said_to_be_for_a_bios_boots_on_uefi(
    tmp_path: Path, tool: str, fat: str
) -> None:
    mib = 20 if fat == "16" else 0
    path = mislabelled_iso(tmp_path / "a.iso", tmp_path / "w", tool=tool, fat=fat, mib=mib)

    facts = inspect_iso(path)

    assert [(e.platform_id, e.holds_efi) for e in facts.el_torito] == [(0, False), (0, True)]
    assert facts.boots(Firmware.UEFI)
    assert facts.boots(Firmware.BIOS)


@pytest.mark.interop
def test_efi_image_as_the_only_entry_boots_on_uefi_whatever_it_is_said_to_be(
    tmp_path: Path,
) -> None:
    """As by `mkisofs -b efi.img -no-emul-boot`, or with 0xEF in the catalog's first entry."""
    path = mislabelled_iso(tmp_path / "a.iso", tmp_path / "w", bios=False)
    facts = inspect_iso(path)
    disc = path.read_bytes()
    catalog = int.from_bytes(disc[17 * 2048 + 71 : 17 * 2048 + 75], "little") * 2048
    checksum = int.from_bytes(disc[catalog + 28 : catalog + 30], "little") - 0xEF00
    patched(path, catalog + 1, b"\xef")
    patched(path, catalog + 28, (checksum % 65536).to_bytes(2, "little"))

    assert facts.boots(Firmware.UEFI)
    assert not facts.boots(Firmware.BIOS)
    assert inspect_iso(path).el_torito[0].platform_id == 0xEF
    assert inspect_iso(path).boots(Firmware.UEFI)


@pytest.mark.interop
@pytest.mark.parametrize("name", [b"EFI     ", b"BOOT    "])
def test_volume_without_efi_boot_is_no_efi_image(tmp_path: Path, name: bytes) -> None:
    path = mislabelled_iso(tmp_path / "a.iso", tmp_path / "w")
    path.write_bytes(path.read_bytes().replace(name + b"   \x10", b"ANOTHER    \x10"))

    assert not inspect_iso(path).boots(Firmware.UEFI)


def test_bios_entry_makes_it_boot_on_bios_only(tmp_path: Path) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso", bios=True))

    assert [e.platform_id for e in facts.el_torito] == [0x00]
    assert facts.boots(Firmware.BIOS)
    assert not facts.boots(Firmware.UEFI)


def test_uefi_entry_alone_makes_it_boot_on_uefi_only(tmp_path: Path) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso", uefi=True))

    assert not facts.boots(Firmware.BIOS)
    assert facts.boots(Firmware.UEFI)


def test_section_entries_have_their_sections_platform(tmp_path: Path) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso", bios=True, uefi=True))

    assert [(e.platform_id, e.media, e.load_sectors) for e in facts.el_torito] == [
        (0x00, 0, 4),
        (0xEF, 0, 8),
    ]


def test_entry_points_at_the_loaders_sector(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", bios=True)

    [entry] = inspect_iso(path).el_torito

    assert path.read_bytes()[entry.lba * 2048 :][:2] == b"\xfa\xf4"


def test_floppy_emulation_is_told_by_its_media_number(tmp_path: Path) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso", floppy=True))

    assert facts.el_torito[0].media == 2
    assert facts.size_bytes > FLOPPY_BYTES


def test_entry_marked_not_bootable_does_not_boot(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", bios=True)
    data = bytearray(path.read_bytes())
    catalog = struct.unpack_from("<L", data, 17 * 2048 + 71)[0] * 2048
    data[catalog + 32] = 0x00  # boot indicator of the initial entry
    path.write_bytes(data)

    facts = inspect_iso(path)

    assert facts.el_torito == (ElToritoEntry(0x00, False, 0, 4, facts.el_torito[0].lba),)
    assert not facts.boots(Firmware.BIOS)


def test_no_boot_entry_is_no_error(tmp_path: Path) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso"))

    assert facts.el_torito == ()


@pytest.mark.parametrize(
    "trees",
    [
        {"iso9660_names": True, "rock_ridge": False},
        {"iso9660_names": False, "rock_ridge": True},
        {"iso9660_names": False, "rock_ridge": False, "joliet": True},
        {"iso9660_names": False, "rock_ridge": False, "udf": True},
    ],
    ids=["iso9660", "rock-ridge", "joliet", "udf"],
)
def test_markers_are_found_in_every_kind_of_tree(tmp_path: Path, trees: dict[str, Any]) -> None:
    facts = inspect_iso(make_iso(tmp_path / "a.iso", LIVE_FILES, **trees))

    assert facts.markers == LIVE_MARKERS


def test_upper_case_names_with_versions_match(tmp_path: Path) -> None:
    path = make_iso(
        tmp_path / "a.iso", {"BOOTMGR.;1": b"", "SOURCES/BOOT.WIM;1": b""}, rock_ridge=False
    )

    assert inspect_iso(path).markers == {"/bootmgr": 0, "/sources/boot.wim": 0}


def test_name_unsafe_in_a_script_is_no_marker(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", {"live/vmlinuz && reboot": b"", "live/vmlinuz2": b""})

    assert inspect_iso(path).markers == {"/live": 0, "/live/vmlinuz2": 0}


def test_markers_are_found_behind_links_and_only_where_these_lead_somewhere(
    tmp_path: Path,
) -> None:
    files = {"real/filesystem.squashfs": b"hsqs", "live/vmlinuz-6.1": b"kernel"}
    links = {"casper": "real", "live/vmlinuz": "vmlinuz-6.1", "live/initrd": "nowhere"}
    path = mastered(tmp_path / "a.iso", tree_of(tmp_path / "tree", files, links), "-R")

    assert inspect_iso(path).markers == {
        "/casper": 0,
        "/casper/filesystem.squashfs": 4,
        "/live": 0,
        "/live/vmlinuz": 6,
        "/live/vmlinuz-6.1": 6,
    }


def test_marker_of_which_the_end_is_missing_is_none(tmp_path: Path) -> None:
    path = make_iso(
        tmp_path / "a.iso", {"live/initrd": b"", "live/vmlinuz": bytes(50_000)}, rock_ridge=False
    )
    blocks = (path.stat().st_size - 4096) // 2048
    patched(path, 16 * 2048 + 80, struct.pack("<L", blocks))  # the volume claims to be whole
    os.truncate(path, blocks * 2048)

    assert inspect_iso(path).markers == {"/live": 0, "/live/initrd": 0}


def test_number_of_markers_is_bounded(tmp_path: Path) -> None:
    files = {f"boot/vmlinuz-{n}": b"" for n in range(MARKERS_LIMIT + 50)}

    facts = inspect_iso(make_iso(tmp_path / "a.iso", files))

    assert len(facts.markers) == MARKERS_LIMIT


def test_small_texts_are_read_as_text(tmp_path: Path) -> None:
    files = {
        ".disk/info": b"Debian \xe2\x80\x9cBookworm\xe2\x80\x9d\0\xff",
        "boot/grub/grub.cfg": b"",
        "home/unrelated.txt": b"unread",
        "boot/grub2/grub.cfg": b"menuentry",
    }

    facts = inspect_iso(make_iso(tmp_path / "a.iso", files))

    assert facts.texts == {"/.disk/info": "Debian “Bookworm”�", "/boot/grub2/grub.cfg": "menuentry"}


def test_of_large_texts_the_beginning_is_read_while_there_is_room(tmp_path: Path) -> None:
    files = {path.lstrip("/"): path.encode().ljust(40_000, b"#") for path in TEXTS}

    facts = inspect_iso(make_iso(tmp_path / "a.iso", files))

    assert list(facts.texts) == list(TEXTS[:6])
    assert all(
        text.startswith(path) and len(text) == 16 * 1024 for path, text in facts.texts.items()
    )


def test_texts_are_lower_case_paths_without_wild_cards() -> None:
    assert all(path == path.lower() and path.startswith("/") for path in TEXTS)
    assert not any("*" in path for path in TEXTS)
    assert len(set(TEXTS)) == len(TEXTS)


def test_markers_are_lower_case_absolute_paths() -> None:
    assert all(m == m.lower() and m.startswith("/") and not m.endswith("/") for m in MARKERS)
    assert sorted(set(MARKERS)) == list(MARKERS)


@pytest.mark.slow
@pytest.mark.interop
def test_hybrid_from_xorriso_has_both_entries(tmp_path: Path) -> None:
    facts = inspect_iso(hybrid_iso(tmp_path / "a.iso", tmp_path))

    assert facts.boots(Firmware.BIOS)
    assert facts.boots(Firmware.UEFI)
    assert facts.markers == {"/.disk/info": 6, "/isolinux/isolinux.bin": 4096}


@pytest.mark.interop
@pytest.mark.parametrize("udf_only", [False, True], ids=["bridge", "udf-only"])
def test_windows_media_are_recognised_through_udf(tmp_path: Path, udf_only: bool) -> None:
    facts = inspect_iso(windows_iso(tmp_path / "a.iso", tmp_path, udf_only=udf_only))

    assert facts.has_udf
    assert facts.publisher == "MICROSOFT CORPORATION"
    assert facts.markers["/sources/boot.wim"] == 100_005
    assert {"/bootmgr", "/boot/bcd", "/efi/boot/bootx64.efi"} <= facts.markers.keys()
    assert [(e.platform_id, e.load_sectors) for e in facts.el_torito] == [(0x00, 8), (0xEF, 1)]


@pytest.mark.interop
def test_truncated_udf_is_told_although_its_iso9660_side_claims_less(tmp_path: Path) -> None:
    path = windows_iso(tmp_path / "a.iso", tmp_path, udf_only=True)
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, 16 * 2048 + 80, 20)  # a stub tree's small volume space size
    path.write_bytes(data[:700_000])

    with pytest.raises(ImageError, match=r"a\.iso is truncated"):
        inspect_iso(path)


PADDED = {
    "xorriso": ("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-pad"),
    "genisoimage": ("genisoimage", "-quiet", "-R", "-J", "-pad"),
    "with UDF": ("genisoimage", "-quiet", "-udf", "-pad"),
}


def padded_iso(tmp_path: Path, tool: str) -> tuple[Path, int]:
    """A disc with padding at its end, and where its last file ends."""
    tree = tmp_path / "tree"
    (tree / "live").mkdir(parents=True)
    content = os.urandom(50_000)
    (tree / "live" / "a.bin").write_bytes(content)
    for number in range(40):
        (tree / "live" / f"{number}").touch()
    path = tmp_path / "a.iso"
    subprocess.run([*PADDED[tool], "-o", path, tree], check=True, capture_output=True)
    return path, path.read_bytes().index(content) + len(content)


@pytest.mark.interop
@pytest.mark.parametrize("tool", PADDED)
@pytest.mark.parametrize("more", [0, 1, 700, 5000])
def test_disc_that_lost_padding_alone_is_whole(tmp_path: Path, tool: str, more: int) -> None:
    path, end = padded_iso(tmp_path, tool)
    whole_bytes = inspect_iso(path).size_bytes
    os.truncate(path, end + more)

    facts = inspect_iso(path)

    assert whole_bytes - 4096 <= end + more + facts.missing_bytes <= whole_bytes
    assert facts.missing_bytes > 250_000


@pytest.mark.interop
@pytest.mark.parametrize("tool", PADDED)
def test_disc_that_lost_one_byte_of_a_file_is_truncated(tmp_path: Path, tool: str) -> None:
    path, end = padded_iso(tmp_path, tool)
    os.truncate(path, end - 1)

    with pytest.raises(ImageError, match=r"a\.iso is truncated"):
        inspect_iso(path)


@pytest.mark.interop
def test_disc_that_lost_its_boot_image_is_truncated(tmp_path: Path) -> None:
    path = mislabelled_iso(tmp_path / "a.iso", tmp_path / "w")
    whole = inspect_iso(path)
    data = bytearray(path.read_bytes())
    for entry in (b"EFI.IMG;1", b"efi.img"):  # no file any more, but still a boot image
        data = data.replace(entry, b"NO.FIL;1"[: len(entry)].ljust(len(entry), b"1"))
    at = data.index(b"NO.FIL;1") - 33
    data[at + 10 : at + 18] = bytes(8)
    path.write_bytes(data)
    os.truncate(path, whole.el_torito[1].lba * 2048 + 1024)

    with pytest.raises(ImageError, match=r"a\.iso is truncated"):
        inspect_iso(path)


@pytest.mark.interop
@pytest.mark.parametrize("keep_bytes", [71_680, 500_000])
def test_disc_that_lost_its_appended_efi_partition_is_truncated(
    tmp_path: Path, keep_bytes: int
) -> None:
    """Hybrid discs have it behind the end of their file system."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "a.txt").write_text("a")
    esp, path = tmp_path / "esp.img", tmp_path / "a.iso"
    esp.write_bytes(bytes(1_474_560))
    subprocess.run(
        [
            *("xorriso", "-as", "mkisofs", "-quiet", "-no-pad", "-o", path),
            *("-append_partition", "2", "0xef", esp, "-appended_part_as_gpt"),
            *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::"),
            *("-no-emul-boot", tmp_path / "content"),
        ],
        check=True,
        capture_output=True,
    )
    assert inspect_iso(path).el_torito
    os.truncate(path, keep_bytes)

    with pytest.raises(ImageError, match=r"a\.iso is truncated"):
        inspect_iso(path)


def test_disc_of_which_too_much_would_have_to_be_read_counts_as_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, end = padded_iso(tmp_path, "xorriso")
    os.truncate(path, end)
    assert inspect_iso(path).missing_bytes
    monkeypatch.setattr(source_module, "READ_BUDGET_BYTES", 60_000)

    with pytest.raises(ImageError, match=r"is truncated: its volume"):
        inspect_iso(path)


def test_truncated_is_told_with_both_sizes(tmp_path: Path) -> None:
    path = truncated_iso(tmp_path / "half.iso", keep_bytes=100_000)

    with pytest.raises(
        ImageError, match=r"half\.iso is truncated: its volume has 26\d,\d{3} bytes, .* 100,000"
    ) as caught:
        inspect_iso(path)

    assert "copy it again" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(100_000)])
def test_other_files_are_no_iso(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(content)

    with pytest.raises(ImageError, match="not an ISO 9660 or UDF image") as caught:
        inspect_iso(path)

    assert caught.value.hint


def test_udf_without_any_iso9660_is_read(tmp_path: Path) -> None:
    facts = inspect_iso(udf_volume(tmp_path / "a.iso", LIVE_FILES))

    assert (facts.volume_id, facts.has_udf) == ("DISC", True)
    assert facts.markers == LIVE_MARKERS


def test_truncated_udf_without_any_iso9660_is_told(tmp_path: Path) -> None:
    path = udf_volume(tmp_path / "a.iso", {"big": bytes(500_000)})
    os.truncate(path, 700_000)

    with pytest.raises(ImageError, match=r"truncated: its volume has 1,0\d\d,\d{3} bytes"):
        inspect_iso(path)


def test_udf_without_descriptors_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(16 * 2048) + b"\0NSR02\x01".ljust(2048, b"\0") + bytes(1_000_000))

    with pytest.raises(ImageError, match="damaged: its UDF volume has no descriptors"):
        inspect_iso(path)


def test_disk_image_is_told_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes((b"\xfa\xf4".ljust(510, b"\0") + b"\x55\xaa").ljust(1_474_560, b"\0"))

    facts = inspect_iso(path)

    assert facts == IsoFacts(1_474_560, plain_disk=PlainDisk("floppy", True, False))
    assert facts.boots(Firmware.BIOS)


def test_hybrid_disc_is_no_disk(tmp_path: Path) -> None:
    path = make_iso(tmp_path / "a.iso", bios=True)
    patched(path, 446, bytes([0x80, 0, 0, 0, 0x17, 0, 0, 0]) + struct.pack("<LL", 64, 500))
    patched(path, 510, b"\x55\xaa")

    assert inspect_iso(path).plain_disk is None


def test_missing_file_is_an_image_error_caused_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.iso cannot be read: No such file") as caught:
        inspect_iso(tmp_path / "a.iso")

    assert isinstance(caught.value.__cause__, OSError)


def test_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.iso")

    with pytest.raises(ImageError, match="not a regular file"):
        inspect_iso(tmp_path / "a.iso")


def test_directories_without_an_end_stop_at_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the markers found so far: those would be of another disc."""
    path = make_iso(tmp_path / "a.iso", LIVE_FILES)
    monkeypatch.setattr(source_module, "READ_BUDGET_BYTES", 28 * 1024)

    with pytest.raises(ImageError, match="no end"):
        inspect_iso(path)


@pytest.fixture(scope="module")
def rich_iso(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Every tree and both boot entries at once, as something to break."""
    path = tmp_path_factory.mktemp("fuzz") / "rich.iso"
    make_iso(path, LIVE_FILES, bios=True, uefi=True, joliet=True, udf=True)
    return path.read_bytes()


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 24), udf=st.booleans())
def test_flipped_bytes_give_facts_or_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, rich_iso: bytes, seed: int, flips: int, udf: bool
) -> None:
    """The first 64 KiB hold the descriptors and ISO trees, from 512 KiB on UDF has its own."""
    data = bytearray(rich_iso)
    used = [
        at
        for at in (range(512 * 1024, len(data)) if udf else range(32 * 1024, 96 * 1024))
        if at < len(data) and data[at]
    ]
    rng = random.Random(seed)
    for at in rng.sample(used, flips):
        data[at] ^= rng.randrange(1, 256)
    path = tmp_path_factory.getbasetemp() / "fuzzed.iso"
    path.write_bytes(data)

    try:
        facts = inspect_iso(path)
    except ImageError as err:
        assert err.message  # noqa: PT017 - either outcome is right; a third is not
    else:
        assert isinstance(facts, IsoFacts)
