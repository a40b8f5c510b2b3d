"""A redirected drive whose reads are in the ledger: what the machine read of it, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from bootserver.amt.errors import Failure, RedirectionError
from bootserver.amt.redirection.drives import RedirectedDrives
from bootserver.model import REDIRECTION, BootSession, TransferEnd
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.live import Fetch

LOOK_S = 0.5
# A rate from less says more of the firmware's pauses than of the line.
MEASURED_MIN_BYTES = 256_000


class RecordedDrive:
    """Notes the reads of `drives` as the boot's transfer of the file `name`."""

    def __init__(
        self,
        drives: RedirectedDrives,
        ledger: Ledger,
        session: BootSession,
        name: str,
        size_bytes: int,
    ) -> None:
        self._drives = drives
        self._ledger = ledger
        self._session = session
        self._name = name
        self._size_bytes = size_bytes
        self._fetch: Fetch | None = None
        self._noted_bytes = 0
        self._closed = asyncio.ensure_future(drives.wait_closed())
        self._following = asyncio.create_task(self._follow(), name="amt-reads")

    @property
    def reads(self) -> int:
        """How many READs were answered."""
        return self._drives.stats.reads

    @property
    def read_bytes(self) -> int:
        """What they brought."""
        return self._drives.stats.read_bytes

    @property
    def resets(self) -> int:
        """How often the machine was reset."""
        return self._drives.stats.resets

    @property
    def bytes_per_s(self) -> int:
        """The rate of the line from the first read to the last; 0 where too little was read."""
        stats = self._drives.stats
        if stats.first_read_at is None or stats.last_read_at is None:
            return 0
        seconds = (stats.last_read_at - stats.first_read_at).total_seconds()
        if stats.read_bytes < MEASURED_MIN_BYTES or seconds <= 0:
            return 0
        return round(stats.read_bytes / seconds)

    @property
    def is_closed(self) -> bool:
        """True once the session is over; `require_open` says how."""
        return self._closed.done()

    def require_open(self) -> None:
        """Raises RedirectionError if the session has ended, from either side."""
        if self._closed.done() and not self._closed.cancelled():
            self._closed.result()
            raise RedirectionError(
                "AMT has ended the redirection session",
                hint="another console may have taken it; boot again",
                failure=Failure.ENDED,
            )

    async def _follow(self) -> None:
        """Have each read in the ledger as it comes, until the machine has what it needed."""
        with suppress(RedirectionError):  # `require_open` tells of it
            while self._name:
                await self._drives.wait_until(lambda stats: stats.read_bytes > self._noted_bytes)
                self._note()

    def _note(self) -> None:
        new_bytes = self.read_bytes - self._noted_bytes
        if not new_bytes or not self._name:
            return
        if self._fetch is None:
            self._fetch = self._ledger.fetch(
                self._session.key, self._name, REDIRECTION, self._size_bytes, counts=False
            )
        if self._fetch is not None:
            self._fetch.sent(new_bytes)
        self._noted_bytes = self.read_bytes

    def noted(self) -> None:
        """The machine has what it needed: what it reads from now on is no part of its boot."""
        self._following.cancel()
        self._note()
        if self._fetch is not None:
            self._ledger.fetched(self._session.key, self._fetch, TransferEnd.COMPLETE)
        self._fetch, self._name = None, ""

    async def until_quiet(self, quiet_s: float, look: Callable[[], None]) -> None:
        """Returns when nothing was read for so long, or the session is over."""
        read_bytes, since = self.read_bytes, monotonic()
        while monotonic() - since < quiet_s and not self.is_closed:
            await asyncio.sleep(LOOK_S)
            look()
            if self.read_bytes != read_bytes:
                read_bytes, since = self.read_bytes, monotonic()

    async def until_closed(self, wanted: asyncio.Event, look: Callable[[], None]) -> None:
        """Returns when that is wanted, or raises RedirectionError when the session ends first."""
        while not wanted.is_set():
            self.require_open()
            look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await wanted.wait()

    def close(self) -> None:
        """Note the last of it, and look no more."""
        self.noted()
        self._closed.cancel()
