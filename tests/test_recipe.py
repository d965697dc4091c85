"""Settings from TOML, from the command line and from Python: what is read, what is refused, and in which words."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mobilesam.distill import config as distill_config
from mobilesam.distill.config import DistillRecipe, EmbeddingLossConfig, StoreConfig, TeacherConfig
from mobilesam.errors import SettingsError
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
from mobilesam.model import config as model_config
from mobilesam.model.config import SamConfig, TinyViTConfig
from mobilesam.recipe import Settings, apply_overrides, describe, fits, from_dict, kinds, load_recipe
from mobilesam.train import config as train_config
from mobilesam.train.config import (
    DataConfig,
    LoraConfig,
    LossConfig,
    OptimConfig,
    PhaseConfig,
    PromptConfig,
    RunConfig,
    TrainRecipe,
    ValidationConfig,
)


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


# Ranges and choices

WRONG: list[tuple[type[Settings], dict[str, Any], str]] = [
    (DataConfig, {"fraction": 2.0}, "'fraction' must be a number above 0 and at most 1, found 2.0"),
    (DataConfig, {"fraction": 0.0}, "'fraction' must be a number above 0 and at most 1, found 0.0"),
    (DataConfig, {"min_crop": 0.0}, "'min_crop' must be a number above 0 and at most 1, found 0.0"),
    (DataConfig, {"min_area": -0.1}, "'min_area' must be a number of at least 0 and at most 1, found -0.1"),
    (DataConfig, {"masks_per_photo": 0}, "'masks_per_photo' must be an integer of at least 1, found 0"),
    (
        DataConfig,
        {"crop_probability": 1.5},
        "'crop_probability' must be a number of at least 0 and at most 1, found 1.5",
    ),
    (DataConfig, {"object_crop_probability": -1.0}, "'object_crop_probability' must be a number of at least 0 and"),
    (DataConfig, {"rotate_probability": 2.0}, "'rotate_probability' must be"),
    (DataConfig, {"paste_probability": 2.0}, "'paste_probability' must be"),
    (DataConfig, {"colour": 1.5}, "'colour' must be"),
    (DataConfig, {"max_stretch": 0.5}, "'max_stretch' must be a number of at least 1, found 0.5"),
    (DataConfig, {"max_rotation": 270.0}, "'max_rotation' must be a number of at least 0 and at most 180, found 270.0"),
    (DataConfig, {"size_power": float("inf")}, "'size_power' must be a number that is finite, found inf"),
    (
        DataConfig,
        {"source_weights": {"a": -1.0}},
        "'source_weights' must be a table, each value a number of at least 0",
    ),
    (DataConfig, {"other_weight": 0.0}, "'other_weight' is 0 and so is every weight in source_weights"),
    (PromptConfig, {"point_probability": 1.1}, "'point_probability' must be"),
    (PromptConfig, {"deep_probability": -0.1}, "'deep_probability' must be"),
    (PromptConfig, {"box_jitter": -0.1}, "'box_jitter' must be a number of at least 0, found -0.1"),
    (PromptConfig, {"round_weights": (0.5, -0.5)}, "'round_weights' must be a list (in Python a tuple), each item a"),
    (PromptConfig, {"round_weights": (0.0, 0.0)}, "'round_weights' must have a weight above 0, found (0.0, 0.0)"),
    (PromptConfig, {"round_weights": ()}, "'round_weights' must have at least one weight, found none"),
    (LossConfig, {"dice": -1.0}, "'dice' must be a number of at least 0, found -1.0"),
    (LossConfig, {"scale": 3}, "'scale' must be one of 1, 2, 4, found 3"),
    (LossConfig, {"bce": 0.0, "dice": 0.0, "iou": 0.0}, "'bce' and every other weight of the loss is 0"),
    (OptimConfig, {"lr": 0.0}, "'lr' must be a number above 0, found 0.0"),
    (OptimConfig, {"lr": float("nan")}, "'lr' must be a number above 0, found nan"),
    (OptimConfig, {"lr_scale": {"neck": -1.0}}, "'lr_scale' must be a table, each value a number of at least 0"),
    (OptimConfig, {"weight_decay": -1.0}, "'weight_decay' must be a number of at least 0, found -1.0"),
    (OptimConfig, {"warmup_steps": -1}, "'warmup_steps' must be an integer of at least 0, found -1"),
    (OptimConfig, {"min_lr_ratio": 2.0}, "'min_lr_ratio' must be"),
    (OptimConfig, {"clip_norm": 0.0}, "'clip_norm' must be a number above 0, found 0.0"),
    (OptimConfig, {"ema_decay": 1.1}, "'ema_decay' must be a number of at least 0 and at most 1, found 1.1"),
    (RunConfig, {"steps": -1}, "'steps' must be an integer of at least 0, found -1"),
    (RunConfig, {"minutes": -1.0}, "'minutes' must be a number of at least 0, found -1.0"),
    (RunConfig, {"steps": 5, "minutes": 1.0}, "'steps' is 5 and minutes is 1.0, and both say how long"),
    (RunConfig, {"batch_size": 0}, "'batch_size' must be an integer of at least 1, found 0"),
    (RunConfig, {"accumulate": 0}, "'accumulate' must be an integer of at least 1, found 0"),
    (RunConfig, {"seed": -1}, "'seed' must be an integer of at least 0, found -1"),
    (RunConfig, {"precision": "x"}, '\'precision\' must be one of "32-true", "bf16-mixed", "16-mixed", "bf16-true", '),
    (RunConfig, {"accelerator": "gpus"}, '\'accelerator\' must be one of "auto", "cpu", "gpu", "cuda", "mps", found'),
    (RunConfig, {"devices": 0}, "'devices' must be an integer of at least 1 or \"auto\", found 0"),
    (RunConfig, {"devices": "all"}, "'devices' must be an integer of at least 1 or \"auto\", found 'all'"),
    (RunConfig, {"resident": "yes"}, "'resident' must be true or false or \"auto\", found 'yes'"),
    (RunConfig, {"num_nodes": 0}, "'num_nodes' must be an integer of at least 1, found 0"),
    (RunConfig, {"workers": -1}, "'workers' must be an integer of at least 0, found -1"),
    (RunConfig, {"log_every": 0}, "'log_every' must be an integer of at least 1, found 0"),
    (RunConfig, {"checkpoint_every": 0}, "'checkpoint_every' must be an integer of at least 1, found 0"),
    (PhaseConfig, {"until": 0.0}, "'until' must be a number above 0 and at most 1, found 0.0"),
    (PhaseConfig, {"sides": (250,)}, "each item an integer of at least 32 and a multiple of 32, found (250,)"),
    (PhaseConfig, {"sides": (64,), "side_weights": (0.0,)}, "'side_weights' must have a weight above 0, found (0.0,)"),
    (PhaseConfig, {"side_weights": (1.0,)}, "'side_weights' must have one weight for each of the 0 sides, found 1"),
    (PhaseConfig, {"object_crop_probability": 2.0}, 'at least 0 and at most 1 or "none", found 2.0'),
    (ValidationConfig, {"every": 0}, "'every' must be an integer of at least 1, found 0"),
    (ValidationConfig, {"photos": -1}, "'photos' must be an integer of at least 0, found -1"),
    (ValidationConfig, {"masks_per_photo": 0}, "'masks_per_photo' must be an integer of at least 1, found 0"),
    (LoraConfig, {"rank": -1}, "'rank' must be an integer of at least 0, found -1"),
    (LoraConfig, {"alpha": 0.0}, "'alpha' must be a number above 0, found 0.0"),
    (LoraConfig, {"parts": ("prompt_encoder",)}, 'each item one of "image_encoder", "mask_decoder", found'),
    (TrainRecipe, {"image_size": 100}, "'image_size' must be an integer of at least 0 and a multiple of 32, found 100"),
    (TrainRecipe, {"model": "tinny"}, "'model' must be one of tiny, tiny_lite, "),
    (
        TrainRecipe,
        {"phases": (PhaseConfig(until=0.5), PhaseConfig(until=0.2))},
        "'phases' must end one after the other: until must not fall, found [0.5, 0.2]",
    ),
    (TeacherConfig, {"batch_size": 0}, "'batch_size' must be an integer of at least 1, found 0"),
    (
        TeacherConfig,
        {"image_size": -32},
        "'image_size' must be an integer of at least 0 and a multiple of 32, found -32",
    ),
    (StoreConfig, {"dtype": "int4"}, "'dtype' must be one of \"float16\", \"int8\", found 'int4'"),
    (StoreConfig, {"views": 0}, "'views' must be an integer of at least 1, found 0"),
    (EmbeddingLossConfig, {"mse": 0.0}, "'mse' and every other weight of the loss is 0: nothing would be learnt"),
    (EmbeddingLossConfig, {"l1": -1.0}, "'l1' must be a number of at least 0, found -1.0"),
    (DistillRecipe, {"method": "x"}, '\'method\' must be one of "decoupled", "semi-coupled", "coupled", found \'x\''),
    (DistillRecipe, {"student_model": "x"}, "'student_model' must be one of tiny, tiny_lite, "),
    (
        EverythingSettings,
        {"points_per_side": 0},
        "'points_per_side' must be an integer of at least 1 and at most 1024, found 0",
    ),
    (
        EverythingSettings,
        {"points_per_batch": 0},
        "'points_per_batch' must be an integer of at least 1 or \"none\", found",
    ),
    (
        EverythingSettings,
        {"pred_iou_thresh": 1.5},
        "'pred_iou_thresh' must be a number of at least -1 and at most 1 or",
    ),
    (
        EverythingSettings,
        {"box_nms_thresh": -0.1},
        "'box_nms_thresh' must be a number of at least 0, found -0.1",
    ),
    (EverythingSettings, {"crop_overlap_ratio": 1.0}, "must be a number of at least 0 and below 1, found 1.0"),
    (EverythingSettings, {"small_share": 2.0}, "'small_share' must be"),
    (EverythingSettings, {"dense_where": "far"}, "'dense_where' must be one of \"small\", \"uncovered\", found 'far'"),
]


@pytest.mark.parametrize(("cls", "values", "message"), WRONG, ids=lambda v: str(v)[:40] if isinstance(v, dict) else "")
def test_a_value_out_of_range_is_refused_in_python_and_from_a_file(
    cls: type[Settings], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        cls(**values)
    assert message in str(caught.value)
    if any(isinstance(value, tuple) and value and isinstance(value[0], Settings) for value in values.values()):
        return
    with pytest.raises(SettingsError) as caught:
        from_dict(cls, values)
    assert message in str(caught.value)


@pytest.mark.parametrize("values", [{"backend": "x"}, {"precision": "x"}, {"zoom": "x"}, {"image_size": 100}])
def test_an_evaluation_takes_known_choices_only(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"'{next(iter(values))}' must be"):
        EvaluateSettings(data=("x",), protocols=("box",), **values)


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


def test_settings_take_keywords_only_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        RunConfig("somewhere")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        RunConfig().steps = 3  # type: ignore[misc]


def test_numbers_of_numpy_are_numbers() -> None:
    np = pytest.importorskip("numpy")
    settings = EverythingSettings(points_per_side=np.int64(8), pred_iou_thresh=np.float32(0.5))
    assert settings.points_per_side == 8
    with pytest.raises(SettingsError, match="points_per_side"):
        EverythingSettings(points_per_side=np.float32(8))


# The classes themselves

CLASSES = [
    cls
    for module in (train_config, distill_config, model_config)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Settings) and cls.__module__ == module.__name__
]
CLASSES += [EverythingSettings, EvaluateSettings]


def field_docstrings(cls: type[Settings]) -> dict[str, bool]:
    """Each field of a class, and whether a docstring follows it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, following in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_setting_has_a_docstring_and_a_type_that_the_reader_knows(cls: type[Settings]) -> None:
    assert len(CLASSES) >= 19, "none is overlooked"
    documented = field_docstrings(cls)
    assert list(documented) == list(kinds(cls)), "every annotation is a field"  # type: ignore[arg-type]
    assert [name for name, has_docstring in documented.items() if not has_docstring] == []
    for kind in kinds(cls).values():  # type: ignore[arg-type]
        assert not fits(object(), kind)
        assert "typing" not in describe(kind)
        assert "<" not in describe(kind), describe(kind)


def test_a_network_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="the encoder is 'magic', which this version does not know; known: tiny_vit"
    ):
        SamConfig.from_dict({"name": "x", "image_size": 64, "encoder": {"kind": "magic"}})
