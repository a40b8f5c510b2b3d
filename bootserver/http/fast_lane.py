"""The fast lane: plain requests for what was served a moment ago, answered before aiohttp's path.

BMCs stream virtual media in ranges of a few KiB, and firmware reads discs over HTTP so. For them a
router, a request object and a task cost thirty times what the bytes do.

- *Who speaks first.* The client. A connection gives each whole header that comes to the lane first,
  unless aiohttp still has a request of the same connection. What the lane does not take goes to
  aiohttp, byte for byte; when aiohttp has answered it, the lane is asked again.
- *What is taken.* GET and HEAD over HTTP/1.1, of a path that aiohttp has served to the same address
  before, with no header but a few that change nothing, and at most one range of the plain form. All
  that RFC 9110 has besides (conditions, If-Range, several ranges, bad ones) is the slow lane's.
- *What is kept.* Of each path that was served: its open file, its constant headers, and `stands`,
  which says whether the slow lane would still serve the same. It looks at what the slow lane
  decides by: the boot, its phase and plan, the image. It is asked before each answer, so the lane
  need not be told when an image is replaced, a boot ends, or a machine starts over. What stands no
  longer is forgotten, and the slow lane answers.
- *States of a connection.* Waiting; in aiohttp's hands; or sending. A short answer is a copy in
  memory, sent by one system call while nothing else runs: the connection never leaves waiting. What
  the kernel does not take at once, and what is longer, is a task that sends as the slow lane does
  (bodies.py). While it sends, the connection reads nothing, and counts as busy.
- *Where it can fail.* Bytes that are not in memory are never waited for: a short range that has to
  come from the disk is the slow lane's. A file that changed while it was read is noticed after
  reading, before anything was sent. A client that leaves or stalls ends the task as it ends the
  slow lane's answer.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from bootserver.boot.service import Delivery
from bootserver.files.open_version import OpenFile
from bootserver.http.bodies import BodySender
from bootserver.http.conditions import Representation, Selection, http_date
from bootserver.http.incoming import is_host
from bootserver.http.ranges import plain_range
from bootserver.http.replies import plan_reply
from bootserver.model import ByteRange, TransferEnd
from bootserver.sessions.live import AskTcp

BODIES_MAX = 4096  # paths, of each address
REQUESTS_MAX = 4096  # headers without their ranges, of which a client has one or two
COPY_MAX_BYTES = 128 << 10  # of an answer that is sent at once
HEADER_MAX_BYTES = 8 << 10
HEADROOM_BYTES = 1 << 10  # for the header of an answer, before the copy

_RANGE = b"\r\nRange: bytes="
_REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(rb"([A-Za-z-]+):[ \t]*([!-~](?:[ -~\t]*[!-~])?)?[ \t]*")
# None of them changes what a file's answer is.
_HARMLESS = {
    *(b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language"),
    *(b"connection", b"cache-control", b"pragma"),
}


class LaneConnection(Protocol):
    """A connection, as far as the lane uses it."""

    address: str
    ask_tcp: AskTcp
    socket_fd: int

    @property
    def wire(self) -> asyncio.Transport:
        """What it sends on."""

    @property
    def writer(self) -> AbstractStreamWriter:
        """aiohttp's writer on the same."""

    def go_on(self, sending: Coroutine[Any, Any, None], file: OpenFile) -> None:
        """Read nothing more, count as busy and have the file in use until that has ended."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that can be answered here, without its range."""

    target: bytes
    is_head: bool
    by_ipxe: bool


@dataclass(eq=False, slots=True)
class HotBody:
    """A file that was served at a path a moment ago, and how its bytes come into the ledger."""

    file: OpenFile
    content_type: str
    stalled_s: float  # how long a client may take nothing of it
    stands: Callable[[], bool]
    deliver: Callable[[bool, bool, AskTcp], AbstractContextManager[Delivery]]
    note_range: Callable[[ByteRange, bool, AskTcp], None]
    whole: bytes = field(init=False)  # its header, but for the date
    part: bytes = field(init=False)  # the same for a range, but for what is in bytes' %-format

    def __post_init__(self) -> None:
        file = self.file
        current = Representation(file.size_bytes, file.etag, file.last_modified_s)
        for status, name in ((200, "whole"), (206, "part")):
            selection = Selection(status, (ByteRange(0, 1),))
            reply = plan_reply(
                "HEAD", selection, current, content_type=self.content_type, boundary=""
            )
            headers = {key: value.replace("%", "%%") for key, value in reply.headers.items()}
            if status == 206:
                headers |= {"Content-Range": f"bytes %d-%d/{file.size_bytes}"}
                headers |= {"Content-Length": "%d"}
            reason = "OK" if status == 200 else "Partial Content"
            lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in headers.items())]
            lines += [f"Server: {SERVER_SOFTWARE}", "Date: %b\r\n\r\n"]
            setattr(self, name, "\r\n".join(lines).encode())


class FastLane:
    """The fast lane of one application."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[bytes, str], HotBody] = {}
        self._requests: dict[bytes, _Request | None] = {}
        self._buffer = bytearray(HEADROOM_BYTES + COPY_MAX_BYTES)
        self._view = memoryview(self._buffer)
        self._date_s, self._date_text = 0, b""

    def keep(self, target: str, address: str, body: HotBody) -> None:
        """Answer for that target from now on, to that address; all of the body is from the disk."""
        key = (target.encode(), address)
        self._bodies.pop(key, None)
        self._bodies[key] = body
        if len(self._bodies) > BODIES_MAX:
            del self._bodies[next(iter(self._bodies))]

    def answer(self, connection: LaneConnection, header: bytes) -> bool:
        """Answer the request of that whole header, or leave it untouched: False."""
        before, found, rest = header.partition(_RANGE)
        wanted = b""
        if found:
            wanted, _, rest = rest.partition(b"\r\n")
            before += b"\r\n"
        request = self._known(before + rest)
        if request is None:
            return False
        key = (request.target, connection.address)
        body = self._bodies.get(key)
        if body is None:
            return False
        if not body.stands():
            del self._bodies[key]
            return False
        if request.is_head:
            return self._send_head(connection, body)
        part = plain_range(wanted, body.file.size_bytes) if found else None
        if found and part is None:
            return False
        if part is not None and part.stop - part.start <= COPY_MAX_BYTES:
            return self._send_copy(connection, body, part, request.by_ipxe)
        return self._send_bulk(connection, body, part, request.by_ipxe)

    def _known(self, header: bytes) -> _Request | None:
        """The request of that header, which has no range; None for one that is not plain."""
        try:
            return self._requests[header]
        except KeyError:
            pass
        if len(self._requests) >= REQUESTS_MAX:
            self._requests.clear()
        self._requests[header] = request = _parse(header)
        return request

    def _send_head(self, connection: LaneConnection, body: HotBody) -> bool:
        if not body.file.is_current():
            return False
        connection.wire.write(body.whole % self._date())
        return True

    def _send_copy(
        self, connection: LaneConnection, body: HotBody, part: ByteRange, by_ipxe: bool
    ) -> bool:
        """Send a short range at once, if it is in memory."""
        wire, file, length = connection.wire, body.file, part.stop - part.start
        if wire.get_write_buffer_size():
            return False
        place = self._view[HEADROOM_BYTES : HEADROOM_BYTES + length]
        if not file.read_at_hand(part, place) or not file.is_current():  # in this order
            return False
        file.uses += 1
        header = body.part % (part.start, part.stop - 1, length, self._date())
        begin = HEADROOM_BYTES - len(header)
        self._buffer[begin:HEADROOM_BYTES] = header
        answer = self._view[begin : HEADROOM_BYTES + length]
        try:
            sent = os.write(connection.socket_fd, answer)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client is gone, which the slow lane finds in its own way
            return False
        if sent == len(answer):
            body.note_range(part, by_ipxe, connection.ask_tcp)
        else:
            rest = bytes(answer[sent:])
            deliver = body.deliver(by_ipxe, True, connection.ask_tcp)
            sender = _sender(connection, body)
            connection.go_on(_send_rest(sender, deliver, part, rest), body.file)
        return True

    def _send_bulk(
        self, connection: LaneConnection, body: HotBody, part: ByteRange | None, by_ipxe: bool
    ) -> bool:
        """Send a long range, or all of it."""
        if not body.file.is_current():
            return False
        header = body.whole % self._date()
        if part is not None:
            header = body.part % (part.start, part.stop - 1, len(part), self._date())
        deliver = body.deliver(by_ipxe, part is not None, connection.ask_tcp)
        part = part or ByteRange(0, body.file.size_bytes)
        sender = _sender(connection, body)
        connection.go_on(_send_bulk(sender, deliver, part, header), body.file)
        return True

    def _date(self) -> bytes:
        """The Date of now."""
        now_s = int(time.time())
        if now_s != self._date_s:
            self._date_s, self._date_text = now_s, http_date(now_s).encode()
        return self._date_text


def _sender(connection: LaneConnection, body: HotBody) -> BodySender:
    return BodySender(connection.wire, connection.writer, body.file, body.stalled_s)


async def _send_rest(
    sender: BodySender, deliver: AbstractContextManager[Delivery], part: ByteRange, rest: bytes
) -> None:
    """Send what the kernel did not take at once of a copy of that part."""
    with deliver as delivery:
        delivery.start = part.start
        delivery.end = await sender.send((), _Head(sender.writer, rest))
        if delivery.end is TransferEnd.COMPLETE:
            delivery.sent(len(part))


async def _send_bulk(
    sender: BodySender, deliver: AbstractContextManager[Delivery], part: ByteRange, header: bytes
) -> None:
    with deliver as delivery:
        delivery.start, sender.on_sent = part.start, delivery.sent
        delivery.end = await sender.send((part,), _Head(sender.writer, header))


LANE = web.AppKey("fast_lane", FastLane)


class _Head:
    """A header of ours before a body."""

    def __init__(self, writer: AbstractStreamWriter, header: bytes) -> None:
        self._writer = writer
        self._header = header

    async def begin(self, whole: bytes | None) -> None:
        """Write it, and all of a body that is short."""
        await self._writer.write(self._header + (whole or b""))

    async def finish(self, last: bytes) -> None:
        """Write the last of the body."""
        if last:
            await self._writer.write(last)


def _parse(header: bytes) -> _Request | None:
    """The request of a header that has nothing in it but what is harmless."""
    if len(header) > HEADER_MAX_BYTES or not header.endswith(b"\r\n\r\n"):
        return None
    first, *lines = header[:-4].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        return None
    fields: dict[bytes, bytes] = {}
    for each in lines:
        match = _FIELD.fullmatch(each)
        if match is None or (name := match[1].lower()) not in _HARMLESS or name in fields:
            return None
        fields[name] = match[2] or b""
    if not is_host(fields.get(b"host", b"").decode()):
        return None
    if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return _Request(line[2], line[1] == b"HEAD", fields.get(b"user-agent", b"").startswith(b"iPXE"))
