"""What an image is taken for, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from bootserver.images.markers import MARKERS, TEXTS
from bootserver.images.recipes import RECIPE_NAMES, RECIPES, Recipe, identify, recipe_of
from bootserver.images.recipes.signs import AnyOf, Has, Labelled, Says, Sign
from bootserver.model import FileVersion, Image, ImageSettings, IsoFacts
from tests.images.corpus import BY_NAME, DISCS, Disc, facts_of
from tests.images.near_misses import NEAR_MISSES


@pytest.mark.parametrize("disc", DISCS, ids=lambda disc: disc.name)
def test_every_known_disc_is_taken_for_what_it_is(disc: Disc):
    identified = identify(facts_of(disc))

    assert identified.recipe.name == disc.recipe
    assert all(identified.reasons)


@pytest.mark.parametrize(("row", "disc"), NEAR_MISSES, ids=lambda x: getattr(x, "name", x))
def test_what_only_looks_like_a_kind_is_not_taken_for_it(row: str, disc: Disc):
    assert disc.recipe != row  # else it would be no near-miss
    assert identify(facts_of(disc)).recipe.name == disc.recipe


def test_every_row_has_a_disc_and_a_near_miss():
    taken_for = {disc.recipe for disc in DISCS}
    missed = {row for row, _ in NEAR_MISSES}

    assert taken_for | {"disk-image"} == RECIPE_NAMES
    assert missed == RECIPE_NAMES - {"disc"}  # it is what remains; nothing comes near it


def test_names_are_unique_and_the_last_row_takes_everything():
    assert len(RECIPE_NAMES) == len(RECIPES)
    assert identify(IsoFacts(0)).recipe is RECIPES[-1]


def patterns_of(part: Any) -> Iterator[str]:
    """Every path pattern that a sign or a description of a way asks for."""
    if isinstance(part, str):
        if part.startswith("/"):
            yield part
    elif isinstance(part, Says):
        assert part.path in TEXTS
    elif is_dataclass(part):
        names = [f.name for f in fields(part) if f.name not in ("iso_in_initramfs", "family")]
        for name in names:
            yield from patterns_of(getattr(part, name))
    elif isinstance(part, tuple):
        for each in part:
            yield from patterns_of(each)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_path_that_a_row_asks_for_is_a_marker(recipe: Recipe):
    wildcard = "[a-z0-9._+~-]*"
    markers = [re.compile(re.escape(m).replace(r"\*", wildcard)) for m in MARKERS]

    asked = {*patterns_of(recipe.signs), *patterns_of((*recipe.bios, *recipe.uefi))}

    assert asked or recipe.name in SIGNS_WITHOUT_PATHS
    for pattern in asked:
        example = pattern.replace("{base}", "base").replace("*", "0")
        assert any(marker.fullmatch(example) for marker in markers), pattern


SIGNS_WITHOUT_PATHS = {"freedos", "floppy-disc", "disk-image", "unknown-linux", "disc"}


def test_the_side_car_says_what_an_image_is():
    facts = facts_of(BY_NAME["debian-live"])
    settings = ImageSettings(recipe="disc")
    image = Image("a", "/a.iso", FileVersion(1, 0, 0), facts=facts, settings=settings)

    assert recipe_of(image).recipe.name == "disc"
    assert recipe_of(replace(image, settings=ImageSettings())).recipe.name == "debian-live"
    assert recipe_of(replace(image, settings=ImageSettings(), facts=None)).recipe.name == "disc"


def test_reasons_name_what_was_seen():
    assert identify(facts_of(BY_NAME["symantec"])).reasons == (
        "it has /sources/boot.wim",
        "its volume id is “DVD_ROM”",
        "its application id is “OSCDIMG 2.56 (01/01/2005 TM)”",
    )
    assert identify(facts_of(BY_NAME["finnix"])).reasons[0] == "/.disk/info says “Finnix”"
    assert identify(facts_of(BY_NAME["unknown-grub"])).reasons == (
        "/boot/grub/grub.cfg boots /boot/vmlinuz-6.6",
    )


def fewer(sign: Sign) -> Iterator[Sign]:
    """The sign without one of its alternatives, for each."""
    if isinstance(sign, Has | Labelled):
        for pattern in sign.patterns if len(sign.patterns) > 1 else ():
            yield replace(sign, patterns=tuple(p for p in sign.patterns if p != pattern))
    elif isinstance(sign, AnyOf):
        for number, part in enumerate(sign.signs):
            before, after = sign.signs[:number], sign.signs[number + 1 :]
            yield AnyOf((*before, *after))
            yield from (AnyOf((*before, less, *after)) for less in fewer(part))


def careless(recipe: Recipe) -> Iterator[Recipe]:
    """The row without one of its signs, and without one alternative of a sign, for each."""
    for number, sign in enumerate(recipe.signs):
        before, after = recipe.signs[:number], recipe.signs[number + 1 :]
        yield replace(recipe, signs=(*before, *after))
        yield from (replace(recipe, signs=(*before, less, *after)) for less in fewer(sign))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_sign_and_every_alternative_of_it_decides_about_some_disc(recipe: Recipe):
    """Without it, some disc of the corpus is taken for another thing than it is."""
    discs = (*DISCS, *(disc for _, disc in NEAR_MISSES))

    for other in careless(recipe):
        rows = [other if row is recipe else row for row in RECIPES]
        assert any(taken_for(rows, disc) != disc.recipe for disc in discs), other.signs


def taken_for(rows: list[Recipe], disc: Disc) -> str:
    facts = facts_of(disc)
    return next(row.name for row in rows if row.reasons(facts) is not None)
