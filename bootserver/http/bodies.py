"""The bytes of an answer from one version of a file: whole, or cut off so that the client sees it.

What is served may be pieces of the file on disk with bytes of ours between them
(files/layout.py). All is decided in positions of what is served; only what is handed to sendfile
is looked up on disk.

Bulk goes out with os.sendfile on the connection's own descriptor. Unlike loop.sendfile this says
exactly how much went out, and whether the client failed or the disk. A slow reader costs one system
call per wake; it holds one descriptor, its connection's.

sendfile queues *references* to the page cache: an image that is overwritten in place changes bytes
already queued. So the last piece of every answer is a copy, read when the client's kernel has
acknowledged all before it and checked afterwards; if the file has changed, the piece stays here.

Nothing here waits for the disk: what is not in memory is read by a thread first, and then sent.
Where it cannot be told what is in memory (macOS, NFS), a thread reads all of it.

Over TLS all pieces are such copies, each checked before it is encrypted. asyncio's TLS has a buffer
of up to 64 KiB that it does not report, so the count may be that far ahead of the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import selectors
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog
from aiohttp.abc import AbstractStreamWriter

from bootserver.errors import ImageNotReadyError
from bootserver.files.open_version import OpenFile
from bootserver.http.replies import Pieces, hold_back
from bootserver.model import ByteRange, TransferEnd

WINDOW_BYTES = 2 << 20  # most that one system call may send while the others wait
HELD_BACK_BYTES = 64 << 10  # the copied last piece; an answer this small is that piece alone
STALL_LOOKS = 4  # in the time that a client may take nothing
UNSENT_BYTES = 256 << 10  # per connection in the kernel; else 2 MB each for 1,000 slow clients

# What a socket says when the other side is gone and Python has no ConnectionError for it; anything
# else from sendfile is the disk's.
_CLIENT_GONE = {errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # from the odd file system

log = structlog.get_logger()


class Framing(Protocol):
    """What stands around a body: the header before it, and what ends the answer."""

    async def begin(self, whole: bytes | None) -> None:
        """Write the header; with all of the body, if that is `whole`."""

    async def finish(self, last: bytes) -> None:
        """Write the last of the body; b"" if all of it was written with the header."""


def _uncounted(_sent_bytes: int) -> None:
    """Bytes that are no boot's."""


class _StalledError(Exception):
    """The client took nothing for as long as it may."""


class BodySender:
    """Sends the body of one answer; `on_sent` gets each number of bytes that the kernel has taken.

    The file must be in use while this sends.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        file: OpenFile,
        stalled_s: float,
        on_sent: Callable[[int], None] = _uncounted,
    ) -> None:
        self._transport = transport
        self.writer = writer
        self.file = file
        self.on_sent = on_sent
        self.stalled_s = stalled_s
        self.sent_bytes = 0

    async def send(self, body: Pieces, framing: Framing) -> TransferEnd:
        """Send all of it, or close the connection so that the client sees a short body."""
        bulk, last = hold_back(body, HELD_BACK_BYTES)
        whole = None if bulk else await self._copy_of_last(last)
        end = None
        try:
            await framing.begin(whole)
            if bulk:
                await self._send_bulk(bulk)
                await framing.finish(await self._copy_of_last(last))
            else:
                await framing.finish(b"")
            await self._flush()
            self._count(sum(len(piece) for piece in last if isinstance(piece, ByteRange)))
            end = TransferEnd.COMPLETE
        except ConnectionError:
            end = TransferEnd.CLIENT_LEFT
        except _StalledError:
            end = TransferEnd.STALLED
        except ImageNotReadyError:
            end = TransferEnd.FILE_CHANGED
            log.warning("http.file_changed", path=self.file.path, sent_bytes=self.sent_bytes)
        finally:
            if end is not TransferEnd.COMPLETE:  # also when cancelled, and when the disk fails
                _reset(self._transport)
        return end

    async def _send_bulk(self, pieces: Pieces) -> None:
        """Send these pieces so that nothing can change them any more."""
        transport = self._transport
        if transport.get_extra_info("sslcontext") is not None:
            for piece in pieces:
                await self._send_copies(piece)
            return
        # The copies at the end keep the line busy while all before them is being acknowledged, and
        # make the client's kernel do so at once: it may keep one segment's ACK back for 40 ms.
        references, copies = hold_back(pieces, HELD_BACK_BYTES)
        with _only_writing(transport):
            for piece in references:
                if isinstance(piece, ByteRange):
                    await self._send_part(piece)
                else:
                    await self._send_copies(piece)
            for piece in copies:
                await self._send_copies(piece)
            await self._acknowledged(all_but=sum(map(len, copies)))

    async def _send_part(self, part: ByteRange) -> None:
        """Send what of `part` lies on disk in long pieces by reference, and copies of the rest."""
        sent_to = offset = part.start
        for piece in self.file.layout.cut(part):
            if isinstance(piece, ByteRange) and len(piece) > HELD_BACK_BYTES:
                await self._send_copies(ByteRange(sent_to, offset))
                sent_to = offset + await self._send_by_reference(offset, piece)
            offset += len(piece)
        await self._send_copies(ByteRange(sent_to, offset))

    async def _send_copies(self, piece: bytes | ByteRange) -> None:
        """Send framing, or a part of the file through memory, a little at a time."""
        if isinstance(piece, bytes):
            await self.writer.write(piece)
            await self._flush()
            return
        for part in piece.steps(HELD_BACK_BYTES):
            await self._fetch((part,))
            await self.writer.write(self._checked_copy(part))
            await self._flush()
            self._count(len(part))
            await asyncio.sleep(0)  # nothing above waits for anybody while the client keeps up

    async def _send_by_reference(self, offset: int, piece: ByteRange) -> int:
        """Hand a piece of the file on disk to the kernel by sendfile, a window at each wake.

        `offset` is its place in what is served. Returns how much of it went out: less than all
        only where the file system has no sendfile.
        """
        await self._flush()  # sendfile would overtake what is still in the transport
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        wakes, number = _WritableSockets.of(loop), _descriptor(self._transport)
        sent = at_hand = fetches = 0
        fetching: asyncio.Task[None] | None = None

        async def fetch(window: ByteRange) -> None:
            nonlocal at_hand, fetches, fetching, wakes
            try:
                await self._fetch((window,))
                at_hand, fetching = window.stop - offset, None
                fetches += 1
                wakes = _WritableSockets.of(loop)  # it may have been the last of the former
                wakes.add(_descriptor(self._transport), push)
            except Exception as err:
                if not done.done():
                    done.set_exception(err)

        def push() -> None:
            nonlocal sent, at_hand, fetching
            try:
                socket_fd = _descriptor(self._transport)
                if sent == at_hand:
                    start = offset + sent
                    window = ByteRange(start, min(start + WINDOW_BYTES, offset + len(piece)))
                    if not self.file.is_at_hand(window):
                        wakes.remove(number, push)
                        fetching = loop.create_task(fetch(window))
                        return
                    if fetches:  # the disk is to be ahead of the client
                        self.file.read_ahead(ByteRange(window.stop, window.stop + WINDOW_BYTES))
                    at_hand = window.stop - offset
                rest = ByteRange(piece.start + sent, piece.start + at_hand)
                sent += self._send_window(socket_fd, rest)
                if sent < len(piece):
                    return
                done.set_result(None)
            except (BlockingIOError, InterruptedError):
                return
            except Exception as err:
                done.set_exception(err)
            wakes.remove(number, push)

        wakes.add(number, push)
        try:
            await _while_progressing(done, lambda: sent + fetches, self.stalled_s)
        except OSError as err:
            if err.errno not in _NO_SENDFILE:
                raise
        finally:
            wakes.remove(number, push)
            if fetching is not None:
                fetching.cancel()
        return sent

    async def _fetch(self, pieces: Pieces) -> None:
        """Have these in memory: no file on disk is waited for here."""
        for piece in pieces:
            if isinstance(piece, ByteRange):
                await self.file.fetch(piece)

    def _send_window(self, socket_fd: int, window: ByteRange) -> int:
        """How much of `window`, on disk, the kernel has taken in one system call."""
        self.file.check_unchanged()
        try:
            sent = os.sendfile(socket_fd, self.file.fd, window.start, len(window))
        except OSError as err:
            if err.errno in _CLIENT_GONE:
                raise ConnectionResetError(err.errno, err.strerror) from err
            raise
        if not sent:
            raise self.file.changed()  # it ends early
        self._count(sent)
        return sent

    async def _acknowledged(self, *, all_but: int) -> None:
        """Return once the client's kernel has all that was sent but the last `all_but` bytes.

        Nothing announces that, so ask: soon at first, for the usual client needs a round trip.
        """
        loop = asyncio.get_running_loop()
        pause_s, queued, deadline = 0.0005, 0, 0.0
        while (now_queued := _unacknowledged_bytes(_descriptor(self._transport))) > all_but:
            if now_queued != queued:
                queued, deadline = now_queued, loop.time() + self.stalled_s
            elif loop.time() >= deadline:
                raise _StalledError
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)

    async def _copy_of_last(self, pieces: Pieces) -> bytes:
        await self._fetch(pieces)
        return b"".join(
            self._checked_copy(piece) if isinstance(piece, ByteRange) else piece for piece in pieces
        )

    def _checked_copy(self, part: ByteRange) -> bytes:
        """The bytes of `part`, and the certainty that they are of our version of the file."""
        data = self.file.read(part)
        self.file.check_unchanged()  # after reading, not before
        if len(data) != len(part):
            raise self.file.changed()
        return data

    async def _flush(self) -> None:
        """Return once the kernel has taken what the transport holds."""
        transport = self._transport
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)  # now drain() waits for the last byte
            drained = asyncio.ensure_future(self.writer.drain())
            await _while_progressing(drained, transport.get_write_buffer_size, self.stalled_s)
            transport.set_write_buffer_limits()

    def _count(self, sent_bytes: int) -> None:
        if sent_bytes:
            self.sent_bytes += sent_bytes
            self.on_sent(sent_bytes)


class _WritableSockets:
    """Calls back while a connection can take more.

    asyncio does not let us watch the descriptor of a transport, and a duplicate of it would be one
    more for each slow reader. So these are watched by a selector of our own, and that by the loop.
    It is there while anything is sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()
        loop.add_reader(self._selector, self._wake)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _WritableSockets:
        """The one of that loop."""
        if loop not in _WATCHED:
            _WATCHED[loop] = cls(loop)
        return _WATCHED[loop]

    def add(self, socket_fd: int, push: Callable[[], None]) -> None:
        """Call `push` whenever that descriptor can be written to."""
        with suppress(KeyError):  # of a connection that is gone, which had the same number
            self._selector.unregister(socket_fd)
        self._selector.register(socket_fd, selectors.EVENT_WRITE, push)

    def remove(self, socket_fd: int, push: Callable[[], None]) -> None:
        """Do so no more; nothing happens if it is done already."""
        known = self._selector.get_map()
        if not known or socket_fd not in known or known[socket_fd].data is not push:
            return
        self._selector.unregister(socket_fd)
        if not known:
            del _WATCHED[self._loop]
            self._loop.remove_reader(self._selector)
            self._selector.close()

    def _wake(self) -> None:
        for key, _ in self._selector.select(0):
            key.data()


_WATCHED: dict[asyncio.AbstractEventLoop, _WritableSockets] = {}


def _descriptor(transport: asyncio.Transport) -> int:
    """The connection's descriptor, not to be kept: its number may soon be another connection's."""
    if transport.is_closing():
        raise ConnectionResetError("the connection is closing")
    number: int = transport.get_extra_info("socket").fileno()
    return number


@contextmanager
def _only_writing(transport: asyncio.Transport) -> Iterator[None]:
    """The transport does not read until the end of the block.

    A client that has sent its request and closed its half would otherwise be hung up on.
    """
    if transport.is_closing():
        raise ConnectionResetError("the connection is closing")
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):  # not TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    was_reading = transport.is_reading()
    transport.pause_reading()
    try:
        yield
    finally:
        if was_reading:
            transport.resume_reading()


def _reset(transport: asyncio.Transport) -> None:
    """Drop the connection and all that is queued on it: the client sees a short body, at once."""
    connection = transport.get_extra_info("socket")
    if connection is not None:  # else TLS has let go of it
        with suppress(OSError):  # it is gone already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _unacknowledged_bytes(socket_fd: int) -> int:
    """How much the peer's kernel has not confirmed yet (tcp(7), SIOCOUTQ)."""
    poller = select.poll()
    poller.register(socket_fd, 0)
    if poller.poll(0):  # POLLERR or POLLHUP
        raise ConnectionResetError("the connection is gone")
    queued: int = struct.unpack("i", fcntl.ioctl(socket_fd, termios.TIOCOUTQ, bytes(4)))[0]
    return queued


async def _while_progressing(
    work: asyncio.Future[None], progress: Callable[[], int], stalled_s: float
) -> None:
    """Wait for `work`; raise _StalledError when `progress()` has stood still for so long."""
    looks_standing = 0
    try:
        while looks_standing < STALL_LOOKS:
            before = progress()
            await asyncio.wait((work,), timeout=stalled_s / STALL_LOOKS)
            if work.done():
                return work.result()
            looks_standing = looks_standing + 1 if progress() == before else 0
        raise _StalledError
    finally:
        if not work.cancel() and not work.cancelled():
            work.exception()  # seen, even if we are cancelled at the same moment
