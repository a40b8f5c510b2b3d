"""Threads: none outlives the task that waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bootserver.files.threads import cancellable, in_thread


async def test_cancelled_task_waits_for_its_thread() -> None:
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go_on.wait(20)
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_long_function_is_told_that_it_was_cancelled() -> None:
    started, told = threading.Event(), threading.Event()

    def work(cancelled: threading.Event) -> None:
        started.set()
        if cancelled.wait(20):
            told.set()

    task = asyncio.create_task(cancellable(work))
    await asyncio.to_thread(started.wait, 20)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.is_set()
