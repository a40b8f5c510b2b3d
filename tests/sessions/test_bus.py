"""The bus: everybody gets everything in order, and who is too slow is not waited for."""

import asyncio

import pytest

from bootserver.sessions.bus import Bus

SECOND = 30  # how long a test waits for what is to happen at once


async def test_a_subscriber_gets_all_messages_in_order():
    bus = Bus()
    subscription = bus.subscribe()

    for number in range(3):
        bus.publish({"number": number})

    assert [(await anext(subscription))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_subscriber_that_waits_is_woken():
    bus = Bus()
    subscription = bus.subscribe()
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)

    bus.publish({"number": 7})

    async with asyncio.timeout(SECOND):
        assert await waiting == {"number": 7}


async def test_what_was_published_before_is_not_for_a_new_subscriber():
    bus = Bus()
    bus.publish({"number": 1})
    subscription = bus.subscribe()
    bus.publish({"number": 2})

    assert await anext(subscription) == {"number": 2}


async def test_a_closed_subscription_ends_and_nobody_watches():
    bus = Bus()
    with bus.subscribe() as subscription:
        assert bus.is_watched
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)

    async with asyncio.timeout(SECOND):
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert not bus.is_watched
    assert not subscription.was_dropped


async def test_who_falls_behind_is_dropped_and_the_others_get_everything():
    bus = Bus()
    slow = bus.subscribe(limit=10)
    watchers = [bus.subscribe(limit=10) for _ in range(499)]
    seen: list[list[int]] = [[] for _ in watchers]

    async def watch(number: int) -> None:
        async for message in watchers[number]:
            seen[number].append(message["number"])
            if message["number"] == 199:
                return

    watching = [asyncio.create_task(watch(number)) for number in range(499)]
    for number in range(200):
        bus.publish({"number": number})
        await asyncio.sleep(0)  # the watchers have their turn
    async with asyncio.timeout(SECOND):
        await asyncio.gather(*watching)

    assert all(numbers == list(range(200)) for numbers in seen)
    assert slow.was_dropped
    assert [message async for message in slow] == []
