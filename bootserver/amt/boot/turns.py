"""How many boots do what at once: a dead host takes no turn of a live one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ASKED_AT_ONCE = 64  # a host that does not answer has one of these for ten seconds


class Turns:
    """`asking` is held while AMT is first asked; `booting` by a boot whose AMT has answered."""

    def __init__(self, boots_at_once: int) -> None:
        self.asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._boots_at_once = boots_at_once
        self._booting = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def booting(self, at_once: int | None) -> AsyncIterator[None]:
        """Begins when fewer than so many boots go on; never more than the site wants."""
        limit = min(at_once or self._boots_at_once, self._boots_at_once)
        while self._booting >= limit:
            await self._freed.wait()
        self._booting += 1
        try:
            yield
        finally:
            self._booting -= 1
            self._freed.set()
            self._freed = asyncio.Event()
