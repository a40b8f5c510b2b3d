"""IDE-R from the firmware's side, byte by byte: what it sends, and what it takes for an answer."""

from __future__ import annotations

import pytest

from bootserver.bench.fake_amt.ider import ConsoleDrive, DriveAnswer, IderHost
from bootserver.bench.fake_amt.redirection import ViolationError

READ = bytes.fromhex("28 00 00 00 00 10 00 00 02 00")


def host(*, readbfr: int = 8192, dma: bool = True, lenient: bool = False) -> IderHost:
    return IderHost(readbfr=readbfr, writebfr=4096, dma=dma, lenient=lenient)


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def test_open_reply_has_both_buffer_sizes():
    assert host(readbfr=8192).open_reply() == hexed(
        "41 00 00 00 00 00 00 00 01 00 01 00 00 00 00 00 00 20 00 10 00 00 00 00 0057 01 00 00 00"
    )


def test_a_read_of_the_cd_by_dma():
    assert host().command(ConsoleDrive.CD, READ) == hexed(
        "50 00 00 00 00 00 00 00 00 01 00 00 00 00 B0 A0 28 00 00 00 00 10 00 00 02 00 00 00"
    )


def test_a_read_of_the_floppy_by_pio():
    assert host(dma=False).command(ConsoleDrive.FLOPPY, READ) == hexed(
        "50 00 00 00 00 00 00 00 00 00 00 00 FE FF A0 A0 28 00 00 00 00 10 00 00 02 00 00 00"
    )


def test_our_messages_are_numbered():
    one = host()

    numbers = [
        one.open_reply()[4],
        one.features_reply(3, 1)[4],
        one.command(ConsoleDrive.CD, READ)[4],
    ]

    assert numbers == [0, 1, 2]


def test_features_reply():
    assert host().features_reply(3, 1) == hexed("49 00 00 00 00 00 00 00 03 01 00 00 00")


def test_reset_occurred():
    assert host().reset_occurred() == hexed("46 00 00 00 00 00 00 00 03")


def test_what_the_console_asks_for_when_it_opens():
    message = hexed("40 00 00 00 00 00 00 00 30 75 00 00 20 4E 01 00 00 00")

    assert host().opening(message) == (30000, 20000)


@pytest.mark.parametrize(
    "body",
    [
        "30 75 00 00 20 4E 02 00 00 00",
        "0F 27 00 00 20 4E 01 00 00 00",
        "30 75 00 00 63 00 01 00 00 00",
    ],
    ids=["version 2", "rx_timeout 9999 ms", "heartbeat 99 ms"],
)
def test_an_opening_out_of_bounds_is_a_violation(body: str):
    with pytest.raises(ViolationError):
        host().opening(hexed("40 00 00 00 00 00 00 00") + hexed(body))


@pytest.mark.parametrize(
    "header",
    ["44 00 00 00 01 00 00 00", "44 01 00 00 00 00 00 00", "44 00 00 02 00 00 00 00"],
    ids=["sequence number", "byte 1", "attributes"],
)
def test_a_wrong_header_is_a_violation(header: str):
    with pytest.raises(ViolationError):
        host().count(hexed(header))


def test_the_consoles_messages_are_counted_from_0():
    one = host()

    one.count(hexed("40 00 00 00 00 00 00 00"))
    one.count(hexed("51 00 00 02 01 00 00 00"))
    with pytest.raises(ViolationError, match="sequence number 1, expected 2"):
        one.count(hexed("44 00 00 00 01 00 00 00"))


GOOD = "51 00 00 02 00 00 00 00 " + "00 " * 12 + "C5 00 03 00 00 00 B0 50 00 00 00"
NOT_READY = "51 00 00 02 00 00 00 00 " + "00 " * 12 + "87 20 03 00 00 00 B0 51 02 3A 00"


@pytest.mark.parametrize("mask", ["C5", "85"])
def test_a_good_end(mask: str):
    one = host()
    one.command(ConsoleDrive.CD, READ)

    assert one.answered(hexed(GOOD.replace("C5", mask))) == DriveAnswer()


def test_an_end_with_sense():
    one = host()
    one.command(ConsoleDrive.CD, READ)

    answer = one.answered(hexed(NOT_READY))

    assert answer == DriveAnswer(sense=(2, 0x3A, 0))
    assert not answer.is_good


@pytest.mark.parametrize("end", [GOOD, NOT_READY], ids=["good", "sense"])
@pytest.mark.parametrize("at", [3, *range(8, 31)])
def test_an_end_with_any_register_wrong_is_a_violation(end: str, at: int):
    message = bytearray(hexed(end))
    message[at] ^= 0x01
    one = host()
    one.command(ConsoleDrive.CD, READ)

    if end == NOT_READY and at in (29, 30):  # any additional sense code will do
        assert one.answered(bytes(message)) is not None
        return
    with pytest.raises(ViolationError):
        one.answered(bytes(message))


FIRST = "54 00 00 01 00 00 00 00 00 04 00 00 B4 00 02 00 00 00 B0 58 " + "00 " * 14 + "61 62 63 64"
LAST = (
    "54 00 00 03 01 00 00 00 00 02 00 00 B4 00 02 00 00 00 B0 58 85 00 03 00 00 00 B0 50 "
    + "00 " * 6
    + "65 66"
)


def test_data_in_two_messages():
    one = host()
    one.command(ConsoleDrive.CD, READ)

    assert one.answered(hexed(FIRST)) is None
    assert one.answered(hexed(LAST)) == DriveAnswer(b"abcdef")


def test_data_by_pio_repeats_its_length_in_the_byte_count():
    one = host(dma=False)
    one.command(ConsoleDrive.CD, READ)

    assert one.answered(
        hexed(
            "54 00 00 02 00 00 00 00 00 03 00 00 B5 00 02 00 03 00 B0 58 85 00 03 00 00 00 B0 50"
            + "00 " * 6
            + "61 62 63"
        )
    ) == DriveAnswer(b"abc")


@pytest.mark.parametrize("message", [FIRST, LAST], ids=["first", "last"])
@pytest.mark.parametrize("at", [3, 8, *range(11, 34)])
def test_data_with_any_register_wrong_is_a_violation(message: str, at: int):
    wrong = bytearray(hexed(message))
    wrong[at] ^= 0x04
    one = host()
    one.command(ConsoleDrive.CD, READ)

    with pytest.raises(ViolationError):
        one.answered(bytes(wrong))


def test_more_at_once_than_there_is_room_for_is_a_violation():
    one = host(readbfr=3)
    one.command(ConsoleDrive.CD, READ)

    with pytest.raises(ViolationError, match="4 bytes at once"):
        one.answered(hexed(FIRST))


def test_an_answer_to_nothing_is_a_violation():
    with pytest.raises(ViolationError, match="no command"):
        host().answered(hexed(GOOD))


def test_an_end_after_data_is_a_violation():
    one = host()
    one.command(ConsoleDrive.CD, READ)
    one.answered(hexed(FIRST))

    with pytest.raises(ViolationError):
        one.answered(hexed(GOOD))


def test_a_lenient_host_takes_the_registers_of_amtider():
    one = host(lenient=True)
    one.count(hexed("40 01 02 03 05 00 00 00"))
    one.command(ConsoleDrive.CD, READ)
    message = bytearray(hexed(LAST))
    message[3] = 0x02
    message[16] = 0x02

    assert one.answered(bytes(message)) == DriveAnswer(b"ef")
