"""Rock Ridge's system use entries, from bytes written out by hand."""

from __future__ import annotations

import struct

import pytest

from bootserver.disc.rock_ridge import RockRidge, read_rock_ridge, susp_skip
from bootserver.disc.source import Damage


def no_area(block: int, offset: int, count: int) -> bytes:
    raise AssertionError("nothing is continued")


def entry(signature: bytes, data: bytes) -> bytes:
    return signature + bytes([4 + len(data), 1]) + data


def continued(block: int, offset: int, count: int) -> bytes:
    numbers = (struct.pack("<L", n) + struct.pack(">L", n) for n in (block, offset, count))
    return entry(b"CE", b"".join(numbers))


def test_name_is_read_behind_other_entries() -> None:
    area = b"RR\x05\x01\x89" + b"NM\x0a\x01\x00hello" + bytes(3)

    assert read_rock_ridge(area, no_area) == RockRidge(name=b"hello")


def test_name_in_several_entries_is_one() -> None:
    area = entry(b"NM", b"\x01" + b"a" * 100) + entry(b"NM", b"\x00" + b"b" * 50)

    assert read_rock_ridge(area, no_area).name == b"a" * 100 + b"b" * 50


def test_name_is_continued_in_another_area() -> None:
    rest = entry(b"NM", b"\x00world")
    area = entry(b"NM", b"\x01hello ") + continued(7, 100, len(rest)) + entry(b"PX", bytes(40))

    def read_area(block: int, offset: int, count: int) -> bytes:
        assert (block, offset, count) == (7, 100, len(rest))
        return rest

    assert read_rock_ridge(area, read_area).name == b"hello world"


@pytest.mark.parametrize("flags", [0x02, 0x04, 0x06, 0x20])
def test_name_with_the_flags_of_another_is_a_name(flags: int) -> None:
    """VirtualBox calls a real name the directory itself; such a record never comes here."""
    assert read_rock_ridge(entry(b"NM", bytes([flags]) + b"cert"), no_area).name == b"cert"


@pytest.mark.parametrize("algorithm", [b"pz", b"PZ"])
def test_compressed_file_is_told(algorithm: bytes) -> None:
    area = entry(b"NM", b"\0a") + entry(b"ZF", algorithm + b"\x04\x0f" + bytes(8))

    assert read_rock_ridge(area, no_area) == RockRidge(name=b"a", is_compressed=True)


def test_areas_that_continue_each_other_are_damage() -> None:
    area = continued(7, 0, 28)

    with pytest.raises(Damage, match="no end"):
        read_rock_ridge(area, lambda *_: area)


def test_long_area_is_damage_and_not_read() -> None:
    with pytest.raises(Damage, match="too long"):
        read_rock_ridge(continued(7, 0, 2**31), no_area)


@pytest.mark.parametrize(
    "area",
    [
        entry(b"NM", b"\x01" + b"a" * 250) * 5,
        entry(b"SL", b"\x01\x00\xf0" + b"a" * 240) * 20,
    ],
    ids=["name", "link"],
)
def test_name_of_absurd_length_is_damage(area: bytes) -> None:
    with pytest.raises(Damage, match="too long"):
        read_rock_ridge(area, no_area)


@pytest.mark.parametrize(
    ("components", "target"),
    [
        (b"\x00\x03usr\x00\x03lib", b"usr/lib"),
        (b"\x08\x00\x00\x03etc", b"/etc"),
        (b"\x04\x00\x04\x00\x00\x01a", b"../../a"),
        (b"\x02\x00", b"."),
        (b"\x08\x00", b"/"),
        (b"\x01\x02ab\x00\x02cd\x00\x01e", b"abcd/e"),
    ],
    ids=["relative", "absolute", "parents", "here", "root", "component in two"],
)
def test_link_target_is_a_path(components: bytes, target: bytes) -> None:
    assert read_rock_ridge(entry(b"SL", b"\x00" + components), no_area).target == target


def test_link_target_in_several_entries_is_one() -> None:
    area = entry(b"SL", b"\x01\x00\x03usr\x01\x02li") + entry(b"SL", b"\x00\x00\x01b")

    assert read_rock_ridge(area, no_area).target == b"usr/lib"


def test_relocated_directories_are_told() -> None:
    child = entry(b"CL", struct.pack("<L", 300) + struct.pack(">L", 300))

    assert read_rock_ridge(child, no_area).child_block == 300
    assert read_rock_ridge(entry(b"RE", b""), no_area).is_relocated


def test_entries_end_at_the_terminator() -> None:
    area = entry(b"ST", b"") + entry(b"NM", b"\x00late")

    assert read_rock_ridge(area, no_area) == RockRidge()


@pytest.mark.parametrize("before", [0, 14], ids=["root record", "behind CD-ROM XA"])
def test_skip_length_is_the_roots(before: int) -> None:
    assert susp_skip(bytes(before) + b"SP\x07\x01\xbe\xef\x0e") == 14


@pytest.mark.parametrize("area", [b"RR\x05\x01\x89", b"PX\x24\x01" + bytes(32)])
def test_rock_ridge_without_its_mark_is_known_by_its_entries(area: bytes) -> None:
    assert susp_skip(area) == 0


@pytest.mark.parametrize(
    "area",
    [b"", b"AA\x05\x01\x89", b"RR\x05\x02\x89", b"SP\x07\x01\x00\x00\x00", b"SP\x07\x01\xbe\xef"],
)
def test_without_its_marks_there_is_no_rock_ridge(area: bytes) -> None:
    assert susp_skip(area) is None
