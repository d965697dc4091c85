from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.distill.config import DistillRecipe
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
        ),
        TrainRecipe,
    )
    assert recipe.model == "tiny"
    assert recipe.data.shards == ("a.tar",)
    assert recipe.data.source_weights == {"coco": 4.0}
    assert recipe.data.min_crop == 1.0
    assert recipe.prompts.round_weights == (1.0, 0.5)
    assert recipe.optim == TrainRecipe().optim


def test_overrides_reach_any_depth_in_toml_or_bare_text(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "[run]\nsteps = 5\n")
    recipe = load_recipe(
        path, TrainRecipe, ["run.steps=9", "optim.lr=1e-3", "run.output=somewhere", "data.source_weights.coco=2"]
    )
    assert (recipe.run.steps, recipe.optim.lr, recipe.run.output) == (9, 1e-3, "somewhere")
    assert recipe.data.source_weights == {"coco": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nlearning_rat = 1\n", r"unknown key 'optim\.learning_rat'; known: lr"),
        ("[run]\nstep = 1\n", r"unknown key 'run\.step'; did you mean 'steps'\?"),
        ("[run]\nsteps = 1.5\n", r"'run\.steps' must be int, found 1\.5"),
        ("[run]\nsteps = true\n", r"'run\.steps' must be int"),
        ("[data]\nshards = 3\n", r"'data\.shards' must be tuple"),
        ("[run\n", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe(write(tmp_path / "r.toml", text), TrainRecipe)


def test_a_missing_recipe_and_a_bad_override_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such recipe"):
        load_recipe(tmp_path / "none.toml", TrainRecipe)
    with pytest.raises(SettingsError, match=r"key\.path=value"):
        load_recipe(write(tmp_path / "r.toml", ""), TrainRecipe, ["run.steps"])


def test_one_shard_needs_no_brackets(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "r.toml", ""), TrainRecipe, ["data.shards=some/*.tar"])
    assert recipe.data.shards == ("some/*.tar",)


def test_a_table_without_its_required_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'student' lacks depths, num_heads, window_sizes"):
        load_recipe(write(tmp_path / "r.toml", "[student]\nembed_dims = [8, 8, 8, 8]\n"), DistillRecipe)


RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("recipe", sorted(RECIPES.rglob("*.toml")), ids=lambda p: str(p.relative_to(RECIPES)))
def test_every_recipe_of_the_repository_loads(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    loaded = load_recipe(recipe, DistillRecipe if "[teacher]" in text else TrainRecipe)
    assert loaded.data != DataConfig()
    assert text.startswith("#"), "a recipe opens with its command, hardware and score"
    for word in ("mobilesam", "Hardware", "Time", "Score"):
        assert word in text.split("\n\n")[0], word
