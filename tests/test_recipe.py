"""Settings from TOML and from the command line: what is read, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mobilesam.distill.config import DistillRecipe
from mobilesam.errors import SettingsError
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
from mobilesam.model.config import SamConfig, TinyViTConfig
from mobilesam.recipe import apply_overrides, from_dict, load_recipe
from mobilesam.train.config import TrainRecipe
from mobilesam.train.run_config import PhaseConfig, RunConfig


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# Reading


def test_a_recipe_becomes_nested_dataclasses(tmp_path: Path) -> None:
    text = (
        'model = "tiny"\n[data]\nshards = ["a.tar"]\nmin_crop = 1\n'
        "[data.source_weights]\ncoco = 4\n[prompts]\nround_weights = [1, 0.5]\n"
        "[[phases]]\nuntil = 0.5\nsides = [256]\n[[phases]]\nobject_crop_probability = 1\n"
    )
    recipe = load_recipe(TrainRecipe, write(tmp_path / "r.toml", text))
    assert recipe.model == "tiny"
    assert recipe.data.shards == ("a.tar",)
    assert recipe.data.source_weights == {"coco": 4.0}
    assert recipe.data.min_crop == 1.0
    assert isinstance(recipe.data.min_crop, float)
    assert recipe.prompts.round_weights == (1.0, 0.5)
    assert recipe.phases == (PhaseConfig(until=0.5, sides=(256,)), PhaseConfig(object_crop_probability=1.0))
    assert isinstance(recipe.phases[1].object_crop_probability, float)
    assert recipe.optim == TrainRecipe().optim


def test_overrides_reach_any_depth_in_toml_or_bare_text(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "[run]\nsteps = 5\n")
    overrides = ["run.steps=9", "optim.lr=1e-3", "run.output=somewhere", "data.source_weights.coco=2", "model = tiny"]
    recipe = load_recipe(TrainRecipe, path, overrides)
    assert (recipe.run.steps, recipe.optim.lr, recipe.run.output) == (9, 1e-3, "somewhere")
    assert recipe.data.source_weights == {"coco": 2.0}
    assert recipe.model == "tiny"


def test_overrides_leave_what_they_are_put_into_as_it_was() -> None:
    data: dict[str, Any] = {"run": {"steps": 5}}
    assert apply_overrides(data, ["run.steps=9"]) == {"run": {"steps": 9}}
    assert data == {"run": {"steps": 5}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.steps", "--set takes key.path=value, found 'run.steps'"),
        ("model.size=3", "--set model.size=3: 'model' is 'tiny' in the recipe, not a table; set it as a whole"),
        ("run.stepz=3", "unknown key 'run.stepz'; did you mean 'steps'?"),
        ("run.steps=many", "'run.steps' must be an integer of at least 0, found 'many'"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_recipe(TrainRecipe, write(tmp_path / "r.toml", 'model = "tiny"\n'), [override])
    assert str(caught.value) == message


def test_one_shard_needs_no_brackets(tmp_path: Path) -> None:
    recipe = load_recipe(TrainRecipe, write(tmp_path / "r.toml", ""), ["data.shards=some/*.tar"])
    assert recipe.data.shards == ("some/*.tar",)


def test_a_setting_of_two_kinds_takes_either() -> None:
    assert from_dict(TrainRecipe, {"start_from": "x"}).start_from == "x"
    assert from_dict(TrainRecipe, {"start_from": {"image_encoder": "x"}}).start_from == {"image_encoder": "x"}
    assert from_dict(RunConfig, {"devices": 2, "resident": False}) == RunConfig(devices=2, resident=False)
    assert from_dict(RunConfig, {"devices": "auto", "resident": "auto"}) == RunConfig()


def test_none_can_be_written_where_it_is_allowed() -> None:
    assert from_dict(EverythingSettings, {"pred_iou_thresh": "none"}).pred_iou_thresh is None
    with pytest.raises(SettingsError, match="'box_nms_thresh' must be a number"):
        from_dict(EverythingSettings, {"box_nms_thresh": "none"})


# Keys and types


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 1\n", "unknown key 'stepz'; did you mean 'store'?"),
        ("[optim]\nlearning_rat = 1\n", "unknown key 'optim.learning_rat'; known: lr, lr_scale, weight_decay"),
        ("[run]\nstep = 1\n", "unknown key 'run.step'; did you mean 'steps'?"),
        ("[[phases]]\nuntil = 0.5\n[[phases]]\nside = [64]\n", "unknown key 'phases[1].side'; did you mean 'sides'?"),
        ("[run]\nsteps = 1.5\n", "'run.steps' must be an integer of at least 0, found 1.5"),
        ("[run]\nsteps = true\n", "'run.steps' must be an integer of at least 0, found True"),
        ("[run]\nreport = 1\n", "'run.report' must be true or false, found 1"),
        ("[run]\noutput = 1\n", "'run.output' must be text, found 1"),
        ("run = 3\n", "'run' must be a table of settings (RunConfig), found 3"),
        ("phases = [3]\n", "'phases' must be a list (in Python a tuple), each item a table of settings (PhaseConfig)"),
        ("[data]\nshards = 3\n", "'data.shards' must be a list (in Python a tuple), each item text, found 3"),
        ("[data]\nshards = [3]\n", "'data.shards' must be a list (in Python a tuple), each item text, found (3,)"),
        ("[data]\nsource_weights = 3\n", "'data.source_weights' must be a table, each value a number of at least 0"),
        (
            "[data.source_weights]\na = 'x'\n",
            "'data.source_weights' must be a table, each value a number of at least 0",
        ),
        ("start_from = 3\n", "'start_from' must be text or a table, each value text, found 3"),
        ("[run\n", "not valid TOML"),
    ],
)
def test_a_wrong_key_or_type_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_recipe(TrainRecipe, write(tmp_path / "r.toml", text))
    assert message in str(caught.value)


def test_all_wrong_keys_are_named_at_once() -> None:
    data = {"modle": "tiny", "run": {"stepz": 3}, "optim": {"lr": -1}}
    with pytest.raises(SettingsError) as caught:
        from_dict(TrainRecipe, data)
    assert sorted(str(caught.value).splitlines()) == [
        "'optim.lr' must be a number above 0, found -1.0",
        "unknown key 'modle'; did you mean 'model'?",
        "unknown key 'run.stepz'; did you mean 'steps'?",
    ]


def test_a_table_without_its_required_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'student' lacks depths, num_heads, window_sizes"):
        load_recipe(DistillRecipe, write(tmp_path / "r.toml", "[student]\nembed_dims = [8, 8, 8, 8]\n"))
    with pytest.raises(SettingsError, match="the recipe lacks data, protocols"):
        from_dict(EvaluateSettings, {})


def test_a_list_of_a_fixed_length_keeps_it() -> None:
    sizes = {"depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_sizes": [2, 2, 2, 2]}
    assert from_dict(TinyViTConfig, {**sizes, "embed_dims": [8, 8, 8, 8]}).embed_dims == (8, 8, 8, 8)
    with pytest.raises(
        SettingsError, match=r"'embed_dims' must be a list \(in Python a tuple\) of 4 items, .*\(8, 8\)"
    ):
        from_dict(TinyViTConfig, {**sizes, "embed_dims": [8, 8]})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such recipe"):
        load_recipe(TrainRecipe, tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_recipe(TrainRecipe, tmp_path / "binary.toml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_recipe_that_a_windows_editor_saved_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.toml").write_bytes("model = 'tiny' # \u00e9\n[run]\nsteps = 5\n".encode(encoding))
    assert load_recipe(TrainRecipe, tmp_path / "r.toml").run.steps == 5


@pytest.mark.parametrize("text", ["[optim]\nlr = " + "9" * 10_000, "x = " + "[" * 100_000])
def test_numbers_and_brackets_without_end_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_recipe(TrainRecipe, write(tmp_path / "r.toml", text))


def test_a_recipe_that_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the recipe cannot be read"):
        load_recipe(TrainRecipe, tmp_path)


def test_the_path_stands_before_the_field_in_every_message() -> None:
    for data, message in (
        ({"run": {"batch_size": 0}}, "'run.batch_size' must be"),
        ({"run": {"steps": 1, "minutes": 1}}, "'run.steps' is 1 and minutes is 1.0"),
        ({"loss": {"scale": 3}}, "'loss.scale' must be one of 1, 2, 4"),
        ({"phases": [{}, {"until": 0}]}, r"'phases\[1\].until' must be"),
        ({"phases": [{"side_weights": [1]}]}, r"'phases\[0\].side_weights' must have"),
    ):
        with pytest.raises(SettingsError, match=message):
            from_dict(TrainRecipe, data)


def test_a_network_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="the encoder is 'magic', which this version does not know; known: tiny_vit"
    ):
        SamConfig.from_dict({"name": "x", "image_size": 64, "encoder": {"kind": "magic"}})


# Keys without an effect


@pytest.mark.parametrize(
    ("cls", "text", "key", "needed"),
    [
        (DistillRecipe, "[loss]\ndice = 2\n", "loss.dice", 'method = "semi-coupled" or "coupled"'),
        (DistillRecipe, "[prompts]\nbox_jitter = 0\n", "prompts.box_jitter", 'method = "semi-coupled" or "coupled"'),
        (DistillRecipe, "[data]\nmin_area = 0\n", "data.min_area", 'method = "semi-coupled" or "coupled"'),
        (
            DistillRecipe,
            'method = "coupled"\n[embedding_loss]\nl1 = 1\n',
            "embedding_loss.l1",
            'method = "decoupled"',
        ),
        (DistillRecipe, "[data]\ncolour = 0\n", "data.colour", "`mobilesam train` without a store"),
        (
            DistillRecipe,
            'method = "coupled"\n[data.source_weights]\ncoco = 2\n',
            "data.source_weights",
            "`mobilesam train` without a store",
        ),
        (DistillRecipe, '[store]\nlive = true\npath = "x"\n', "store.path", "live = false"),
        (DistillRecipe, '[store]\nlive = true\ndtype = "int8"\n', "store.dtype", "live = false"),
        (
            DistillRecipe,
            'student_model = "tiny_lite"\n[student]\nembed_dims = [8, 8, 8, 8]\ndepths = [1, 1, 1, 1]\n'
            "num_heads = [1, 1, 1, 1]\nwindow_sizes = [2, 2, 2, 2]\n",
            "student.embed_dims",
            "a recipe without student_model",
        ),
        (DistillRecipe, "[run]\nresident = false\nresident_side = 64\n", "run.resident_side", "resident = true"),
        (TrainRecipe, "[run]\nresident = false\nresident_side = 64\n", "run.resident_side", "resident = true"),
        (TrainRecipe, "[lora]\nalpha = 2\n", "lora.alpha", "a rank above 0"),
        (TrainRecipe, '[lora]\nparts = ["mask_decoder"]\n', "lora.parts", "a rank above 0"),
        (TrainRecipe, "[data]\nmax_rotation = 90\n", "data.max_rotation", "rotate_probability above 0"),
        (
            TrainRecipe,
            "[data]\ncrop_probability = 0\nmin_crop = 0.9\n",
            "data.min_crop",
            "crop_probability above 0",
        ),
        (TrainRecipe, 'store = "x"\n[data]\ncolour = 0.3\n', "data.colour", "a recipe without a store"),
    ],
)
def test_a_key_that_does_nothing_beside_the_others_is_refused(
    tmp_path: Path, cls: Any, text: str, key: str, needed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_recipe(cls, write(tmp_path / "r.toml", text))
    assert f"'{key}' does nothing here: only {needed} uses it" in str(caught.value).splitlines()
    assert from_dict(cls, apply_overrides({}, [])) == cls()  # defaults are nobody's


def test_such_a_key_is_refused_from_the_command_line_too_even_at_its_default(tmp_path: Path) -> None:
    path = write(tmp_path / "r.toml", "")
    with pytest.raises(SettingsError, match=r"'lora\.alpha' does nothing here: only a rank above 0 uses it"):
        load_recipe(TrainRecipe, path, ["lora.alpha=8"])
    with pytest.raises(SettingsError) as caught:
        load_recipe(TrainRecipe, path, ["lora.alpha=8", "data.max_rotation=15"])
    assert len(str(caught.value).splitlines()) == 2
    assert load_recipe(TrainRecipe, path, ["lora.alpha=8", "lora.rank=2"]).lora.alpha == 8
