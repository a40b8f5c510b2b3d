"""The recipe table, and which row an image is."""

from __future__ import annotations

from functools import lru_cache

from bootserver.images.recipes.installers import INSTALLERS
from bootserver.images.recipes.live import LIVE
from bootserver.images.recipes.recipe import Identified, Recipe
from bootserver.images.recipes.selfcontained import SELF_CONTAINED, UNKNOWN
from bootserver.images.recipes.windows import WINDOWS
from bootserver.model import Image, IsoFacts

# The first row whose signs are all there is it, so the most specific come first. The last one has
# no signs.
RECIPES: tuple[Recipe, ...] = (*WINDOWS, *SELF_CONTAINED, *LIVE, *INSTALLERS, *UNKNOWN)
_BY_NAME = {recipe.name: recipe for recipe in RECIPES}
RECIPE_NAMES = frozenset(_BY_NAME)
REMEMBERED = 4096  # images, of which the answers are kept: they change only with the image


def identify(facts: IsoFacts) -> Identified:
    """What the image is by its content, and why."""
    for recipe in RECIPES:
        reasons = recipe.reasons(facts)
        if reasons is not None:
            return Identified(recipe, reasons or ("nothing on it tells a kind that is known",))
    raise AssertionError("the last row has no signs")


@lru_cache(REMEMBERED)
def recipe_of(image: Image) -> Identified:
    """The recipe for an image of the library: what its side-car says, else what it is."""
    if image.settings.recipe:
        return Identified(_BY_NAME[image.settings.recipe], ("its side-car says so",))
    if image.facts is None:
        return Identified(_BY_NAME["disc"], ("it has not been read yet",))
    return identify(image.facts)
