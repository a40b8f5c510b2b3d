"""One transfer on its own connected socket: the asyncio skin around `TftpTransfer`.

Reads may block, so they happen in a thread, a large piece at a time; between the pieces the
transfer runs from socket callbacks alone, without a task switch per datagram.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from time import monotonic
from typing import Protocol

from bootserver.tftp.options import Terms, TftpLimits
from bootserver.tftp.transfer import Outcome, TftpTransfer

READ_AHEAD_BYTES = 512 * 1024  # at least two windows; what one transfer holds in memory
DATAGRAMS_PER_WAKE = 4  # then the other clients have their turn
DATAGRAM_BYTES_MAX = 1024  # an ACK has 4 bytes, an ERROR one line


class TftpFile(Protocol):
    """The content to send. Opened for one transfer, closed by it."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Called in a thread, one call at a time; may block."""

    def progress(self, sent_bytes: int) -> None:
        """The client has acknowledged this many more bytes. Called in the loop; be quick."""

    def close(self, complete: bool) -> None:
        """The transfer is over. Called once, in the loop, when no read is running."""


class Exchange:
    """Sends one file to the client at the other end of `sock`."""

    def __init__(
        self,
        sock: socket.socket,
        file: TftpFile,
        terms: Terms,
        limits: TftpLimits,
        threads: Executor,
        *,
        client_known: bool,
        on_heard: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._file = file
        self._threads = threads
        self._on_heard: Callable[[], None] | None = on_heard  # until the client answers
        self._piece = b""
        self._piece_start = 0
        self._piece_stop = 0
        self._reported_bytes = 0
        self._pause: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.transfer = TftpTransfer(
            file.size_bytes, self._read, terms, limits, client_known=client_known
        )

    async def run(self) -> Outcome:
        """How the transfer ended; raises what reading the file raised."""
        await self._read_ahead()
        self._send(self.transfer.start(monotonic()))
        while self.transfer.outcome is None:
            await self._run_until_pause()
            await self._read_ahead()
        return self.transfer.outcome

    def repeat(self) -> None:
        """Answers a repeated request, if the first answer may have been lost."""
        if self._pause is None:
            return
        try:
            self._send(self.transfer.repeat(monotonic()))
            self._settle()
        except Exception as err:
            self._stop(err)

    def catch_up(self) -> None:
        """Takes in what the client has sent so far, before its next request is judged by that."""
        if self._pause is not None:
            self._on_readable()

    async def _read_ahead(self) -> None:
        """Has what the next call to the transfer may read in memory."""
        start, stop = self.transfer.span
        if stop <= self._piece_stop:
            return
        length = min(max(READ_AHEAD_BYTES, stop - start), self.transfer.size_bytes - start)
        reading = self._loop.run_in_executor(self._threads, self._file.read, start, length)
        try:
            self._piece = await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])  # the file must not be closed under the thread
            raise
        self._piece_start, self._piece_stop = start, start + length

    def _read(self, offset: int, length: int) -> bytes:
        start = offset - self._piece_start
        return self._piece[start : start + length]

    async def _run_until_pause(self) -> None:
        """Lets the callbacks run until the transfer ends or needs bytes that are not at hand."""
        self._pause = self._loop.create_future()
        self._loop.add_reader(self._sock, self._on_readable)
        self._settle()
        try:
            await self._pause
        finally:
            self._pause = None
            self._loop.remove_reader(self._sock)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _on_readable(self) -> None:
        try:
            for _ in range(DATAGRAMS_PER_WAKE):
                datagram = self._receive()
                if datagram is None:
                    return
                self._send(self.transfer.receive(datagram, monotonic()))
                if self._settle():
                    return
        except Exception as err:
            self._stop(err)

    def _receive(self) -> bytes | None:
        try:
            return self._sock.recv(DATAGRAM_BYTES_MAX)
        except BlockingIOError:
            return None
        except ConnectionRefusedError:
            self.transfer.client_gone()
            self._settle()
            return None
        except OSError:  # what a router said of an earlier datagram; retransmission makes up for it
            return None

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._send(self.transfer.tick(monotonic()))
            self._settle()
        except Exception as err:
            self._stop(err)

    def _settle(self) -> bool:
        """After each event: reports progress, sets the timer; True if the callbacks must pause."""
        transfer = self.transfer
        acked_bytes = transfer.acked_bytes
        if acked_bytes != self._reported_bytes:
            self._file.progress(acked_bytes - self._reported_bytes)
            self._reported_bytes = acked_bytes
        has_answered = transfer.progress_at is not None or transfer.outcome is Outcome.ABORTED
        if has_answered and self._on_heard is not None:
            self._on_heard()
            self._on_heard = None
        if transfer.outcome is not None or transfer.span[1] > self._piece_stop:
            self._stop(None)
            return True
        # A timer that fires early asks the transfer and is set anew; one per datagram costs more.
        if self._timer is None or transfer.deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(transfer.deadline, self._on_timer)
        return False

    def _stop(self, err: Exception | None) -> None:
        if self._pause is None or self._pause.done():
            return
        if err is None:
            self._pause.set_result(None)
        else:
            self._pause.set_exception(err)

    def _send(self, datagrams: list[bytes]) -> None:
        try:
            for datagram in datagrams:
                self._sock.send(datagram)
        except ConnectionRefusedError:
            self.transfer.client_gone()
        except OSError:
            # The buffer is full, or the path's MTU was just learnt, or a route is away for a
            # moment: the rest of the window is lost as if on the wire.
            return
