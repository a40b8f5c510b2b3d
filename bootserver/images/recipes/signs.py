"""What tells one kind of disc from another, as data that can say in words what it saw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from bootserver.images.menus.choice import bootable
from bootserver.images.recipes.paths import matching
from bootserver.model import IsoFacts

_LABELS = {
    "volume_id": "volume id",
    "publisher": "publisher",
    "application": "application id",
}


class Sign(Protocol):
    """Something that a disc has."""

    def seen(self, facts: IsoFacts) -> str:
        """What was seen, as part of a sentence; "" if the disc does not have it."""


@dataclass(frozen=True, slots=True)
class Has:
    """One of these paths is on the disc."""

    patterns: tuple[str, ...]

    def seen(self, facts: IsoFacts) -> str:
        for pattern in self.patterns:
            for path in sorted(matching(facts, pattern)):
                return f"it has {path}"
        return ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A field of the volume descriptor is like one of these patterns, whatever the case."""

    field: str
    patterns: tuple[str, ...]

    def seen(self, facts: IsoFacts) -> str:
        value = str(getattr(facts, self.field))
        fits = any(fnmatchcase(value.lower(), pattern) for pattern in self.patterns)
        return f"its {_LABELS[self.field]} is “{value}”" if fits else ""


@dataclass(frozen=True, slots=True)
class Says:
    """A text on the disc has a word in it."""

    path: str
    word: re.Pattern[str]

    def seen(self, facts: IsoFacts) -> str:
        match = self.word.search(facts.texts.get(self.path, ""))
        return f"{self.path} says “{match[0]}”" if match else ""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these signs at least."""

    signs: tuple[Sign, ...]

    def seen(self, facts: IsoFacts) -> str:
        return next(filter(None, (sign.seen(facts) for sign in self.signs)), "")


@dataclass(frozen=True, slots=True)
class PlainDiskImage:
    """It is an image of a floppy or hard disk."""

    def seen(self, facts: IsoFacts) -> str:
        kinds = {"floppy": "a floppy", "harddisk": "a hard disk"}
        return f"it is the image of {kinds[facts.plain_disk.kind]}" if facts.plain_disk else ""


@dataclass(frozen=True, slots=True)
class FloppyBoot:
    """Its BIOS boot entry is a floppy in a file (El Torito 1.0, media types 1 to 3)."""

    def seen(self, facts: IsoFacts) -> str:
        emulated = any(
            entry.bootable and entry.platform_id == 0 and 1 <= entry.media <= 3
            for entry in facts.el_torito
        )
        return "its BIOS boot entry is the image of a floppy" if emulated else ""


@dataclass(frozen=True, slots=True)
class MenuOfLinux:
    """Its own boot menu names a kernel that is on it."""

    def seen(self, facts: IsoFacts) -> str:
        for menu in facts.menus:
            for number in bootable(menu, menu.firmware, facts.markers):
                return f"{menu.source} boots {menu.entries[number].kernel}"
        return ""


def has(*patterns: str) -> Has:
    """One of these paths; `*` stands for a part of one name."""
    return Has(patterns)


def volume(*patterns: str) -> Labelled:
    """A volume id like one of these, in lower case."""
    return Labelled("volume_id", patterns)


def publisher(*patterns: str) -> Labelled:
    """A publisher like one of these, in lower case."""
    return Labelled("publisher", patterns)


def application(*patterns: str) -> Labelled:
    """An application id like one of these, in lower case."""
    return Labelled("application", patterns)


def says(path: str, word: str) -> Says:
    """A text with this expression in it as a word, whatever the case."""
    return Says(path, re.compile(rf"\b(?:{word})\b", re.IGNORECASE))


def any_of(*signs: Sign) -> AnyOf:
    """One of these signs."""
    return AnyOf(signs)
