"""A disc image as one tree of files: only the directories on the way to a file are read."""

from __future__ import annotations

import dataclasses
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from bootserver.disc.descriptors import Descriptors, read_boot_catalog, read_descriptors
from bootserver.disc.entry import Entry, Node, Tree
from bootserver.disc.iso9660 import IsoTree
from bootserver.disc.listings import Listing, Listings
from bootserver.disc.rewrite import rewritten
from bootserver.disc.source import Compressed, Damage, Source
from bootserver.disc.udf import UdfTree
from bootserver.errors import ImageError, ImageNotFoundError
from bootserver.files.layout import Layout
from bootserver.model import CD_SECTOR_BYTES, ByteRange, Piece

__all__ = ["COPY_AGAIN", "NoVolumeError", "Node", "Volume", "open_volume"]

COPY_AGAIN = "copy it again, and compare its SHA-256 with the publisher's"

_DEPTH_LIMIT = 64  # of directories
_NAMES_LIMIT = 1_000  # still to follow, of a path and of the symbolic links on its way
_LINK_LIMIT = 16  # on the way to one file

T = TypeVar("T")

Trail = tuple[Entry, ...]  # the entries from the root to the one that is meant


class NoVolumeError(ImageError):
    """A file is no image of a disc."""


def open_volume(fd: int, size_bytes: int, name: str) -> Volume:
    """The volume on the image that is open as `fd`; `name` stands for it in messages.

    Raises NoVolumeError if there is neither ISO 9660 nor UDF on it.
    """
    source = Source(fd, size_bytes)
    with source.operation(), _in_words(name):
        descriptors = read_descriptors(source)
        if not descriptors.primary and not descriptors.has_udf:
            raise NoVolumeError(
                f"{name} is not an ISO 9660 or UDF image",
                hint="give an .iso file; unpack it first if it is compressed",
            )
        return Volume(source, name, descriptors)


class Volume:
    """The file systems of a disc image, read as they are asked for; threads may share it.

    It reads from the file descriptor it was opened with, and does not close it. A fault of the disc
    is an ImageError, once something is asked for that depends on it. A fault of the disk beneath is
    an OSError.
    """

    def __init__(self, source: Source, name: str, descriptors: Descriptors) -> None:
        self._source = source
        self._name = name
        self._lock = threading.RLock()
        self._listings = Listings()
        self._damage: Damage | None = None  # of a file system that cannot be read at all
        primary, udf = descriptors.primary, self._udf_tree(descriptors)
        self._trees: list[Tree] = [*([udf] if udf else []), *self._iso_trees(descriptors)]
        self.has_udf = udf is not None
        self.volume_id = _text(primary[40:72]) or (udf.volume.volume_id if udf else "")
        self.system_id = _text(primary[8:40])
        self.publisher = _text(primary[318:446])
        self.application = _text(primary[574:702])
        self.el_torito = read_boot_catalog(source, descriptors.boot_record)
        self._boot_ends = [e.lba * CD_SECTOR_BYTES + e.load_sectors * 512 for e in self.el_torito]
        # Where file systems and boot images end by their own account: a truncated file is shorter.
        self.claimed_bytes = max(
            _iso9660_end(primary), udf.volume.end_bytes if udf else 0, *self._boot_ends
        )

    def find(self, path: str) -> Node:
        """The file or directory at `path`; symbolic links are followed, inside the disc.

        What fits to the letter in any of the file systems comes before what fits but for its case.
        Raises ImageNotFoundError if there is nothing.
        """
        node = self._first(path, lambda trail: trail[-1].node())
        return self._as_rock_ridge_has_it(path, node)

    def children(self, path: str) -> list[Node]:
        """What is in the directory at `path`, of the first file system that has that directory.

        Links are listed as what they lead to. Left out are links that lead nowhere, and files that
        the image has only in part or in a compressed form.
        """
        nodes = []
        with self.one_operation():
            for node in self._first(path, self._children):
                with suppress(ImageError):  # one that is compressed
                    known = self._as_rock_ridge_has_it(f"{path}/{node.name}", node)
                    nodes.append(dataclasses.replace(known, name=node.name))
        return nodes

    @property
    def has_compressed(self) -> bool:
        """True if a directory that was read so far has files compressed by zisofs."""
        return any(tree.has_compressed for tree in self._trees if isinstance(tree, IsoTree))

    def _as_rock_ridge_has_it(self, path: str, node: Node) -> Node:
        """The node, unless Rock Ridge knows better of a file that UDF or Joliet has.

        genisoimage writes a symbolic link into UDF and Joliet as an empty file. It writes what is
        compressed into UDF as if it were not.
        """
        known = [t for t in self._trees if isinstance(t, IsoTree) and t.has_rock_ridge]
        comes_first = self._trees[0] in known
        if not known or node.is_directory or (node.size_bytes and comes_first):
            return node
        try:
            other = self._first(path, lambda trail: trail[-1].node(), known)
        except ImageNotFoundError:  # Rock Ridge has it not, or as a link that leads to nothing
            if node.size_bytes or not self._is_link(path, known):
                return node
            raise
        return node if node.size_bytes else other

    def _is_link(self, path: str, trees: Sequence[Tree]) -> bool:
        """True if one of the file systems has a symbolic link at `path`."""
        *parents, name = _parts(path)

        def answer(trail: Trail) -> bool | None:
            if not trail[-1].is_directory:
                return None
            named = self._listing(trail).named(name, exact=False)
            return any(entry.target for entry in named) or None

        with suppress(ImageNotFoundError):
            return self._first("/".join(parents), answer, trees)
        return False

    def paths(self, wanted: Callable[[str], bool], enter: Callable[[str], bool]) -> set[str]:
        """The wanted ones of the lower-case paths in all file systems, by every file's best name.

        Goes down only into the directories whose lower-case paths `enter` wants. Raises ImageError
        if no file system can be read that far.
        """
        with self._operation():
            found: set[str] = set()
            damage = self._damage
            whole = 0
            for tree in self._trees:
                try:
                    walk = self._walk("", (tree.root(),), enter)
                    found.update(path for path in walk if wanted(path))
                    whole += 1
                except Damage as err:
                    damage = damage or err
            if damage and not whole:
                raise damage
            return found

    def lacks_content(self) -> bool:
        """True if something on the disc ends past the end of the image, or that cannot be told.

        Looks at all directories of all file systems, and at the boot images.
        """
        with self._operation():
            if self._damage or any(end > self._source.size_bytes for end in self._boot_ends):
                return True
            try:
                for tree in self._trees:
                    self._require_content(tree.root())
            except Damage:
                return True
        return False

    def _require_content(self, root: Entry) -> None:
        """Raises Damage unless all below that directory is there."""
        pending = [(root, 0)]
        while pending:
            directory, depth = pending.pop()
            for entry in self._listings.of(directory).entries:
                self._source.spend()  # also where all is in memory: names may lead in circles
                if not entry.is_directory:
                    with suppress(Compressed):
                        entry.node()
                elif depth < _DEPTH_LIMIT:
                    pending.append((entry, depth + 1))

    def content(self, node: Node, part: ByteRange) -> bytes:
        """A part of a file's content; as with a slice, nothing lies past the end."""
        with self._operation():
            return b"".join(
                self._source.read(piece.start, len(piece))
                if isinstance(piece, ByteRange)
                else piece
                for piece in Layout(node.pieces).cut(part)
            )

    def rewritten(self, changes: Mapping[str, Sequence[Piece] | None]) -> tuple[Piece, ...]:
        """The disc with other content at some paths, None to remove them; see `rewrite`.

        Raises ImageError for what cannot be done.
        """
        with self._operation():
            return rewritten(self._source, changes)

    @contextmanager
    def one_operation(self) -> Iterator[None]:
        """All that is asked for in the block may together cost what one question may."""
        with self._operation():
            yield
            self._source.spend(0)  # a question may have gone without an answer for lack of it

    @contextmanager
    def _operation(self) -> Iterator[None]:
        with self._lock, self._source.operation(), _in_words(self._name):
            yield

    def _udf_tree(self, descriptors: Descriptors) -> UdfTree | None:
        if not descriptors.has_udf:
            return None
        try:
            return UdfTree(self._source)
        except Damage as err:
            self._damage = err
            return None

    def _iso_trees(self, descriptors: Descriptors) -> list[IsoTree]:
        """The trees of ISO 9660, those with the better names first.

        That is Rock Ridge before Joliet, and ISO 9660:1999 before the 8.3 names of the primary.
        """
        trees = []
        primary, enhanced = descriptors.primary, descriptors.enhanced
        if enhanced[158:162] == primary[158:162]:
            enhanced = b""  # the very same tree, of which pycdlib keeps one size up to date
        for descriptor, is_joliet in (
            (descriptors.joliet, True),
            (enhanced, False),
            (primary, False),
        ):
            try:
                if descriptor:
                    trees.append(IsoTree(self._source, descriptor, is_joliet=is_joliet))
            except Damage as err:
                self._damage = self._damage or err
        return sorted(trees, key=lambda tree: not tree.has_rock_ridge)

    def _first(
        self, path: str, answer: Callable[[Trail], T | None], trees: Sequence[Tree] = ()
    ) -> T:
        """The first answer that is not None, of all that `path` may mean, the best first."""
        with self._operation():
            damage = self._damage
            for exact in (True, False):
                for tree in trees or self._trees:
                    try:
                        for trail in self._led_to((tree.root(),), _parts(path), exact=exact):
                            if (found := answer(trail)) is not None:
                                return found
                    except Compressed:  # and so have the others it, who do not know
                        raise
                    except Damage as err:  # another file system may have it whole
                        damage = damage or err
            raise damage or ImageNotFoundError(
                f"{self._name} has no {path!r}", hint="look for the file on the disc itself"
            )

    def _led_to(self, trail: Trail, parts: tuple[str, ...], *, exact: bool) -> Iterator[Trail]:
        """What `parts` lead to from the end of `trail`: several if their case is open."""
        pending = [(trail, parts, _LINK_LIMIT)]
        while pending:
            trail, parts, links = pending.pop()
            if len(trail) > _DEPTH_LIMIT or len(parts) > _NAMES_LIMIT:
                continue
            if not parts:
                yield trail
                continue
            name, parts = parts[0], parts[1:]
            if name == "..":
                pending.append((trail[:-1] or trail, parts, links))
                continue
            if not trail[-1].is_directory:
                continue
            for entry in reversed(self._listing(trail).named(name, exact=exact)):
                self._source.spend()  # also where all is in memory: names may lead in circles
                if not entry.target:
                    pending.append(((*trail, entry), parts, links))
                elif links:
                    start = trail[:1] if entry.target.startswith("/") else trail
                    pending.append((start, (*_parts(entry.target), *parts), links - 1))

    def _listing(self, trail: Trail) -> Listing:
        return self._listings.of(trail[-1])

    def _children(self, trail: Trail) -> list[Node] | None:
        """The nodes in the directory, None if it is none."""
        if not trail[-1].is_directory:
            return None
        nodes: dict[str, Node] = {}
        for entry in self._listing(trail).entries:
            if entry.name in nodes:
                continue
            try:
                for leads_to in self._led_to(trail, (entry.name,), exact=True):
                    if (node := leads_to[-1].node()) is not None:
                        nodes[entry.name] = dataclasses.replace(node, name=entry.name)
            except Damage:
                self._source.spend()  # which raises where the budget is what was damaged
        return list(nodes.values())

    def _walk(self, path: str, trail: Trail, enter: Callable[[str], bool]) -> Iterator[str]:
        """The lower-case paths below one directory of one file system."""
        for entry in self._listing(trail).entries:
            child_path = f"{path}/{entry.name.lower()}"
            yield child_path
            if enter(child_path):
                for child in self._led_to(trail, (entry.name,), exact=True):
                    if child[-1].is_directory:
                        yield from self._walk(child_path, child, enter)


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Damage that ends the block becomes an ImageError."""
    try:
        yield
    except Compressed as err:
        raise ImageError(f"{name} {err}", hint="boot the disc whole: its own system can") from err
    except Damage as err:
        raise ImageError(f"{name} is damaged: {err}", hint=COPY_AGAIN) from err


def _parts(path: str) -> tuple[str, ...]:
    """The names in a path; what can be no name of a file finds none."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _iso9660_end(primary: bytes) -> int:
    """Where the volume ends: at offset 80 its blocks, at 128 their size (ECMA-119 §8.4)."""
    if not primary:
        return 0
    blocks, block_bytes = struct.unpack_from("<L44xH", primary, 80)
    return int(blocks * block_bytes)


def _text(raw: bytes) -> str:
    """An identifier as people see it: without padding and what cannot be printed."""
    text = raw.decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable()).strip()
