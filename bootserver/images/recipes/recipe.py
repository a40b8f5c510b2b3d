"""A row of the recipe table."""

from __future__ import annotations

from dataclasses import dataclass

from bootserver.images.recipes.offers import Boot
from bootserver.images.recipes.signs import Sign
from bootserver.model import Firmware, IsoFacts


@dataclass(frozen=True, slots=True)
class Recipe:
    """One kind of image: what tells it, and the ways it boots, the best first."""

    name: str
    title: str  # what it is, for a person
    signs: tuple[Sign, ...]  # all of them
    bios: tuple[Boot, ...]
    uefi: tuple[Boot, ...]
    caveats: tuple[str, ...] = ()

    def boots(self, firmware: Firmware) -> tuple[Boot, ...]:
        """The ways it boots on this firmware, the best first."""
        return self.uefi if firmware is Firmware.UEFI else self.bios

    def reasons(self, facts: IsoFacts) -> tuple[str, ...] | None:
        """What was seen of its signs, None if one is missing."""
        seen = tuple(sign.seen(facts) for sign in self.signs)
        return seen if all(seen) else None


@dataclass(frozen=True, slots=True)
class Identified:
    """What an image is, and why: each reason is a part of a sentence."""

    recipe: Recipe
    reasons: tuple[str, ...]
