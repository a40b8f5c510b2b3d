"""An answer to a GET or HEAD for one version of a file: whole, in ranges or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from bootserver.files.open_version import OpenFile
from bootserver.http.bodies import BodySender
from bootserver.http.conditions import Conditions, Representation, select_ranges
from bootserver.http.replies import Reply, plan_reply
from bootserver.model import ByteRange, TransferEnd


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
        answer = _Answer(request, reply)
        transport = request.transport
        if transport is None:
            return SendOutcome(answer.response, TransferEnd.CLIENT_LEFT, 0)
        sender = BodySender(transport, request.writer, file, stalled_s, on_sent)
        end = None
        try:
            end = await sender.send(reply.body, answer)
        finally:
            if end is not TransferEnd.COMPLETE:
                answer.response.force_close()
        starts = [piece.start for piece in reply.body if isinstance(piece, ByteRange)]
        start = starts[0] if len(starts) == 1 else None
        return SendOutcome(answer.response, end, sender.sent_bytes, start)


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


class _Answer:
    """aiohttp's response around a body."""

    def __init__(self, request: web.Request, reply: Reply) -> None:
        self._request = request
        self._reply = reply
        self.response = web.StreamResponse(status=reply.status, headers=reply.headers)

    async def begin(self, whole: bytes | None) -> None:
        """Write the header, and with it a body that is short."""
        if whole is not None:  # header and body in one write
            self.response = web.Response(
                status=self._reply.status, headers=self._reply.headers, body=whole or None
            )
        await self.response.prepare(self._request)

    async def finish(self, last: bytes) -> None:
        """Write the last of the body."""
        await self.response.write_eof(last)
