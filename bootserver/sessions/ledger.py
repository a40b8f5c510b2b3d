"""The boots going on now: kept in memory, written to the store once a second and at every event.

- *Who speaks first.* A machine's request, or the program that powers it on, opens a session
  (`start`, `open`). What serves the machine tells the ledger all that it does. `advance` is for a
  phase, `set_plan` for how it boots, `fetch` and `fetched` for a file.
- *What is kept.* Each boot under way is a `LiveBoot` in memory: session, events, transfers. What
  has changed since the last write is marked, and `run` writes it. A boot that has ended is kept
  until it is written.
- *What goes out.* Each event goes to the bus at once, bytes once a second. The ledger never waits
  for a watcher.
- *Where it can fail.* The database may take nothing (a full disk, a lost server). Boots go on then,
  and what is unwritten waits in memory, up to MAX_WAITING. After a crash `load` takes up the
  sessions as they were written. A transfer that was under way has ended with the server.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import IntegrityError

from bootserver import clock
from bootserver.errors import DatabaseError
from bootserver.model import (
    BootEvent,
    BootPhase,
    BootPlan,
    BootSession,
    Machine,
    Transfer,
    TransferEnd,
)
from bootserver.sessions.bus import Bus
from bootserver.sessions.diagnosis import Cause, diagnose
from bootserver.sessions.live import TRANSFERS_MAX, AskTcp, Fetch, LiveBoot, LiveBoots
from bootserver.sessions.shape import BootJson, boot_json
from bootserver.sessions.store import SessionStore
from bootserver.sessions.summary import is_over, summary
from bootserver.sessions.tracker import (
    BAD_ENDS,
    ORDER,
    advance,
    is_before,
    is_same_boot,
    is_same_machine,
    was_cut_short,
)

log = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 1.0
CLOCK_STEP_S = 5.0  # a smaller step of the wall clock is not logged
PUBLISHED_TRANSFERS = 32  # the newest: an installer fetches a thousand packages
LOOKED_AT_ONCE = 64  # boots; well below what a watcher may be behind
UNKNOWN_MACHINE = Machine()
MAX_WAITING = 10_000  # events, and transfers; beyond it the oldest are given up, with a log line


class Ledger:
    """Opens sessions, moves them on and follows what they fetch. All calls are on the event loop.

    What happens goes to `bus` as well: each event at once, bytes once a second.
    """

    def __init__(
        self, store: SessionStore, *, expire_after: timedelta, bus: Bus | None = None
    ) -> None:
        self._store = store
        self._expire_after = expire_after
        self._bus = bus or Bus()
        self._live = LiveBoots()
        self._causes: dict[str, Cause] = {}  # by key, of those that are stalled
        self._ended: dict[str, LiveBoot] = {}  # by key, until they are written
        self._new: set[str] = set()  # keys
        self._changed: set[str] = set()  # keys
        self._events: deque[BootEvent] = deque()
        self._transfers: dict[tuple[str, int], Transfer] = {}
        self._wake = asyncio.Event()
        self._store_failed = False
        self._is_lost = False  # what the database had of the boots that go on
        self._writing = asyncio.Lock()

    # ---- Boots ----

    async def load(self) -> None:
        """Take up the sessions that were open when the server last stopped, however it did."""
        unfinished = await self._store.unfinished(_now() - self._expire_after)
        ids = [session.id for session in unfinished]
        events, transfers = await self._store.events(ids), await self._store.transfers(ids)
        for session in unfinished:
            boot = LiveBoot(session, events[session.id])
            boot.summed_up = is_over(session, _now())
            for transfer in transfers[session.id]:
                boot.transfers[transfer.number] = transfer
                if transfer.ended_at is None:
                    self._ended_with_server(boot, transfer)
            self._live.file(boot)
        self.expire()

    def _ended_with_server(self, boot: LiveBoot, transfer: Transfer) -> None:
        ended = replace(
            transfer,
            ended_at=transfer.progress_at or transfer.started_at,
            outcome=TransferEnd.SERVER_LEFT.value,
        )
        boot.note(ended)
        self._changed.add(boot.session.key)

    def open(
        self, token: str, image: str, machine: Machine = UNKNOWN_MACHINE, address: str = ""
    ) -> BootSession:
        """A new session for the stub `token`, in phase CREATED; the machine as far as it is known.

        The program that powers a machine on opens it; else its stub does, when it calls.
        """
        now = _now()
        session = BootSession(
            id=secrets.token_hex(6),
            key=secrets.token_hex(16),
            token=token,
            image=image,
            created_at=now,
            machine=machine,
            address=address,
            phase_at=now,
        )
        self._live.file(LiveBoot(session))
        self._new.add(session.key)
        self._note(session.key, BootEvent(session.id, BootPhase.CREATED, now))
        return session

    def start(self, token: str, image: str, machine: Machine, address: str) -> BootSession:
        """The session of a machine whose stub asks for its script: the one it is in, or a new one.

        A boot of the same machine that never got to its hand-off has failed.
        """
        mine = self._live.candidates(token, machine, address)
        for session in mine:
            if is_same_boot(session, machine, address):
                break
        else:
            session = self.open(token, image)
        for other in mine:
            if (
                other is not session
                and was_cut_short(other)
                and is_same_machine(other, machine, address)
            ):
                self.advance(other.key, BootPhase.FAILED, "the machine started over")
        plan = session.plan if session.image == image else None
        self._change(session.key, image=image, plan=plan, machine=machine, address=address)
        self.advance(session.key, BootPhase.STUB_STARTED)
        boot = self._live[session.key]
        self._live.file(boot)
        return boot.settle()

    def find(self, token_or_key: str, address: str) -> BootSession | None:
        """The live session of that key, else the newest of that stub token at that address."""
        boot = self._live.get(token_or_key) or self._live.newest_at(token_or_key, address)
        return boot.settle() if boot else None

    def peek(self, token_or_key: str, address: str) -> BootSession | None:
        """As `find`, but the session's bytes may be a second old."""
        boot = self._live.get(token_or_key) or self._live.newest_at(token_or_key, address)
        return boot.session if boot else None

    def find_by_image(self, image: str, address: str) -> BootSession | None:
        """The newest live session of that image at that address."""
        boot = self._live.newest_of(image, address)
        return boot.settle() if boot else None

    async def latest(self, session: BootSession) -> BootSession:
        """The session as it is now, also when it has ended; as it was, if it is not known."""
        if boot := self._live.get(session.key) or self._ended.get(session.key):
            return boot.settle()
        return await self._store.by_id(session.id) or session

    def advance(
        self, key: str, phase: BootPhase, detail: str = "", *, at: datetime | None = None
    ) -> None:
        """Move a session to `phase`, now or `at`; repeats and steps back change nothing."""
        boot = self._live.get(key)
        if boot is None:
            return
        moved, event = advance(boot.settle(), phase, at or _now(), detail)
        if event is None:
            return
        boot.session = moved
        self._causes.pop(key, None)
        log.info(
            f"boot.{phase}",
            session=moved.id,
            image=moved.image,
            machine=moved.machine_name,
            **({"detail": detail} if detail else {}),
        )
        self._note(key, event)
        if phase in BAD_ENDS:  # a system that is up may still fetch from its image
            for fetch in list(boot.under_way.values()):
                if fetch.requests_under_way:
                    fetch.outcome = TransferEnd.CLIENT_LEFT
                fetch.finish()
            self._ended[key] = self._live.remove(key)
        self._sum_up(boot)

    def complain(self, key: str, error: str) -> None:
        """Note why a session does not move on; "" clears it, and so does moving on."""
        if (boot := self._live.get(key)) and boot.session.error != error:
            self._change(key, error=error)
            self._publish(boot)
            if error:
                log.warning("boot.hindered", session=boot.session.id, reason=error)

    def set_plan(self, key: str, plan: BootPlan) -> None:
        """Keep with a session how it boots."""
        self._change(key, plan=plan)

    # ---- What they fetch ----

    def fetch(
        self,
        key: str,
        name: str,
        protocol: str,
        size_bytes: int,
        *,
        counts: bool = True,
        is_range: bool = False,
        ask_tcp: AskTcp | None = None,
    ) -> Fetch | None:
        """A file that begins to go to a session's machine; None if there is no such session.

        Its sender calls its `sent` with the bytes, and hands it to `fetched` in the end. A range
        goes on with what was fetched of the same file before, if nothing whole is on its way.
        """
        boot = self._live.get(key)
        if boot is None:
            return None
        fetch = boot.newest.get(name) if is_range else None
        if (
            fetch is None
            or (fetch.protocol, fetch.counts) != (protocol, counts)
            or (fetch.requests_under_way and not fetch.is_run)
        ):
            fetch = Fetch(boot, name, protocol, size_bytes, counts=counts)
            if len(boot.newest) < TRANSFERS_MAX or name in boot.newest:
                boot.newest[name] = fetch
        fetch.begin(ask_tcp, is_range=is_range)
        return fetch

    def run_of(self, key: str, name: str, protocol: str, counts: bool) -> Fetch | None:
        """The run of ranges of that file that more may be added to, by `range_went`; or None."""
        boot = self._live.get(key)
        fetch = boot.newest.get(name) if boot else None
        if fetch is None or not fetch.is_run:
            return None
        if fetch.counts is not counts or fetch.protocol != protocol:
            return None
        self._changed.add(key)
        return fetch

    def fetched(self, key: str, fetch: Fetch, outcome: TransferEnd) -> None:
        """A file is no longer on its way."""
        fetch.ended(outcome)
        if fetch.sent_bytes and (boot := self._live.get(key)):
            self._changed.add(key)
            if not fetch.is_run:  # of that, watchers see enough once a second
                self._publish(boot)

    # ---- Once a second ----

    async def run(self) -> None:
        """Look after the boots once a second; write what changed then, and at every event."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            if loop.time() >= look_at:
                look_at = loop.time() + LOOK_INTERVAL_S
                self.expire()
                self.follow_clock()
                await self.look()
            await self.flush()
            try:
                async with asyncio.timeout_at(look_at):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def look(self) -> None:
        """See how each boot goes: what it fetches, whether it stands still, whether it is over."""
        now = _now()
        for number, (key, boot) in enumerate(list(self._live.items()), 1):
            if number % LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)  # so that those who watch can read what was published
            if key not in self._live:
                continue
            for fetch in list(boot.under_way.values()):
                if fetch.has_paused:
                    fetch.finish()
            looks = {place: fetch.look() for place, fetch in boot.under_way.items()}
            if looks or key in self._causes or is_before(boot.session, BootPhase.HANDED_OFF):
                transfers = boot.settled_transfers()
                known = self._causes.get(key)
                stall = diagnose(boot.session, boot.events, transfers, looks, now, known)
                cause = stall.cause if stall else None
                if cause is not known:
                    self._stalled(key, boot, cause, stall.sentence if stall else "")
            if not looks:
                self._sum_up(boot)
            if looks or boot.new_bytes or boot.unwritten:
                self._changed.add(key)
                self._publish(boot)

    def _stalled(self, key: str, boot: LiveBoot, cause: Cause | None, reason: str) -> None:
        self._change(key, stalled=reason)
        if cause is None:
            del self._causes[key]
            log.info("boot.moves_again", session=boot.session.id)
        else:
            self._causes[key] = cause
            log.warning("boot.stalled", session=boot.session.id, cause=cause.value, reason=reason)
        self._publish(boot)

    def expire(self) -> None:
        """End what has stood still too long; a machine that was handed over is simply let go."""
        limit = _now() - self._expire_after
        for key, boot in list(self._live.items()):
            session = boot.session
            moved_at = session.phase_at or session.created_at
            if moved_at >= limit:
                continue
            if ORDER[session.phase] < ORDER[BootPhase.HANDED_OFF]:
                # Not now: the server may have been away for years, by a clock that was set.
                self.advance(key, BootPhase.EXPIRED, at=moved_at + self._expire_after)
            elif key not in self._changed and not boot.under_way:
                self._live.remove(key)

    def follow_clock(self) -> None:
        """Take up the wall clock if it was set, unless a boot goes on."""
        if not self._live and abs(by_s := clock.CLOCK.set_right()) >= CLOCK_STEP_S:
            log.warning("clock.was_set", by_s=round(by_s, 1))

    def _sum_up(self, boot: LiveBoot) -> None:
        """The one line about a boot, once it is over."""
        if not boot.summed_up and is_over(boot.session, _now()):
            boot.summed_up = True
            transfers = boot.settled_transfers()
            log.info("boot.summary", **summary(boot.settle(), boot.events, transfers))

    def _publish(self, boot: LiveBoot) -> None:
        if self._bus.is_watched:
            newest = boot.settled_transfers()[-PUBLISHED_TRANSFERS:]
            shape = boot_json(boot.settle(), boot.events, newest)
            self._bus.publish({"type": "boot", "boot": shape})

    # ---- Into the store ----

    @property
    def live_ids(self) -> Collection[str]:
        """The ids of the sessions that go on, or are not written yet."""
        return [boot.session.id for boot in (*self._live.values(), *self._ended.values())]

    def live_boots(self) -> list[BootJson]:
        """The boots that go on, as they stand now."""
        return [
            boot_json(boot.settle(), boot.events, boot.settled_transfers())
            for boot in self._live.values()
        ]

    async def written(self) -> SessionStore:
        """The store, with all in it that has happened: no event is ahead of what is read there.

        While the database takes nothing, it is as it was.
        """
        if not self._store_failed:
            await self.flush()
        return self._store

    async def flush(self) -> None:
        """Write all that is unwritten; a database that fails is one log line, and tried again.

        A caller that is cancelled meanwhile ends once it is written. A stopping server cancels the
        tasks that flush, and what was taken out for writing is nowhere else.
        """
        writing = asyncio.ensure_future(self._write_in_turn())
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise

    async def _write_in_turn(self) -> None:
        async with self._writing:  # what another is writing is there when this returns
            await self._write()

    async def _write(self) -> None:
        if was_lost := self._is_lost:
            self._take_all()
        if not (self._new or self._changed or self._events or self._transfers):
            return
        new, changed = self._new, self._changed - self._new
        known = self._live | self._ended
        for boot in [known[key] for key in new | changed]:
            boot.settled_transfers()
            self._transfers |= {(t.session, t.number): t for t in boot.unwritten.values()}
            boot.unwritten.clear()
        events, transfers = list(self._events), self._transfers
        ended = list(self._ended)
        self._new, self._changed, self._transfers = set(), set(), {}
        self._events.clear()
        try:
            if was_lost:  # another write may have been on its way
                await self._store.forget(known[key].session.id for key in new)
                self._is_lost = False
            await self._store.save(
                [known[key].settle() for key in new],
                [known[key].settle() for key in changed],
                events,
                list(transfers.values()),
            )
        except (DatabaseError, IntegrityError) as err:
            self._new |= new
            self._changed |= changed
            self._events.extendleft(reversed(events))
            self._transfers = transfers | self._transfers
            if not self._store_failed:
                log.error("ledger.not_written", reason=str(getattr(err, "orig", err)))
            self._store_failed = True
            self._give_up_excess()
            return
        if self._store_failed:
            log.info("ledger.written_again")
        self._store_failed = False
        for key in ended:
            self._ended.pop(key, None)

    async def write_anew(self) -> None:
        """Have the next flush write all that goes on: the database is a new one, and empty."""
        self._is_lost = True
        self._wake.set()

    def _take_all(self) -> None:
        known = [*self._live.values(), *self._ended.values()]
        self._new = {boot.session.key for boot in known}
        self._changed = set()
        self._events = deque(event for boot in known for event in boot.events)
        self._transfers = {(t.session, t.number): t for b in known for t in b.transfers.values()}

    def _change(self, key: str, **values: object) -> None:
        if boot := self._live.get(key):
            boot.session = replace(boot.session, **values)  # type: ignore[arg-type]
            self._changed.add(key)

    def _note(self, key: str, event: BootEvent) -> None:
        boot = self._live[key]
        boot.events.append(event)
        self._events.append(event)
        self._changed.add(key)
        self._publish(boot)
        self._wake.set()

    def _give_up_excess(self) -> None:
        events = max(len(self._events) - MAX_WAITING, 0)
        for _ in range(events):
            self._events.popleft()
        transfers = list(self._transfers)[: max(len(self._transfers) - MAX_WAITING, 0)]
        for number in transfers:
            del self._transfers[number]
        if events or transfers:
            log.error("ledger.events_lost", events=events, transfers=len(transfers))


def _now() -> datetime:
    return clock.now()
