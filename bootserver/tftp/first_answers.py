"""How many bytes go to an address that has never answered: a request's sender may be forged.

An answer of up to 8 times its request always goes out: an OACK, an ERROR, a short file. One answer
is larger: to a request without options goes the first block, 516 bytes for perhaps 20, and RFC 1350
has no smaller beginning. Firmware that knows no options must boot at once all the same, so such a
block is sent on credit. Credit is limited for each address, and for all of them together:

- in bytes: beyond 8 times what came, no more than 2 blocks are owed by an address, 128 by all;
- in time: 4 blocks a second for an address, 128 for all, so that a flood leaves credit to those
  who come behind it.

An address becomes known when it answers at the port of a transfer: only the real one was told that
port. What it owed is then forgotten, and for ten minutes it gets what it asks for.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from bootserver.limits import Limit

AMPLIFICATION_MAX = 8
FIRST_BLOCK_BYTES = 516
KNOWN_S = 600.0
ADDRESSES_MAX = 4096  # of which something is remembered, known ones and others

_T = TypeVar("_T")


class _Credit:
    """The blocks that an address, or all of them, may have before they are paid for."""

    __slots__ = ("_at", "_blocks_max", "_left", "_per_s", "owed_bytes")

    def __init__(self, blocks_max: int, per_s: float) -> None:
        self._blocks_max = blocks_max
        self._per_s = per_s
        self._left = float(blocks_max)
        self._at = 0.0
        self.owed_bytes = 0

    def pay(self, paid_bytes: int) -> None:
        self.owed_bytes = max(0, self.owed_bytes - paid_bytes)

    def reaches(self, now: float) -> bool:
        self._left = min(self._blocks_max, self._left + (now - self._at) * self._per_s)
        self._at = now
        owed_blocks = (self.owed_bytes + FIRST_BLOCK_BYTES) / FIRST_BLOCK_BYTES
        return self._left >= 1 and owed_blocks <= self._blocks_max

    def take(self) -> None:
        self._left -= 1
        self.owed_bytes += FIRST_BLOCK_BYTES


class FirstAnswers:
    """Knows the addresses that have answered, and decides about first blocks for the others.

    `blocks` limits what all others may owe, and counts it.
    """

    def __init__(self, blocks: Limit | None = None) -> None:
        self._blocks = blocks or Limit(128)
        self._known: OrderedDict[str, float] = OrderedDict()  # when it last answered
        self._credits: OrderedDict[str, _Credit] = OrderedDict()
        self._credit_of_all = _Credit(self._blocks.max, per_s=self._blocks.max)

    def is_known(self, address: str, now: float) -> bool:
        """True if this address has answered within KNOWN_S."""
        return now - self._known.get(address, -KNOWN_S) < KNOWN_S

    def may_send_block(self, address: str, request_bytes: int, now: float) -> bool:
        """True if the answer to a request may be a block of 512 bytes; it then counts as sent."""
        if self.is_known(address, now):
            return True
        credit = self._credits.pop(address, None) or _Credit(2, per_s=4)
        _put(self._credits, address, credit)
        both = (credit, self._credit_of_all)
        for each in both:
            each.pay(AMPLIFICATION_MAX * request_bytes)
        may = all(each.reaches(now) for each in both)
        if may:
            for each in both:
                each.take()
        else:
            self._blocks.refused += 1
        self._count()
        return may

    def heard_from(self, address: str, now: float) -> None:
        """The address has answered at the port of a transfer."""
        self._known.pop(address, None)
        _put(self._known, address, now)
        if credit := self._credits.pop(address, None):
            self._credit_of_all.pay(credit.owed_bytes)
            self._count()

    def _count(self) -> None:
        self._blocks.used = -(-self._credit_of_all.owed_bytes // FIRST_BLOCK_BYTES)


def _put(table: OrderedDict[str, _T], address: str, value: _T) -> None:
    """Have the value at the young end of a table that forgets at the other."""
    table[address] = value
    if len(table) > ADDRESSES_MAX:
        table.popitem(last=False)
