"""The pure transfer against a simulated client, over loss, duplication, reordering and delay."""

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootserver.tftp.options import Terms, TftpLimits
from bootserver.tftp.transfer import Outcome, TftpTransfer

RETRIES = 30
DROPS_IN_A_ROW_MAX = 3  # a fair network: something gets through in the end


@dataclass
class Network:
    """Carries datagrams between the two ends on a simulated clock."""

    chance: random.Random
    loss: float
    duplication: float
    delay_max_s: float
    queue: list[tuple[float, int, str, bytes]] = field(default_factory=list)
    dropped_in_a_row: dict[str, int] = field(default_factory=dict)
    serial: Iterator[int] = field(default_factory=itertools.count)

    def send(self, to: str, datagram: bytes, now: float) -> None:
        dropped = self.dropped_in_a_row.get(to, 0)
        if dropped < DROPS_IN_A_ROW_MAX and self.chance.random() < self.loss:
            self.dropped_in_a_row[to] = dropped + 1
            return
        self.dropped_in_a_row[to] = 0
        for _ in range(1 + (self.chance.random() < self.duplication)):
            at = now + 0.0001 + self.chance.random() * self.delay_max_s
            heapq.heappush(self.queue, (at, next(self.serial), to, datagram))


class Client:
    """A receiver by RFC 1350 and RFC 7440: keeps blocks in order, acknowledges the last good one.

    An `eager` one answers every block that is out of order, others only the first after a gap.
    """

    def __init__(self, blksize: int, windowsize: int, eager: bool) -> None:
        self.blksize, self.windowsize, self.eager = blksize, windowsize, eager
        self.content = bytearray()
        self.blocks = 0
        self.done = False
        self.deadline = 1.0
        self.unacknowledged = 0
        self.gap_reported = False

    def last_ack(self) -> bytes:
        self.unacknowledged = 0
        return b"\x00\x04" + (self.blocks & 0xFFFF).to_bytes(2, "big")

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        self.deadline = now + 1.0
        if datagram[:2] == b"\x00\x06":
            return [self.last_ack()] if self.blocks == 0 else []
        assert datagram[:2] == b"\x00\x03"
        if self.done or int.from_bytes(datagram[2:4], "big") != (self.blocks + 1) & 0xFFFF:
            report = self.eager or not self.gap_reported
            self.gap_reported = True
            return [self.last_ack()] if report else []
        self.gap_reported = False
        self.blocks += 1
        self.unacknowledged += 1
        self.content += datagram[4:]
        self.done = len(datagram) - 4 < self.blksize
        return [self.last_ack()] if self.done or self.unacknowledged == self.windowsize else []


class SulkingClient(Client):
    """One that takes nothing more after a gap until its own time-out, as atftp does (0.7.git)."""

    sulks = False

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        if self.sulks:
            self.deadline = now + 1.0
            return []
        answers = super().receive(datagram, now)
        self.sulks = self.gap_reported and not self.done
        return answers

    def last_ack(self) -> bytes:
        self.sulks = False
        return super().last_ack()


@dataclass
class Tally:
    data_sent: int = 0
    occasions: int = 1  # the start, each retransmission and each ACK that meant progress


def simulate(transfer: TftpTransfer, client: Client, network: Network, tally: Tally) -> float:
    """Runs both ends until the transfer has ended; returns the simulated time that took."""
    now = 0.0

    def to_client(datagrams: list[bytes]) -> None:
        tally.data_sent += sum(datagram[:2] == b"\x00\x03" for datagram in datagrams)
        for datagram in datagrams:
            network.send("client", datagram, now)

    to_client(transfer.start(now))
    while transfer.outcome is None:
        arrival_at = network.queue[0][0] if network.queue else math.inf
        now = min(arrival_at, transfer.deadline, client.deadline)
        assert now < 1e6
        if now == arrival_at:
            _, _, to, datagram = heapq.heappop(network.queue)
            if to == "client":
                for answer in client.receive(datagram, now):
                    network.send("server", answer, now)
            else:
                acked_before, outcome_before = transfer.acked_bytes, transfer.outcome
                to_client(transfer.receive(datagram, now))
                progress = transfer.acked_bytes != acked_before
                tally.occasions += progress or transfer.outcome is not outcome_before
        elif now == transfer.deadline:
            to_client(transfer.tick(now))
        else:  # the client's own time-out
            client.deadline = now + 1.0
            network.send("server", client.last_ack(), now)
    return now


networks = st.builds(
    Network,
    chance=st.integers(0, 2**32).map(random.Random),
    loss=st.sampled_from([0.0, 0.01, 0.1, 0.3]),
    duplication=st.sampled_from([0.0, 0.1, 1.0]),
    delay_max_s=st.sampled_from([0.0, 0.01, 0.3]),
)


@settings(max_examples=200)
@given(
    content=st.binary(max_size=600),
    repeats=st.integers(1, 4),
    blksize=st.sampled_from([8, 9, 64, 512]),
    windowsize=st.sampled_from([1, 2, 4, 16, 64]),
    oack=st.sampled_from([{}, {"blksize": "8"}]),
    eager=st.booleans(),
    network=networks,
)
def test_client_always_gets_exactly_the_file(
    content, repeats, blksize, windowsize, oack, eager, network
):
    content *= repeats
    transfer = TftpTransfer(
        len(content),
        lambda offset, length: content[offset : offset + length],
        Terms(blksize=blksize, windowsize=windowsize, oack=oack),
        TftpLimits(retries=RETRIES),
    )
    client = Client(blksize, windowsize, eager)
    tally = Tally()

    simulate(transfer, client, network, tally)

    assert transfer.outcome is Outcome.COMPLETE
    assert client.content == content
    # No storm: one window for the start, for each step forward and for each retransmission.
    assert tally.data_sent <= windowsize * (tally.occasions + 1 + transfer.retransmissions)


@pytest.mark.parametrize(("windowsize", "sent_max"), [(1, 1000), (4, 2000), (16, 2000), (64, 2000)])
@pytest.mark.parametrize("eager", [False, True])
def test_doubling_network_does_not_make_a_storm(windowsize, sent_max, eager):
    """In lock-step each block is sent once; with windows, where a repeat can mean a gap, twice."""
    content = bytes(8 * 999)
    transfer = TftpTransfer(
        len(content),
        lambda offset, length: content[offset : offset + length],
        Terms(blksize=8, windowsize=windowsize),
        TftpLimits(),
    )
    network = Network(random.Random(1), loss=0.0, duplication=1.0, delay_max_s=0.0)
    tally = Tally()

    simulate(transfer, Client(8, windowsize, eager), network, tally)

    assert transfer.outcome is Outcome.COMPLETE
    assert 1000 <= tally.data_sent <= sent_max


@settings(max_examples=50)
@given(
    dead_after=st.integers(0, 40),
    windowsize=st.sampled_from([1, 4, 16]),
    oack=st.sampled_from([{}, {"blksize": "8"}]),
)
def test_dead_network_ends_the_transfer_within_bounds(dead_after, windowsize, oack):
    """After `dead_after` datagrams nothing gets through any more."""

    class DyingNetwork(Network):
        def send(self, to: str, datagram: bytes, now: float) -> None:
            if next(self.serial) < dead_after:
                heapq.heappush(self.queue, (now + 0.01, next(self.serial), to, datagram))

    content = bytes(8 * 200)
    transfer = TftpTransfer(
        len(content),
        lambda offset, length: content[offset : offset + length],
        Terms(blksize=8, windowsize=windowsize, oack=oack),
        TftpLimits(retries=8),
    )
    network = DyingNetwork(random.Random(0), 0.0, 0.0, 0.0)

    ended_at = simulate(transfer, Client(8, windowsize, eager=True), network, Tally())

    assert transfer.outcome is Outcome.TIMED_OUT
    assert ended_at < 1 + 9 * 4.0 + 1  # WAIT_MAX_S for each wait, and a second either side


@pytest.mark.parametrize("seed", range(20))
def test_client_with_our_timeout_that_sulks_gets_the_file(seed: int):
    content = random.Random(seed).randbytes(8 * 200)
    transfer = TftpTransfer(
        len(content),
        lambda offset, length: content[offset : offset + length],
        Terms(blksize=8, windowsize=16, timeout_s=1, oack={"timeout": "1"}),
        TftpLimits(),
    )
    client = SulkingClient(8, 16, eager=False)

    simulate(transfer, client, Network(random.Random(seed), 0.1, 0.0, 0.0), Tally())

    assert client.content == content


@pytest.mark.slow
def test_rollover_on_a_lossy_network():
    """70,001 blocks with losses on both ways, so that windows straddle 65,535 in pieces."""
    content = b"".join(i.to_bytes(8, "big") for i in range(70_000))
    transfer = TftpTransfer(
        len(content),
        lambda offset, length: content[offset : offset + length],
        Terms(blksize=8, windowsize=7),
        TftpLimits(retries=RETRIES),
    )
    client = Client(8, 7, eager=False)
    network = Network(random.Random(7), loss=0.05, duplication=0.05, delay_max_s=0.001)

    simulate(transfer, client, network, Tally())

    assert transfer.outcome is Outcome.COMPLETE
    assert client.content == content
    assert transfer.retransmissions > 0
