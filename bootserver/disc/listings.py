"""Directories that have been read, found by name, and a bounded number of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from bootserver.disc.entry import Entry

_KEPT_ENTRIES = 20_000  # some 15 MB; a directory with more is kept alone
_SAME_NAME_LIMIT = 16  # names that differ only in case


class Listing:
    """A directory's entries, by their names and by their names in lower case."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._exact: dict[str, list[Entry]] = {}
        self._folded: dict[str, list[Entry]] = {}
        for entry in entries:
            self._add(entry.name, entry)
        for entry in entries:
            if entry.other_name:
                self._add(entry.other_name, entry)

    def named(self, name: str, *, exact: bool) -> list[Entry]:
        """The entries of that name, the best first; of the same name to the letter the first."""
        return (self._exact.get(name) if exact else self._folded.get(name.lower())) or []

    def _add(self, name: str, entry: Entry) -> None:
        self._exact.setdefault(name, [entry])
        same = self._folded.setdefault(name.lower(), [])
        if entry not in same and len(same) < _SAME_NAME_LIMIT:
            same.append(entry)


class Listings:
    """The listings of the directories that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Entry, Listing] = OrderedDict()
        self._count = 0

    def of(self, directory: Entry) -> Listing:
        """The directory's listing, read from the disc unless it is kept."""
        listing = self._kept.get(directory)
        if listing is None:
            listing = self._kept[directory] = Listing(directory.entries())
            self._count += 1 + len(listing.entries)
            while self._count > _KEPT_ENTRIES and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._count -= 1 + len(dropped.entries)
        self._kept.move_to_end(directory)
        return listing
