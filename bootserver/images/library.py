"""The image library: the image files of one directory, inspected and hashed once per version."""

from __future__ import annotations

import asyncio
import difflib
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bootserver.database import DatabaseEngine
from bootserver.errors import DatabaseError, ImageError, ImageNotFoundError, ImageNotReadyError
from bootserver.images import digests
from bootserver.images.digests import Finding, hash_file
from bootserver.images.directory import FoundImage, look
from bootserver.images.iso import inspect_iso
from bootserver.images.menus.choice import require_entry
from bootserver.model import FileVersion, Image

SETTLE_S = 3.0  # longer than the three seconds an NFS client may show old attributes
LOOKS = 3  # how often settled() looks again at files that are still being written

log = structlog.get_logger()


@dataclass(slots=True)
class _LibraryFile:
    """What is known of one version of an image file, and what is still to be done."""

    found: FoundImage
    since_s: float  # monotonic: when this version was first seen
    settled: bool = False  # no longer being written
    due: bool = False  # the worker is to read it
    unreadable: bool = False  # by the system's fault, which may pass
    finding: Finding | None = None
    sha256: str = ""  # known from an earlier inspection
    done_bytes: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)


class Library:
    """The images of a directory: `scan` looks once, `watch` for ever, a worker reads what is new.

    Looking is a poll on purpose. inotify tells nothing about what another NFS client writes, and a
    stat of a few dozen files costs nothing. Use it as an async context manager, or `close` it.
    """

    def __init__(
        self,
        directory: Path,
        engine: DatabaseEngine,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._settle_s = settle_s
        self._files: dict[str, _LibraryFile] = {}
        self._images: dict[str, Image] = {}
        self.ignored: dict[str, str] = {}  # files of the directory that are no images, with why
        self._looked = False
        self._scanning = asyncio.Lock()
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Library:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def images(self) -> list[Image]:
        """All images that are whole, by id; those still being hashed have no `sha256` yet."""
        return [self._images[image_id] for image_id in sorted(self._images)]

    def get(self, image_id: str) -> Image:
        """The image; ImageNotFoundError, or ImageNotReadyError while its file is being written."""
        if image_id in self._images:
            return self._images[image_id]
        if image_id in self._files:
            raise ImageNotReadyError(
                f"the file of image {image_id!r} is still being written",
                hint="wait until it is copied",
            )
        near = difflib.get_close_matches(image_id, sorted(self._images), n=3)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif self._images:
            hint = "run: bootserver images list"
        else:
            hint = f"the library is empty: put an .iso or .img file into {self._directory}"
        raise ImageNotFoundError(f"there is no image {image_id!r} in the library", hint=hint)

    async def check_entry(self, image_id: str, entry: str) -> None:
        """Raise ImageError if no machine boots that entry of the disc's menu; "" is none."""
        image = self.get(image_id)
        if not entry:
            return
        facts = image.facts
        if facts is None:  # a command line's library is too young to have read it
            facts = await asyncio.to_thread(inspect_iso, Path(image.content.path))
        require_entry(image_id, facts, entry)

    def ready(self, image_id: str) -> Image:
        """The image, if it can be served; else ImageError, or ImageNotReadyError for a while."""
        image = self.get(image_id)
        if image.problem:
            raise ImageError(f"{image.id} cannot be booted: {image.problem}")
        if not image.sha256:
            done, total = self.progress(image_id) or (0, image.size_bytes)
            percent = 100 * done // max(total, 1)
            raise ImageNotReadyError(f"{image.id} has just arrived; {percent} % of it is checked")
        return image

    def has(self, image: Image) -> bool:
        """True as long as the library says just this of the image."""
        return self._images.get(image.id) is image

    def progress(self, image_id: str) -> tuple[int, int] | None:
        """Bytes hashed and in all, None for an image that is not waiting to be hashed."""
        file = self._files.get(image_id)
        if file is None or not file.settled or (file.finding and not file.due):
            return None
        return file.done_bytes, file.found.version.size_bytes

    async def scan(self) -> None:
        """Looks at the directory once and starts reading what is new.

        Raises ImageError if the directory cannot be read; the listing then stays as it was.
        """
        async with self._scanning:
            looked, ignored = await asyncio.to_thread(look, self._directory)
            for name, reason in ignored.items():
                if name not in self.ignored:
                    log.info("images.ignored", file=name, reason=reason)
            self.ignored = ignored
            self._take(looked)
            for file in list(self._files.values()):
                if file.settled and file.finding is None and not file.due:
                    await self._recall(file)
            self._looked = True
            self._publish(self._images | self._files)
            self._start_worker()

    async def watch(self, interval_s: float) -> None:
        """Scans for ever; a directory that cannot be read is logged once and tried again."""
        failing = False
        while True:
            try:
                await self.scan()
                failing = False
            except ImageError as err:
                if not failing:
                    log.warning("images.scan_failed", problem=err.message, hint=err.hint)
                failing = True
            await asyncio.sleep(interval_s)

    async def settled(self) -> None:
        """Returns when every file is read; one that still grows after a few looks is left out."""
        for _ in range(LOOKS):
            await self._idle()
            if all(file.settled for file in self._files.values()):
                return
            await asyncio.sleep(self._settle_s)
            await self.scan()
        await self._idle()

    async def close(self) -> None:
        """Stops reading; what was not finished begins anew at the next start."""
        for file in self._files.values():
            file.cancelled.set()
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker

    def _take(self, looked: dict[str, FoundImage]) -> None:
        """Brings the files up to what a look has seen."""
        now_s = time.monotonic()
        files = {}
        for image_id, found in looked.items():
            file = self._files.pop(image_id, None)
            if file is None or (file.found.path, file.found.version) != (found.path, found.version):
                if file is not None:
                    file.cancelled.set()
                file = _LibraryFile(found, now_s)
            file.found = found
            if not file.settled:
                # At the first look, a file written a while ago need not wait for a second one.
                age_s = 0.0 if self._looked else time.time() - found.version.mtime_ns / 1e9
                file.settled = max(now_s - file.since_s, age_s) >= self._settle_s
            file.due = file.due or file.unreadable
            files[image_id] = file
        for gone in self._files.values():
            gone.cancelled.set()
        self._files = files

    async def _recall(self, file: _LibraryFile) -> None:
        """Takes the finding from the database, or has the worker make one."""
        known = None
        try:
            known = await digests.find(self._engine, file.found.path, file.found.version)
        except DatabaseError as err:
            log.error("images.database_failed", problem=err.message)
        if known is not None and (known.facts is not None or known.problem):
            file.finding = known
        else:
            file.sha256 = known.sha256 if known else ""
            file.due = True

    def _start_worker(self) -> None:
        if self._worker is not None and self._worker.done():
            self._worker.result()  # an unforeseen error is not to be lost
            self._worker = None
        if self._worker is None and any(file.due for file in self._files.values()):
            self._worker = asyncio.create_task(self._work(), name="image-library")

    async def _idle(self) -> None:
        if self._worker is not None:
            await asyncio.shield(self._worker)

    async def _work(self) -> None:
        """Reads what is due, one file at a time: two would only share the disk's speed."""
        while due := next((item for item in self._files.items() if item[1].due), None):
            image_id, file = due
            try:
                await self._read(image_id, file)
            except ImageNotReadyError:  # it changed: as good as new
                file.settled, file.finding, file.since_s = False, None, time.monotonic()
            finally:
                file.due = False
            self._publish([image_id])

    async def _read(self, image_id: str, file: _LibraryFile) -> None:
        """Inspects and hashes one file and keeps the finding."""
        path, version = file.found.path, file.found.version
        file.unreadable = False
        try:
            facts = await asyncio.to_thread(inspect_iso, path)
            if not file.sha256:
                file.finding = Finding("", facts)  # what it is need not wait for the digest
                self._publish([image_id])
                file.sha256 = await self._hash(file)
            finding = Finding(file.sha256, facts)
        except ImageNotReadyError:
            raise
        except ImageError as err:
            finding = Finding("", None, _sentence(err))
            file.unreadable = isinstance(err.__cause__, OSError)
        if not await asyncio.to_thread(_is_version, path, version):
            raise ImageNotReadyError(f"{path.name} changed while it was read")
        file.finding = finding
        if not file.unreadable:
            try:
                await digests.store(self._engine, path, version, finding)
            except DatabaseError as err:  # costs another hashing after the next start, no more
                log.error("images.database_failed", problem=err.message)

    async def _hash(self, file: _LibraryFile) -> str:
        def progress(done_bytes: int) -> None:
            file.done_bytes = done_bytes

        path, version = file.found.path, file.found.version
        sha256, hashed = await asyncio.to_thread(
            hash_file, path, progress=progress, cancelled=file.cancelled
        )
        if hashed != version:
            raise ImageNotReadyError(f"{path.name} was replaced while it was read")
        log.info("image.hashed", file=path.name, size_bytes=version.size_bytes, sha256=sha256)
        return sha256

    def _publish(self, image_ids: Iterable[str]) -> None:
        """Renews these in the listing and logs new problems; an unchanged image stays the same."""
        for image_id in image_ids:
            before = self._images.pop(image_id, None)
            file = self._files.get(image_id)
            if file is None or not file.settled:
                continue
            image = _image(image_id, file)
            self._images[image_id] = before if before == image else image
            if image.problem and (before is None or before.problem != image.problem):
                log.warning("image.problem", image=image_id, problem=image.problem)


def _is_version(path: Path, version: FileVersion) -> bool:
    try:
        return FileVersion.of(path.stat()) == version
    except OSError:
        return False


def _image(image_id: str, file: _LibraryFile) -> Image:
    finding = file.finding or Finding("", None)
    volume_id = finding.facts.volume_id if finding.facts else ""
    return Image(
        id=image_id,
        path=str(file.found.path),
        version=file.found.version,
        title=file.found.sidecar.title or volume_id or image_id,
        sha256=finding.sha256,
        facts=finding.facts,
        problem=finding.problem or _sentence(file.found.sidecar_error),
        settings=file.found.sidecar.settings,
    )


def _sentence(err: ImageError | None) -> str:
    if err is None:
        return ""
    return f"{err.message} ({err.hint})" if err.hint else err.message
