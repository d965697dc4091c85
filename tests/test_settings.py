"""Settings classes: which values each refuses, in which words, and what each class must have."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import pytest

from mobilesam.distill import config as distill_config
from mobilesam.distill.config import DistillRecipe, EmbeddingLossConfig, StoreConfig, TeacherConfig
from mobilesam.errors import SettingsError
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
from mobilesam.model import config as model_config
from mobilesam.recipe import from_dict
from mobilesam.settings import Settings, describe, fits, kinds
from mobilesam.train import config as train_config
from mobilesam.train import learning_config, photo_config, run_config
from mobilesam.train.config import TrainRecipe
from mobilesam.train.learning_config import LoraConfig, LossConfig, OptimConfig
from mobilesam.train.photo_config import DataConfig, PromptConfig
from mobilesam.train.run_config import PhaseConfig, RunConfig, ValidationConfig

# Ranges and choices

WRONG: list[tuple[type[Settings], dict[str, Any], str]] = [
    (DataConfig, {"max_pixels": 0}, "'max_pixels' must be an integer of at least 1, found 0"),
    (DataConfig, {"value_range": (3.0, 1.0)}, "'value_range' takes two numbers, the value of black and a larger one"),
    (DataConfig, {"value_range": (3.0,)}, "'value_range' must be a list (in Python a tuple) of 2 items"),
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
    (
        DataConfig,
        {"size_power": float("inf")},
        "'size_power' must be a number of at least -10 and at most 10, found inf",
    ),
    (DataConfig, {"size_power": 1e308}, "'size_power' must be a number of at least -10 and at most 10, found 1e+308"),
    (DataConfig, {"masks_per_photo": 10**20}, "an integer of at least 1 and at most 2147483647, found 1000000000"),
    (DataConfig, {"source_weights": {"a": 1e308}}, "each value a number of at least 0 and at most 1e+30, found {'a'"),
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
    (OptimConfig, {"lr": 1e308}, "'lr' must be a number above 0 and at most 1e+30, found 1e+308"),
    (OptimConfig, {"clip_norm": 1e39}, "'clip_norm' must be a number above 0 and at most 1e+30, found 1e+39"),
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
    (RunConfig, {"batch_size": 10**20}, "'batch_size' must be an integer of at least 1 and at most 2147483647, found"),
    (RunConfig, {"batch_size": 10**400}, "'batch_size' must be an integer of at least 1 and at most 2147483647, found"),
    (RunConfig, {"seed": 10**20}, "'seed' must be an integer of at least 0 and at most 9223372036854775807, found 1"),
    (RunConfig, {"devices": 10**9}, "'devices' must be an integer of at least 1 and at most 1024 or \"auto\", found 1"),
    (
        RunConfig,
        {"workers": 10**20},
        "'workers' must be an integer of at least 0 and at most 1024, found 1000000000000",
    ),
    (RunConfig, {"accumulate": 0}, "'accumulate' must be an integer of at least 1, found 0"),
    (RunConfig, {"seed": -1}, "'seed' must be an integer of at least 0, found -1"),
    (RunConfig, {"precision": "x"}, '\'precision\' must be one of "32-true", "bf16-mixed", "16-mixed", "bf16-true", '),
    (RunConfig, {"accelerator": "gpus"}, '\'accelerator\' must be one of "auto", "cpu", "gpu", "cuda", "mps", found'),
    (RunConfig, {"devices": 0}, "'devices' must be an integer of at least 1 and at most 1024 or \"auto\", found 0"),
    (
        RunConfig,
        {"devices": "all"},
        "'devices' must be an integer of at least 1 and at most 1024 or \"auto\", found 'all'",
    ),
    (RunConfig, {"resident": "yes"}, "'resident' must be true or false or \"auto\", found 'yes'"),
    (RunConfig, {"num_nodes": 0}, "'num_nodes' must be an integer of at least 1, found 0"),
    (RunConfig, {"workers": -1}, "'workers' must be an integer of at least 0 and at most 1024, found -1"),
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
    (TrainRecipe, {"model": "tinny"}, "'model' must be one of tiny, "),
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
    (DistillRecipe, {"student_model": "x"}, "'student_model' must be one of tiny, "),
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
    (EverythingSettings, {"coarse_factor": 2**31}, "'coarse_factor' must be an integer of at least 1 and at most 2147"),
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


def test_limits_on_bytes_and_pixels_may_be_as_large_as_disks() -> None:
    assert DataConfig(max_pixels=10**12).max_pixels == 10**12


# The classes themselves

CLASSES = [
    cls
    for module in (train_config, learning_config, photo_config, run_config, distill_config, model_config)
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
