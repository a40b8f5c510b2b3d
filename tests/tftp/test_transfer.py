"""One TFTP transfer, datagram by datagram, with exact bytes."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from bootserver.tftp.options import Terms, TftpLimits
from bootserver.tftp.transfer import Outcome, TftpRefusal, TftpTransfer

FILE = b"abcdefghijklmnopqrstuvwxyz"  # 26 bytes: blocks of 8, 8, 8 and 2


def transfer_of(content=FILE, retries=3, **terms) -> TftpTransfer:
    agreed = Terms(**({"blksize": 8} | terms))
    return TftpTransfer(
        len(content), lambda offset, length: content[offset : offset + length], agreed,
        TftpLimits(retries=retries),
    )  # fmt: skip


def ack(number: int) -> bytes:
    return b"\x00\x04" + number.to_bytes(2, "big")


def test_lock_step_transfer_from_first_to_last_block():
    transfer = transfer_of()

    assert transfer.start(0.0) == [b"\x00\x03\x00\x01abcdefgh"]
    assert transfer.receive(b"\x00\x04\x00\x01", 0.1) == [b"\x00\x03\x00\x02ijklmnop"]
    assert transfer.receive(b"\x00\x04\x00\x02", 0.2) == [b"\x00\x03\x00\x03qrstuvwx"]
    assert transfer.receive(b"\x00\x04\x00\x03", 0.3) == [b"\x00\x03\x00\x04yz"]
    assert transfer.outcome is None
    assert transfer.receive(b"\x00\x04\x00\x04", 0.4) == []
    assert transfer.outcome is Outcome.COMPLETE
    assert transfer.acked_bytes == 26
    assert transfer.deadline == math.inf


def test_file_that_fills_its_last_block_ends_with_an_empty_one():
    transfer = transfer_of(b"12345678")

    assert transfer.start(0.0) == [b"\x00\x03\x00\x0112345678"]
    assert transfer.receive(ack(1), 0.1) == [b"\x00\x03\x00\x02"]
    assert transfer.outcome is None
    transfer.receive(ack(2), 0.2)
    assert transfer.outcome is Outcome.COMPLETE


def test_empty_file_is_one_empty_block():
    transfer = transfer_of(b"")

    assert transfer.start(0.0) == [b"\x00\x03\x00\x01"]
    transfer.receive(ack(1), 0.1)
    assert transfer.outcome is Outcome.COMPLETE


def test_options_are_acknowledged_before_the_first_block():
    transfer = transfer_of(oack={"blksize": "8"})

    assert transfer.start(0.0) == [b"\x00\x06blksize\x008\x00"]
    assert transfer.receive(ack(1), 0.1) == []
    assert transfer.receive(ack(0), 0.2) == [b"\x00\x03\x00\x01abcdefgh"]


def test_lost_oack_is_sent_again():
    transfer = transfer_of(oack={"blksize": "8"})
    transfer.start(0.0)

    assert transfer.tick(1.0) == [b"\x00\x06blksize\x008\x00"]


def test_window_is_sent_at_once_and_the_next_one_after_its_ack():
    transfer = transfer_of(windowsize=3)

    assert transfer.start(0.0) == [
        b"\x00\x03\x00\x01abcdefgh",
        b"\x00\x03\x00\x02ijklmnop",
        b"\x00\x03\x00\x03qrstuvwx",
    ]
    assert transfer.receive(ack(3), 0.1) == [b"\x00\x03\x00\x04yz"]
    transfer.receive(ack(4), 0.2)
    assert transfer.outcome is Outcome.COMPLETE


def test_ack_inside_the_window_resumes_after_its_block():  # RFC 7440 §4
    transfer = transfer_of(windowsize=2)
    transfer.start(0.0)

    assert transfer.receive(ack(1), 0.1) == [
        b"\x00\x03\x00\x02ijklmnop",
        b"\x00\x03\x00\x03qrstuvwx",
    ]


def test_acks_that_echo_what_was_sent_before_add_only_new_blocks():
    """A client that acknowledges every block of a window must not get a window for each."""
    transfer = transfer_of(windowsize=3)
    transfer.start(0.0)
    assert len(transfer.receive(ack(1), 0.1)) == 3  # could be a gap: 2, 3 and 4

    assert transfer.receive(ack(2), 0.101) == []  # the file has no block 5
    assert transfer.receive(ack(3), 0.102) == []
    assert transfer.receive(ack(4), 0.2) == []

    assert transfer.outcome is Outcome.COMPLETE


def test_second_gap_in_a_window_is_resumed_after_half_a_round_trip():
    transfer = transfer_of(FILE * 10, windowsize=4)
    transfer.start(0.0)
    transfer.receive(ack(1), 0.1)

    resumed = transfer.receive(ack(3), 0.2)

    assert [int.from_bytes(datagram[2:4], "big") for datagram in resumed] == [4, 5, 6, 7]


def test_repeated_ack_sends_nothing():  # RFC 1123 §4.2.3.1
    transfer = transfer_of()
    transfer.start(0.0)
    transfer.receive(ack(1), 0.1)

    assert [transfer.receive(ack(1), 0.1 + i / 1000) for i in range(50)] == [[]] * 50
    assert transfer.receive(ack(2), 0.2) == [b"\x00\x03\x00\x03qrstuvwx"]


def test_repeated_ack_in_lock_step_does_not_move_the_deadline():
    transfer = transfer_of()
    transfer.start(0.0)
    transfer.receive(ack(1), 0.001)
    deadline = transfer.deadline

    transfer.receive(ack(1), 0.002)

    assert transfer.deadline == deadline


def test_repeated_ack_with_windows_brings_the_retransmission_nearer_once():
    transfer = transfer_of(windowsize=2)
    transfer.start(0.0)
    transfer.receive(ack(2), 0.02)
    usual = transfer.deadline

    assert transfer.receive(ack(2), 0.03) == []
    assert 0.02 + 2 * 0.02 <= transfer.deadline < usual
    assert len(transfer.tick(transfer.deadline)) == 2
    deadline = transfer.deadline
    transfer.receive(ack(2), 0.11)
    assert transfer.deadline == deadline


@pytest.mark.parametrize("number", [0, 1, 5, 6, 65535])
def test_old_and_future_acks_are_passed_over(number):
    transfer = transfer_of(FILE * 10, windowsize=2)
    transfer.start(0.0)
    transfer.receive(ack(2), 0.1)
    deadline = transfer.deadline

    assert transfer.receive(ack(number), 0.15) == []
    assert (transfer.deadline, transfer.acked_bytes) == (deadline, 16)


def test_unacknowledged_window_is_sent_again_after_the_wait():
    transfer = transfer_of(windowsize=2)
    window = transfer.start(0.0)

    assert transfer.tick(0.999) == []
    assert transfer.tick(1.0) == window
    assert transfer.retransmissions == 1


def test_gives_up_after_the_retries():
    transfer = transfer_of(retries=3)
    transfer.start(0.0)

    sent = [len(transfer.tick(transfer.deadline)) for _ in range(3)]

    assert sent == [1, 1, 1]
    assert transfer.outcome is None
    assert transfer.tick(transfer.deadline) == []
    assert transfer.outcome is Outcome.TIMED_OUT


def test_repeated_acks_do_not_renew_the_retries():
    transfer = transfer_of(retries=3, windowsize=2)
    transfer.start(0.0)
    transfer.receive(ack(2), 0.1)

    for _ in range(4):
        transfer.receive(ack(2), transfer.deadline)
        transfer.tick(transfer.deadline)

    assert transfer.outcome is Outcome.TIMED_OUT


def test_progress_renews_the_retries():
    transfer = transfer_of(FILE * 10, retries=3)
    transfer.start(0.0)

    for block in range(1, 20):
        for _ in range(3):
            assert transfer.tick(transfer.deadline)
        assert transfer.receive(ack(block), transfer.deadline - 0.01)

    assert transfer.outcome is None


def test_negotiated_timeout_sets_every_deadline():
    transfer = transfer_of(timeout_s=5)
    transfer.start(0.0)
    assert transfer.deadline == 5.0

    transfer.receive(ack(1), 0.25)
    assert transfer.deadline == 5.25

    transfer.tick(5.25)
    assert transfer.deadline == 11.5  # after one in vain a quarter more


def test_clients_error_ends_the_transfer():
    transfer = transfer_of(oack={"tsize": "26"})
    transfer.start(0.0)

    assert transfer.receive(b"\x00\x05\x00\x00TFTP Aborted\x00", 0.1) == []
    assert (transfer.outcome, transfer.detail) == (Outcome.ABORTED, "0: TFTP Aborted")
    assert transfer.receive(ack(0), 0.2) == []
    assert transfer.tick(1000.0) == []


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x00", b"\x00\x04", b"\x00\x04\x00", b"\x00\x03\x00\x01x", b"\x00\x01a\x00octet\x00",
     b"\x00\x06blksize\x009\x00", b"\x04\x00\x00\x01", b"\xff" * 1000],
)  # fmt: skip
def test_garbage_is_counted_and_changes_nothing(datagram):
    transfer = transfer_of()
    transfer.start(0.0)

    assert transfer.receive(datagram, 0.1) == []
    assert (transfer.ignored, transfer.outcome, transfer.deadline) == (1, None, 1.0)


def test_padded_ack_is_taken():
    transfer = transfer_of()
    transfer.start(0.0)

    assert transfer.receive(b"\x00\x04\x00\x01\x00\x00", 0.1) == [b"\x00\x03\x00\x02ijklmnop"]


def test_repeated_request_is_answered_until_the_first_acknowledgement():
    transfer = transfer_of()
    first = transfer.start(0.0)

    assert transfer.repeat(0.05) == []  # crossed the answer
    assert transfer.repeat(0.1) == first
    transfer.receive(ack(1), 0.2)
    assert transfer.repeat(0.4) == []


def test_client_that_has_gone_ends_the_transfer():
    transfer = transfer_of()
    transfer.start(0.0)

    transfer.client_gone()

    assert (transfer.outcome, transfer.deadline) == (Outcome.GONE, math.inf)


def test_file_that_got_shorter_is_refused_not_cut():
    transfer = TftpTransfer(26, lambda offset, length: b"abc", Terms(blksize=8), TftpLimits())

    with pytest.raises(TftpRefusal, match="shorter"):
        transfer.start(0.0)


@pytest.mark.slow
@pytest.mark.parametrize("windowsize", [1, 7, 64])
def test_block_numbers_roll_over_three_times(windowsize):
    """200,001 blocks of 8 bytes; each block is followed through the rollover by its content."""
    content = b"".join(i.to_bytes(8, "big") for i in range(200_000))
    transfer = transfer_of(content, windowsize=windowsize)
    received = bytearray()
    expected = 1

    datagrams = transfer.start(0.0)
    while transfer.outcome is None:
        for datagram in datagrams:
            assert datagram[:4] == b"\x00\x03" + (expected & 0xFFFF).to_bytes(2, "big")
            received += datagram[4:]
            expected += 1
        datagrams = transfer.receive(ack((expected - 1) & 0xFFFF), 0.0)

    assert transfer.outcome is Outcome.COMPLETE
    assert received == content


@pytest.mark.parametrize("number", [65534, 65535, 0, 1])
def test_partial_ack_right_at_the_rollover(number):
    transfer = transfer_of(bytes(8 * 70_000), windowsize=4)
    transfer.start(0.0)
    for last in range(4, 65_533, 4):
        transfer.receive(ack(last), 0.0)  # up to 65,532: then 65,533 to 65,536 are under way

    sent = transfer.receive(ack(number), 0.0)

    if number == 1:  # 65,537 was not sent yet
        assert sent == []
    else:
        first = (number + 1) & 0xFFFF
        assert sent[0] == b"\x00\x03" + first.to_bytes(2, "big") + bytes(8)
        assert len(sent) == 4


def test_six_gigabytes_are_read_block_by_block_in_order():
    size_bytes = 6_000_000_000
    block = bytes(65464)
    offsets = []

    def read(offset: int, length: int) -> bytes:
        offsets.append(offset)
        return block[:length]

    transfer = TftpTransfer(size_bytes, read, Terms(blksize=65464), TftpLimits())
    transfer.start(0.0)
    number = 0
    while transfer.outcome is None:
        number += 1
        transfer.receive(ack(number & 0xFFFF), 0.0)

    assert offsets == list(range(0, size_bytes, 65464))
    assert transfer.acked_bytes == size_bytes
    assert number == 91_654  # ceil(6e9 / 65464)


def test_span_covers_every_read():
    """What `span` promised before each call is where the reads of that call lie."""
    content = bytes(range(256)) * 3
    reads = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, offset + length))
        return content[offset : offset + length]

    transfer = TftpTransfer(len(content), read, Terms(blksize=8, windowsize=5), TftpLimits())
    calls: list[Callable[[], object]] = [lambda: transfer.start(0.0)]
    calls += [partial(transfer.receive, ack(n), 0.0) for n in (5, 7, 12, 13, 18)]
    calls += [lambda: transfer.tick(99.0)]
    calls += [partial(transfer.receive, ack(n), 100.0) for n in (*range(23, 97, 5), 97)]
    for call in calls:
        reads.clear()
        start, stop = transfer.span
        call()
        assert all(start <= first and last <= stop for first, last in reads)

    assert transfer.outcome is Outcome.COMPLETE
