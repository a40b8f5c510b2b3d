"""How long to wait for an acknowledgement before sending again."""

from __future__ import annotations

WAIT_MIN_S = 0.1  # firmware that writes what it gets may pause this long
WAIT_MAX_S = 4.0
REPEATED_WAIT_MIN_S = 0.01
LONGER = 1.25  # than the wait that the client negotiated


class RoundTrips:
    """The wait, learnt from the round trips seen: RFC 1123 §4.2.3.2 wants it adaptive.

    The arithmetic is TCP's (RFC 6298 §2): the smoothed round trip and four times its variation. A
    client that negotiated `timeout` gets exactly that (RFC 2349), but for a wait after one in vain:
    that is a little longer. atftp takes nothing more of a window with a gap until its own equal
    wait is over, and each packet begins that wait anew. It gives up after five.
    """

    __slots__ = ("_agreed_s", "_smoothed_s", "_variation_s", "wait_s")

    def __init__(self, first_s: float, agreed_s: float | None = None) -> None:
        self._agreed_s = agreed_s
        self._smoothed_s: float | None = None
        self._variation_s = 0.0
        self.wait_s = first_s if agreed_s is None else agreed_s

    def answered(self, elapsed_s: float) -> None:
        """An acknowledgement came to something that was sent once, `elapsed_s` ago.

        One to something sent twice is not to be told here: it is not known to which sending it
        belongs. Until one is known, the longer wait must stay (Karn, RFC 6298 §3 and §5.7).
        """
        if self._smoothed_s is None:
            self._smoothed_s = elapsed_s
            self._variation_s = elapsed_s / 2
        else:
            error_s = elapsed_s - self._smoothed_s
            self._smoothed_s += error_s / 8
            self._variation_s += (abs(error_s) - self._variation_s) / 4
        wait_s = self._smoothed_s + 4 * self._variation_s
        self.wait_s = self._agreed_s or min(max(wait_s, WAIT_MIN_S), WAIT_MAX_S)

    def unanswered(self) -> None:
        """The wait was in vain: the next one is longer."""
        if self._agreed_s is None:
            self.wait_s = max(self.wait_s, min(2 * self.wait_s, WAIT_MAX_S))
        else:
            self.wait_s = LONGER * self._agreed_s

    def is_echo(self, elapsed_s: float) -> bool:
        """True if an ACK so soon after a sending must belong to what was sent before it."""
        return self._smoothed_s is not None and elapsed_s < self._smoothed_s / 2

    @property
    def repeated_wait_s(self) -> float:
        """How long after a sending a repeated ACK stands for a loss: two round trips."""
        if self._smoothed_s is None:
            return self.wait_s
        known_s = 2 * self._smoothed_s + 4 * self._variation_s
        return min(max(known_s, REPEATED_WAIT_MIN_S), self.wait_s)
