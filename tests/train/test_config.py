from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.distill.config import DistillRecipe
from mobilesam.recipe import load_recipe
from mobilesam.train.config import TrainRecipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("recipe", sorted(RECIPES.rglob("*.toml")), ids=lambda p: str(p.relative_to(RECIPES)))
def test_every_recipe_of_the_repository_loads(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    loaded = load_recipe(DistillRecipe if "[teacher]" in text else TrainRecipe, recipe)
    assert loaded.data.paths or "--set 'data.paths=" in text, "it has data, or its command names them"  # type: ignore[attr-defined]
    assert text.startswith("#"), "a recipe opens with its command, hardware and score"
    for word in ("mobilesam", "Hardware", "Time", "Score"):
        assert word in text.split("\n\n")[0], word
