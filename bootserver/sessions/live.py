"""A boot that goes on, in memory: its session, its events, and the files on their way to it.

Bytes are counted thousands of times a second, so what counts them is mutable and small; the frozen
values are made of it when they are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

from bootserver import clock
from bootserver.model import BootEvent, BootPhase, BootSession, Machine, Transfer, TransferEnd
from bootserver.sessions.diagnosis import STILL_S, Look, TcpFacts, link_sentence
from bootserver.sessions.tracker import is_before

PAUSE_S = 1.0  # without bytes for so long: a pause
RECENT_S = 5.0  # what the speed of now is one over: steady, and soon right when it changes
# A system that fetches its packages from the disc's tree makes thousands: the ledger has the first.
TRANSFERS_MAX = 1000

AskTcp = Callable[[], TcpFacts | None]
# A stub's token, or an image's id; what tells its boots apart; and the value of that.
Place = tuple[str, str, str]


@dataclass(eq=False, slots=True)
class LiveBoot:
    """One boot under way; `session` lacks the bytes that came since `settle()`."""

    session: BootSession
    events: list[BootEvent] = field(default_factory=list)
    transfers: dict[int, Transfer] = field(default_factory=dict)  # by number, as last looked at
    under_way: dict[int, Fetch] = field(default_factory=dict)  # by number
    new_bytes: int = 0
    summed_up: bool = False  # its line is in the log
    places: tuple[Place, ...] = ()  # where LiveBoots keeps it
    reached: dict[str, int] = field(default_factory=dict)  # name: how much of a file's beginning

    def settle(self) -> BootSession:
        """The session with all its bytes."""
        if self.new_bytes:
            sent_bytes = self.session.sent_bytes + self.new_bytes
            self.session = replace(self.session, sent_bytes=sent_bytes)
            self.new_bytes = 0
        return self.session


class LiveBoots(dict[str, LiveBoot]):
    """The boots going on, by key; those that a machine may be in are found without a search.

    Thousands of machines may share a stub's token, and hundreds one address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._at: dict[Place, dict[str, LiveBoot]] = {}

    def file(self, boot: LiveBoot) -> None:
        """Keep the boot, by what its session says of its machine now."""
        key, places = boot.session.key, _places(boot.session)
        self[key] = boot
        if places == boot.places:
            return
        self._unfile(boot)
        boot.places = places
        for place in places:
            self._at.setdefault(place, {})[key] = boot

    def remove(self, key: str) -> LiveBoot:
        """Let the boot go; returns it."""
        boot = self.pop(key)
        self._unfile(boot)
        return boot

    def candidates(self, token: str, machine: Machine, address: str) -> list[BootSession]:
        """Every session of that stub that may be the machine's, oldest first, and some others."""
        places: list[Place] = [(token, "any", ""), (token, "nameless", address)]
        if machine.mac:
            places.append((token, "mac", machine.mac))
        elif not machine.uuid:
            places.append((token, "address", address))
        else:  # our stubs tell both
            return [boot.session for boot in self.values() if boot.session.token == token]
        found = {key: boot for place in places for key, boot in self._at.get(place, {}).items()}
        return sorted((boot.session for boot in found.values()), key=lambda one: one.created_at)

    def newest_at(self, token: str, address: str) -> LiveBoot | None:
        """The newest boot of that stub at that address."""
        return next(reversed(self._at.get((token, "address", address), {}).values()), None)

    def newest_of(self, image: str, address: str) -> LiveBoot | None:
        """The newest boot of that image at that address."""
        return next(reversed(self._at.get((image, "image at", address), {}).values()), None)

    def _unfile(self, boot: LiveBoot) -> None:
        for place in boot.places:
            del self._at[place][boot.session.key]
            if not self._at[place]:
                del self._at[place]
        boot.places = ()


def _places(session: BootSession) -> tuple[Place, ...]:
    """Where the machine that this session fits looks for it (`tracker.is_same_boot`)."""
    token, machine = session.token, session.machine
    if is_before(session, BootPhase.STUB_STARTED):
        own = (token, "any", "")
    elif machine.mac:
        own = (token, "mac", machine.mac)
    elif machine.uuid:
        own = (token, "any", "")
    else:
        own = (token, "nameless", session.address)
    address = session.address
    return own, (token, "address", address), (session.image, "image at", address)


class Fetch:
    """One file on its way to a machine. It is in the ledger from its first bytes on.

    `counts` says whether its bytes are those of the image that the boot waits for. A range goes on
    with the transfer of the same file before it, if there is one.
    """

    def __init__(
        self,
        boot: LiveBoot,
        name: str,
        protocol: str,
        size_bytes: int,
        *,
        counts: bool,
        is_range: bool = False,
        ask_tcp: AskTcp | None = None,
    ) -> None:
        self._boot = boot
        self.name = name
        self._began = Transfer(boot.session.id, 0, name, protocol, clock.now(), size_bytes)
        self.counts = counts
        self._is_range = is_range
        self._ask_tcp = ask_tcp or _told_nothing
        self._asked_at = self._moved_at = monotonic()
        self._retransmits_before = 0
        self._looks: deque[tuple[float, int]] = deque()  # of the last STILL_S: when, bytes
        self._stalled_s = 0.0
        self.sent_bytes = 0

    def sent(self, sent_bytes: int) -> None:
        """So many more bytes of the file went out."""
        now = monotonic()
        if not self.sent_bytes:
            self._enter()
        elif now - self._moved_at >= PAUSE_S:
            self._stalled_s += now - self._moved_at
        self._moved_at = now
        self.sent_bytes += sent_bytes
        if self.counts:
            self._boot.new_bytes += sent_bytes

    def look(self) -> Look:
        """How it goes, now; brings its transfer up to date. To be called about once a second."""
        now = monotonic()
        while self._looks and now - self._looks[0][0] > STILL_S + 2 * PAUSE_S:
            self._looks.popleft()
        long_ago = bool(self._looks) and now - self._looks[0][0] >= STILL_S
        look = Look(self._ask_tcp(), self._rate(now, self._looks[0]) if long_ago else None)
        lately = next((seen for seen in self._looks if now - seen[0] <= RECENT_S), None)
        recent_bytes_per_s = self._rate(now, lately) if lately else None
        self._looks.append((now, self.sent_bytes))
        self._record(now, look, link_sentence(self._began, look), recent_bytes_per_s)
        return look

    def _rate(self, now: float, since: tuple[float, int]) -> float | None:
        """Bytes per second since that look."""
        at, bytes_then = since
        return (self.sent_bytes - bytes_then) / (now - at) if now > at else None

    def end(self, outcome: TransferEnd) -> Transfer | None:
        """It is over; its transfer as it stays in the ledger, None if there never were bytes."""
        number = self._began.number
        if not number or self._boot.under_way.pop(number, None) is None:
            return None
        now = monotonic()
        self._record(now, Look(self._ask_tcp()), self._boot.transfers[number].link)
        transfer = replace(
            self._boot.transfers[number], ended_at=self._time(now), outcome=outcome.value
        )
        self._boot.transfers[number] = transfer
        return transfer

    def note_reached(self, start: int | None) -> bool:
        """Note how far the machine has the file, once this is over; True if it has all now.

        What went out began at `start`. A range counts if nothing is missing before it.
        """
        reached = self._boot.reached.get(self.name, 0)
        if start is not None and start <= reached:
            reached = self._boot.reached[self.name] = max(reached, start + self.sent_bytes)
        return reached >= self._began.size_bytes

    def _enter(self) -> None:
        """Take its place among the transfers of the boot."""
        transfers = self._boot.transfers
        facts = self._ask_tcp()
        self._retransmits_before = facts.retransmits if facts else 0
        earlier = self._earlier() if self._is_range else None
        if earlier is not None:
            self._began = replace(earlier, ended_at=None, outcome="")
        elif len(transfers) < TRANSFERS_MAX:
            self._began = replace(self._began, number=len(transfers) + 1)
        else:
            return
        self._boot.under_way[self._began.number] = self
        transfers[self._began.number] = self._began

    def _earlier(self) -> Transfer | None:
        """The newest transfer of the same file that is over."""
        same = (
            transfer
            for transfer in reversed(self._boot.transfers.values())
            if transfer.name == self._began.name and transfer.number not in self._boot.under_way
        )
        return next(same, None)

    def _record(
        self, now: float, look: Look, link: str, recent_bytes_per_s: float | None = None
    ) -> None:
        pause_s = now - self._moved_at
        retransmits = look.tcp.retransmits - self._retransmits_before if look.tcp else 0
        before = self._boot.transfers[self._began.number]
        stalled_s = self._stalled_s + (pause_s if pause_s >= PAUSE_S else 0.0)
        self._boot.transfers[self._began.number] = replace(
            self._began,
            progress_at=self._time(self._moved_at),
            sent_bytes=self._began.sent_bytes + self.sent_bytes,
            # A machine reads a redirected disc when it has a reason to; it waits for nothing.
            stalled_s=0.0 if self._began.is_redirected else self._began.stalled_s + stalled_s,
            retransmits=max(self._began.retransmits + retransmits, before.retransmits),
            link=link,
            recent_bytes_per_s=recent_bytes_per_s,
        )

    def _time(self, at: float) -> datetime:
        return clock.now() - timedelta(seconds=monotonic() - at)


def _told_nothing() -> None:
    """TFTP, and platforms without struct tcp_info."""
