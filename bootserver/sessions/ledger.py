"""The boots going on now: kept in memory, written to the store once a second and at phase ends.

The database may fail (a full disk, a lost server): boots go on, what is unwritten waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from bootserver.model import BootEvent, BootPhase, BootSession, Machine
from bootserver.sessions.store import SessionStore
from bootserver.sessions.tracker import (
    BAD_ENDS,
    ORDER,
    advance,
    is_same_boot,
    is_same_machine,
    was_cut_short,
)

log = structlog.get_logger(__name__)

FLUSH_INTERVAL_S = 1.0
MAX_WAITING_EVENTS = 10_000  # beyond it the oldest are given up, with a log line


class Ledger:
    """Opens sessions, moves them on and counts their bytes. All calls are on the event loop."""

    def __init__(self, store: SessionStore, *, expire_after: timedelta) -> None:
        self._store = store
        self._expire_after = expire_after
        self._live: dict[str, BootSession] = {}  # by key
        self._new: set[str] = set()  # keys
        self._changed: set[str] = set()  # keys
        self._ended: dict[str, BootSession] = {}  # by key, until they are written
        self._events: deque[BootEvent] = deque()
        self._wake = asyncio.Event()
        self._store_failed = False

    async def load(self) -> None:
        """Take up the sessions that were open when the server last stopped."""
        unfinished = await self._store.unfinished(_now() - self._expire_after)
        self._live = {session.key: session for session in unfinished}

    def open(self, token: str, image: str) -> BootSession:
        """A new session for the stub `token`, in phase CREATED."""
        now = _now()
        session = BootSession(
            id=secrets.token_hex(6),
            key=secrets.token_hex(16),
            token=token,
            image=image,
            created_at=now,
            phase_at=now,
        )
        self._live[session.key] = session
        self._new.add(session.key)
        self._note(BootEvent(session.id, BootPhase.CREATED, now))
        return session

    def start(self, token: str, image: str, machine: Machine, address: str) -> BootSession:
        """The session of a machine whose stub asks for its script: the one it is in, or a new one.

        A boot of the same machine that never got to its hand-off has failed.
        """
        mine = [session for session in self._live.values() if session.token == token]
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
        self._replace(replace(session, image=image, machine=machine, address=address))
        self.advance(session.key, BootPhase.STUB_STARTED)
        return self._live[session.key]

    def find(self, token: str, address: str) -> BootSession | None:
        """The live session of that key, else the newest of that stub token at that address."""
        if session := self._live.get(token):
            return session
        newest_first = reversed(self._live.values())
        return next((s for s in newest_first if (s.token, s.address) == (token, address)), None)

    def advance(self, key: str, phase: BootPhase, detail: str = "") -> None:
        """Move a session to `phase`; repeats and steps back change nothing."""
        session = self._live.get(key)
        if session is None:
            return
        moved, event = advance(session, phase, _now(), detail)
        if event is None:
            return
        self._replace(moved)
        self._note(event)
        log.info(
            f"boot.{phase}",
            session=moved.id,
            image=moved.image,
            machine=moved.machine.mac or moved.machine.uuid or moved.address,
            **({"detail": detail} if detail else {}),
        )
        if phase in BAD_ENDS:  # a system that is up may still fetch from its image
            self._ended[key] = self._live.pop(key)

    def complain(self, key: str, error: str) -> None:
        """Note why a session does not move on; "" clears it, and so does moving on."""
        if (session := self._live.get(key)) and session.error != error:
            self._replace(replace(session, error=error))
            if error:
                log.warning("boot.hindered", session=session.id, reason=error)

    def expect(self, key: str, image_bytes: int) -> None:
        """Say how large the image is that a session fetches."""
        if (session := self._live.get(key)) and session.image_bytes != image_bytes:
            self._replace(replace(session, image_bytes=image_bytes))

    def count(self, key: str, sent_bytes: int) -> None:
        """Add image bytes that went out to a session."""
        if session := self._live.get(key):
            self._replace(replace(session, sent_bytes=session.sent_bytes + sent_bytes))

    async def run(self) -> None:
        """Write what changes, once a second and at every event, and expire what stands still."""
        while True:
            self.expire()
            await self.flush()
            try:
                async with asyncio.timeout(FLUSH_INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def flush(self) -> None:
        """Write all that is unwritten; a database that fails is one log line, and tried again."""
        if not (self._new or self._changed or self._events):
            return
        new, changed = self._new, self._changed - self._new
        events = list(self._events)
        known = self._live | self._ended
        ended = list(self._ended)
        self._new, self._changed = set(), set()
        self._events.clear()
        try:
            await self._store.save(
                [known[key] for key in new], [known[key] for key in changed], events
            )
        except (SQLAlchemyError, OSError) as err:
            self._new |= new
            self._changed |= changed
            self._events.extendleft(reversed(events))
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

    def _replace(self, session: BootSession) -> None:
        self._live[session.key] = session
        self._changed.add(session.key)

    def _note(self, event: BootEvent) -> None:
        self._events.append(event)
        self._wake.set()

    def expire(self) -> None:
        """End what has stood still too long; a machine that was handed over is simply let go."""
        limit = _now() - self._expire_after
        for session in [s for s in self._live.values() if (s.phase_at or s.created_at) < limit]:
            if ORDER[session.phase] < ORDER[BootPhase.HANDED_OFF]:
                self.advance(session.key, BootPhase.EXPIRED)
            elif session.key not in self._changed:
                del self._live[session.key]

    def _give_up_excess(self) -> None:
        excess = len(self._events) - MAX_WAITING_EVENTS
        if excess > 0:
            for _ in range(excess):
                self._events.popleft()
            log.error("ledger.events_lost", events=excess)


def _now() -> datetime:
    return datetime.now(UTC)
