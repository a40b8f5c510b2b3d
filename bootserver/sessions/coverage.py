"""How much of a file a machine has: the parts that were sent to it, in whatever order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

PARTS_MAX = 1000  # apart from each other; a block device that is read here and there has many


class Coverage:
    """The parts of a file that went out, joined where they touch.

    Beyond PARTS_MAX only the file's beginning is followed: who then reads on from there to the end
    has the file all the same.
    """

    __slots__ = ("_starts", "_stops", "is_followed")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.is_followed = True

    @property
    def holes(self) -> int | None:
        """How many gaps there are between the first byte and the last; None if too many."""
        return max(len(self._starts) - 1, 0) if self.is_followed else None

    def has_all(self, size_bytes: int) -> bool:
        """True if nothing is missing of a file of that size."""
        if not size_bytes:
            return True
        return bool(self._starts) and self._starts[0] == 0 and self._stops[0] >= size_bytes

    def add(self, start: int, stop: int) -> None:
        """The bytes [start, stop) went out."""
        starts, stops = self._starts, self._stops
        if stop <= start:
            return
        first = bisect_left(stops, start)  # of the parts that it touches
        last = bisect_right(starts, stop, lo=first)
        if first < last:
            start, stop = min(start, starts[first]), max(stop, stops[last - 1])
        elif not self.is_followed and start:
            return
        starts[first:last], stops[first:last] = [start], [stop]
        if len(starts) > PARTS_MAX:
            self.is_followed = False
            kept = int(starts[0] == 0)
            del starts[kept:], stops[kept:]
