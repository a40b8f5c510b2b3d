"""The kinds of images that are known, and how each one boots."""

from bootserver.images.recipes.recipe import Identified, Recipe
from bootserver.images.recipes.table import RECIPE_NAMES, RECIPES, REMEMBERED, identify, recipe_of

__all__ = ["RECIPES", "RECIPE_NAMES", "REMEMBERED", "Identified", "Recipe", "identify", "recipe_of"]
