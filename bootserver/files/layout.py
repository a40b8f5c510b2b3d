"""What a served file consists of, as data.

A file inside a disc image is ranges of that image. An image with some files replaced, or an initrd
with files added, is ranges and bytes of ours. Nothing is copied on disk for it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self

from bootserver.model import ByteRange, Content, Piece


@dataclass(frozen=True, slots=True)
class Layout:
    """Ranges of one file on disk and bytes of ours, in order.

    The pieces are kept in one form, however they were given. None is empty; what lies side by side,
    on disk or in memory, is one piece.
    """

    pieces: tuple[Piece, ...]
    _offsets: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _tags: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        pieces = _joined(self.pieces)
        object.__setattr__(self, "pieces", pieces)
        # Where each piece begins in what is served, and in the end the size.
        object.__setattr__(self, "_offsets", tuple(accumulate(map(len, pieces), initial=0)))

    @classmethod
    def whole(cls, size_bytes: int) -> Self:
        """A file on disk as it is."""
        return cls((ByteRange(0, size_bytes),))

    @property
    def size_bytes(self) -> int:
        """The size of what is served."""
        return self._offsets[-1]

    @property
    def has_own_bytes(self) -> bool:
        """True if some of it is not from the file on disk."""
        return any(isinstance(piece, bytes) for piece in self.pieces)

    def cut(self, part: ByteRange) -> tuple[Piece, ...]:
        """The pieces that make up `part`; as with a slice, nothing lies past the end."""
        if part.stop <= part.start:
            return ()
        first = bisect_right(self._offsets, part.start) - 1
        last = bisect_left(self._offsets, part.stop, hi=len(self.pieces)) - 1
        if first > last:
            return ()
        start, stop = part.start - self._offsets[first], part.stop - self._offsets[last]
        if first == last:
            return (_sliced(self.pieces[first], start, stop),)
        begin = _sliced(self.pieces[first], start, len(self.pieces[first]))
        return (begin, *self.pieces[first + 1 : last], _sliced(self.pieces[last], 0, stop))

    def place_of(self, offset: int) -> int | None:
        """Where the byte at `offset` of the file on disk is served; None if it is not."""
        for piece, place in zip(self.pieces, self._offsets, strict=False):
            if isinstance(piece, ByteRange) and piece.start <= offset < piece.stop:
                return place + offset - piece.start
        return None

    def replaced(self, offset: int, data: bytes) -> Layout:
        """The same with `data` in place of what is at `offset`; ValueError if it sticks out."""
        stop = offset + len(data)
        if offset < 0 or stop > self.size_bytes:
            raise ValueError(f"[{offset}, {stop}) is not within {self.size_bytes} bytes")
        before = self.cut(ByteRange(0, offset))
        return Layout((*before, data, *self.cut(ByteRange(stop, self.size_bytes))))

    def appended(self, data: bytes) -> Layout:
        """The same with `data` after it."""
        return Layout((*self.pieces, data))

    def etag(self, content: Content) -> str:
        """The entity tag, strong and quoted: other bytes have another. Ours are hashed once."""
        if self == Layout.whole(content.version.size_bytes):
            return f'"{content.sha256}"'
        match self.pieces:
            case (ByteRange(start, stop),):
                return f'"{content.sha256}-{start}-{stop}"'
        if tag := self._tags.get(content.sha256):
            return tag
        digest = hashlib.sha256(content.sha256.encode())
        for piece in self.pieces:
            if isinstance(piece, bytes):
                digest.update(f"\n{hashlib.sha256(piece).hexdigest()}".encode())
            else:
                digest.update(f"\n{piece.start}-{piece.stop}".encode())
        self._tags[content.sha256] = f'"layout-{digest.hexdigest()}"'
        return self._tags[content.sha256]


def _joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces in their one form."""
    runs: list[ByteRange | list[bytes]] = []
    for piece in pieces:
        last = runs[-1] if runs else None
        if not len(piece):
            continue
        if isinstance(piece, bytes):
            if isinstance(last, list):
                last.append(piece)
            else:
                runs.append([piece])
        elif isinstance(last, ByteRange) and last.stop == piece.start:
            runs[-1] = ByteRange(last.start, piece.stop)
        else:
            runs.append(piece)
    return tuple(b"".join(run) if isinstance(run, list) else run for run in runs)


def _sliced(piece: Piece, start: int, stop: int) -> Piece:
    """The bytes [start, stop) of a piece, as far as it goes."""
    if isinstance(piece, bytes):
        return piece[start:stop]
    return ByteRange(piece.start + start, min(piece.start + stop, piece.stop))
