"""SCSI answers of a redirected drive: exact bytes, honest sense, and nothing that raises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootserver.amt.redirection import scsi
from bootserver.amt.redirection.scsi import (
    BlockRange,
    DriveEvent,
    DriveKind,
    ScsiAnswer,
    ScsiDrive,
    Sense,
)
from tests.fixtures.scsi_probe import BAD_FIELD, CD_PROBE, FLOPPY_PROBE, NO_MEDIUM, PAST_THE_END

CD = ScsiDrive(DriveKind.CD, 300)
FLOPPY = ScsiDrive(DriveKind.FLOPPY, 2880)
EMPTY_CD = ScsiDrive(DriveKind.CD)
EMPTY_FLOPPY = ScsiDrive(DriveKind.FLOPPY)


def ask(drive: ScsiDrive, packet: str) -> ScsiAnswer:
    return scsi.answer(drive, scsi.parse_command(bytes.fromhex(packet)))


def sense(answer: ScsiAnswer) -> tuple[int, int, int]:
    assert answer.sense is not None
    assert (answer.data, answer.blocks) == (b"", None)
    return answer.sense


def good(answer: ScsiAnswer) -> bytes:
    assert (answer.sense, answer.blocks) == (None, None)
    return answer.data


EMPTY_PROBE = [
    ("TEST UNIT READY", "00 00 00 00 00 00"),
    ("READ(6)", "08 00 00 00 01 00"),
    ("READ(10)", "28 00 00 00 00 00 00 00 01 00"),
    ("READ(10) of no blocks", "28 00 00 00 00 00 00 00 00 00"),
    ("READ CAPACITY", "25 00 00 00 00 00 00 00 00 00"),
]


def check(drive: ScsiDrive, packet: str, expected: str | tuple[int, int, int]) -> None:
    answer = ask(drive, packet)

    if isinstance(expected, str):
        assert good(answer).hex(" ") == bytes.fromhex(expected).hex(" ")
    else:
        assert sense(answer) == expected


@pytest.mark.parametrize(("name", "packet", "expected"), CD_PROBE, ids=[r[0] for r in CD_PROBE])
def test_cd_probe(name: str, packet: str, expected: str | tuple[int, int, int]):
    check(CD, packet, expected)


@pytest.mark.parametrize(
    ("name", "packet", "expected"), FLOPPY_PROBE, ids=[r[0] for r in FLOPPY_PROBE]
)
def test_floppy_probe(name: str, packet: str, expected: str | tuple[int, int, int]):
    check(FLOPPY, packet, expected)


@pytest.mark.parametrize("drive", [EMPTY_CD, EMPTY_FLOPPY], ids=["cd", "floppy"])
@pytest.mark.parametrize(("name", "packet"), EMPTY_PROBE, ids=[r[0] for r in EMPTY_PROBE])
def test_empty_drive_says_that_it_has_no_medium(drive: ScsiDrive, name: str, packet: str):
    assert sense(ask(drive, packet)) == NO_MEDIUM


def test_empty_cd_drive_has_no_contents_and_reports_no_medium_event():
    assert sense(ask(EMPTY_CD, "43 00 00 00 00 00 00 03 24 00")) == NO_MEDIUM
    status = ask(replace(EMPTY_CD, new_medium=True), "4A 01 00 00 10 00 00 00 08 00")
    assert good(status) == bytes.fromhex("00 06 04 10 00 00 00 00")
    assert status.event is None


# ---- reads


@pytest.mark.parametrize(
    ("packet", "lba", "count"),
    [
        ("28 00 00 00 00 00 00 00 01 00", 0, 1),
        ("28 00 00 00 01 2B 00 00 01 00", 299, 1),
        ("28 00 00 00 01 29 00 00 03 00", 297, 3),
        ("28 00 00 00 00 00 00 01 2C 00", 0, 300),
        ("08 00 01 02 01 00", 258, 1),
        ("08 E0 01 02 01 00", 258, 1),  # the upper bits of byte 1 were a unit number once
        ("08 00 00 2C 00 00", 44, 256),  # no blocks: 256
        ("A8 00 00 00 01 2A 00 00 00 02 00 00", 298, 2),
    ],
)
def test_read_gives_exactly_the_blocks(packet: str, lba: int, count: int):
    assert ask(CD, packet) == ScsiAnswer(blocks=BlockRange(lba, count))


@pytest.mark.parametrize(
    "packet",
    [
        "28 00 00 00 01 2B 00 00 02 00",  # the last block and one more
        "28 00 00 00 01 2C 00 00 01 00",
        "28 00 FF FF FF FF 00 FF FF 00",
        "A8 00 FF FF FF FF FF FF FF FF 00 00",
        "08 1F FF FF 00 00",
    ],
)
def test_read_past_the_end_gives_sense_and_no_blocks(packet: str):
    assert sense(ask(CD, packet)) == PAST_THE_END


def test_zero_blocks_are_no_error_whatever_the_address():
    assert good(ask(CD, "28 00 FF FF FF FF 00 00 00 00")) == b""
    assert good(ask(CD, "A8 00 00 00 00 00 00 00 00 00 00 00")) == b""


def test_floppy_ends_where_its_blocks_do():
    assert ask(FLOPPY, "28 00 00 00 0B 3F 00 00 01 00").blocks == BlockRange(2879, 1)
    assert sense(ask(FLOPPY, "28 00 00 00 0B 3F 00 00 02 00")) == PAST_THE_END


HUGE = ScsiDrive(DriveKind.CD, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("packet", "lba"),
    [
        ("28 00 00 0F FF FF 00 00 20 00", 0x000FFFFF),  # across 2 GiB
        ("28 00 00 1F FF FF 00 00 20 00", 0x001FFFFF),  # across 4 GiB
        ("28 00 80 00 00 01 00 00 20 00", 0x80000001),  # across a sign bit, 4 TiB
        ("A8 00 FF FF FF DF 00 00 00 20 00 00", 0xFFFFFFDF),
    ],
)
def test_read_beyond_2_gib_goes_to_the_right_block(packet: str, lba: int):
    assert ask(HUGE, packet) == ScsiAnswer(blocks=BlockRange(lba, 32))


def test_large_disc_tells_its_size():
    dvd = ScsiDrive(DriveKind.CD, 0x00230000)  # 4.4 GiB

    assert good(ask(dvd, "25 00 00 00 00 00 00 00 00 00")).hex() == "0022ffff00000800"
    assert good(ask(dvd, "43 00 00 00 00 00 AA 00 0C 00")).hex() == "000a01010014aa0000230000"
    # 2,293,910 frames would be minute 509: as much as a byte can say
    assert good(ask(dvd, "43 02 00 00 00 00 AA 00 0C 00")).hex() == "000a01010014aa0000ff3b4a"


def test_more_blocks_than_can_be_numbered_are_all_ones():
    disc = ScsiDrive(DriveKind.CD, 1 << 33)

    assert good(ask(disc, "25 00 00 00 00 00 00 00 00 00")).hex() == "ffffffff00000800"
    assert good(ask(disc, "43 00 00 00 00 00 AA 00 0C 00")).hex() == "000a01010014aa00ffffffff"


def test_read_of_more_than_65535_blocks_is_refused():
    assert sense(ask(HUGE, "A8 00 00 00 00 00 00 01 00 00 00 00")) == BAD_FIELD


# ---- allocation lengths


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ("43 00 00 00 00 00 00 00 04 00", "00 12 01 01"),
        ("46 00 00 00 00 00 00 00 08 00", "00 00 00 3C 00 00 00 08"),
        ("46 00 00 00 00 00 00 00 00 00", ""),
        ("4A 01 00 00 10 00 00 00 04 00", "00 06 04 10"),
        ("5A 00 2A 00 00 00 00 00 08 00", "00 20 01 80 00 00 00 00"),
        ("1A 00 3F 00 03 00", "00 05 80"),
        ("23 00 00 00 00 00 00 00 06 00", "00 00 00 08 00 00"),
    ],
)
def test_answer_is_cut_to_the_allocation_length(packet: str, expected: str):
    check(CD, packet, expected)


# ---- events


def test_new_medium_is_told_once():
    drive = replace(CD, new_medium=True)

    first = ask(drive, "4A 01 00 00 10 00 00 00 08 00")
    second = ask(drive.after(first), "4A 01 00 00 10 00 00 00 08 00")

    assert good(first) == bytes.fromhex("00 06 04 10 02 02 00 00")
    assert good(second) == bytes.fromhex("00 06 04 10 00 02 00 00")


def test_new_medium_that_was_cut_off_is_told_again():
    drive = replace(CD, new_medium=True)

    header_only = ask(drive, "4A 01 00 00 10 00 00 00 04 00")

    assert drive.after(header_only).new_medium


@pytest.mark.parametrize(
    ("packet", "event"),
    [
        ("1B 00 00 00 02 00", DriveEvent.EJECT_ASKED),
        ("1B 00 00 00 00 00", None),  # stop
        ("1B 00 00 00 03 00", None),  # load
    ],
)
def test_eject_is_told_to_the_caller(packet: str, event: DriveEvent | None):
    answer = ask(CD, packet)

    assert good(answer) == b""
    assert answer.event == event
    assert CD.after(answer) == CD


# ---- anything at all


def test_packet_that_was_cut_short_reads_as_zeros():
    assert scsi.parse_command(b"").packet == bytes(12)
    assert scsi.parse_command(bytes(range(16))).packet == bytes(range(12))


# Half of the packets begin with an opcode that hosts do send, and ask for not too much.
opcodes = st.sampled_from(sorted({int(row[1][:2], 16) for row in CD_PROBE}))
packets = st.one_of(
    st.binary(max_size=20),
    st.builds(lambda opcode, rest: bytes([opcode]) + rest, opcodes, st.binary(max_size=15)),
    st.builds(
        lambda opcode, flags, rest: bytes([opcode, flags, 0, 0]) + rest,
        opcodes,
        st.integers(0, 255),
        st.binary(max_size=11),
    ),
)
drives = st.sampled_from([CD, FLOPPY, EMPTY_CD, EMPTY_FLOPPY, replace(CD, new_medium=True)])


@given(drives, packets)
def test_no_packet_raises_or_gets_more_than_the_medium_holds(drive: ScsiDrive, packet: bytes):
    answer = scsi.answer(drive, scsi.parse_command(packet))

    assert len(answer.data) <= 256
    if answer.sense is not None:
        assert isinstance(answer.sense, Sense)
        assert (answer.data, answer.blocks) == (b"", None)
    if answer.blocks is not None:
        assert 0 < answer.blocks.count <= (drive.size_blocks or 0) - answer.blocks.lba
    assert drive.after(answer).size_blocks == drive.size_blocks


@given(st.integers(0, 310), st.integers(0, 310))
def test_read_10_is_within_the_medium_or_past_the_end(lba: int, count: int):
    answer = ask(CD, f"28 00 {lba:08X} 00 {count:04X} 00")

    if count and lba + count > 300:
        assert sense(answer) == PAST_THE_END
    elif count:
        assert answer == ScsiAnswer(blocks=BlockRange(lba, count))
    else:
        assert good(answer) == b""
