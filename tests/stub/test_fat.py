"""Our FAT writer: byte for byte where the format says so, and read back by another reader."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.errors import StubError
from bootserver.stub.fat import MAX_BYTES, fat_image

pytestmark = pytest.mark.slow

KIB = 1024


def read_back(image: bytes) -> dict[str, bytes]:
    """Every file of a FAT12/FAT16 image by its long name, read by following the format."""
    sector, per_cluster, reserved, tables = struct.unpack_from("<HBHB", image, 11)
    root_entries, total, _, table_sectors = struct.unpack_from("<HHBH", image, 17)
    root = (reserved + tables * table_sectors) * sector
    data = root + root_entries * 32
    cluster_bytes = sector * per_cluster
    clusters = (total * sector - data) // cluster_bytes
    table = image[reserved * sector :][: table_sectors * sector]
    assert table == image[(reserved + table_sectors) * sector :][: table_sectors * sector]
    assert total * sector == len(image)

    def following(cluster: int) -> int:
        if clusters < 4085:
            pair = int.from_bytes(table[cluster * 3 // 2 :][:2], "little")
            link = pair >> 4 if cluster % 2 else pair & 0xFFF
            return 0 if link >= 0xFF8 else link
        link = int.from_bytes(table[cluster * 2 :][:2], "little")
        return 0 if link >= 0xFFF8 else link

    def content(cluster: int) -> bytes:
        pieces = []
        while cluster:
            assert 2 <= cluster < clusters + 2
            pieces.append(image[data + (cluster - 2) * cluster_bytes :][:cluster_bytes])
            cluster = following(cluster)
        return b"".join(pieces)

    def files_of(entries: bytes, prefix: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        long_name = b""
        for start in range(0, len(entries), 32):
            entry = entries[start : start + 32]
            if entry[0] == 0:
                break
            if entry[11] == 0x0F:
                long_name = entry[1:11] + entry[14:26] + entry[28:32] + long_name
                continue
            name, _, _ = long_name.decode("utf-16-le", "surrogatepass").partition("\0")
            short = entry[:8].decode().rstrip()
            if entry[8:11].strip():
                short += "." + entry[8:11].decode().rstrip()
            name, long_name = name or short, b""
            cluster, size_bytes = struct.unpack_from("<HI", entry, 26)
            if entry[11] & 0x08 or name in (".", ".."):
                continue
            if entry[11] & 0x10:
                found |= files_of(content(cluster), f"{prefix}{name}/")
            else:
                found[prefix + name] = content(cluster)[:size_bytes]
        return found

    return files_of(image[root:data], "")


DIRECTORIES = ["", "EFI/", "EFI/BOOT/", "EFI/a long directory/", "fonts.and.more/"]

# Names of every sort that FAT can hold: plain 8.3, long, in lower case, with dots, not ASCII.
names = st.one_of(
    st.from_regex(r"[A-Z0-9]{1,8}(\.[A-Z]{1,3})?", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9 ._-]{1,40}", fullmatch=True),
    st.from_regex(r"LONG[a-c]{4,9}\.[a-z]{2,5}", fullmatch=True),
    st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xD7FF), min_size=1, max_size=20),
).filter(lambda name: name == name.strip(" .") and name.upper() != "EFI")
paths = st.builds(lambda directory, name: directory + name, st.sampled_from(DIRECTORIES), names)
trees = st.lists(st.tuples(paths, st.binary(max_size=5000)), unique_by=lambda x: x[0].upper())


@given(trees, st.sampled_from([512, 2048, 8192]))
@settings(max_examples=200)
def test_what_is_written_can_be_read_back(tree: list[tuple[str, bytes]], cluster_bytes: int):
    files = dict(tree)

    assert read_back(fat_image(files, cluster_bytes=cluster_bytes)) == files


@pytest.mark.parametrize("size_bytes", [1, 7_900 * KIB, 8_136 * KIB, 8_180 * KIB, 8_300 * KIB])
def test_fat12_and_fat16_are_told_by_the_number_of_clusters(size_bytes: int):
    files = {"IPXE.BIN": bytes(range(251)) * (size_bytes // 251) + b"x"}

    image = fat_image(files)

    assert read_back(image) == files
    reserved, table_sectors = struct.unpack_from("<H", image, 14)[0], image[22]
    clusters = (len(image) - (reserved + 2 * table_sectors) * 512 - 512) // 2048
    assert abs(clusters - 4084) > 15  # Microsoft: stay at least 16 clusters away
    assert image[54:59] == (b"FAT12" if clusters < 4085 else b"FAT16")


def test_files_lie_in_one_piece_in_the_order_given_on_cd_sectors():
    files = {
        "EFI/BOOT/BOOTX64.EFI": b"loader" * 1000,
        "autoexec.ipxe": b"#!ipxe\n",
        "IPXE.BIN": b"packed" * 150_000,
    }

    image = fat_image(files)

    at = [image.index(data) for data in files.values()]
    assert at == sorted(at)
    assert [start % 2048 for start in at] == [0, 0, 0]
    assert at[2] == at[1] + 2048
    assert len(image) % 2048 == 0


def test_root_directory_and_data_begin_on_cd_sectors():
    image = fat_image({"AUTOEXEC.TXT": b"text"})

    assert len(image) == 6144
    assert image[2048:2059] == b"BOOTSERVER "
    assert image[4096:4100] == b"text"


def test_the_bytes_of_a_long_name_are_those_of_the_specification():
    image = fat_image({"autoexec.ipxe": b"#!ipxe\n"})

    root = image[2048:4096]
    label, long, short, rest = root[:32], root[32:64], root[64:96], root[96:]
    assert label[:12] == b"BOOTSERVER \x08"
    # 13 letters fill their entry: neither an end mark nor padding.
    assert long == (
        b"\x41" + "autoe".encode("utf-16-le") + b"\x0f\x00\xa5"
        + "xec.ip".encode("utf-16-le") + b"\x00\x00" + "xe".encode("utf-16-le")
    )  # fmt: skip
    assert short == (
        b"AUTOEX~1IPX\x20" + bytes(2) + b"\x00\x00\x21\x3c" + b"\x21\x3c" + bytes(2)
        + b"\x00\x00\x21\x3c" + b"\x02\x00" + b"\x07\x00\x00\x00"
    )  # fmt: skip
    assert not any(rest)


def test_equal_files_give_equal_bytes_and_others_another_serial_number():
    one, same, other = (fat_image({"A": data}) for data in (b"1", b"1", b"2"))

    assert one == same
    assert one[39:43] != other[39:43]


def test_aliases_do_not_clash_with_each_other_nor_with_plain_names():
    files = {f"long name {n}.text": b"data" for n in range(12)} | {"LONG_N~2.TEX": b"plain"}

    image = fat_image(files)

    assert read_back(image) == files
    shorts = [image[at : at + 11] for at in range(0, len(image), 32) if image[at + 11] == 0x20]
    assert len(shorts) == len(set(shorts)) == len(files)


def test_no_files_are_a_volume_too():
    assert read_back(fat_image({})) == {}


def test_the_largest_image_that_el_torito_can_name_fits():
    # 1.5 KiB short of the limit, since the image is whole CD sectors.
    image = fat_image({"BIG.BIN": bytes(MAX_BYTES - 70 * KIB)})

    assert MAX_BYTES - 8 * KIB < len(image) <= MAX_BYTES


def test_more_than_el_torito_can_name_is_refused():
    with pytest.raises(StubError, match="firmware takes 33,553,920"):
        fat_image({"BIG.BIN": bytes(MAX_BYTES)})


@pytest.mark.parametrize("path", ["", "A//B", "/A", "A/", "a?b", "a:b", "dot.", " x", "x" * 256])
def test_names_that_fat_cannot_hold_are_refused(path: str):
    with pytest.raises(StubError):
        fat_image({path: b""})


def test_two_names_that_differ_in_case_only_are_refused():
    with pytest.raises(StubError, match="upper and lower case"):
        fat_image({"readme": b"1", "README": b"2"})


def test_a_file_cannot_be_a_directory_too():
    with pytest.raises(StubError, match="below a file"):
        fat_image({"EFI": b"1", "EFI/BOOT": b"2"})
