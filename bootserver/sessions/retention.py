"""How long the ledger remembers: what is too old, or too much, is forgotten now and then."""

from __future__ import annotations

import asyncio

import structlog

from bootserver.errors import DatabaseError
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore

log = structlog.get_logger(__name__)

PRUNE_INTERVAL_S = 3600.0


async def keep_pruned(store: SessionStore, ledger: Ledger, keep: int, keep_days: float) -> None:
    """Forget boots now and every hour, but none that goes on; runs until it is cancelled."""
    while True:
        try:
            gone = await store.prune(keep, keep_days, spare=ledger.live_ids)
        except DatabaseError as err:
            log.error("ledger.not_pruned", reason=err.message)
        else:
            if gone:
                log.info("ledger.pruned", boots=gone)
        await asyncio.sleep(PRUNE_INTERVAL_S)
