"""Discs of every kind with files replaced and removed, as pycdlib, 7-Zip and xorriso read them."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycdlib import PyCdlib
from pycdlib.pycdlibexception import PyCdlibInvalidInput

from bootserver.disc.udf_blocks import is_tagged
from bootserver.errors import ImageError
from bootserver.model import ByteRange, Piece
from tests.fixtures.discs import (
    SECTOR,
    all_files,
    content,
    large_file_iso,
    large_file_udf,
    mastered,
    opened,
    tree_of,
)
from tests.fixtures.isos import WindowsShape, hybrid_iso, make_iso, windows_disc
from tests.fixtures.udf import EMBEDDED, LONG, PARTITION_START, SHORT, udf_volume

pytestmark = pytest.mark.interop

BYTES = random.Random(0).randbytes
FILES: Mapping[str, bytes] = {
    "bootmgr": BYTES(5_000),
    "boot/bcd": BYTES(2_048),
    "boot/etfsboot.com": BYTES(4_096),
    "boot/fonts/a.ttf": BYTES(7_000),
    "boot/fonts/b.ttf": BYTES(1),
    "efi/microsoft/boot/efisys.bin": BYTES(50_000),
    "empty.txt": b"",
    "sources/boot.wim": BYTES(100_001),
    "zz/last.bin": BYTES(12_345),
}
LONG_NAMES: Mapping[str, bytes] = {
    **FILES,
    "sources/a name too long for iso 9660.txt": BYTES(3_000),
    "1/2/3/4/5/6/7/8/9/deep.bin": BYTES(4_000),
}
Changes = Mapping[str, bytes | None]
Disc = Callable[[Path], Path]


def windows(shape: WindowsShape) -> Disc:
    def make(work: Path) -> Path:
        return windows_disc(work / "disc.iso", tree_of(work / "tree", FILES), shape, "DVD")

    return make


def genisoimage(*options: str) -> Disc:
    def make(work: Path) -> Path:
        boot = ("-b", "boot/etfsboot.com", "-no-emul-boot", "-boot-info-table")
        return mastered(work / "disc.iso", tree_of(work / "tree", LONG_NAMES), *boot, *options)

    return make


def xorriso(work: Path) -> Path:
    boot = ("-b", "boot/etfsboot.com", "-no-emul-boot", "-boot-info-table", "--grub2-boot-info")
    tree = tree_of(work / "tree", LONG_NAMES)
    return mastered(work / "disc.iso", tree, "-R", "-J", *boot, tool="xorriso")


def pycdlib(work: Path) -> Path:
    return make_iso(work / "disc.iso", FILES, joliet=True, udf=True, bios=True, uefi=True)


# Discs with ISO 9660, which pycdlib reads.
DISCS: Mapping[str, Disc] = {
    "iso9660": windows("iso9660"),
    "joliet": windows("joliet"),
    "bridge": windows("bridge"),
    "udf beside README.TXT": windows("udf"),
    "rock ridge": genisoimage("-R"),
    "rock ridge, joliet": genisoimage("-R", "-J", "-joliet-long"),
    "joliet, udf": genisoimage("-J", "-udf"),
    "short names": genisoimage("-J", "-joliet-long"),
    "xorriso": xorriso,
    "pycdlib": pycdlib,
}


@pytest.fixture(scope="module", params=DISCS)
def disc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disc of each kind, with FILES and perhaps LONG_NAMES on it."""
    return DISCS[request.param](tmp_path_factory.mktemp("disc"))


@pytest.fixture(scope="module")
def full_disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ISO 9660, Rock Ridge, Joliet and UDF on one disc."""
    return genisoimage("-R", "-J", "-joliet-long", "-udf")(tmp_path_factory.mktemp("full"))


CHANGES: Mapping[str, Changes] = {
    "smaller": {"/sources/boot.wim": BYTES(60_000), "/boot/fonts": None, "/bootmgr": None},
    "empty": {"/sources/boot.wim": b"", "/empty.txt": b"no more"},
    "all at once": {
        "/Sources/BOOT.WIM": BYTES(1_000_000),
        "/boot/fonts/b.ttf": None,
        "/zz": None,
        "/bootmgr": BYTES(5_000),
        "/boot/bcd": BYTES(9_000),
    },
}


def rewritten(disc: Path, changes: Mapping[str, Sequence[Piece] | None]) -> bytes:
    """The new disc."""
    with opened(disc) as (volume, fd):
        return b"".join(
            os.pread(fd, len(part), part.start) if isinstance(part, ByteRange)
            else part
            for part in volume.rewritten(changes)
        )  # fmt: skip


def changed(disc: Path, changes: Changes, out: Path) -> Path:
    """The new disc as the file `out`."""
    as_parts = {path: None if data is None else (data,) for path, data in changes.items()}
    out.write_bytes(rewritten(disc, as_parts))
    return out


def expected(files: Mapping[str, bytes], changes: Changes) -> dict[str, bytes]:
    """The files of a disc after the changes, by their paths in lower case."""
    result = {f"/{name}".lower(): data for name, data in files.items()}
    for path, data in changes.items():
        if data is None:
            result = {
                name: kept
                for name, kept in result.items()
                if name != path.lower() and not name.startswith(f"{path.lower()}/")
            }
        else:
            result[path.lower()] = data
    return result


def by_pycdlib(disc: Path) -> dict[str, dict[str, bytes]]:
    """What is in each file system, as pycdlib reads it."""
    iso = PyCdlib()
    iso.open(str(disc))
    kinds = {"iso_path": True, "rr_path": iso.has_rock_ridge()}
    kinds |= {"joliet_path": iso.has_joliet(), "udf_path": iso.has_udf()}
    found: dict[str, dict[str, bytes]] = {}
    for kind in (kind for kind, is_there in kinds.items() if is_there):
        found[kind] = {}
        for above, _, names in iso.walk(**{kind: "/"}):
            for name in names:
                data = io.BytesIO()
                path = f"{above.rstrip('/')}/{name}"
                with suppress(PyCdlibInvalidInput):  # "without data": empty, or a boot catalog
                    iso.get_file_from_iso_fp(data, **{kind: path})
                found[kind][path.partition(";")[0].rstrip(".").lower()] = data.getvalue()
    iso.close()
    return found


def by_7zip(disc: Path, kind: str) -> dict[str, bytes]:
    """What 7-Zip extracts from the file system of that kind."""
    out = disc.with_name(f"{disc.stem} {kind}")
    command = ("7z", "x", f"-t{kind}", "-y", f"-o{out}", disc)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return {
        f"/{file.relative_to(out)}".lower(): file.read_bytes()
        for file in out.rglob("*")
        if file.is_file() and "[BOOT]" not in file.parts
    }


def by_us(disc: Path) -> dict[str, bytes]:
    with opened(disc) as (volume, fd):
        return {f"/{name}".lower(): content(fd, n) for name, n in all_files(volume).items()}


def boot_images(disc: Path) -> list[tuple[int, bool, int, int, bytes]]:
    """What the boot catalog says, with the beginning of each image."""
    with opened(disc) as (volume, fd):
        return [
            (e.platform_id, e.bootable, e.media, e.load_sectors, os.pread(fd, 64, e.lba * SECTOR))
            for e in volume.el_torito
        ]


def assert_changed(
    before: Mapping[str, bytes], after: Mapping[str, bytes], changes: Changes
) -> None:
    """In one file system: by whatever name a file has there, it is what it should be now.

    A boot catalog, and a boot image with a table of its own place, may have other numbers in them.
    """
    wanted = expected(LONG_NAMES, changes)
    names = {data: name for name, data in expected(LONG_NAMES, {}).items() if data}
    real = {name: names.get(data) or name for name, data in before.items()}
    known = {name for name, data in before.items() if data in names or name == "/empty.txt"}
    assert set(after) == {n for n in before if n not in known or real[n] in wanted}
    assert {n: after[n] for n in known & set(after)} == {
        n: wanted[real[n]] for n in known & set(after)
    }


@pytest.mark.parametrize("changes", CHANGES)
def test_every_file_system_has_the_changes_and_all_else(
    tmp_path: Path, disc: Path, changes: str
) -> None:
    after = changed(disc, CHANGES[changes], tmp_path / "new.iso")

    old, new = by_pycdlib(disc), by_pycdlib(after)
    assert list(old) == list(new)
    for kind in old:
        assert_changed(old[kind], new[kind], CHANGES[changes])
    assert_changed(by_us(disc), by_us(after), CHANGES[changes])
    assert boot_images(disc) == boot_images(after)


def test_nothing_changed_is_the_very_same_disc(disc: Path) -> None:
    assert rewritten(disc, {}) == disc.read_bytes()


def test_changes_undone_are_the_very_same_disc(tmp_path: Path, disc: Path) -> None:
    """So what changed were the numbers that had to, and nothing else."""
    path = "/sources/boot.wim"

    longer = changed(disc, {path: BYTES(3_000_000)}, tmp_path / "longer.iso")

    assert rewritten(longer, {path: (FILES[path[1:]],)}) == disc.read_bytes()


def test_disc_changes_by_the_sectors_that_went_and_came(disc: Path) -> None:
    smaller = rewritten(disc, {"/boot/fonts/a.ttf": None, "/bootmgr": None})
    other = rewritten(disc, {"/boot/bcd": (BYTES(2 * SECTOR + 1),), "/empty.txt": (b"1",)})

    assert len(smaller) == disc.stat().st_size - (4 + 3) * SECTOR
    assert len(other) == disc.stat().st_size + (2 + 1) * SECTOR


@pytest.mark.parametrize("shape", ["joliet", "bridge", "udf"])
def test_seven_zip_and_xorriso_find_no_fault(tmp_path: Path, shape: WindowsShape) -> None:
    before = windows(shape)(tmp_path)
    changes = CHANGES["all at once"]

    after = changed(before, changes, tmp_path / "new.iso")

    for kind in ("iso",) if shape == "joliet" else ("iso", "udf"):
        assert_changed(by_7zip(before, kind), by_7zip(after, kind), changes)
    found = subprocess.run(
        ("xorriso", "-abort_on", "SORRY", "-indev", after, "-check_media", "--"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr


def by_grub(disc: Path, name: str) -> bytes | None:
    """What GRUB reads of a file; None where it refuses."""
    copy = disc.with_suffix(".copy")
    command = ("grub-fstest", disc, "cp", f"(loop0){name}", copy)
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    return None if done.returncode else copy.read_bytes()


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("allocation", [SHORT, LONG, EMBEDDED])
def test_udf_without_iso9660_is_read_by_grub_and_by_seven_zip(
    tmp_path: Path, allocation: int, extended: bool, chained: bool
) -> None:
    """7-Zip reads no file whose allocation descriptors go on in another block; GRUB 2.06 does."""
    before = udf_volume(
        tmp_path / "disc.iso", FILES, allocation=allocation, extended=extended, chained=chained
    )
    changes = CHANGES["all at once"]
    wanted = expected(FILES, changes)

    after = changed(before, changes, tmp_path / "new.iso")

    assert by_us(after) == wanted
    if all(by_grub(before, f"/{name}") == data for name, data in FILES.items()):
        assert {name: by_grub(after, name) for name in wanted} == wanted
    else:
        assert chained  # GRUB 2.14 reads no such file, not even of the disc before
    if not chained:
        assert by_7zip(after, "udf") == wanted


@pytest.mark.parametrize("allocation", [SHORT, EMBEDDED])
def test_every_udf_descriptor_says_in_which_block_it_is(tmp_path: Path, allocation: int) -> None:
    before = udf_volume(tmp_path / "disc.iso", FILES, allocation=allocation, chained=True)

    after = changed(before, CHANGES["all at once"], tmp_path / "new.iso")

    data = after.read_bytes()
    for lba in range(32, len(data) // SECTOR):
        sector = data[lba * SECTOR :][:SECTOR]
        if is_tagged(sector) and any(sector[:2]):
            (location,) = struct.unpack_from("<L", sector, 12)
            assert location == (lba if sector[1] == 0 else lba - PARTITION_START), hex(lba)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([f"/{name}" for name in LONG_NAMES if name != "boot/etfsboot.com"]),
        st.none() | st.binary(max_size=10) | st.integers(0, 30_000).map(bytes),
    )
)
def test_any_changes_are_all_the_changes(full_disc: Path, changes: Changes) -> None:
    boot_image = "/boot/etfsboot.com"
    wanted = expected(LONG_NAMES, {**changes, boot_image: None})

    after = changed(full_disc, changes, full_disc.with_name("new.iso"))

    sectors = {path: -(-len(LONG_NAMES[path[1:]]) // SECTOR) for path in changes}
    grown = sum(-(-len(data or b"") // SECTOR) - sectors[path] for path, data in changes.items())
    assert after.stat().st_size == full_disc.stat().st_size + grown * SECTOR
    for kind, files in by_pycdlib(after).items():
        if kind != "iso_path":
            del files[boot_image]  # the table in it says where it is
            assert {name: files.get(name) for name in wanted} == wanted
            assert files.keys() - wanted.keys() <= {"/boot.catalog", "/1/2/3/4/5/6/7/8"}
    assert boot_images(after) == boot_images(full_disc)


def test_equal_changes_give_equal_bytes_in_any_order(full_disc: Path, tmp_path: Path) -> None:
    parts: dict[str, Sequence[Piece] | None] = {
        "/zz/last.bin": (b"1", ByteRange(0, SECTOR * 20), b"2"),
        "/bootmgr": None,
        "/empty.txt": (b"3",),
        "/boot/bcd": (),
    }

    forwards = rewritten(full_disc, parts)

    assert rewritten(full_disc, dict(reversed(parts.items()))) == forwards
    assert b"1" + full_disc.read_bytes()[: SECTOR * 20] + b"2" in forwards


@pytest.mark.parametrize("tool", ["genisoimage", "xorriso"])
def test_boot_images_that_move_know_their_new_places(tmp_path: Path, tool: str) -> None:
    """Boot info table and GRUB's address: xorrisofs(1), -boot-info-table and --grub2-boot-info."""
    image = "boot/etfsboot.com"
    tree = tree_of(tmp_path / "tree", FILES)
    (tmp_path / "sort").write_text(f"{tree / image} -100\n")
    last = {
        "genisoimage": ("-udf", "-J", "-sort", str(tmp_path / "sort")),
        "xorriso": ("-R", "--grub2-boot-info", "--sort-weight", "-100", f"/{image}"),
    }[tool]
    boot = ("-b", image, "-no-emul-boot", "-boot-info-table", "-boot-load-size", "4")
    disc = mastered(tmp_path / "disc.iso", tree, *boot, *last, tool=tool)

    after = changed(disc, {"/sources/boot.wim": BYTES(500_000)}, tmp_path / "new.iso")

    with opened(disc) as (old, _), opened(after) as (new, fd):
        moved = new.el_torito[0].lba - old.el_torito[0].lba
        lba = new.el_torito[0].lba
        data = content(fd, new.find(image))
        assert os.pread(fd, len(data), lba * SECTOR) == data
    assert moved == (500_000 + 2047) // SECTOR - (100_001 + 2047) // SECTOR
    assert struct.unpack_from("<LL", data, 8) == (16, lba)
    if tool == "xorriso":
        assert struct.unpack_from("<Q", data, 2548) == (4 * lba + 5,)


@pytest.mark.parametrize("shape", ["joliet", "bridge", "udf"])
def test_boot_images_without_a_name_stay_whole(tmp_path: Path, shape: WindowsShape) -> None:
    """Oscdimg puts boot images beside the file systems: only the catalog says where they begin."""
    names = ("boot/etfsboot.com", "efi/microsoft/boot/efisys.bin")
    changes = {"/sources/boot.wim": b"", "/bootmgr": BYTES(50_000), "/zz": None}
    disc = windows(shape)(tmp_path)
    hidden = changed(disc, {f"/{name}": None for name in names}, tmp_path / "hidden.iso")

    after = changed(hidden, changes, tmp_path / "new.iso")

    assert not {f"/{name}" for name in names} & by_us(after).keys()
    with opened(after) as (volume, fd):
        for entry, name in zip(volume.el_torito, names, strict=True):
            data = FILES[name]
            assert os.pread(fd, len(data), entry.lba * SECTOR) == data


def test_content_that_has_another_name_too_stays(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", FILES)
    (tree / "other.wim").hardlink_to(tree / "sources" / "boot.wim")
    disc = mastered(tmp_path / "disc.iso", tree, "-R", "-J", "-udf")

    removed = changed(disc, {"/other.wim": None}, tmp_path / "removed.iso")
    replaced = changed(disc, {"/other.wim": b"another"}, tmp_path / "replaced.iso")
    neither = changed(disc, {"/other.wim": None, "/sources": None}, tmp_path / "neither.iso")

    assert by_us(removed) == expected(FILES, {})
    assert by_us(replaced) == expected({**FILES, "other.wim": b"another"}, {})
    assert by_us(neither) == expected(FILES, {"/sources": None})
    size = disc.stat().st_size
    assert removed.stat().st_size == size
    assert replaced.stat().st_size == size + SECTOR
    assert neither.stat().st_size == size - 49 * SECTOR


def test_extent_of_as_many_bytes_as_a_tag_has_is_no_tag(tmp_path: Path) -> None:
    """262 is the tag of extended attributes, which a file entry may have before its extents."""
    files = {"a.bin": b"a" * 5000, "b.bin": b"b" * 262}
    before = udf_volume(tmp_path / "disc.iso", files)

    after = changed(before, {"/a.bin": None}, tmp_path / "new.iso")

    assert by_us(after) == {"/b.bin": b"b" * 262}


def test_name_that_fits_to_the_letter_is_the_one_that_is_meant(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"README": b"large", "readme": b"small"})
    disc = mastered(tmp_path / "disc.iso", tree, "-R")

    after = changed(disc, {"/readme": None}, tmp_path / "new.iso")

    with opened(after) as (volume, fd):
        assert {k: content(fd, n) for k, n in all_files(volume).items()} == {"README": b"large"}


def test_directory_of_many_sectors_loses_every_other_file(tmp_path: Path) -> None:
    files = {f"many/a long name of file {n:03}.bin": b"%d" % n for n in range(100)}
    tree = tree_of(tmp_path / "tree", files)
    disc = mastered(tmp_path / "disc.iso", tree, "-R", "-J", "-joliet-long", "-udf")
    changes = dict.fromkeys(list(expected(files, {}))[::2])

    after = changed(disc, changes, tmp_path / "new.iso")

    found = by_pycdlib(after)
    kept = expected(files, changes)
    assert [found[kind] for kind in ("rr_path", "joliet_path", "udf_path")] == [kept] * 3
    assert sorted(found["iso_path"].values()) == sorted(kept.values())
    assert by_7zip(after, "udf") == kept


@pytest.mark.parametrize("make", [large_file_iso, large_file_udf])
def test_file_of_several_extents_goes_and_shrinks(
    tmp_path: Path, make: Callable[[Path, int], object]
) -> None:
    disc = tmp_path / "large.iso"
    make(disc, 5 * 10**9)

    gone = rewritten(disc, {"/big.bin": None})
    small = changed(disc, {"/big.bin": b"small"}, tmp_path / "small.iso")

    assert len(gone) == disc.stat().st_size - -(-5 * 10**9 // SECTOR) * SECTOR
    assert by_us(small) == {"/big.bin": b"small"}


@pytest.mark.parametrize(
    ("path", "parts", "message"),
    [
        ("/no/such.file", None, "has no /no/such.file"),
        ("/boot", (b"",), "has no /boot"),
        ("/zz/last.bin", (ByteRange(0, 2**32),), "would have 4,294,967,296 bytes"),
        ("/boot/etfsboot.com", (b"",), "is what firmware boots from"),
    ],
)
def test_what_cannot_be_done_is_refused(
    full_disc: Path, path: str, parts: Sequence[Piece] | None, message: str
) -> None:
    with opened(full_disc) as (volume, _), pytest.raises(ImageError, match=message):
        volume.rewritten({path: parts})


def test_disc_with_a_partition_table_is_refused(tmp_path: Path) -> None:
    disc = hybrid_iso(tmp_path / "disc.iso", tmp_path)

    with opened(disc) as (volume, _), pytest.raises(ImageError, match="a partition table"):
        volume.rewritten({"/efi.img": None})


def test_udf_with_a_metadata_partition_is_refused(tmp_path: Path) -> None:
    disc = udf_volume(tmp_path / "disc.iso", FILES, metadata=True)

    with opened(disc) as (volume, _), pytest.raises(ImageError, match="a partition of their own"):
        volume.rewritten({})


def test_disc_that_is_not_all_there_is_refused(tmp_path: Path) -> None:
    disc = windows("joliet")(tmp_path)
    with disc.open("r+b") as file:
        file.truncate(disc.stat().st_size - 400_000)

    with opened(disc) as (volume, _), pytest.raises(ImageError, match="past the end"):
        volume.rewritten({})
