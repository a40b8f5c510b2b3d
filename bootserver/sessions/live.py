"""A boot that goes on, in memory: its session, its events, and the files on their way to it.

Bytes are counted thousands of times a second, so what counts them is mutable and small. The frozen
values are made of it when they are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

from bootserver import clock
from bootserver.model import (
    BootEvent,
    BootPhase,
    BootSession,
    ByteRange,
    Machine,
    Transfer,
    TransferEnd,
)
from bootserver.sessions.coverage import Coverage
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
    newest: dict[str, Fetch] = field(default_factory=dict)  # the newest try of each file, by name
    unwritten: dict[int, Transfer] = field(default_factory=dict)  # by number
    _covered: dict[str, Coverage] = field(default_factory=dict)  # of each file, by name

    def settle(self) -> BootSession:
        """The session with all its bytes."""
        if self.new_bytes:
            sent_bytes = self.session.sent_bytes + self.new_bytes
            self.session = replace(self.session, sent_bytes=sent_bytes)
            self.new_bytes = 0
        return self.session

    def settled_transfers(self) -> list[Transfer]:
        """Its transfers with all their bytes, the newest last."""
        for fetch in self.under_way.values():
            fetch.settle()
        return list(self.transfers.values())

    def note(self, transfer: Transfer) -> None:
        """A transfer has begun, or changed."""
        self.transfers[transfer.number] = self.unwritten[transfer.number] = transfer

    def coverage(self, name: str) -> Coverage:
        """How much of that file the machine has."""
        if len(self._covered) >= TRANSFERS_MAX and name not in self._covered:
            return Coverage()
        return self._covered.setdefault(name, Coverage())


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
    """One file on its way to a machine: whole, or in a run of ranges.

    It is in the ledger from its first bytes on. `counts` says whether its bytes are those of the
    image that the boot waits for. A machine that reads here and there asks thousands of times, and
    all of that is one transfer: it is under way until nothing has come of it for PAUSE_S.
    """

    def __init__(
        self, boot: LiveBoot, name: str, protocol: str, size_bytes: int, *, counts: bool
    ) -> None:
        self._boot = boot
        self.name = name
        self.protocol = protocol
        self._began = Transfer(boot.session.id, 0, name, protocol, clock.now(), size_bytes)
        self.counts = counts
        self.is_run = False
        self.requests_under_way = 0
        self._requests = 0
        self.outcome = TransferEnd.COMPLETE  # of the request that ended last
        self._covered = boot.coverage(name)
        self._span: tuple[int, int] | None = None  # the first byte that went out, and the last
        self._ask_tcp: AskTcp = _told_nothing
        self._resent: dict[AskTcp, tuple[int, int]] = {}  # at first, and now; by connection
        self._resent_before = 0  # on those that are gone
        self._moved_at = monotonic()
        self._looks: deque[tuple[float, int]] = deque()  # of the last STILL_S: when, bytes
        self._stalled_s = 0.0
        self.sent_bytes = 0

    @property
    def has_all(self) -> bool:
        """True if the machine has the whole file, by this and all that it fetched of it before."""
        return self._covered.has_all(self._began.size_bytes)

    @property
    def has_paused(self) -> bool:
        """True for a run of which nothing has come for a while."""
        return not self.requests_under_way and monotonic() - self._moved_at >= PAUSE_S

    def begin(self, ask_tcp: AskTcp | None = None, *, is_range: bool = False) -> None:
        """A request for the file, or for a range of it; `ended` is to follow."""
        self.is_run = self.is_run or is_range
        self._requests += 1
        self.requests_under_way += 1
        self._ask(ask_tcp)
        if self.requests_under_way == 1:
            self._moved_at = monotonic()  # what lay between two ranges was no pause of ours

    def sent(self, sent_bytes: int) -> None:
        """So many more bytes of the file went out."""
        now = monotonic()
        if self._began.number not in self._boot.under_way:
            self._enter()
        elif now - self._moved_at >= PAUSE_S:
            self._stalled_s += now - self._moved_at
        self._moved_at = now
        self.sent_bytes += sent_bytes
        if self.counts:
            self._boot.new_bytes += sent_bytes

    def note_part(self, start: int, stop: int) -> None:
        """What went out were the bytes [start, stop) of the file."""
        first, last = self._span or (start, stop - 1)
        self._span = min(start, first), max(stop - 1, last)
        self._covered.add(start, stop)

    def ended(self, outcome: TransferEnd) -> None:
        """A request for it is over."""
        self.requests_under_way -= 1
        self.outcome = outcome
        if not self.is_run or (self.has_all and not self.requests_under_way):
            self.finish()

    def range_went(self, part: ByteRange, ask_tcp: AskTcp) -> bool:
        """A range of a run went out at once; True if with it the machine has all of the file."""
        self._requests += 1
        if ask_tcp is not self._ask_tcp:
            self._ask(ask_tcp)
        if not self.requests_under_way:
            self._moved_at = monotonic()
        had_all = self.has_all
        self.sent(part.stop - part.start)
        self.note_part(part.start, part.stop)
        if had_all or not self.has_all:  # it is all only once
            return False
        if not self.requests_under_way:
            self.finish()
        return True

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
        self._record(now, link_sentence(self._began, look), recent_bytes_per_s)
        return look

    def _ask(self, ask_tcp: AskTcp | None) -> None:
        """Look at that connection from now on."""
        self._ask_tcp = ask_tcp or _told_nothing
        if self._ask_tcp not in self._resent and (facts := self._ask_tcp()):
            self._resent[self._ask_tcp] = facts.retransmits, facts.retransmits

    def _rate(self, now: float, since: tuple[float, int]) -> float | None:
        """Bytes per second since that look."""
        at, bytes_then = since
        return (self.sent_bytes - bytes_then) / (now - at) if now > at else None

    def finish(self) -> None:
        """It is over: its transfer is as it stays in the ledger; none if there never were bytes."""
        number = self._began.number
        if self._boot.under_way.pop(number, None) is None:
            return
        now = monotonic()
        self._record(now, self._boot.transfers[number].link)
        transfer = self._boot.transfers[number]
        ended_at = transfer.progress_at if self.is_run else self._time(now)
        self._boot.note(replace(transfer, ended_at=ended_at, outcome=self.outcome.value))

    def settle(self) -> None:
        """Bring its transfer up to date, between two looks."""
        before = self._boot.transfers[self._began.number]
        if before.sent_bytes != self.sent_bytes:
            self._record(monotonic(), before.link, before.recent_bytes_per_s)

    def _enter(self) -> None:
        """Take its place among the transfers of the boot, or take it again."""
        transfers = self._boot.transfers
        if not self._began.number:
            if len(transfers) >= TRANSFERS_MAX:
                return
            self._began = replace(self._began, number=len(transfers) + 1)
            self._boot.note(self._began)
        self._boot.under_way[self._began.number] = self

    def _record(self, now: float, link: str, recent_bytes_per_s: float | None = None) -> None:
        is_asked = self.requests_under_way or not self.is_run
        pause_s = now - self._moved_at if is_asked else 0.0
        stalled_s = self._stalled_s + (pause_s if pause_s >= PAUSE_S else 0.0)
        first_byte, last_byte = self._span or (None, None)
        self._boot.note(
            replace(
                self._began,
                progress_at=self._time(self._moved_at),
                sent_bytes=self.sent_bytes,
                # A machine reads a redirected disc when it has a reason to; it waits for nothing.
                stalled_s=0.0 if self._began.is_redirected else stalled_s,
                retransmits=self._count_resent(),
                link=link,
                recent_bytes_per_s=recent_bytes_per_s,
                requests=self._requests,
                first_byte=first_byte,
                last_byte=last_byte,
                holes=self._covered.holes,
            )
        )

    def _count_resent(self) -> int:
        """How many segments TCP has sent again since this began, on all its connections."""
        for ask_tcp, (at_first, latest) in list(self._resent.items()):
            if facts := ask_tcp():
                self._resent[ask_tcp] = at_first, facts.retransmits
            else:
                del self._resent[ask_tcp]
                self._resent_before += latest - at_first
        resent = (latest - at_first for at_first, latest in self._resent.values())
        return self._resent_before + sum(resent)

    def _time(self, at: float) -> datetime:
        return clock.now() - timedelta(seconds=monotonic() - at)


def _told_nothing() -> None:
    """TFTP, and platforms without struct tcp_info."""
