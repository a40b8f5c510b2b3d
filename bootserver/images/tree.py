"""Look-ups in the trees of the library's images: cheap, because images stay open and known."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootserver.disc.volume import Node, NoVolumeError, Volume, open_volume
from bootserver.errors import ImageNotFoundError, ImageNotReadyError
from bootserver.files.open_version import OpenFile, open_version, unreadable
from bootserver.model import Content, FileVersion

OPEN_IMAGES = 32  # a technician's bench boots from a handful

_Key = tuple[str, FileVersion]


class ImageTrees:
    """The trees of the images that were asked for last; other images are opened when asked for."""

    def __init__(self, open_images: int = OPEN_IMAGES) -> None:
        self._open_images = open_images
        self._images: OrderedDict[_Key, _OpenImage] = OrderedDict()
        self._lock = threading.Lock()  # of the table; never held while a file is read

    async def find(self, content: Content, path: str) -> Node:
        """The file or directory at `path` in that version of the image.

        Raises ImageNotFoundError if the image or the path in it is not there. Raises
        ImageNotReadyError if the image is another version by now, ImageError if it is damaged.
        """
        return await asyncio.to_thread(self._find, content, path)

    async def children(self, content: Content, path: str) -> list[Node]:
        """What is in the directory at `path`; raises as `find` does."""
        return await asyncio.to_thread(self._children, content, path)

    def close(self) -> None:
        """Close the images; one that is in use closes when its look-up has ended."""
        with self._lock:
            while self._images:
                self._images.popitem()[1].discard()

    def _find(self, content: Content, path: str) -> Node:
        with self._volume(content) as volume:
            return volume.find(path)

    def _children(self, content: Content, path: str) -> list[Node]:
        with self._volume(content) as volume:
            return volume.children(path)

    @contextmanager
    def _volume(self, content: Content) -> Iterator[Volume]:
        """The image's volume, open until the end of the block at least."""
        key = (content.path, content.version)
        with self._lock:
            image = self._images.setdefault(key, _OpenImage(content))
            self._images.move_to_end(key)
            image.users += 1
            if len(self._images) > self._open_images:
                self._images.popitem(last=False)[1].discard()
        try:
            yield image.volume()
        except NoVolumeError as err:
            raise ImageNotFoundError(
                f"{Path(content.path).name} is no disc: it has no files to serve",
                hint="boot it whole",
            ) from err
        except OSError as err:
            raise unreadable(content.path, err) from err
        finally:
            with self._lock:
                image.users -= 1
                if not image.is_good and self._images.get(key) is image:
                    del self._images[key]
                    image.discard()
                image.close_if_unused()


class _OpenImage:
    """One version of an image, opened by the first who asks for its volume.

    `users`, `discard` and `close_if_unused` belong to who holds the table's lock.
    """

    def __init__(self, content: Content) -> None:
        self.users = 0
        self._content = content
        self._opening = threading.Lock()
        self._file: OpenFile | None = None
        self._volume: Volume | None = None
        self._discarded = False

    @property
    def is_good(self) -> bool:
        """False if opening it has failed, and should be tried anew next time."""
        return self._volume is not None

    def volume(self) -> Volume:
        """The volume of exactly this version."""
        with self._opening:
            if self._file is None:
                self._file = open_version(self._content)
            try:
                self._file.check_unchanged()
            except ImageNotReadyError:
                self._volume = None
                raise
            if self._volume is None:
                self._volume = open_volume(
                    self._file.fd, self._file.size_bytes, Path(self._content.path).name
                )
            return self._volume

    def discard(self) -> None:
        """Close the image once its last reader is done."""
        self._discarded = True
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """Give the descriptor back after the last look-up."""
        if self._discarded and not self.users and self._file is not None:
            self._file.close()
