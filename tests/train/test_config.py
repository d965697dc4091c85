from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.errors import SettingsError
from mobilesam.train.config import DataConfig, TrainRecipe, load_recipe


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_becomes_nested_dataclasses(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(
            tmp_path / "r.toml",
            'model = "tiny"\n[data]\nshards = ["a.tar"]\nmin_crop = 1\n'
            "[data.source_weights]\ncoco = 4\n[prompts]\nround_weights = [1, 0.5]\n",
        )
    )
    assert recipe.model == "tiny"
    assert recipe.data.shards == ("a.tar",)
    assert recipe.data.source_weights == {"coco": 4.0}
    assert recipe.data.min_crop == 1.0
    assert recipe.prompts.round_weights == (1.0, 0.5)
    assert recipe.optim == TrainRecipe().optim


def test_overrides_reach_any_depth_in_toml_or_bare_text(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "[run]\nsteps = 5\n")
    recipe = load_recipe(path, ["run.steps=9", "optim.lr=1e-3", "run.output=somewhere", "data.source_weights.coco=2"])
    assert (recipe.run.steps, recipe.optim.lr, recipe.run.output) == (9, 1e-3, "somewhere")
    assert recipe.data.source_weights == {"coco": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nlearning_rat = 1\n", r"unknown key 'optim\.learning_rat'; known: lr"),
        ("[run]\nstep = 1\n", r"unknown key 'run\.step'; did you mean 'steps'\?"),
        ("[run]\nsteps = 1.5\n", r"'run\.steps' must be int, found 1\.5"),
        ("[run]\nsteps = true\n", r"'run\.steps' must be int"),
        ("[data]\nshards = 'a.tar'\n", r"'data\.shards' must be tuple"),
        ("[run\n", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe(write(tmp_path / "r.toml", text))


def test_a_missing_recipe_and_a_bad_override_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such recipe"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match=r"key\.path=value"):
        load_recipe(write(tmp_path / "r.toml", ""), ["run.steps"])


@pytest.mark.parametrize("recipe", sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_of_the_repository_loads(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert loaded.data != DataConfig()
    assert recipe.read_text(encoding="utf-8").startswith("#"), "a recipe opens with its command, hardware and score"
