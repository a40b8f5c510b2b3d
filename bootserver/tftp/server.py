"""The TFTP server: takes requests, gives each its own transfer, and outlives them all.

- *Who speaks first.* A client sends a read request (RFC 1350) to our port. We answer from a port of
  the transfer's own, its TID, and all else of the transfer goes between these two ports.
- *States of a request.* It waits while all places are taken, opens its file within OPEN_TIMEOUT_S,
  becomes a `Transfer`, and ends: complete, given up by either side, or not answered any more.
- *What is kept.* The transfers by client address and port, so that a repeated request is known; and
  which addresses have ever acknowledged anything, for a forged request must not be amplified.
- *Where it can fail.* A packet that makes no sense costs one log line, gathered. A request that has
  no place gets no answer, because firmware asks again, but gives up after an ERROR. When the server
  stops, transfers under way may end within the time of grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import NamedTuple

import structlog

from bootserver.limits import Limit
from bootserver.log import Gathered
from bootserver.tftp import packets
from bootserver.tftp.exchange import Exchange, TftpFile
from bootserver.tftp.first_answers import AMPLIFICATION_MAX, FirstAnswers
from bootserver.tftp.netascii import as_netascii
from bootserver.tftp.options import TftpLimits, negotiate
from bootserver.tftp.packets import ErrorCode, ReadRequest
from bootserver.tftp.sockets import Arrival, RequestSocket, SocketAddress, bind_request_sockets
from bootserver.tftp.transfer import Outcome, TftpRefusal
from bootserver.tftp.waiting import WaitingRequests

__all__ = ["TftpFile", "TftpRefusal", "TftpRequest", "TftpServer"]

log = structlog.get_logger(__name__)

RECEIVED_PER_WAKE = 1024  # quicker than they come, or the kernel gives up the newest
TAKEN_PER_TURN = 4  # then the other clients have theirs
OPEN_TIMEOUT_S = 10.0
READER_THREADS = 8
# The same request from the same port this long after the last progress: firmware that was reset
# and uses its old port again. Sooner, it is a duplicate that the network made.
RESTART_AFTER_S = 1.0
# A transfer that has got less than this for so long gives way where there is no place left. Blocks
# of 512 bytes, one at a time, over the round trip of a satellite, get more.
SLOW_BYTES_PER_S = 512.0
SLOW_AFTER_S = 3.0
# Requests that wait for credit (first_answers): how long, how many, how often they are tried.
HELD_S = 3.0
HELD_MAX = 256
TRY_AGAIN_S = 0.25
LINES_A_MINUTE = 20  # of each kind of event that needs no real client


@dataclass(frozen=True, slots=True)
class TftpRequest:
    """Who asks for what. `name` is as the client sent it, with a leading `/` or without."""

    name: str
    client: str
    local_address: str  # ours that the client wrote to; "" where the platform cannot tell


OpenFile = Callable[[TftpRequest], Awaitable[TftpFile]]


class _NotAnsweredError(Exception):
    """This request is passed over in silence."""


class _NoCreditError(Exception):
    """This request has to wait until its address may have one more first block."""


class _Held(NamedTuple):
    """A request that waits for credit."""

    request_socket: RequestSocket
    arrival: Arrival
    came_at: float


@dataclass(eq=False, slots=True)
class _Running:
    """A request being served from `sock`; `exchange` is None until its file is open."""

    arrival: Arrival
    sock: socket.socket
    since: float
    task: asyncio.Task[None] | None = None
    exchange: Exchange | None = None
    has_given_way: bool = False

    @property
    def host(self) -> str:
        """The client's address, without its port."""
        return str(self.arrival.client[0])

    @property
    def is_unanswered(self) -> bool:
        """True while the client has our first answer, or not, and has sent nothing to it."""
        return self.exchange is not None and self.exchange.transfer.is_unanswered

    @property
    def has_answered(self) -> bool:
        """True once the client has acknowledged something."""
        return self.exchange is not None and self.exchange.transfer.progress_at is not None

    @property
    def has_ended(self) -> bool:
        """True once the client has all or has sent an ERROR; its task may have yet to learn it."""
        return self.exchange is not None and self.exchange.transfer.outcome is not None

    def bytes_per_s(self, now: float) -> float:
        """How fast the client takes what it gets; 0 if it has stood still for long."""
        if self.exchange is None or self.exchange.transfer.progress_at is None:
            return 0.0
        transfer = self.exchange.transfer
        stands_still = now - self.exchange.transfer.progress_at > 3 * SLOW_AFTER_S
        return 0.0 if stands_still else transfer.acked_bytes / (now - self.since)

    def refuse(self, refusal: TftpRefusal) -> None:
        """Tells the client, unless it has an answer already and may not be there at all."""
        if not self.is_unanswered:
            with contextlib.suppress(OSError):
                self.sock.send(_error(refusal, self.arrival))


class TftpServer:
    """A read-only TFTP server (RFC 1350, 2347-2349, 7440).

    `open_file` turns a request into content, or raises TftpRefusal. Whatever it or a client does
    costs one log line, never the server.

    `transfers` is how many there may be at once, `transfers_per_address` how many of one address.
    Where there is no place, those give way that have not acknowledged anything, the oldest first,
    then slow ones. If none does, the request is not answered: an ERROR would end the boot, but a
    machine that hears nothing asks again. While a quarter of the places are taken by files that are
    being opened, requests wait.
    """

    def __init__(
        self,
        open_file: OpenFile,
        *,
        hosts: Sequence[str] | None = None,
        port: int = 69,
        limits: TftpLimits | None = None,
        transfers: Limit | None = None,
        transfers_per_address: Limit | None = None,
        unacknowledged_blocks: Limit | None = None,
    ) -> None:
        self._open_file = open_file
        self._hosts = hosts
        self._port = port
        self._limits = limits or TftpLimits()
        self._transfers = transfers or Limit(256)
        self._transfers_per_address = transfers_per_address or Limit(128)
        self._blocks = unacknowledged_blocks or Limit(128)
        self._first_answers = FirstAnswers(self._blocks)
        self._request_sockets: list[RequestSocket] = []
        self._waiting: WaitingRequests[tuple[RequestSocket, Arrival]] = WaitingRequests()
        self._without_credit: OrderedDict[SocketAddress, _Held] = OrderedDict()
        self._next_try: asyncio.TimerHandle | None = None
        self._opening = 0
        self._turn: asyncio.Handle | None = None
        self._running: dict[_Running, None] = {}  # the oldest first
        self._by_host: Counter[str] = Counter()  # how many of them
        self._tasks: set[asyncio.Task[None]] = set()  # theirs, and of those that have given way
        self._latest: dict[SocketAddress, _Running] = {}  # by client address and port
        self._stray, self._refused, self._dropped, self._unanswered = (
            Gathered(partial(log.info, event), LINES_A_MINUTE)
            for event in ("tftp.stray", "tftp.refused", "tftp.dropped", "tftp.unanswered")
        )
        # Threads of its own: the loop's shared ones may be busy hashing images for minutes.
        self._threads = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="tftp-read")

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports listened on; empty before `start` and after `stop`."""
        return [(s.address[0], s.address[1]) for s in self._request_sockets]

    async def start(self) -> None:
        """Listens from now on. Raises ServiceError if an address or the port cannot be had."""
        self._request_sockets = bind_request_sockets(self._hosts, self._port)
        loop = asyncio.get_running_loop()
        for request_socket in self._request_sockets:
            loop.add_reader(request_socket, self._on_requests, request_socket)

    async def stop(self, grace_s: float = 0.0) -> None:
        """Takes no more requests, lets running transfers finish for `grace_s`, ends the rest."""
        loop = asyncio.get_running_loop()
        for request_socket in self._request_sockets:
            loop.remove_reader(request_socket)
            request_socket.close()
        self._request_sockets = []
        self._waiting = WaitingRequests()
        self._without_credit.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for running in self._running:
            running.refuse(TftpRefusal(ErrorCode.UNDEFINED, "the server is shutting down"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    def _on_requests(self, request_socket: RequestSocket) -> None:
        now = monotonic()
        for _ in range(RECEIVED_PER_WAKE):
            arrival = request_socket.receive()
            if arrival is None:
                break
            client = arrival.client[0]
            if not packets.is_request(arrival.datagram):
                self._stray(client=client, size_bytes=len(arrival.datagram))
                continue
            is_known = self._first_answers.is_known(client, now)
            if given_up := self._waiting.put(client, (request_socket, arrival), is_known=is_known):
                self._transfers.refused += given_up
                self._dropped(client=client, reason="too many requests at once")
        self._go_on()

    def _go_on(self) -> None:
        """Has the next requests taken soon, if there are any and they can be."""
        if self._turn is None and self._waiting and self._opening < -(-self._transfers.max // 4):
            self._turn = asyncio.get_running_loop().call_soon(self._take_some)

    def _take_some(self) -> None:
        self._turn = None
        for _ in range(min(TAKEN_PER_TURN, len(self._waiting))):
            request_socket, arrival = self._waiting.take()
            if not self._answer(request_socket, arrival):
                self._hold(_Held(request_socket, arrival, monotonic()))
        self._go_on()

    def _answer(
        self, request_socket: RequestSocket, arrival: Arrival, *, is_first_try: bool = True
    ) -> bool:
        """Deals with a request, in one log line at most; False if it has to wait for credit."""
        client = arrival.client[0]
        try:
            self._take(request_socket, arrival, is_first_try=is_first_try)
        except _NoCreditError:
            return False
        except _NotAnsweredError as err:
            self._dropped(client=client, reason=str(err))
        except TftpRefusal as refusal:
            name = packets.name_for_log(arrival.datagram)
            self._refused(client=client, name=name, reason=refusal.message)
            request_socket.reply(arrival, _error(refusal, arrival))
        return True

    def _hold(self, held: _Held) -> None:
        """Has a request wait for credit: behind a flood there will be some."""
        self._without_credit[held.arrival.client] = held
        if len(self._without_credit) > HELD_MAX:
            self._give_up(next(iter(self._without_credit.values())))
        if self._next_try is None:
            loop = asyncio.get_running_loop()
            self._next_try = loop.call_later(TRY_AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._next_try = None
        for held in reversed(list(self._without_credit.values())):  # an older one may have gone
            if monotonic() - held.came_at > HELD_S:
                self._give_up(held)
            elif self._answer(held.request_socket, held.arrival, is_first_try=False):
                del self._without_credit[held.arrival.client]
        if self._without_credit:
            loop = asyncio.get_running_loop()
            self._next_try = loop.call_later(TRY_AGAIN_S, self._try_again)

    def _give_up(self, held: _Held) -> None:
        del self._without_credit[held.arrival.client]
        self._blocks.refused += 1
        self._dropped(client=held.arrival.client[0], reason="unknown, and answered often enough")

    def _take(self, request_socket: RequestSocket, arrival: Arrival, *, is_first_try: bool) -> None:
        """Starts serving a request, unless it repeats one that is being served."""
        earlier = self._latest.get(arrival.client)
        if earlier is not None and self._is_repeated(earlier, arrival):
            return
        request = packets.parse_request(arrival.datagram)
        host, now = arrival.client[0], monotonic()
        if not self._may_answer(arrival, request, now, is_first_try=is_first_try):
            raise _NoCreditError
        if earlier is not None and not earlier.has_ended:
            self._end(earlier)  # the client has moved on: firmware keeps its port
        if not self._has_room(host, now):
            raise _NotAnsweredError("no place is left")
        try:
            sock = request_socket.connect(arrival)
        except OSError as err:  # most likely no file descriptor is left
            raise _NotAnsweredError(str(err.strerror)) from err

        running = _Running(arrival, sock, now)
        running.task = asyncio.create_task(self._serve(running, request))
        running.task.add_done_callback(lambda _: self._forget(running))
        self._tasks.add(running.task)
        self._running[running] = None
        self._by_host[host] += 1
        self._count()
        self._latest[arrival.client] = running

    def _may_answer(
        self, arrival: Arrival, request: ReadRequest, now: float, *, is_first_try: bool = True
    ) -> bool:
        """False if the answer would be large, and its receiver has perhaps never asked."""
        if negotiate(request.options, 0, self._limits).oack:
            return True
        host = arrival.client[0]
        if is_first_try:
            self._first_answers.requested(host, len(arrival.datagram), now)
        return self._first_answers.may_send_block(host, now, has_waited=not is_first_try)

    def _has_room(self, host: str, now: float) -> bool:
        """True if one more transfer of that address has a place; another may have to give way."""
        for places, of_host in ((self._transfers_per_address, host), (self._transfers, None)):
            if (self._by_host[of_host] if of_host else len(self._running)) < places.max:
                continue
            places.refused += 1
            taken = (r for r in self._running if of_host in (None, r.host))
            gives_way = _first_to_give_way(taken, now)
            if gives_way is None:
                return False
            gives_way.refuse(TftpRefusal(ErrorCode.UNDEFINED, "too slow: others are waiting"))
            gives_way.has_given_way = True
            self._end(gives_way)
        return True

    def _count(self) -> None:
        """Has the figures as they are now."""
        self._transfers.used = len(self._running)
        self._transfers_per_address.used = max(self._by_host.values(), default=0)

    def _give_back(self, running: _Running) -> None:
        """Has its place free; a second call does nothing."""
        if running in self._running:
            del self._running[running]
            self._by_host[running.host] -= 1
            if not self._by_host[running.host]:
                del self._by_host[running.host]
            self._count()

    def _end(self, running: _Running) -> None:
        """Cancels the transfer, whose place is free at once."""
        self._give_back(running)
        if running.task is not None:
            running.task.cancel()

    def _is_repeated(self, earlier: _Running, arrival: Arrival) -> bool:
        """True if the request is already being served; answers it again where that is due."""
        if earlier.exchange is not None:
            earlier.exchange.catch_up()  # an ERROR or the last ACK (raspberrypi/firmware#1700)
        if earlier.has_ended or earlier.arrival.datagram != arrival.datagram:
            return False
        if earlier.exchange is None:
            return True
        progress_at = earlier.exchange.transfer.progress_at
        now = monotonic()
        if progress_at is None:
            if self._may_answer(arrival, packets.parse_request(arrival.datagram), now):
                earlier.exchange.repeat()
            return True
        return now - progress_at < RESTART_AFTER_S

    def _forget(self, running: _Running) -> None:
        running.sock.close()
        self._give_back(running)
        if running.task is not None:
            self._tasks.discard(running.task)
        if self._latest.get(running.arrival.client) is running:
            del self._latest[running.arrival.client]

    async def _serve(self, running: _Running, request: ReadRequest) -> None:
        """Sends the file; every way in which that can fail ends here, in one log line."""
        name = packets.name_for_log(running.arrival.datagram)
        line = log.bind(client=running.arrival.client[0], name=name)
        try:
            await self._send_file(running, request, name, line)
        except TftpRefusal as refusal:
            self._refused(client=running.host, name=name, reason=refusal.message)
            running.refuse(refusal)
        except asyncio.CancelledError:
            outcome = "gave way" if running.has_given_way else "cancelled"
            if running.has_answered:
                line.info("tftp.ended", outcome=outcome)
            else:
                self._unanswered(client=running.host, name=name, outcome=outcome)
            raise
        except Exception as err:
            reason = f"{type(err).__name__}: {err}"
            line.error("tftp.failed", reason=reason, exc_info=not isinstance(err, OSError))
            running.refuse(TftpRefusal(ErrorCode.UNDEFINED, "the server cannot read this file"))

    async def _send_file(
        self, running: _Running, request: ReadRequest, name: str, line: structlog.stdlib.BoundLogger
    ) -> None:
        arrival = running.arrival
        started_at = monotonic()
        self._opening += 1
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                file = await self._open_file(
                    TftpRequest(request.name, arrival.client[0], arrival.local_address)
                )
        finally:
            self._opening -= 1
            self._go_on()
        outcome: Outcome | None = None
        try:
            if request.netascii:
                file = await as_netascii(file, self._threads)
            terms = negotiate(request.options, file.size_bytes, self._limits)
            exchange = running.exchange = Exchange(
                running.sock,
                file,
                terms,
                self._limits,
                self._threads,
                client_known=self._first_answers.is_trusted(running.host, monotonic()),
                on_heard=lambda: self._first_answers.heard_from(running.host, monotonic()),
            )
            outcome = await exchange.run()
        finally:
            file.close(outcome is Outcome.COMPLETE)
        if not running.has_answered and outcome is not Outcome.ABORTED:
            self._unanswered(client=running.host, name=name, outcome=outcome.value)
            return
        line.info(
            "tftp.ended",
            outcome=outcome.value,
            detail=exchange.transfer.detail,
            sent_bytes=exchange.transfer.acked_bytes,
            seconds=round(monotonic() - started_at, 3),
            blksize=terms.blksize,
            windowsize=terms.windowsize,
            retransmissions=exchange.transfer.retransmissions,
            ignored=exchange.transfer.ignored,
        )


def _error(refusal: TftpRefusal, arrival: Arrival) -> bytes:
    """The ERROR packet, short enough for a request whose sender may be forged."""
    bytes_max = AMPLIFICATION_MAX * len(arrival.datagram)
    return packets.encode_error(refusal.code, refusal.message, bytes_max)


def _first_to_give_way(taken: Iterable[_Running], now: float) -> _Running | None:
    """The transfer that others need least, if there is one: never acknowledged, or the slowest."""
    slow: list[_Running] = []
    for running in taken:
        if running.is_unanswered:
            return running
        if running.has_answered and now - running.since > SLOW_AFTER_S:
            slow.append(running)
    slowest = min(slow, key=lambda running: running.bytes_per_s(now), default=None)
    return slowest if slowest and slowest.bytes_per_s(now) < SLOW_BYTES_PER_S else None
