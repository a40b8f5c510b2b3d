"""Requests that wait for their turn: each address in turn, and of each the newest.

In a flood not every request can be served. The oldest are given up, because a client that still
waits has asked last. So are those of the address that floods: it is served no more often than
others.

Every second turn is for addresses that have acknowledged something. So a flood from forged
addresses, however many there are, does not delay the next file of such a machine.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

WAITING_MAX = 256
WAITING_PER_ADDRESS = 128

_T = TypeVar("_T")


class WaitingRequests(Generic[_T]):
    """Two queues that take turns: of addresses that are known, and of all others."""

    def __init__(self) -> None:
        self._known: _Queue[_T] = _Queue()
        self._others: _Queue[_T] = _Queue()
        self._known_are_next = False

    def __len__(self) -> int:
        return len(self._known) + len(self._others)

    def put(self, address: str, request: _T, *, is_known: bool = False) -> int:
        """Has one more wait; returns how many were given up for it."""
        return (self._known if is_known else self._others).put(address, request)

    def take(self) -> _T:
        """The next request; raises KeyError if none waits."""
        self._known_are_next = not self._known_are_next
        has_turn = self._known if self._known_are_next else self._others
        return (has_turn or self._known or self._others).take()


class _Queue(Generic[_T]):
    """A bounded queue that is fair to addresses."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, deque[_T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, address: str, request: _T) -> int:
        """Has one more wait; returns how many were given up for it."""
        before = self._count
        mine = self._by_address.setdefault(address, deque(maxlen=WAITING_PER_ADDRESS))
        self._count += len(mine) < WAITING_PER_ADDRESS
        mine.append(request)
        while self._count > WAITING_MAX:  # the address that has waited longest
            self._count -= len(self._by_address.popitem(last=False)[1])
        return before + 1 - self._count

    def take(self) -> _T:
        """The oldest request of the address whose turn it is. Raises KeyError if none waits."""
        address, requests = self._by_address.popitem(last=False)
        request = requests.popleft()
        if requests:
            self._by_address[address] = requests
        self._count -= 1
        return request
