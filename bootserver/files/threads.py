"""Blocking work in a thread that has ended when its caller goes on, even when that is cancelled.

asyncio.to_thread leaves the thread of a cancelled task running. The thread would go on writing to a
descriptor that is closed by then, or is another file's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *args: object) -> Result:
    """The result of a short function."""
    return await _run(function, args, threading.Event())


async def cancellable(function: Callable[..., Result], *args: object) -> Result:
    """The result of a long function; its last argument is an event that tells it to end soon."""
    cancelled = threading.Event()
    return await _run(function, (*args, cancelled), cancelled)


async def _run(
    function: Callable[..., Result], args: tuple[object, ...], cancelled: threading.Event
) -> Result:
    job = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # it ended because it was told to: asyncio is not to log that
        raise
