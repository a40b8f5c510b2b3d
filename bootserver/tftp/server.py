"""The TFTP server: takes requests, gives each its own transfer, and outlives them all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import structlog

from bootserver.tftp import packets
from bootserver.tftp.exchange import Exchange, TftpFile
from bootserver.tftp.netascii import as_netascii
from bootserver.tftp.options import Limits, negotiate
from bootserver.tftp.packets import ErrorCode, ReadRequest
from bootserver.tftp.sockets import Arrival, RequestSocket, SocketAddress, bind_request_sockets
from bootserver.tftp.transfer import Outcome, TftpRefusal

__all__ = ["TftpFile", "TftpRefusal", "TftpRequest", "TftpServer"]

log = structlog.get_logger(__name__)

TRANSFERS_MAX = 256
REQUESTS_PER_WAKE = 32
OPEN_TIMEOUT_S = 10.0
READER_THREADS = 8
# The same request from the same port this long after the last progress: firmware that was reset
# and uses its old port again. Sooner, it is a duplicate that the network made.
RESTART_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class TftpRequest:
    """Who asks for what. `name` is as the client sent it, with a leading `/` or without."""

    name: str
    client: str
    client_port: int
    local_address: str  # ours that the client wrote to; "" where the platform cannot tell


OpenFile = Callable[[TftpRequest], Awaitable[TftpFile]]


@dataclass(eq=False, slots=True)
class _Running:
    """A request being served from `sock`; `exchange` is None until its file is open."""

    arrival: Arrival
    sock: socket.socket
    task: asyncio.Task[None] | None = None
    exchange: Exchange | None = None

    @property
    def has_ended(self) -> bool:
        """True once the client has all or has sent an ERROR; its task may have yet to learn it."""
        return self.exchange is not None and self.exchange.transfer.outcome is not None

    def refuse(self, refusal: TftpRefusal) -> None:
        with contextlib.suppress(OSError):
            self.sock.send(packets.encode_error(refusal.code, refusal.message))


class TftpServer:
    """A read-only TFTP server (RFC 1350, 2347-2349, 7440).

    `open_file` turns a request into content, or raises TftpRefusal. Whatever it or a client does
    costs one log line, never the server.
    """

    def __init__(
        self,
        open_file: OpenFile,
        *,
        hosts: Sequence[str] | None = None,
        port: int = 69,
        limits: Limits | None = None,
        transfers_max: int = TRANSFERS_MAX,
    ) -> None:
        self._open_file = open_file
        self._hosts = hosts
        self._port = port
        self._limits = limits or Limits()
        self._transfers_max = transfers_max
        self._request_sockets: list[RequestSocket] = []
        self._running: set[_Running] = set()
        self._latest: dict[SocketAddress, _Running] = {}  # by client address and port
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
        if self._running:
            await asyncio.wait(self._tasks(), timeout=grace_s)
        for running in self._running:
            running.refuse(TftpRefusal(ErrorCode.UNDEFINED, "the server is shutting down"))
        for task in (tasks := self._tasks()):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [running.task for running in self._running if running.task is not None]

    def _on_requests(self, request_socket: RequestSocket) -> None:
        for _ in range(REQUESTS_PER_WAKE):
            arrival = request_socket.receive()
            if arrival is None:
                return
            client = arrival.client[0]
            if not packets.is_request(arrival.datagram):
                log.info("tftp.stray", client=client, size_bytes=len(arrival.datagram))
                continue
            try:
                self._take(request_socket, arrival)
            except TftpRefusal as refusal:
                name = packets.name_for_log(arrival.datagram)
                log.info("tftp.refused", client=client, name=name, reason=refusal.message)
                answer = packets.encode_error(refusal.code, refusal.message)
                request_socket.reply(arrival, answer)

    def _take(self, request_socket: RequestSocket, arrival: Arrival) -> None:
        """Starts serving a request, unless it repeats one that is being served."""
        earlier = self._latest.get(arrival.client)
        if earlier is not None and self._is_repeated(earlier, arrival):
            return
        request = packets.parse_request(arrival.datagram)
        if earlier is not None and earlier.task is not None and not earlier.has_ended:
            earlier.task.cancel()  # the client has moved on: firmware keeps its port
        if len(self._running) >= self._transfers_max:
            raise TftpRefusal(ErrorCode.UNDEFINED, "too busy, try again")
        try:
            sock = request_socket.connect(arrival)
        except OSError as err:  # most likely no file descriptor is left
            raise TftpRefusal(ErrorCode.UNDEFINED, f"too busy, try again: {err.strerror}") from err

        running = _Running(arrival, sock)
        running.task = asyncio.create_task(self._serve(running, request))
        running.task.add_done_callback(lambda _: self._forget(running))
        self._running.add(running)
        self._latest[arrival.client] = running

    def _is_repeated(self, earlier: _Running, arrival: Arrival) -> bool:
        """True if the request is already being served; answers it again where that is due."""
        if earlier.exchange is not None:
            earlier.exchange.catch_up()  # an ERROR or the last ACK (raspberrypi/firmware#1700)
        if earlier.has_ended or earlier.arrival.datagram != arrival.datagram:
            return False
        if earlier.exchange is None:
            return True
        progress_at = earlier.exchange.transfer.progress_at
        if progress_at is None:
            earlier.exchange.repeat()
            return True
        return monotonic() - progress_at < RESTART_AFTER_S

    def _forget(self, running: _Running) -> None:
        running.sock.close()
        self._running.discard(running)
        if self._latest.get(running.arrival.client) is running:
            del self._latest[running.arrival.client]

    async def _serve(self, running: _Running, request: ReadRequest) -> None:
        """Sends the file; every way in which that can fail ends here, in one log line."""
        name = packets.name_for_log(running.arrival.datagram)
        line = log.bind(client=running.arrival.client[0], name=name)
        try:
            await self._send_file(running, request, line)
        except TftpRefusal as refusal:
            line.info("tftp.refused", reason=refusal.message)
            running.refuse(refusal)
        except asyncio.CancelledError:
            line.info("tftp.ended", outcome="cancelled")
            raise
        except Exception as err:
            reason = f"{type(err).__name__}: {err}"
            line.error("tftp.failed", reason=reason, exc_info=not isinstance(err, OSError))
            running.refuse(TftpRefusal(ErrorCode.UNDEFINED, "the server cannot read this file"))

    async def _send_file(
        self, running: _Running, request: ReadRequest, line: structlog.stdlib.BoundLogger
    ) -> None:
        arrival = running.arrival
        started_at = monotonic()
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            file = await self._open_file(
                TftpRequest(
                    request.name, arrival.client[0], arrival.client[1], arrival.local_address
                )
            )
        outcome: Outcome | None = None
        try:
            if request.netascii:
                file = await as_netascii(file, self._threads)
            terms = negotiate(request.options, file.size_bytes, self._limits)
            exchange = Exchange(running.sock, file, terms, self._limits, self._threads)
            running.exchange = exchange
            outcome = await exchange.run()
        finally:
            file.close(outcome is Outcome.COMPLETE)
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
