"""Sends each event to all watchers, and waits for none of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger(__name__)

LIMIT = 256  # messages that a subscriber may be behind

Message = Mapping[str, Any]


class Bus:
    """Hands each message to every subscriber. All calls are on the event loop."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @property
    def is_watched(self) -> bool:
        """False if a message would have no reader."""
        return bool(self._subscriptions)

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        """All messages from now on, until the subscription is closed or falls behind."""
        subscription = Subscription(self, limit)
        self._subscriptions.add(subscription)
        return subscription

    def publish(self, message: Message) -> None:
        """Give `message` to all; who has `limit` unread ones already is dropped, not waited for."""
        for subscription in tuple(self._subscriptions):
            if not subscription.offer(message):
                log.info("bus.subscriber_dropped", watching=len(self._subscriptions))

    def leave(self, subscription: Subscription) -> None:
        """No more messages for this one."""
        self._subscriptions.discard(subscription)


class Subscription:
    """An asynchronous iterator of messages, in the order they were published.

    It ends when it is closed, and at once when its reader is too slow. What was unread is gone
    then, and `was_dropped` is true. Close it when done, or use it as a context manager.
    """

    def __init__(self, bus: Bus, limit: int) -> None:
        self._bus = bus
        self._limit = limit
        self._unread: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._closed = False
        self.was_dropped = False

    def offer(self, message: Message) -> bool:
        """Take the message; False, and the end, if there are too many unread ones."""
        if len(self._unread) >= self._limit:
            self.was_dropped = True
            self.close()
            return False
        self._unread.append(message)
        self._changed.set()
        return True

    def close(self) -> None:
        """End the iteration, and get no more messages."""
        self._closed = True
        self._unread.clear()
        self._bus.leave(self)
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._unread:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._unread.popleft()

    async def batch(self) -> list[Message]:
        """All unread messages, once there is one; empty at the end."""
        try:
            batch = [await anext(self)]
        except StopAsyncIteration:
            return []
        batch.extend(self._unread)
        self._unread.clear()
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()
