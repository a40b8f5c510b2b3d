"""A new image of a disc of Windows PE: drivers put in, ballast left out, lines run at its start.

1. The boot image is looked into, and what is to be done is planned: `preview` ends here.
2. wimlib makes a new boot.wim in the state directory, and verifies it.
3. The disc's bytes and the new boot.wim's go into the library as one upload does: whole, or not at
   all. The original is only read.

A Linux disc is planned and written by `linux`, and comes into the library the same way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bootserver.disc.volume import open_volume
from bootserver.errors import ImageError
from bootserver.files.atomic import PRIVATE
from bootserver.files.locks import lock
from bootserver.files.open_version import open_version
from bootserver.files.threads import cancellable, in_thread
from bootserver.images.add import add_image, add_upload
from bootserver.images.directory import is_image
from bootserver.images.optimize.linux import LivePlan, plan_live, write_live
from bootserver.images.optimize.winpe import WinPePlan, content_of, plan_changes
from bootserver.images.optimize.wishes import OptimizeReport, OptimizeWishes
from bootserver.images.part import Progress
from bootserver.images.settings import change_settings, settings_of
from bootserver.images.winpe import is_winpe
from bootserver.model import ByteRange, Content, FileVersion, Image, Piece
from bootserver.windows.drivers import DriverLibrary
from bootserver.windows.inspect import BOOT_WIM
from bootserver.windows.wim import wim_on_disc

FOLDER = "optimize"  # in the state directory
WORK = "work"  # in that
WAIT_S = 0.5  # between looks whether another one has ended
CHUNK_BYTES = 4 << 20


def result_id(image: Image, name: str = "") -> str:
    """The id of the new image; raises ImageError for the original's."""
    path = PurePosixPath(name)
    wanted = str(path.with_suffix("")) if is_image(path) else name or f"{image.id}-optimized"
    if wanted == image.id:
        raise ImageError(f"{image.id} itself is never changed", hint="give another name")
    return wanted


async def preview(
    image: Image, wishes: OptimizeWishes, library: DriverLibrary, *, name: str = ""
) -> OptimizeReport:
    """What `optimize` would do; raises as it does."""
    result = result_id(image, name)
    plan: WinPePlan | LivePlan
    if _is_linux(image):
        plan = await in_thread(plan_live, image, wishes)
    else:
        plan, _ = await cancellable(_prepare, image.content, wishes, library, None)
    if plan.is_empty:
        return plan.difference.report(image.id, "", image.size_bytes, 0)
    size_bytes = image.size_bytes - plan.saved_bytes
    return plan.difference.report(image.id, result, size_bytes, plan.saved_bytes)


async def optimize(
    image: Image,
    wishes: OptimizeWishes,
    library: DriverLibrary,
    *,
    directory: Path,
    state: Path,
    name: str = "",
    progress: Progress = lambda done_bytes, total_bytes: None,
) -> OptimizeReport:
    """Write a new image into the library's `directory`; none where there is nothing to change.

    Equal arguments give equal bytes. Raises ImageError, WimError or DriverError for what cannot be
    done, and leaves nothing then. `progress` is called on the event loop.
    """
    result = result_id(image, name)
    async with _workshop(state / FOLDER) as folder:
        if _is_linux(image):
            live = await in_thread(plan_live, image, wishes)
            if live.is_empty:
                return live.difference.report(image.id, "", image.size_bytes, 0)
            written = await cancellable(write_live, image, live, wishes, folder)
            size_bytes, difference = written.stat().st_size, live.difference
            path = await add_image(
                str(written),
                directory,
                name=f"{result}{Path(image.path).suffix}",
                progress=progress,
            )
        else:
            plan, wim = await cancellable(_prepare, image.content, wishes, library, folder)
            if plan.is_empty:
                return plan.difference.report(image.id, "", image.size_bytes, 0)
            disc = await cancellable(_disc, image.content, plan, wim)
            size_bytes, difference = disc.size_bytes, plan.difference
            path = await add_upload(
                disc.chunks(),
                directory,
                name=f"{result}{Path(image.path).suffix}",
                size_bytes=disc.size_bytes,
                check=lambda path: _check(path, plan),
                progress=progress,
            )
    await in_thread(_copy_settings, Path(image.path), path)
    return difference.report(image.id, result, size_bytes, image.size_bytes - size_bytes)


def _is_linux(image: Image) -> bool:
    """True for a disc that is known, and none of Windows PE."""
    return image.facts is not None and not is_winpe(image)


def sweep_workshop(state: Path) -> None:
    """Remove what a killed process has left in the state directory; blocks."""
    folder = state / FOLDER
    if (folder / WORK).is_dir():
        fd = _open_lock(folder)
        try:
            with suppress(BlockingIOError):  # one is at work
                lock(fd)
                shutil.rmtree(folder / WORK, ignore_errors=True)
        finally:
            os.close(fd)


@asynccontextmanager
async def _workshop(folder: Path) -> AsyncIterator[Path]:
    """A folder for temporary files, for one at a time: two would share the disk, and fill it.

    What a killed one has left is gone at the beginning.
    """
    fd = await in_thread(_open_lock, folder)
    try:
        while True:
            with suppress(BlockingIOError):
                lock(fd)
                break
            await asyncio.sleep(WAIT_S)
        work = folder / WORK
        await in_thread(_empty, work)
        try:
            yield work
        finally:
            await in_thread(shutil.rmtree, work, True)
    finally:
        os.close(fd)


def _open_lock(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as err:
        raise ImageError(
            f"{folder} cannot be made: {err.strerror}", hint="check who may write to [state] path"
        ) from err


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _prepare(
    content: Content,
    wishes: OptimizeWishes,
    library: DriverLibrary,
    folder: Path | None,
    cancelled: threading.Event,
) -> tuple[WinPePlan, Path | None]:
    """What is to be done; and the new boot.wim if there is a folder for it, and one is wanted."""
    with (
        wim_on_disc(content, BOOT_WIM, cancelled, folder) as wim,
        open_version(content) as disc,
    ):
        volume = open_volume(disc.fd, disc.size_bytes, Path(content.path).name)
        plan = plan_changes(wim, volume, wishes, library)
        volume.rewritten(_changes(plan, disc.size_bytes, wim.size_bytes))  # or it says why not
        if folder is None or not plan.changes_wim:
            return plan, None
        rebuilt = wim.rebuilt(plan.index, plan.files, plan.dropped, alone=plan.alone)
        return plan, rebuilt.replace(folder / "boot.wim")


@dataclass(frozen=True, slots=True)
class _NewDisc:
    """What the new disc consists of: its ranges past the end of the original are boot.wim's."""

    original: Content
    wim: Path | None
    pieces: Sequence[Piece]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.pieces))

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it; raises ImageNotReadyError if the original changes meanwhile."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            for part in piece.steps(CHUNK_BYTES):
                yield await in_thread(self._read, part)

    def _read(self, part: ByteRange) -> bytes:
        end = self.original.version.size_bytes
        if self.wim and part.start >= end:
            with self.wim.open("rb") as wim:
                return os.pread(wim.fileno(), len(part), part.start - end)
        with open_version(self.original) as disc:
            data = disc.read(part)
            disc.check_unchanged()
        return data


def _disc(
    content: Content, plan: WinPePlan, wim: Path | None, _cancelled: threading.Event
) -> _NewDisc:
    with open_version(content) as disc:
        changes = _changes(plan, disc.size_bytes, wim.stat().st_size if wim else 0)
        volume = open_volume(disc.fd, disc.size_bytes, Path(content.path).name)
        return _NewDisc(content, wim, volume.rewritten(changes))


def _changes(plan: WinPePlan, disc_bytes: int, wim_bytes: int) -> dict[str, Sequence[Piece] | None]:
    """The changes of the disc, for a new boot.wim of that size, as `_NewDisc` has its ranges."""
    changes: dict[str, Sequence[Piece] | None] = dict.fromkeys(plan.dropped_on_disc)
    if plan.changes_wim:
        changes[BOOT_WIM] = [ByteRange(disc_bytes, disc_bytes + wim_bytes)]
    return changes


def _check(path: Path, plan: WinPePlan) -> None:
    """Raise ImageError unless the image that the disc boots has the files that it should."""
    content = Content(str(path), FileVersion.of(path.stat()), "")
    with wim_on_disc(content, BOOT_WIM) as wim:
        if content_of(wim) != plan.content:
            raise ImageError(
                "the new image has other files than it should",
                hint="check the original: bootserver images inspect ID; and report it",
            )


def _copy_settings(original: Path, new: Path) -> None:
    """Have the new image's side-car say the same, but for the title."""
    values, _ = settings_of(original)
    _, version = settings_of(new)
    values["title"] = ""
    if any(values.values()):
        change_settings(new, values, version)
