"""Changes to a disc that lie in memory: other bytes in its sectors, and another order of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from bootserver.disc.source import Damage, Source
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

_SECTORS_LIMIT = 2**32  # a sector's number has 32 bits

Moved = Callable[[int], int]  # where a sector of the disc will be


class Edits:
    """Sectors of an image with other content, by where they are in the image as it is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._sectors: dict[int, bytes] = {}
        self._last = (-1, b"")  # what was read last: much is read of a file entry, bit by bit

    def read(self, at: int, count: int) -> bytes:
        """`count` bytes from there, with what was changed; raises Damage if there are fewer."""
        first, offset = divmod(at, CD_SECTOR_BYTES)
        sectors = map(self._sector, range(first, sectors_of(at + count)))
        return b"".join(sectors)[offset : offset + count]

    def write(self, at: int, data: bytes) -> None:
        """Put `data` there; raises Damage past the end of the image."""
        while data:
            lba, offset = divmod(at, CD_SECTOR_BYTES)
            count = min(CD_SECTOR_BYTES - offset, len(data))
            old = self._sector(lba)
            new = old[:offset] + data[:count] + old[offset + count :]
            if new != old:
                self._sectors[lba] = new
            at, data = at + count, data[count:]

    def _sector(self, lba: int) -> bytes:
        if lba in self._sectors:
            return self._sectors[lba]
        if lba != self._last[0]:
            self._last = lba, self.source.read(lba * CD_SECTOR_BYTES, CD_SECTOR_BYTES)
        return self._last[1]

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The sectors [start, stop): ranges of the image, and what was changed between them."""
        for lba in sorted(lba for lba in self._sectors if start <= lba < stop):
            yield self._kept(start, lba)
            yield self._sectors[lba]
            start = lba + 1
        yield self._kept(start, stop)

    def _kept(self, start: int, stop: int) -> ByteRange:
        end = min(stop * CD_SECTOR_BYTES, self.source.size_bytes)
        return ByteRange(min(start * CD_SECTOR_BYTES, end), end)


@dataclass(slots=True, eq=False)
class DiscFile:
    """A file of one of the disc's file systems."""

    paths: list[str]  # its names in that file system, from `/`
    extents: tuple[ByteRange, ...]  # where its content is; () where it is in no sectors


@dataclass(frozen=True, slots=True)
class NewContent:
    """What a file is to consist of; it is another DiscFile in each of the disc's file systems."""

    parts: tuple[Piece, ...]
    files: list[DiscFile]

    @property
    def size_bytes(self) -> int:
        """The file's new size."""
        return sum(map(len, self.parts))


@dataclass(frozen=True, slots=True)
class Cut:
    """Sectors [start, stop) of a disc that give way to new contents, each from a sector's start."""

    start: int
    stop: int
    contents: list[NewContent] = field(default_factory=list)

    @property
    def grown(self) -> int:
        """How many sectors more there are afterwards."""
        sectors = sum(sectors_of(content.size_bytes) for content in self.contents)
        return sectors - (self.stop - self.start)


class Order:
    """The order of a disc's sectors after some cuts, which are in order and do not overlap."""

    def __init__(self, cuts: Sequence[Cut]) -> None:
        self._cuts = cuts
        self._starts = [cut.start for cut in cuts]
        self._grown = [0, *accumulate(cut.grown for cut in cuts)]  # before each cut, and in all

    def moved(self, lba: int) -> int:
        """Where that sector will be; for one that is cut out, where the next one will be.

        Raises Damage for one that no disc can have.
        """
        number = bisect_right(self._starts, lba)
        if number:
            lba = max(lba, self._cuts[number - 1].stop)
        if lba + self._grown[number] >= _SECTORS_LIMIT:
            raise Damage(f"it points to sector {lba:,}, which no disc has")
        return lba + self._grown[number]

    def new_contents(self) -> Iterator[tuple[NewContent, int]]:
        """Each new content with the sector where it will begin."""
        for cut, grown in zip(self._cuts, self._grown, strict=False):
            lba = cut.start + grown
            for content in cut.contents:
                yield content, lba
                lba += sectors_of(content.size_bytes)

    def parts(self, edits: Edits) -> Iterator[Piece]:
        """The whole of the new disc."""
        at = 0
        for cut in self._cuts:
            yield from edits.pieces(at, cut.start)
            for content in cut.contents:
                yield from content.parts
                yield bytes(-content.size_bytes % CD_SECTOR_BYTES)
            at = cut.stop
        yield from edits.pieces(at, sectors_of(edits.source.size_bytes))


def sectors_of(size_bytes: int) -> int:
    """How many sectors so many bytes take."""
    return -(-size_bytes // CD_SECTOR_BYTES)


class FileSystem(Protocol):
    """One of the disc's file systems, to be changed."""

    @property
    def files(self) -> Sequence[DiscFile]:
        """All its files, with the names they have now."""

    @property
    def structures(self) -> Sequence[ByteRange]:
        """Where its directories are, and all else that no file's content is."""

    def change(
        self, moved: Moved, contents: Mapping[DiscFile, ByteRange], dropped: Collection[str]
    ) -> None:
        """Correct every number that points to a sector, by where the sector will be.

        `contents` is where files have their new contents in the new image; `dropped` are paths that
        directories no longer have. Raises ImageError for what cannot be done.
        """
