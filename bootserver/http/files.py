"""One version of a file to one client: whole, in ranges or not at all, and never two mixed.

What is served may be pieces of the file on disk with bytes of ours between them
(files/layout.py). All is decided in positions of what is served; only what is handed to sendfile
is looked up on disk.

Bulk goes out with os.sendfile on the connection's own descriptor. Unlike loop.sendfile this says
exactly how much went out, and whether the client failed or the disk. A slow reader costs one system
call per wake; it holds two descriptors, its connection and the file.

sendfile queues *references* to the page cache: an image that is overwritten in place changes bytes
already queued. So the last piece of every answer is a copy, read when the client's kernel has
acknowledged all before it and checked afterwards; if the file has changed, the piece stays here.

Over TLS all pieces are such copies, each checked before it is encrypted. asyncio's TLS has a buffer
of up to 64 KiB that it does not report, so the count may be that far ahead of the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import select
import selectors
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from bootserver.errors import ImageNotReadyError
from bootserver.files.open_version import OpenFile
from bootserver.http.conditions import Conditions, Representation, select_ranges
from bootserver.http.replies import Pieces, Reply, hold_back, plan_reply
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


# ---- Sending it -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """An answer that has ended; all ends but COMPLETE have closed the connection.

    `response` is for aiohttp, `sent_bytes` counts the file's bytes. They begin at `start`, and
    follow one another; None if several ranges were asked for, or nothing of the file.
    """

    response: web.StreamResponse
    end: TransferEnd
    sent_bytes: int
    start: int | None = None


class _StalledError(Exception):
    """The client took nothing for as long as it may."""


async def send_file(
    request: web.Request,
    file: OpenFile,
    *,
    content_type: str,
    on_sent: Callable[[int], None],
    stalled_s: float,
) -> SendOutcome:
    """Answer a GET or HEAD for `file`, and tell how it ended.

    `on_sent` is called with each number of the file's bytes that the kernel has taken, while they
    flow. Raises ImageNotReadyError if the file has changed before anything was sent; whatever the
    disk raises later closes the connection first.
    """
    with file.in_use():
        file.check_unchanged()
        current = Representation(file.size_bytes, file.etag, file.last_modified_s)
        reply = plan_reply(
            request.method,
            select_ranges(request.method, _conditions(request), current),
            current,
            content_type=content_type,
            boundary=secrets.token_hex(16),  # 128 random bits do not occur in the file
        )
        answer = _FileAnswer(request, file, on_sent, stalled_s)
        return await answer.send(reply)


def _conditions(request: web.Request) -> Conditions:
    """The headers that decide; a header that comes twice is one list (RFC 9110 §5.3)."""

    def value(name: str) -> str | None:
        values = request.headers.getall(name, None)
        return None if values is None else ", ".join(values)

    return Conditions(
        range=value(hdrs.RANGE),
        if_range=value(hdrs.IF_RANGE),
        if_match=value(hdrs.IF_MATCH),
        if_none_match=value(hdrs.IF_NONE_MATCH),
        if_modified_since=value(hdrs.IF_MODIFIED_SINCE),
        if_unmodified_since=value(hdrs.IF_UNMODIFIED_SINCE),
    )


class _FileAnswer:
    """One answer under way."""

    def __init__(
        self,
        request: web.Request,
        file: OpenFile,
        on_sent: Callable[[int], None],
        stalled_s: float,
    ) -> None:
        self.request = request
        self.file = file
        self.on_sent = on_sent
        self.stalled_s = stalled_s
        self.sent_bytes = 0

    async def send(self, reply: Reply) -> SendOutcome:
        """Send all of it, or close the connection so that the client sees a short body."""
        bulk, last = hold_back(reply.body, HELD_BACK_BYTES)
        response: web.StreamResponse
        if bulk:
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
        else:  # header and body in one write
            response = web.Response(
                status=reply.status, headers=reply.headers, body=self._copy_of_last(last) or None
            )
        transport = self.request.transport
        if transport is None:
            return SendOutcome(response, TransferEnd.CLIENT_LEFT, 0)

        starts = [piece.start for piece in reply.body if isinstance(piece, ByteRange)]
        end = None
        try:
            await response.prepare(self.request)
            if bulk:
                await self._send_bulk(transport, response, bulk)
                await response.write_eof(self._copy_of_last(last))
            else:
                await response.write_eof()
            await self._flush(transport)
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
                response.force_close()
                _reset(transport)
        return SendOutcome(response, end, self.sent_bytes, starts[0] if len(starts) == 1 else None)

    async def _send_bulk(
        self,
        transport: asyncio.Transport,
        response: web.StreamResponse,
        pieces: Pieces,
    ) -> None:
        """Send these pieces so that nothing can change them any more."""
        if transport.get_extra_info("sslcontext") is not None:
            for piece in pieces:
                await self._send_copies(transport, response, piece)
            return
        # The copies at the end keep the line busy while all before them is being acknowledged, and
        # make the client's kernel do so at once: it may keep one segment's ACK back for 40 ms.
        references, copies = hold_back(pieces, HELD_BACK_BYTES)
        with _only_writing(transport):
            for piece in references:
                if isinstance(piece, ByteRange):
                    await self._send_part(transport, response, piece)
                else:
                    await self._send_copies(transport, response, piece)
            for piece in copies:
                await self._send_copies(transport, response, piece)
            await self._acknowledged(transport, all_but=sum(map(len, copies)))

    async def _send_part(
        self,
        transport: asyncio.Transport,
        response: web.StreamResponse,
        part: ByteRange,
    ) -> None:
        """Send what of `part` lies on disk in long pieces by reference, and copies of the rest."""
        sent_to = offset = part.start
        for piece in self.file.layout.cut(part):
            if isinstance(piece, ByteRange) and len(piece) > HELD_BACK_BYTES:
                await self._send_copies(transport, response, ByteRange(sent_to, offset))
                sent_to = offset + await self._send_by_reference(transport, offset, piece)
            offset += len(piece)
        await self._send_copies(transport, response, ByteRange(sent_to, offset))

    async def _send_copies(
        self, transport: asyncio.Transport, response: web.StreamResponse, piece: bytes | ByteRange
    ) -> None:
        """Send framing, or a part of the file through memory, a little at a time."""
        if isinstance(piece, bytes):
            await response.write(piece)
            await self._flush(transport)
            return
        for start in range(piece.start, piece.stop, HELD_BACK_BYTES):
            part = ByteRange(start, min(start + HELD_BACK_BYTES, piece.stop))
            self.file.read_ahead(ByteRange(part.stop, part.stop + HELD_BACK_BYTES))
            await response.write(self._checked_copy(part))
            await self._flush(transport)
            self._count(len(part))
            await asyncio.sleep(0)  # nothing above waits for anybody while the client keeps up

    async def _send_by_reference(
        self, transport: asyncio.Transport, offset: int, piece: ByteRange
    ) -> int:
        """Hand a piece of the file on disk to the kernel by sendfile, a window at each wake.

        `offset` is its place in what is served. Returns how much of it went out: less than all
        only where the file system has no sendfile.
        """
        await self._flush(transport)  # sendfile would overtake what is still in the transport
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        sent = ahead = 0

        def push() -> None:
            nonlocal sent, ahead
            try:
                socket_fd = _descriptor(transport)
                if sent + WINDOW_BYTES > ahead:
                    start = offset + ahead
                    self.file.read_ahead(ByteRange(start, start + WINDOW_BYTES))
                    ahead += WINDOW_BYTES
                sent += self._send_window(socket_fd, ByteRange(piece.start + sent, piece.stop))
                if sent < len(piece):
                    return
                done.set_result(None)
            except (BlockingIOError, InterruptedError):
                return
            except Exception as err:
                done.set_exception(err)
            wakes.remove(number, push)

        wakes, number = _WritableSockets.of(loop), _descriptor(transport)
        wakes.add(number, push)
        try:
            await _while_progressing(done, lambda: sent, self.stalled_s)
        except OSError as err:
            if err.errno not in _NO_SENDFILE:
                raise
        finally:
            wakes.remove(number, push)
        return sent

    def _send_window(self, socket_fd: int, rest: ByteRange) -> int:
        """How much of `rest`, on disk, the kernel has taken in one system call."""
        self.file.check_unchanged()
        count = min(len(rest), WINDOW_BYTES)
        try:
            sent = os.sendfile(socket_fd, self.file.fd, rest.start, count)
        except OSError as err:
            if err.errno in _CLIENT_GONE:
                raise ConnectionResetError(err.errno, err.strerror) from err
            raise
        if not sent:
            raise self.file.changed()  # it ends early
        self._count(sent)
        return sent

    async def _acknowledged(self, transport: asyncio.Transport, *, all_but: int) -> None:
        """Return once the client's kernel has all that was sent but the last `all_but` bytes.

        Nothing announces that, so ask: soon at first, for the usual client needs a round trip.
        """
        loop = asyncio.get_running_loop()
        pause_s, queued, deadline = 0.0005, 0, 0.0
        while (now_queued := _unacknowledged_bytes(_descriptor(transport))) > all_but:
            if now_queued != queued:
                queued, deadline = now_queued, loop.time() + self.stalled_s
            elif loop.time() >= deadline:
                raise _StalledError
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)

    def _copy_of_last(self, pieces: Pieces) -> bytes:
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

    async def _flush(self, transport: asyncio.Transport) -> None:
        """Return once the kernel has taken what the transport holds."""
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)  # now drain() waits for the last byte
            drained = asyncio.ensure_future(self.request.writer.drain())
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
