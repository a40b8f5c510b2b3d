"""What is sent for a selection, as data: status, headers, and a body of pieces."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.http.conditions import Representation, Selection, http_date
from bootserver.model import ByteRange

Pieces = tuple[bytes | ByteRange, ...]  # framing, and parts of the file as it is served, in order


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: Pieces = ()


def plan_reply(
    method: str, selection: Selection, current: Representation, *, content_type: str, boundary: str
) -> Reply:
    """The answer to a GET or HEAD, with its exact Content-Length.

    `boundary` separates several ranges, and must not occur in the file.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": current.etag,
        "Cache-Control": "no-transform",
    }
    if current.last_modified_s is not None:
        headers["Last-Modified"] = http_date(current.last_modified_s)
    body: Pieces
    match selection.status:
        case 206:
            body = selection.ranges
            if len(body) == 1:
                headers["Content-Range"] = content_range(selection.ranges[0], current.size_bytes)
            else:
                body = _multipart(selection.ranges, current.size_bytes, content_type, boundary)
                content_type = f"multipart/byteranges; boundary={boundary}"
        case 200:
            body = (ByteRange(0, current.size_bytes),)
        case 416:
            headers["Content-Range"] = f"bytes */{current.size_bytes}"
            return Reply(416, headers)
        case status:
            return Reply(status, headers)
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(sum(map(len, body)))
    return Reply(selection.status, headers, () if method == "HEAD" else body)


def content_range(part: ByteRange, size_bytes: int) -> str:
    """The value of Content-Range, whose last position is inclusive (RFC 9110 §14.4)."""
    return f"bytes {part.start}-{part.stop - 1}/{size_bytes}"


def _multipart(
    ranges: tuple[ByteRange, ...], size_bytes: int, content_type: str, boundary: str
) -> Pieces:
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


def hold_back(body: Pieces, size_bytes: int) -> tuple[Pieces, Pieces]:
    """The body in two: what may leave at once, and the last piece, with bytes of the file in it.

    Of the file the last piece has `size_bytes` at most; a body no longer than that is all last.
    """
    if sum(map(len, body)) <= size_bytes:
        return (), body
    place, last = [(n, piece) for n, piece in enumerate(body) if isinstance(piece, ByteRange)][-1]
    cut = max(last.start, last.stop - size_bytes)
    rest = (*body[:place], ByteRange(last.start, cut))
    return rest, (ByteRange(cut, last.stop), *body[place + 1 :])
