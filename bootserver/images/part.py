"""The file that is still arriving: hidden, locked, with a record for going on after a cut.

`.NAME.iso.part` becomes `NAME.iso` once it is whole. A record beside it says which version of which
URL its bytes are from. It is `.NAME.iso.part.open` while they come, `.NAME.iso.part.json` once they
have stopped in good order. What was killed has no such record and is swept away: nothing tells
which bytes are on the disk. What arrives packed is unpacked on its way, and never kept: no call can
go on in its middle.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bootserver.errors import ImageError
from bootserver.files.atomic import (
    sweep_leftovers,
    sync_directory,
    write_all,
    write_atomically,
)
from bootserver.files.locks import is_at, lock
from bootserver.images.directory import IMAGE_SUFFIXES, files
from bootserver.images.iso import begins_an_image
from bootserver.images.unpack import CHECK_SOURCE, HEAD_BYTES, Unpacker, check_zip_end, unpacker_of

KEPT_S = 7 * 24 * 3600.0  # how long a download that was cut may be gone on with

Progress = Callable[[int, int | None], None]  # bytes that are here, bytes in all if known

LOOK_BYTES = 3 * 1024**2  # enough to tell an image from anything else; more than any floppy has
# What is packed may become a thousand times as much. No disc that goes into a machine's memory has
# more than this. The disk is not to be filled to its end.
UNPACKED_LIMIT_BYTES = 64 * 1024**3
RESERVE_BYTES = 256 * 1024**2

log = structlog.get_logger()


@dataclass(slots=True)
class Part:
    """A file on its way to be the image `target`; one process has it at a time."""

    path: Path
    target: Path
    fd: int
    existing: Path | None  # the image that has the name already
    validator: str = ""  # a strong ETag or a Last-Modified date (RFC 9110 §13.1.5)
    total_bytes: int = 0  # of the source, as far as it is known
    _head: bytes = b""  # while it is too short to tell whether the source is packed
    _is_begun: bool = False  # that is known
    _is_looked_at: bool = False
    _unpacker: Unpacker | None = None
    _packed_bytes: int = 0  # of the source that were unpacked
    _packed_digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def record_path(self) -> Path:
        """What a later download needs to go on, once this one has stopped in good order."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def open_record_path(self) -> Path:
        """The same while the bytes come."""
        return self.path.with_name(f"{self.path.name}.open")

    @property
    def size_bytes(self) -> int:
        """How much of the file is here."""
        return os.fstat(self.fd).st_size

    @property
    def got_bytes(self) -> int:
        """How much of the source is here."""
        return (self._packed_bytes if self.is_packed else self.size_bytes) + len(self._head)

    @property
    def is_packed(self) -> bool:
        """True once it is known that the source is packed."""
        return self._unpacker is not None

    @property
    def source_sha256(self) -> str:
        """The digest of a source that is packed, "" for any other, which the file's is."""
        return self._packed_digest.hexdigest() if self.is_packed else ""

    def recall(self, url: str) -> None:
        """Takes up what an earlier call has left of the same URL, or starts from nothing."""
        try:
            record = json.loads(self.record_path.read_text())
            if record["url_sha256"] == _url_digest(url):
                self.record_path.replace(self.open_record_path)
                self.validator = str(record["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no record, or not ours: nothing to go on with
        if not self.validator:
            self.restart()
        self._is_begun = self.size_bytes > 0
        os.lseek(self.fd, 0, os.SEEK_END)

    def restart(self, url: str = "", validator: str = "") -> None:
        """Empties the file and notes what the coming bytes can be continued with."""
        # In this order a stop in between never leaves old bytes under a new validator.
        self._remove_records()
        self._head, self._is_begun, self._is_looked_at = b"", False, False
        self._unpacker, self._packed_bytes, self._packed_digest = None, 0, hashlib.sha256()
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.validator = validator
        if validator:
            # A URL may hold a password or a signature: its digest is enough to know it again.
            record = {"url_sha256": _url_digest(url), "validator": validator}
            try:
                write_atomically(self.open_record_path, json.dumps(record).encode(), shared=True)
            except OSError as err:
                raise self.disk_error(err) from err

    def expect(self, total_bytes: int) -> None:
        """Says how much the source has; raises as `begin`, of a source that has begun."""
        self.total_bytes = total_bytes
        if self._is_begun:
            self._require_room()

    def check_end(self, end: bytes) -> None:
        """Refuses by its end, before the rest has come, a zip archive without just one image."""
        try:
            check_zip_end(end)
        except ImageError as err:
            raise self._refusal(err) from err

    def begin(self, head: bytes) -> None:
        """Decides by the source's first bytes whether it is packed.

        Refuses before the first byte what is no image, cannot get its name, or cannot fit.
        """
        try:
            self._unpacker = unpacker_of(head)
        except ImageError as err:
            raise self._refusal(err) from err
        self._is_begun = True
        if not self.is_packed:
            self._require_room()

    def append(self, data: bytes) -> None:
        """Takes the next bytes of the source; raises ImageError for no image, or no room."""
        if not self._is_begun:
            self._head += data
            if len(self._head) < HEAD_BYTES:
                return
            self.begin(self._head)
            data, self._head = self._head, b""
        if self._unpacker is None:
            self._write(data)
            return
        self._packed_bytes += len(data)
        self._packed_digest.update(data)
        try:
            for piece in self._unpacker.unpack(data):
                self._require_reserve(len(piece))
                self._write(piece)
        except ImageError as err:
            raise self._refusal(err) from err

    def finish(self) -> None:
        """The source has ended; raises ImageError where it ends too early."""
        if not self._is_begun:
            self.begin(self._head)
            data, self._head = self._head, b""
            self._write(data)
        if self._unpacker is not None and not self._unpacker.is_whole:
            raise ImageError(
                f"{self.target.name}: it ends before what is packed in it does", hint=CHECK_SOURCE
            )

    def _write(self, data: bytes) -> None:
        try:
            write_all(self.fd, data)
        except OSError as err:
            raise self.disk_error(err) from err
        if not self._is_looked_at and self.size_bytes >= LOOK_BYTES:
            self._is_looked_at = True
            with os.fdopen(os.dup(self.fd), "rb", buffering=0) as file:
                is_image = begins_an_image(file)
            if not is_image:
                raise self._refusal(
                    ImageError(
                        "it is no image of a disc or disk", hint="check what the file really is"
                    )
                )

    def _require_room(self) -> None:
        if not self.total_bytes:
            return
        if self.existing is not None and self.existing.stat().st_size != self.total_bytes:
            raise name_taken(self.existing)
        if self.total_bytes - self.size_bytes > self._free_bytes():
            raise self._no_room()

    def _require_reserve(self, count: int) -> None:
        """Raises ImageError before what is unpacked has no end, or fills the disk."""
        if self.size_bytes + count > UNPACKED_LIMIT_BYTES:
            raise ImageError(
                f"it unpacks to more than {UNPACKED_LIMIT_BYTES:,} bytes",
                hint="unpack it yourself, and look whether it is an image",
            )
        if self._free_bytes() < RESERVE_BYTES + count:
            raise self._no_room()

    def _refusal(self, err: ImageError) -> ImageError:
        """The error with the image's name; nothing is kept, for it would only come again."""
        self.validator = ""
        return ImageError(f"{self.target.name}: {err.message}", hint=err.hint)

    def publish(self) -> Path | None:
        """None once the file has its name, for good; else the image that has it already."""
        if self.existing is not None:
            return self.existing
        try:
            os.fsync(self.fd)
            self._rename()
            self.remove()
            sync_directory(self.path.parent)
        except FileExistsError:
            return self.target
        except OSError as err:
            raise self.disk_error(err) from err
        return None

    def _rename(self) -> None:
        """Gives the file its name; raises FileExistsError rather than replace another."""
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise
        except OSError:
            # exFAT and some shares know no hard links; only here two adders could meet.
            if self.target.exists():
                raise FileExistsError from None
            self._remove_records()
            self.path.rename(self.target)

    def remove(self) -> None:
        """Takes the file and its record away, unless the path is another file's by now."""
        if self.in_place():
            self._remove_records()
            self.path.unlink()

    def keep(self) -> None:
        """Leaves the file for a later call to go on with, if it can be; else takes it away."""
        try:
            os.fsync(self.fd)
            self.open_record_path.replace(self.record_path)
        except OSError:
            self.remove()

    def _remove_records(self) -> None:
        self.record_path.unlink(missing_ok=True)
        self.open_record_path.unlink(missing_ok=True)

    def in_place(self) -> bool:
        """True while the path leads to this file."""
        return is_at(self.path, self.fd)

    def disk_error(self, err: OSError) -> ImageError:
        """What went wrong with writing, for a person."""
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
        missing_bytes = 0 if self.is_packed else self.total_bytes - self.size_bytes
        needed = f"{missing_bytes:,} bytes more are needed, " if missing_bytes > 0 else ""
        return ImageError(
            f"there is no room for {self.target.name}: {needed}"
            f"{self._free_bytes():,} bytes are free in {self.path.parent}",
            hint="free some space and run the same command again",
        )

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.path.parent).free


@contextmanager
def open_part(target: Path, existing: Path | None = None) -> Iterator[Part]:
    """The part file of `target`, ours alone; it stays only where a later call can go on with it."""
    path = target.with_name(f".{target.name}.part")
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as err:
            raise ImageError(
                f"nothing can be added to {target.parent}: {err.strerror or err}",
                hint="check who may write there",
            ) from err
        try:
            _lock(fd, target.stem)
            part = Part(path, target, fd, existing)
            if os.fstat(fd).st_nlink > 1:  # an image: its adder was stopped within publish()
                part.remove()
            if not part.in_place():  # so was it if another adder has just let go of it
                continue
            try:
                yield part
            finally:
                if part.validator and part.size_bytes and not part.is_packed and part.in_place():
                    part.keep()
                else:
                    part.remove()
            return
        finally:
            os.close(fd)


def sweep_library(directory: Path) -> list[Path]:
    """Remove what killed adders and writers have left, and downloads that were cut long ago.

    Returns what that was. What an adder still has is locked, and stays. Blocks; raises ImageError
    if the directory cannot be read.
    """
    there = list(files(directory, {}))
    gone = sweep_leftovers(there)
    for path in there:
        target = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
        if path.name != f".{target.name}.part" or target.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if lock(fd) is not None:
                    continue
                part = Part(path, target, fd, None)
                age_s = time.time() - os.fstat(fd).st_mtime
                if not part.record_path.exists() or age_s > KEPT_S:
                    part.remove()
                    gone.append(path)
            finally:
                os.close(fd)
    return gone


def name_taken(existing: Path) -> ImageError:
    """The refusal to put an image in place of another."""
    return ImageError(
        f"{existing.name} already exists, with other content",
        hint="give another name with --name, or remove that image first",
    )


def _lock(fd: int, image_id: str) -> None:
    try:
        without_locks = lock(fd)
    except BlockingIOError as err:
        raise ImageError(
            f"image {image_id!r} is being added by another process",
            hint="wait until it has ended, or use --name",
        ) from err
    if without_locks:  # two adders at once are rare
        log.warning("image.not_locked", image=image_id, problem=str(without_locks))


def _url_digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
