"""One file on its way to one client: datagrams in, datagrams out; no sockets, no clock.

The client has spoken first: its request made the terms. A transfer has three states:

- *offered*: `start` has sent the OACK, and ACK 0 is awaited. Without options it is left out.
- *sending*: one window is under way, and its ACKs are awaited.
- *ended*: `outcome` says how. Nothing is sent any more.

Kept are the last block acknowledged, the last one sent, the retries since then, and the round trips
seen. The file's bytes are not: `read` gets them anew for each sending.

It ends well with the last block's ACK. It fails by an ERROR of the client, too many retries without
progress, or the client's port being closed. If the file became shorter, sending raises
`TftpRefusal`. Old ACKs, and datagrams that are neither ACK nor ERROR, change nothing.

Five rules keep a transfer both alive and quiet:

- An ACK that moves the transfer forward sends one window, from the block after it (RFC 7440 §4).
- Where that repeats blocks that were under way, it is done once in half a round trip. ACKs that
  come sooner still answer the blocks sent before. They add what is new in the window, no more.
- An ACK that does not move it forward sends nothing (RFC 1123 §4.2.3.1, Sorcerer's Apprentice).
  With windows it may tell of a gap right at the window's start. So it brings the next
  retransmission nearer, once: two round trips after the window was sent, not a time-out.
- To a client whose address has never answered, the first answer goes once for each request. It may
  know nothing of them. The client repeats a request whose answer was lost.
- Only progress renews the number of retries: a client that repeats itself cannot hold on for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum

from bootserver.tftp import packets
from bootserver.tftp.options import Terms, TftpLimits
from bootserver.tftp.packets import ErrorCode, TftpRefusal
from bootserver.tftp.timing import WAIT_MIN_S, RoundTrips

__all__ = ["Outcome", "TftpRefusal", "TftpTransfer"]


class Outcome(StrEnum):
    """How a transfer ended."""

    COMPLETE = "complete"  # every block acknowledged
    ABORTED = "aborted"  # the client sent an ERROR; firmware that only wanted tsize does so
    TIMED_OUT = "timed_out"  # no progress after all retries
    GONE = "gone"  # the client's port is closed


class TftpTransfer:
    """Sends `size_bytes` bytes, got through `read(offset, length)`, under the agreed terms.

    Each of `start`, `receive`, `repeat` and `tick` returns the datagrams to send now. Times are
    seconds on any clock that never goes back. `tick` is due at `deadline`. What these calls may
    read lies in `span`, so that the caller can have it at hand.
    """

    __slots__ = (
        "_acked",
        "_blocks",
        "_client_known",
        "_hurried",
        "_oack_pending",
        "_read",
        "_resent",
        "_retries",
        "_retries_max",
        "_round_trips",
        "_sent",
        "_sent_at",
        "_terms",
        "deadline",
        "detail",
        "ignored",
        "outcome",
        "progress_at",
        "retransmissions",
        "size_bytes",
    )

    def __init__(
        self,
        size_bytes: int,
        read: Callable[[int, int], bytes],
        terms: Terms,
        limits: TftpLimits,
        *,
        client_known: bool = True,
    ) -> None:
        self.size_bytes = size_bytes
        self._client_known = client_known
        self._read = read
        self._terms = terms
        self._blocks = size_bytes // terms.blksize + 1  # the last one is short, or empty
        self._acked = 0  # blocks are counted from 1 without rolling over; only the wire does
        self._sent = 0
        self._sent_at = 0.0
        self._oack_pending = bool(terms.oack)
        self._resent = False  # what is under way was sent more than once
        self._hurried = False  # a repeated ACK has already brought the deadline nearer
        self._retries = 0
        self._retries_max = limits.retries
        self._round_trips = RoundTrips(limits.timeout_s, terms.timeout_s)
        self.deadline = math.inf
        self.outcome: Outcome | None = None
        self.detail = ""  # the client's words, if it sent an ERROR
        self.progress_at: float | None = None  # None: nothing acknowledged yet
        self.retransmissions = 0
        self.ignored = 0  # datagrams that were neither ACK nor ERROR

    @property
    def acked_bytes(self) -> int:
        """How much of the file the client is known to have."""
        return min(self._acked * self._terms.blksize, self.size_bytes)

    @property
    def is_unanswered(self) -> bool:
        """True while the first answer is out, and nothing has come back."""
        return self.progress_at is None and self.deadline < math.inf

    @property
    def span(self) -> tuple[int, int]:
        """The bytes (start, stop) that the next call may read; start never goes back."""
        blksize = self._terms.blksize
        stop = (self._sent + self._terms.windowsize) * blksize
        return min(self._acked * blksize, self.size_bytes), min(stop, self.size_bytes)

    def start(self, now: float) -> list[bytes]:
        """The answer to the request: the OACK, or the first block if no option was accepted."""
        return self._send(now)

    def repeat(self, now: float) -> list[bytes]:
        """The answer to the same request once more; nothing after the first acknowledgement.

        Nothing either while the last answer may still be on its way: atftp gives up when it sees
        two OACKs.
        """
        if self.outcome is not None or self.progress_at is not None:
            return []
        if now - self._sent_at < WAIT_MIN_S:
            return []
        self._resent = True
        return self._send(now)

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        """What to send upon a datagram from the client."""
        if self.outcome is not None:
            return []
        opcode = datagram[:2]
        if opcode == packets.ACK and len(datagram) >= 4:
            return self._acknowledged((datagram[2] << 8) | datagram[3], now)
        if opcode == packets.ERROR:
            self._end(Outcome.ABORTED, packets.error_text(datagram))
        else:
            self.ignored += 1
        return []

    def tick(self, now: float) -> list[bytes]:
        """What to send because time has passed: the unacknowledged window, or nothing."""
        if now < self.deadline:
            return []
        if self._retries == self._retries_max:
            self._end(Outcome.TIMED_OUT)
            return []
        self._retries += 1
        self._round_trips.unanswered()
        if not self._client_known:
            self.deadline = now + self._round_trips.wait_s
            return []
        self.retransmissions += 1
        self._resent = True
        return self._send(now)

    def client_gone(self) -> None:
        """Ends the transfer: the network says that the client's port is closed."""
        if self.outcome is None:
            self._end(Outcome.GONE)

    def _acknowledged(self, number: int, now: float) -> list[bytes]:
        if self._oack_pending:
            if number != 0:
                return []
            self._oack_pending = False
            return self._progressed(now)
        ahead = (number - self._acked) & 0xFFFF  # right across the rollover past 65,535
        if ahead == 0:
            self._repeated_ack()
            return []
        if ahead > self._sent - self._acked:  # old, delayed, or of a block never sent
            return []
        self._acked += ahead
        return self._progressed(now)

    def _progressed(self, now: float) -> list[bytes]:
        if not self._resent:
            self._round_trips.answered(now - self._sent_at)
        self._hurried = False
        self._retries = 0
        self._client_known = True
        self.progress_at = now
        if self._acked == self._blocks:
            self._end(Outcome.COMPLETE)
            return []
        part_only = self._acked < self._sent
        if part_only and self._resent and self._round_trips.is_echo(now - self._sent_at):
            self.deadline = self._sent_at + self._round_trips.repeated_wait_s
            return self._blocks_from(self._sent + 1)
        self._resent = part_only
        return self._send(now)

    def _repeated_ack(self) -> None:
        if self._terms.windowsize > 1 and not self._hurried:
            self._hurried = True
            nearer = self._sent_at + self._round_trips.repeated_wait_s
            self.deadline = min(self.deadline, nearer)

    def _send(self, now: float) -> list[bytes]:
        """The datagrams that are due after the last acknowledgement; sets the deadline."""
        self._sent_at = now
        self.deadline = now + self._round_trips.wait_s
        if self._oack_pending:
            return [packets.encode_oack(self._terms.oack)]
        return self._blocks_from(self._acked + 1)

    def _blocks_from(self, first: int) -> list[bytes]:
        """The DATA packets from a block up to the window's end; none past the file's."""
        blksize = self._terms.blksize
        last = min(self._acked + self._terms.windowsize, self._blocks)
        if first > last:
            return []
        offset = (first - 1) * blksize
        length = min((last - first + 1) * blksize, self.size_bytes - offset)
        data = self._read(offset, length)
        if len(data) != length:  # sent as it is, a short block would look like the file's end
            raise TftpRefusal(ErrorCode.UNDEFINED, "the file became shorter while it was sent")
        self._sent = last
        return [
            packets.encode_data(first + i, data[i * blksize : (i + 1) * blksize])
            for i in range(last - first + 1)
        ]

    def _end(self, outcome: Outcome, detail: str = "") -> None:
        self.outcome = outcome
        self.detail = detail
        self.deadline = math.inf
