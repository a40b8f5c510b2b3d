"""Downloads a URL into a part file: goes on after a cut, and never mixes two versions."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
import structlog

from bootserver.errors import ImageError
from bootserver.files.threads import in_thread
from bootserver.images.part import Part, Progress

CONNECT_TIMEOUT_S = 30.0
SILENCE_TIMEOUT_S = 30.0
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0)
MAX_REDIRECTS = 10
# UnicodeError is what asyncio makes of a host name with a label that is empty or too long.
FAILURES = (aiohttp.ClientError, TimeoutError, UnicodeError)

log = structlog.get_logger()


class _Interrupted(Exception):
    """The transfer stopped in a way that another try may get past."""


class _Unreachable(_Interrupted):
    """There was no connection."""


async def download(url: str, part: Part, progress: Progress) -> None:
    """Fills the part file, trying again as long as that brings it further.

    Raises ImageError for what cannot be had, does not fit, or cannot be the existing image.
    """
    part.recall(url)
    async with _session() as session:
        furthest = start = part.got_bytes
        failures = 0
        while True:
            try:
                return await _fetch(session, url, part, progress)
            except _Interrupted as err:
                if part.got_bytes > furthest:
                    furthest, failures = part.got_bytes, 0
                if isinstance(err, _Unreachable) and furthest == start:
                    raise ImageError(
                        f"{shown_url(url)} {err}", hint="check the address and the network"
                    ) from err
                if failures == len(RETRY_WAITS_S):
                    raise ImageError(
                        f"{shown_url(url)} {err}; {part.got_bytes:,} bytes are here",
                        hint="run the same command again: it goes on where it stopped, if it can",
                    ) from err
                log.info("image.retry", url=shown_url(url), problem=str(err), at=part.got_bytes)
            await asyncio.sleep(RETRY_WAITS_S[failures])
            failures += 1


async def offered_names(url: str) -> list[str]:
    """What the file behind the URL may be called, the best first; asks for its first byte only.

    First the name in the answer's Content-Disposition (RFC 6266). Then come the parts of the URL
    that it came from in the end, the last first, and those of the one asked for. Raises ImageError
    if there is no good answer.
    """
    headers = {"Accept-Encoding": "identity", "Range": "bytes=0-0"}
    try:
        async with (
            _session() as session,
            session.get(url, headers=headers, max_redirects=MAX_REDIRECTS) as response,
        ):
            if response.status not in (200, 206, 416):
                raise _refused(response, url)
            own_name = _disposition_name(response.headers.get("Content-Disposition", ""))
            return [own_name, *_url_names(str(response.url)), *_url_names(url)]
    except FAILURES as err:
        meaning = _meaning(err, url)
        if isinstance(meaning, ImageError):
            raise meaning from err
        raise ImageError(
            f"{shown_url(url)} {meaning}", hint="check the address and the network"
        ) from err


async def end_of(url: str, count: int) -> bytes:
    """The last `count` bytes of the file behind the URL, b"" where its server gives no parts."""
    headers = {"Accept-Encoding": "identity", "Range": f"bytes=-{count}"}
    try:
        async with (
            _session() as session,
            session.get(url, headers=headers, max_redirects=MAX_REDIRECTS) as response,
        ):
            return await response.content.read(count) if response.status == 206 else b""
    except FAILURES:
        return b""  # the download itself says what is wrong, and tries again


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
    )
    # The read buffer stays small: what is in it when the connection breaks is lost.
    return aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False)


def _disposition_name(header: str) -> str:
    """The file's name, "" for none; filename* counts before filename (RFC 6266 §4.3).

    Read by the mail package, which also takes what servers send against the standard: names with
    blanks and without quotes.
    """
    message = Message()
    message["Content-Disposition"] = header
    params = message.get_params([], "Content-Disposition")
    names = [value for key, value in params if key.lower() == "filename"]
    names.sort(key=lambda value: isinstance(value, str))  # an encoded one is a tuple
    name = collapse_rfc2231_value(names[0]) if names else ""
    return re.split(r"[/\\]", name)[-1]


def _url_names(url: str) -> list[str]:
    """The names in a URL that may be the file's: of its path, and in the values of its query."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query)]
    names = [re.split(r"[/\\=]", value)[-1].strip('"') for value in values]
    return [*reversed(unquote(parts.path).split("/")), *reversed(names)]


async def _fetch(session: aiohttp.ClientSession, url: str, part: Part, progress: Progress) -> None:
    """One request: gets the rest of the file, or raises _Interrupted, or ImageError for good."""
    headers = {"Accept-Encoding": "identity"}
    if part.validator and part.got_bytes:
        headers |= {"Range": f"bytes={part.got_bytes}-", "If-Range": part.validator}
    try:
        async with session.get(url, headers=headers, max_redirects=MAX_REDIRECTS) as response:
            total_bytes = _begin(response, url, part)
            if total_bytes is not None:
                part.expect(total_bytes)
            if part.got_bytes:
                progress(part.got_bytes, total_bytes)
            if response.status != 416:
                async for data in response.content.iter_any():
                    await in_thread(part.append, data)
                    progress(part.got_bytes, total_bytes)
    except FAILURES as err:
        raise _meaning(err, url) from err
    got_bytes = part.got_bytes
    if total_bytes is not None and got_bytes != total_bytes:
        if got_bytes > total_bytes:
            part.restart()
        raise _Interrupted(f"ended at byte {got_bytes:,} of {total_bytes:,}")
    await in_thread(part.finish)


def _begin(response: aiohttp.ClientResponse, url: str, part: Part) -> int | None:
    """Makes the part file ready for the body; returns the whole file's size if it is told."""
    if response.status == 200:
        part.restart(url, _validator(response))
        return response.content_length
    if response.status == 206 and part.got_bytes:
        first, total_bytes = _content_range(response)
        changed = _validator(response) not in ("", part.validator)
        if first == part.got_bytes and not changed:
            return total_bytes
        part.restart()
        raise _Interrupted("answered with another part of the file than asked for")
    if response.status == 416 and part.got_bytes:
        _, total_bytes = _content_range(response)
        if total_bytes == part.got_bytes:
            return total_bytes  # it was all here, and only its publishing was missing
        part.restart()
        raise _Interrupted("has another file than before")
    if response.status in (408, 425, 429) or response.status >= 500:
        raise _Interrupted(f"answered {response.status} {response.reason}")
    raise _refused(response, url)


def _refused(response: aiohttp.ClientResponse, url: str) -> ImageError:
    return ImageError(
        f"{shown_url(url)} answered {response.status} {response.reason}",
        hint="check the address in a browser",
    )


def _validator(response: aiohttp.ClientResponse) -> str:
    """What If-Range may name: a strong ETag, else the date (RFC 9110 §13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified", "")


def _content_range(response: aiohttp.ClientResponse) -> tuple[int | None, int | None]:
    """First byte and total of `bytes 5-9/10` or `bytes */10` (RFC 9110 §14.4)."""
    match = re.fullmatch(
        r"bytes (?:([0-9]+)-[0-9]+|\*)/(?:([0-9]+)|\*)", response.headers.get("Content-Range", "")
    )
    first, total = match.groups() if match else (None, None)
    return int(first) if first else None, int(total) if total else None


def _meaning(err: Exception, url: str) -> Exception:
    """What a failed request is to its caller: _Interrupted, or ImageError for good."""
    match err:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | UnicodeError():
            return ImageError(f"{shown_url(url)} is no usable URL", hint="check the address")
        case aiohttp.TooManyRedirects():
            return ImageError(
                f"{shown_url(url)} redirects more than {MAX_REDIRECTS} times",
                hint="check the address",
            )
        case aiohttp.ClientSSLError():
            return ImageError(
                f"{shown_url(url)} cannot be trusted: TLS failed: {_reason(err)}",
                hint="check the address, this machine's clock and its CA certificates",
            )
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return _Unreachable(f"cannot be reached: {_reason(err)}")
        case TimeoutError():
            return _Interrupted(f"was silent for {SILENCE_TIMEOUT_S:g} s")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return _Interrupted("broke the connection off")
        case _:
            return _Interrupted(f"answered what is no HTTP: {_reason(err)}")


def _reason(err: Exception) -> str:
    """The system's words where aiohttp wraps an OSError, else aiohttp's own."""
    inner = getattr(err, "os_error", None) or getattr(err, "certificate_error", None) or err
    number = getattr(inner, "errno", None) or 0
    if number > 0 and not isinstance(inner, ssl.SSLError):  # resolvers' and TLS' are not errno's
        return os.strerror(number)
    return str(getattr(inner, "strerror", None) or inner or type(err).__name__)


def shown_url(url: str) -> str:
    """The URL without the password and the signature it may carry."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
