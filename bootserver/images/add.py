"""Adds an image to the library's directory, from a file or a URL; a half-arrived one is never seen.

Everything goes into `.NAME.iso.part` first, is checked there, and only then gets its name. What a
download needs to go on after a cut is in `.NAME.iso.part.json`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import structlog

from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.images.digests import hash_file
from bootserver.images.iso import inspect_iso, open_regular

if TYPE_CHECKING:  # aiohttp takes a third of a second to import: only a download pays for it
    from aiohttp import ClientResponse, ClientSession

CHUNK_BYTES = 1024**2
COPY_CHUNK_BYTES = 64 * 1024**2
CONNECT_TIMEOUT_S = 30.0
SILENCE_TIMEOUT_S = 30.0
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0)
MAX_REDIRECTS = 10

Progress = Callable[[int, int | None], None]  # bytes that are here, bytes in all if known
Result = TypeVar("Result")

log = structlog.get_logger()


async def add_image(
    source: str,
    directory: Path,
    *,
    name: str | None = None,
    sha256: str | None = None,
    progress: Progress = lambda done_bytes, total_bytes: None,
) -> Path:
    """The image's file in `directory`, copied from a path or downloaded from an http(s) URL.

    Raises ImageError for what cannot be had or is no whole ISO, is not what `sha256` says, or has
    the name of another image. Adding the same content twice is fine. A download that was cut goes
    on where it stopped, within this call and at the next. `progress` is called on the event loop.
    """
    is_url = _is_url(source)
    expected = _expected_digest(sha256)
    image_id = _image_id(name, source, is_url)
    existing = await _in_thread(_existing, directory, image_id)
    if existing is not None and (expected or not is_url):
        # Known before a byte has moved: it is this content, or the name is taken.
        wanted = expected or await _cancellable(_local_digest, Path(source), existing)
        return await _cancellable(_same_or_refuse, existing, wanted)

    with _open_part(directory, image_id) as part:
        try:
            if is_url:
                await _download(source, part, existing, progress)
            else:
                await _copy(Path(source), part, progress)
            await _cancellable(_check, part, expected)
            return await _cancellable(_publish, part, existing)
        finally:
            part.tidy()


# -- names and digests ----------------------------------------------------------------------------


def _is_url(source: str) -> bool:
    scheme, separator, _ = source.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise ImageError(f"{scheme}:// is no way to an image", hint="use http, https or a path")
    if separator:
        try:
            urlsplit(source)
        except ValueError as err:
            raise ImageError(f"{source} is no usable URL: {err}", hint="check the address") from err
    return bool(separator)


def _image_id(name: str | None, source: str, is_url: bool) -> str:
    """The id the image will have; refuses what is no safe file name."""
    if name is None:
        path = urlsplit(source).path if is_url else source
        name = unquote(path.rsplit("/", 1)[-1]) if is_url else Path(path).name
    image_id = name[:-4] if name.lower().endswith(".iso") else name
    if not image_id:
        raise ImageError(f"{_shown(source)} gives the image no name", hint="give one with --name")
    if image_id.startswith(".") or not image_id.isprintable() or {"/", "\\"} & set(image_id):
        raise ImageError(
            f"{image_id!r} cannot be an image's name",
            hint="a name has no slash, no control character and no dot at its start; use --name",
        )
    if len(f".{image_id}.iso.part.json".encode()) > 255:
        raise ImageError("the image's name is too long", hint="give a shorter one with --name")
    return image_id


def _expected_digest(sha256: str | None) -> str:
    digest = (sha256 or "").strip().lower()
    if sha256 is not None and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise ImageError(f"{sha256!r} is not a SHA-256 digest", hint="it has 64 hexadecimal digits")
    return digest


def _shown(source: str) -> str:
    """A URL without the password and the signature it may carry; a path as it is."""
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return source


def _existing(directory: Path, image_id: str) -> Path | None:
    """The file that has this id already, however its suffix is written."""
    try:
        names = {path.name for path in directory.iterdir()}
    except OSError as err:
        raise ImageError(
            f"the image directory {directory} cannot be read: {err.strerror or err}",
            hint="check [images] path in config.toml",
        ) from err
    taken = sorted(n for n in names if n[:-4] == image_id and n[-4:].lower() == ".iso")
    return directory / taken[0] if taken else None


def _local_digest(source: Path, existing: Path, cancelled: threading.Event) -> str:
    """The digest of a local source; "" at once if it cannot be that of `existing`."""
    facts = inspect_iso(source)
    if facts.size_bytes != existing.stat().st_size:
        return ""
    return hash_file(source, cancelled=cancelled)[0]


def _same_or_refuse(existing: Path, digest: str, cancelled: threading.Event) -> Path:
    """`existing` if it has this digest."""
    if not digest or hash_file(existing, cancelled=cancelled)[0] != digest:
        _refuse_taken(existing)
    log.info("image.already_there", file=existing.name, sha256=digest)
    return existing


def _refuse_other_size(existing: Path | None, total_bytes: int) -> None:
    if existing is not None and existing.stat().st_size != total_bytes:
        _refuse_taken(existing)


def _refuse_taken(existing: Path) -> NoReturn:
    raise ImageError(
        f"{existing.name} already exists, with other content",
        hint="give another name with --name, or remove that image first",
    )


# -- the part file --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """The file under its hidden name, locked; `validator` says what a download may go on with."""

    path: Path
    target: Path
    fd: int
    validator: str = ""  # a strong ETag or a Last-Modified date (RFC 9110 §13.1.5)
    total_bytes: int = 0  # what the file is to become, as far as it is known
    gone: bool = False

    @property
    def state_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as err:
            raise self.disk_error(err) from err

    def recall(self, source: str) -> None:
        """Takes up what an earlier call has left of the same URL, or starts from nothing."""
        try:
            state = json.loads(self.state_path.read_text())
            if state["url_sha256"] == _url_digest(source):
                self.validator = str(state["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no state, or not ours: nothing to go on with
        if not self.validator:
            self.restart()
        os.lseek(self.fd, 0, os.SEEK_END)

    def restart(self, source: str = "", validator: str = "") -> None:
        """Empties the file and notes what the coming bytes can be continued with."""
        # In this order a stop in between never leaves old bytes under a new validator.
        self.state_path.unlink(missing_ok=True)
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.validator = validator
        if validator:
            # A URL may hold a password or a signature: its digest is enough to know it again.
            state = {"url_sha256": _url_digest(source), "validator": validator}
            try:
                self.state_path.write_text(json.dumps(state))
            except OSError as err:
                raise self.disk_error(err) from err

    def reserve(self, total_bytes: int) -> None:
        """Refuses before the first byte what cannot fit."""
        self.total_bytes = total_bytes
        if total_bytes - self.size_bytes > shutil.disk_usage(self.path.parent).free:
            raise self._no_room()

    def disk_error(self, err: OSError) -> ImageError:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._no_room()
        if err.errno == errno.EFBIG:
            return ImageError(
                f"{self.target.name} is larger than the file system of {self.path.parent} allows",
                hint="use a file system that holds large files, such as ext4 or XFS",
            )
        return ImageError(
            f"{self.target.name} cannot be written: {err.strerror or err}",
            hint=f"check who may write to {self.path.parent}",
        )

    def _no_room(self) -> ImageError:
        free_bytes = shutil.disk_usage(self.path.parent).free
        missing_bytes = self.total_bytes - self.size_bytes
        needed = f"{missing_bytes:,} bytes more are needed, " if missing_bytes > 0 else ""
        return ImageError(
            f"there is no room for {self.target.name}: {needed}"
            f"{free_bytes:,} bytes are free in {self.path.parent}",
            hint="free some space and run the same command again",
        )

    def discard(self) -> None:
        if not self.gone:  # once only: the next file of this name may be another process's
            self.gone = True
            self.state_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Leaves the file only where a later call can go on with it."""
        if not self.validator or not self.size_bytes:
            self.discard()


@contextmanager
def _open_part(directory: Path, image_id: str) -> Iterator[_Part]:
    """The image's part file, ours alone."""
    path = directory / f".{image_id}.iso.part"
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as err:
            raise ImageError(
                f"nothing can be added to {directory}: {err.strerror or err}",
                hint="check who may write there",
            ) from err
        try:
            _lock(fd, image_id)
            # Whoever held the lock may have published the file since: then it is no part any more.
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                yield _Part(path, directory / f"{image_id}.iso", fd)
                return
        finally:
            os.close(fd)


def _lock(fd: int, image_id: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise ImageError(
            f"image {image_id!r} is being added by another process",
            hint="wait until it has ended, or use --name",
        ) from err
    except OSError as err:  # some network file systems have no locks; two adders at once are rare
        log.warning("image.not_locked", image=image_id, problem=str(err))


def _url_digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


# -- from a file ----------------------------------------------------------------------------------


async def _copy(source: Path, part: _Part, progress: Progress) -> None:
    loop = asyncio.get_running_loop()

    def report(done_bytes: int) -> None:
        loop.call_soon_threadsafe(progress, done_bytes, part.total_bytes)

    await _cancellable(_copy_file, source, part, report)


def _copy_file(
    source: Path, part: _Part, report: Callable[[int], None], cancelled: threading.Event
) -> None:
    inspect_iso(source)  # before gigabytes are copied
    try:
        file = open_regular(source)
    except OSError as err:
        raise ImageError(f"{source} cannot be read: {err.strerror or err}") from err
    with file:
        total_bytes = os.fstat(file.fileno()).st_size
        part.restart()
        part.reserve(total_bytes)
        done_bytes = 0
        for count in _pieces(file.fileno(), part):
            done_bytes += count
            report(done_bytes)
            if cancelled.is_set():
                raise ImageNotReadyError("the copy was cancelled")
    if done_bytes != total_bytes:
        raise ImageError(f"{source} changed while it was copied", hint="run the command again")


def _pieces(fd: int, part: _Part) -> Iterator[int]:
    """Copies piece by piece: in the kernel, which shares the blocks where the file system can."""
    try:
        while count := os.copy_file_range(fd, part.fd, COPY_CHUNK_BYTES):
            yield count
    except OSError as err:
        if err.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise part.disk_error(err) from err
    # Whatever the kernel would not copy; both files stand where it stopped.
    while data := os.read(fd, CHUNK_BYTES):
        part.append(data)
        yield len(data)


# -- from a URL -----------------------------------------------------------------------------------


class _Interrupted(Exception):
    """The transfer stopped in a way that trying again may mend."""


class _Unreachable(_Interrupted):
    """There was no connection."""


async def _download(url: str, part: _Part, existing: Path | None, progress: Progress) -> None:
    """Fills the part file, trying again as long as that brings it further."""
    import aiohttp

    part.recall(url)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
    )
    # The read buffer stays small: what is in it when the connection breaks is lost.
    async with aiohttp.ClientSession(
        timeout=timeout, trust_env=True, auto_decompress=False
    ) as session:
        furthest = start = part.size_bytes
        failures = 0
        while True:
            try:
                return await _fetch(session, url, part, existing, progress)
            except _Interrupted as err:
                if part.size_bytes > furthest:
                    furthest, failures = part.size_bytes, 0
                if isinstance(err, _Unreachable) and furthest == start:
                    raise ImageError(
                        f"{_shown(url)} {err}", hint="check the address and the network"
                    ) from err
                if failures == len(RETRY_WAITS_S):
                    raise ImageError(
                        f"{_shown(url)} {err}; {part.size_bytes:,} bytes are here",
                        hint="run the same command again: it goes on where it stopped, if it can",
                    ) from err
                log.info("image.retry", url=_shown(url), problem=str(err), at=part.size_bytes)
            await asyncio.sleep(RETRY_WAITS_S[failures])
            failures += 1


async def _fetch(
    session: ClientSession, url: str, part: _Part, existing: Path | None, progress: Progress
) -> None:
    """One request: gets the rest of the file, or raises _Interrupted, or ImageError for good."""
    import aiohttp

    headers = {"Accept-Encoding": "identity"}
    if part.validator and part.size_bytes:
        headers |= {"Range": f"bytes={part.size_bytes}-", "If-Range": part.validator}
    try:
        async with session.get(url, headers=headers, max_redirects=MAX_REDIRECTS) as response:
            total_bytes = _begin(response, url, part)
            if total_bytes is not None:
                _refuse_other_size(existing, total_bytes)
                part.reserve(total_bytes)
            progress(part.size_bytes, total_bytes)
            if response.status != 416:
                async for data in response.content.iter_any():
                    await _in_thread(part.append, data)
                    progress(part.size_bytes, total_bytes)
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as err:
        raise ImageError(f"{_shown(url)} is no usable URL", hint="check the address") from err
    except aiohttp.TooManyRedirects as err:
        raise ImageError(
            f"{_shown(url)} redirects more than {MAX_REDIRECTS} times", hint="check the address"
        ) from err
    except aiohttp.ClientSSLError as err:
        raise ImageError(
            f"{_shown(url)} cannot be trusted: TLS failed: {_reason(err)}",
            hint="check the address, this machine's clock and its CA certificates",
        ) from err
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as err:
        raise _Unreachable(f"cannot be reached: {_reason(err)}") from err
    except TimeoutError as err:
        raise _Interrupted(f"was silent for {SILENCE_TIMEOUT_S:g} s") from err
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as err:
        raise _Interrupted("broke the connection off") from err
    except aiohttp.ClientError as err:
        raise _Interrupted(f"answered what is no HTTP: {_reason(err)}") from err
    got_bytes = part.size_bytes
    if total_bytes is not None and got_bytes != total_bytes:
        if got_bytes > total_bytes:
            part.restart()
        raise _Interrupted(f"ended at byte {got_bytes:,} of {total_bytes:,}")


def _begin(response: ClientResponse, url: str, part: _Part) -> int | None:
    """Makes the part file ready for the body; returns the whole file's size if it is told."""
    if response.status == 200:
        part.restart(url, _validator(response))
        return response.content_length
    if response.status == 206 and part.size_bytes:
        first, total_bytes = _content_range(response)
        changed = _validator(response) not in ("", part.validator)
        if first == part.size_bytes and not changed:
            return total_bytes
        part.restart()
        raise _Interrupted("answered with another part of the file than asked for")
    if response.status == 416 and part.size_bytes:
        _, total_bytes = _content_range(response)
        if total_bytes == part.size_bytes:
            return total_bytes  # it was all here, and only its publishing was missing
        part.restart()
        raise _Interrupted("has another file than before")
    if response.status in (408, 425, 429) or response.status >= 500:
        raise _Interrupted(f"answered {response.status} {response.reason}")
    raise ImageError(
        f"{_shown(url)} answered {response.status} {response.reason}",
        hint="check the address in a browser",
    )


def _validator(response: ClientResponse) -> str:
    """What If-Range may name: a strong ETag, else the date (RFC 9110 §13.1.5)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified", "")


def _content_range(response: ClientResponse) -> tuple[int | None, int | None]:
    """First byte and total of `bytes 5-9/10` or `bytes */10` (RFC 9110 §14.4)."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes":
        return None, None
    return (
        int(first) if first.isdecimal() else None,
        int(total) if total.isdecimal() else None,
    )


def _reason(err: Exception) -> str:
    """The system's words where aiohttp wraps an OSError, else aiohttp's own."""
    inner = getattr(err, "os_error", None) or getattr(err, "certificate_error", None) or err
    number = getattr(inner, "errno", None) or 0
    if number > 0 and not isinstance(inner, ssl.SSLError):  # resolvers' and TLS' are not errno's
        return os.strerror(number)
    return str(getattr(inner, "strerror", None) or inner or type(err).__name__)


# -- check and publish ----------------------------------------------------------------------------


def _check(part: _Part, expected: str, cancelled: threading.Event) -> None:
    """Raises ImageError, and drops the file, unless it is a whole ISO of the expected digest."""
    try:
        if expected:
            digest, _ = hash_file(part.path, cancelled=cancelled)
            if digest != expected:
                raise ImageError(
                    f"{part.target.name} is not what was asked for: its SHA-256 is {digest}, "
                    f"expected was {expected}",
                    hint="check the digest, or try another mirror",
                )
        inspect_iso(part.path, name=part.target.name)
    except ImageNotReadyError:
        raise
    except ImageError as err:
        if not isinstance(err.__cause__, OSError):
            part.discard()  # going on with it would only bring the same again
        raise


def _publish(part: _Part, existing: Path | None, cancelled: threading.Event) -> Path:
    """Gives the file its name, for good; never in place of another."""
    try:
        os.fsync(part.fd)
        if existing is None:
            existing = _link(part)
        if existing is None:
            part.discard()
            _sync_directory(part.path.parent)
            return part.target
    except OSError as err:
        raise part.disk_error(err) from err
    digest, _ = hash_file(part.path, cancelled=cancelled)
    part.discard()
    return _same_or_refuse(existing, digest, cancelled)


def _link(part: _Part) -> Path | None:
    """None if the target is ours now, else the path of the file that was faster."""
    try:
        os.link(part.path, part.target)
    except FileExistsError:
        return part.target
    except OSError as err:
        if err.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # exFAT and some shares know no hard links; only here two adders could meet.
        if part.target.exists():
            return part.target
        part.path.rename(part.target)
    return None


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems sync no directories
            os.fsync(fd)
    finally:
        os.close(fd)


async def _cancellable(function: Callable[..., Result], *args: object) -> Result:
    """As _in_thread, for a long function that takes an event as its last argument."""
    cancelled = threading.Event()
    return await _in_thread(function, *args, cancelled, cancelled=cancelled)


async def _in_thread(
    function: Callable[..., Result], *args: object, cancelled: threading.Event | None = None
) -> Result:
    """The function's result from a thread, which has ended even if this task is cancelled.

    It writes to a descriptor that the caller closes: it must not outlive the caller. `cancelled`
    is set to make a long one end soon.
    """
    job = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        if cancelled is not None:
            cancelled.set()
        await asyncio.wait([job])
        raise
