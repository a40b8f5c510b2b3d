"""TFTP option negotiation: only what was asked for, only what makes sense, within our limits."""

import pytest

from bootserver.tftp.options import Terms, TftpLimits, negotiate


def terms(asked, size_bytes=1000, **limits) -> Terms:
    return negotiate(asked, size_bytes, TftpLimits(**limits))


def test_nothing_asked_nothing_acknowledged():
    assert terms({}) == Terms(blksize=512, windowsize=1, timeout_s=None, oack={})


@pytest.mark.parametrize(
    ("asked", "blksize", "oack"),
    [
        ("8", 8, {"blksize": "8"}),
        ("1468", 1468, {"blksize": "1468"}),
        ("65464", 65464, {"blksize": "65464"}),
        ("65465", 65464, {"blksize": "65464"}),
        ("65536", 65464, {"blksize": "65464"}),
        ("9" * 300, 65464, {"blksize": "65464"}),
        ("7", 512, {}),
        ("0", 512, {}),
        ("-1", 512, {}),
        ("abc", 512, {}),
        ("", 512, {}),
        ("1_0", 512, {}),
        (" 8", 512, {}),
        ("+8", 512, {}),
        ("0x200", 512, {}),
        ("٨٨", 512, {}),
    ],
)
def test_blksize(asked, blksize, oack):
    agreed = terms({"blksize": asked})

    assert (agreed.blksize, agreed.oack) == (blksize, oack)


def test_blksize_is_bounded_by_the_server():
    agreed = terms({"blksize": "8192"}, blksize_max=1468)

    assert (agreed.blksize, agreed.oack) == (1468, {"blksize": "1468"})


@pytest.mark.parametrize(
    ("asked", "windowsize", "oack"),
    [
        ("1", 1, {"windowsize": "1"}),
        ("64", 64, {"windowsize": "64"}),
        ("65", 64, {"windowsize": "64"}),
        ("65536", 64, {"windowsize": "64"}),
        ("0", 1, {}),
        ("-4", 1, {}),
        ("many", 1, {}),
    ],
)
def test_windowsize(asked, windowsize, oack):
    agreed = terms({"windowsize": asked})

    assert (agreed.windowsize, agreed.oack) == (windowsize, oack)


def test_window_fits_the_socket_buffers_whatever_the_order_of_options():
    first = terms({"windowsize": "64", "blksize": "8192"}, window_bytes_max=65536)
    second = terms({"blksize": "8192", "windowsize": "64"}, window_bytes_max=65536)

    assert first.windowsize == second.windowsize == 8


def test_window_is_never_less_than_one_block():
    assert terms({"windowsize": "4", "blksize": "65464"}, window_bytes_max=1000).windowsize == 1


@pytest.mark.parametrize(
    ("asked", "timeout_s", "oack"),
    [
        ("1", 1, {"timeout": "1"}),
        ("255", 255, {"timeout": "255"}),
        ("0", None, {}),
        ("256", None, {}),
        ("1.5", None, {}),
    ],
)
def test_timeout_is_taken_exactly_or_not_at_all(asked, timeout_s, oack):
    agreed = terms({"timeout": asked})

    assert (agreed.timeout_s, agreed.oack) == (timeout_s, oack)


def test_tsize_tells_the_size_also_of_a_file_over_4_gib():
    assert terms({"tsize": "0"}, size_bytes=6_000_000_000).oack == {"tsize": "6000000000"}


def test_tsize_alone_does_not_acknowledge_a_blksize():
    assert terms({"tsize": "0"}).oack == {"tsize": "1000"}


def test_unknown_options_are_passed_over():
    assert terms({"multicast": "", "x": "1", "tsize": "0"}).oack == {"tsize": "1000"}


def test_oack_keeps_the_clients_order_and_spelling():
    agreed = terms({"TSIZE": "0", "windowSize": "4", "BlkSize": "1024"})

    assert list(agreed.oack.items()) == [
        ("TSIZE", "1000"),
        ("windowSize", "4"),
        ("BlkSize", "1024"),
    ]


def test_option_asked_for_twice_counts_once_with_its_first_value():
    agreed = terms({"blksize": "1024", "BLKSIZE": "2048"})

    assert (agreed.blksize, agreed.oack) == (1024, {"blksize": "1024"})
