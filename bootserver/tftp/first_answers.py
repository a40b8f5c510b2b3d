"""How many bytes go to an address that has never answered: a request's sender may be forged.

An answer of up to 8 times its request always goes out: an OACK, an ERROR, a short file. One answer
is larger: to a request without options goes the first block, 516 bytes for perhaps 20. RFC 1350 has
no smaller beginning. Firmware that knows no options must boot at once all the same, so such a block
is sent on credit. Credit is limited for each address, and for all of them together:

- in bytes: beyond 8 times what came, at most 2 blocks in ten minutes for an address, 128 for all.
  Requests that have waited for credit leave half of it to those that come after them;
- in time: 4 blocks a second for an address, 128 for all. So a flood leaves credit to those behind
  it.

An address becomes known when it answers at a transfer's port: only the real one was told that port.
What it owed is then forgotten. For ten minutes it may owe 64 blocks and get 64 a second, until it
answers again: requests may be forged in its name as well.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import TypeVar

from bootserver.limits import Limit

AMPLIFICATION_MAX = 8
FIRST_BLOCK_BYTES = 516
KNOWN_S = 600.0
KNOWN_BLOCKS = 64  # many machines may share one address
ADDRESSES_MAX = 4096  # of which something is remembered, known ones and others

_T = TypeVar("_T")


class _Credit:
    """The blocks that an address, or all of them, may have before they are paid for."""

    __slots__ = ("_at", "_blocks_max", "_left", "_per_s", "owed_bytes", "taken")

    def __init__(self, blocks_max: int, per_s: float) -> None:
        self._blocks_max = blocks_max
        self._per_s = per_s
        self._left = float(blocks_max)
        self._at = 0.0
        self.owed_bytes = 0.0
        self.taken = 0

    def pay(self, paid_bytes: float) -> None:
        self.owed_bytes = max(0.0, self.owed_bytes - paid_bytes)

    def reaches(self, now: float, blocks_left: int) -> bool:
        """True if there is one more block, and then so many are left in bytes."""
        all_bytes = self._blocks_max * FIRST_BLOCK_BYTES
        self._left = min(self._blocks_max, self._left + (now - self._at) * self._per_s)
        self.pay((now - self._at) * all_bytes / KNOWN_S)
        self._at = now
        left_bytes = all_bytes - self.owed_bytes - FIRST_BLOCK_BYTES
        return self._left >= 1 and left_bytes >= blocks_left * FIRST_BLOCK_BYTES

    @property
    def half(self) -> int:
        return self._blocks_max // 2

    def take(self) -> None:
        self._left -= 1
        self.taken += 1
        self.owed_bytes += FIRST_BLOCK_BYTES


class FirstAnswers:
    """Knows the addresses that have answered, and decides about first blocks for the others.

    `blocks` limits what all others may owe, and counts it.
    """

    def __init__(self, blocks: Limit) -> None:
        self._blocks = blocks
        # When it last answered, and its credit since then.
        self._known: OrderedDict[str, tuple[float, _Credit]] = OrderedDict()
        self._credits: OrderedDict[str, _Credit] = OrderedDict()
        self._credit_of_all = _Credit(self._blocks.max, per_s=self._blocks.max)

    def is_known(self, address: str, now: float) -> bool:
        """True if this address has answered within KNOWN_S."""
        return address in self._known and now - self._known[address][0] < KNOWN_S

    def is_trusted(self, address: str, now: float) -> bool:
        """True if it is known and has had few blocks since: a lost answer is sent again unasked."""
        return self.is_known(address, now) and self._known[address][1].taken < KNOWN_BLOCKS // 2

    def requested(self, address: str, request_bytes: int, now: float) -> None:
        """A request has come whose answer is a block: it pays for 8 times its bytes."""
        for each in self._credits_for(address, now):
            each.pay(AMPLIFICATION_MAX * request_bytes)

    def may_send_block(self, address: str, now: float, *, has_waited: bool = False) -> bool:
        """True if a request may be answered with a block of 512 bytes; it then counts as sent."""
        credits = self._credits_for(address, now)
        may = all(each.reaches(now, each.half if has_waited else 0) for each in credits)
        if may:
            for each in credits:
                each.take()
        self._count()
        return may

    def _credits_for(self, address: str, now: float) -> tuple[_Credit, ...]:
        """What a block for this address is taken from."""
        if self.is_known(address, now):
            return (self._known[address][1],)
        credit = self._credits.pop(address, None) or _Credit(2, per_s=4)
        _put(self._credits, address, credit)
        return credit, self._credit_of_all

    def heard_from(self, address: str, now: float) -> None:
        """The address has answered at the port of a transfer."""
        self._known.pop(address, None)
        _put(self._known, address, (now, _Credit(KNOWN_BLOCKS, per_s=KNOWN_BLOCKS)))
        if credit := self._credits.pop(address, None):
            self._credit_of_all.pay(credit.owed_bytes)
            self._count()

    def _count(self) -> None:
        self._blocks.used = ceil(self._credit_of_all.owed_bytes / FIRST_BLOCK_BYTES)


def _put(table: OrderedDict[str, _T], address: str, value: _T) -> None:
    """Have the value at the young end of a table that forgets at the other."""
    table[address] = value
    if len(table) > ADDRESSES_MAX:
        table.popitem(last=False)
