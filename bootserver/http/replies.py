"""What is sent for a decision, as data: status, headers, and a body of pieces."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.http.conditions import Answer, Decision, Representation, http_date
from bootserver.model import ByteRange

Body = tuple[bytes | ByteRange, ...]  # framing, and parts of the file as it is served, in order


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: Body = ()


def plan_reply(
    method: str, decision: Decision, current: Representation, *, content_type: str, boundary: str
) -> Reply:
    """The answer to a GET or HEAD, with its exact Content-Length.

    `boundary` parts several ranges, and must not occur in the file.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": current.etag,
        "Cache-Control": "no-transform",
    }
    if current.last_modified_s is not None:
        headers["Last-Modified"] = http_date(current.last_modified_s)
    body: Body
    match decision.answer:
        case Answer.NOT_MODIFIED:
            return Reply(304, headers)
        case Answer.PRECONDITION_FAILED:
            return Reply(412, headers)
        case Answer.UNSATISFIABLE:
            return Reply(416, {**headers, "Content-Range": f"bytes */{current.size_bytes}"})
        case Answer.FULL:
            status, body = 200, (ByteRange(0, current.size_bytes),)
        case Answer.RANGES:
            status, body = 206, decision.ranges
            if len(decision.ranges) == 1:
                headers["Content-Range"] = content_range(decision.ranges[0], current.size_bytes)
            else:
                body = _multipart(decision.ranges, current.size_bytes, content_type, boundary)
                content_type = f"multipart/byteranges; boundary={boundary}"
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(sum(map(len, body)))
    return Reply(status, headers, () if method == "HEAD" else body)


def content_range(part: ByteRange, size_bytes: int) -> str:
    """The value of Content-Range, whose last position is inclusive (RFC 9110 §14.4)."""
    return f"bytes {part.start}-{part.stop - 1}/{size_bytes}"


def _multipart(
    ranges: tuple[ByteRange, ...], size_bytes: int, content_type: str, boundary: str
) -> Body:
    """The body of a multipart/byteranges answer (RFC 9110 §14.6)."""
    body: list[bytes | ByteRange] = []
    line_break = ""  # it belongs to the delimiter, and there is none before the first
    for part in ranges:
        delimiter = (
            f"{line_break}--{boundary}\r\n"
            f"Content-Type: {content_type}\r\n"
            f"Content-Range: {content_range(part, size_bytes)}\r\n\r\n"
        )
        body += (delimiter.encode(), part)
        line_break = "\r\n"
    return (*body, f"\r\n--{boundary}--\r\n".encode())


def hold_back(body: Body, size_bytes: int) -> tuple[Body, Body]:
    """The body in two: what may leave at once, and the last piece, with bytes of the file in it.

    Of the file the last piece has `size_bytes` at most; a body no longer than that is all last.
    """
    if sum(map(len, body)) <= size_bytes:
        return (), body
    place, last = [(n, piece) for n, piece in enumerate(body) if isinstance(piece, ByteRange)][-1]
    cut = max(last.start, last.stop - size_bytes)
    rest = (*body[:place], ByteRange(last.start, cut))
    return rest, (ByteRange(cut, last.stop), *body[place + 1 :])
