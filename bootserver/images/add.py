"""Adds an image to the library's directory: a file, a URL, or bytes that are being sent to us.

A half-arrived one is never seen. It goes into a part file first, is checked there, and only then
gets its name. What is packed is unpacked on its way there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

import structlog

from bootserver.errors import ImageError, ImageNotReadyError
from bootserver.files.threads import cancellable, in_thread
from bootserver.images.copy import copy
from bootserver.images.digests import hash_file
from bootserver.images.directory import (
    COMPRESSED_SUFFIXES,
    IMAGE_SUFFIXES,
    advice_on,
    image_paths,
)
from bootserver.images.iso import inspect_iso
from bootserver.images.part import Part, Progress, name_taken, open_part
from bootserver.images.unpack import ZIP_END_BYTES

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

    Raises ImageError for what cannot be had, is no whole image, differs from `sha256`, or has
    another image's name. Where the source is packed, `sha256` may be its digest or that of the
    image in it. Adding the same content twice is fine. A download that was cut goes on where it
    stopped, within this call and at the next. A packed one does within this call only. `progress`
    is called on the event loop.
    """
    is_url = _is_url(source)
    expected = _expected_digest(sha256)
    came_as = await _name_of(source, name) if is_url else Path(source).name
    target = directory / _file_name(name, came_as)
    existing = await in_thread(_existing, target, directory)
    is_packed = came_as.lower().endswith(COMPRESSED_SUFFIXES)
    if existing is not None and not is_packed and (expected or not is_url):
        # Known before a byte has moved: it is this content, or the name is taken.
        wanted = expected or await cancellable(_digest_like, Path(source), existing)
        return await cancellable(_same, existing, wanted)

    with open_part(target, existing) as part:
        if is_url:
            # Only a download is to pay for aiohttp, which takes a third of a second to import.
            from bootserver.images.download import download, end_of

            if came_as.lower().endswith(".zip"):
                part.check_end(await end_of(source, ZIP_END_BYTES))
            await download(source, part, progress)
        else:
            await copy(Path(source), part, progress)
        await cancellable(_check, part, expected)
        return await cancellable(_publish, part)


async def add_upload(
    body: AsyncIterable[bytes],
    directory: Path,
    *,
    name: str,
    size_bytes: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    progress: Progress = lambda done_bytes, total_bytes: None,
) -> Path:
    """The image's file in `directory`, made of the bytes that `body` brings; raises as add_image.

    `size_bytes` is how many are to come, where that is known: what cannot fit is refused before
    the first byte. `check` looks at the whole file in a thread before it gets its name. An upload
    that was cut leaves nothing.
    """
    expected = _expected_digest(sha256)
    target = directory / _file_name(name, name)
    existing = await in_thread(_existing, target, directory)
    with open_part(target, existing) as part:
        part.restart()
        if size_bytes is not None:
            part.expect(size_bytes)
        async for data in body:
            await in_thread(part.append, data)
            progress(part.got_bytes, size_bytes)
        if size_bytes is not None and part.got_bytes != size_bytes:
            raise ImageError(
                f"the upload ended at byte {part.got_bytes:,} of {size_bytes:,}",
                hint="send it again",
            )
        await in_thread(part.finish)
        await cancellable(_check, part, expected)
        if check:
            await in_thread(check, part.path)
        return await cancellable(_publish, part)


def _is_url(source: str) -> bool:
    scheme, separator, _ = source.partition("://")
    if not separator:
        return False
    if scheme.lower() not in ("http", "https"):
        raise ImageError(f"{scheme}:// is no way to an image", hint="use http, https or a path")
    try:
        urlsplit(source)
    except ValueError as err:
        raise ImageError(f"{source} is no usable URL: {err}", hint="check the address") from err
    return True


def _expected_digest(sha256: str | None) -> str:
    digest = (sha256 or "").strip().lower()
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ImageError(f"{sha256!r} is not a SHA-256 digest", hint="it has 64 hexadecimal digits")
    return digest


async def _name_of(url: str, name: str | None) -> str:
    """What the file behind a URL is called, "" if nothing says so.

    The server is asked only where the URL's last part is no image's name.
    """
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    if name is not None or _is_meant(last):
        return last
    from bootserver.images.download import offered_names

    offered = [name for name in await offered_names(url) if name.isprintable()]
    if meant := next(filter(_is_meant, offered), ""):
        return meant
    for other in offered:
        what, _, hint = advice_on(PurePath(other)).partition(": ")
        if what:
            raise ImageError(f"{other} {what}", hint=hint)
    return ""


def _file_name(name: str | None, came_as: str) -> str:
    """The name of the image's file: its id and `.iso` or `.img`; refuses what is not safe."""
    image_id, suffix = _split(came_as if name is None else name)
    parts = image_id.split("/")
    if not parts[-1]:
        raise ImageError("nothing gives the image a name", hint="give it one with --name")
    if (
        not image_id.isprintable()
        or "\\" in image_id
        or any(part[:1] in ("", ".") for part in parts)
    ):
        raise ImageError(
            f"{image_id!r} cannot be an image's name",
            hint="it has no control character, and nothing in it is empty or begins with a dot; "
            "use --name",
        )
    file_name = image_id + (suffix or _split(came_as)[1] or ".iso")
    if len(f".{file_name.rpartition('/')[2]}.part.json".encode()) > 255:
        raise ImageError("the image's name is too long", hint="give a shorter one with --name")
    return file_name


def _is_meant(name: str) -> bool:
    """True for a name that an image may have, or one that is packed."""
    return name.lower().endswith((*IMAGE_SUFFIXES, *COMPRESSED_SUFFIXES))


def _split(name: str) -> tuple[str, str]:
    """`rescue` and `.iso` of RESCUE.ISO.XZ; "" where the name has no image's suffix."""
    unpacked = _without(name, COMPRESSED_SUFFIXES)
    image_id = _without(unpacked, IMAGE_SUFFIXES)
    return image_id, unpacked[len(image_id) :].lower()


def _without(name: str, suffixes: Iterable[str]) -> str:
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _existing(target: Path, directory: Path) -> Path | None:
    """The file that has the target's id already; makes the folder that the id names."""
    try:
        if directory.is_dir():  # else the error is that it cannot be read
            target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ImageError(
            f"the folder {target.parent} cannot be made: {err.strerror}",
            hint=f"check who may write to {directory}, or use --name",
        ) from err
    return next((path for path in image_paths(target.parent) if path.stem == target.stem), None)


def _digest_like(source: Path, existing: Path, cancelled: threading.Event) -> str:
    """The source's digest, unless its size already tells that it is not the existing image."""
    if inspect_iso(source).size_bytes != existing.stat().st_size:
        raise name_taken(existing)
    return hash_file(source, cancelled=cancelled)[0]


def _same(existing: Path, digest: str, cancelled: threading.Event) -> Path:
    """The existing image, if it has this digest."""
    if hash_file(existing, cancelled=cancelled)[0] != digest:
        raise name_taken(existing)
    log.info("image.already_there", file=existing.name, sha256=digest)
    return existing


def _check(part: Part, expected: str, cancelled: threading.Event) -> None:
    """Raises ImageError, and drops the file, unless it is a whole image of the expected digest."""
    try:
        if expected and expected != part.source_sha256:
            digest, _ = hash_file(part.path, cancelled=cancelled)
            if digest != expected:
                packed = f", as it came packed {part.source_sha256}" if part.is_packed else ""
                raise ImageError(
                    f"{part.target.name} is not what was asked for: its SHA-256 is {digest}"
                    f"{packed}, expected was {expected}",
                    hint="check the digest, or try another mirror",
                )
        inspect_iso(part.path, name=part.target.name)
    except ImageNotReadyError:
        raise
    except ImageError as err:
        if not isinstance(err.__cause__, OSError):
            part.remove()  # going on with it would only bring the same again
        raise


def _publish(part: Part, cancelled: threading.Event) -> Path:
    """The part file under its name, or the image of that name if it is the same."""
    existing = part.publish()
    if existing is None:
        return part.target
    digest, _ = hash_file(part.path, cancelled=cancelled)
    part.remove()
    return _same(existing, digest, cancelled)
