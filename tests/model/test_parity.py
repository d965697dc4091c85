"""Our network computes the reference's function: same made-up weights, same answers.

Inputs, embeddings, logits and scores within 1e-3, masks at IoU 0.999 and better, for every prompt of the goldens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import mobilesam
from mobilesam.image import open_photo, resize_long_side, to_input
from mobilesam.model.backend import TorchBackend
from mobilesam.model.config import MOBILE_SAM, SAM_VIT_B, SAM_VIT_H, SAM_VIT_L, SamConfig
from mobilesam.model.detect import detect_config
from mobilesam.model.sam import Sam
from tests.helpers.networks import build
from tests.helpers.standin import GOLDEN, spec

EXAMPLES = Path(__file__).parents[2] / "examples"
TOLERANCE = 1e-3

PROMPTS: dict[str, dict[str, Any]] = {
    "coffee/point": {"points": [(300, 180)], "multimask": True},
    "coffee/two_points": {"points": [(300, 180), (60, 350)], "labels": [1, 0], "multimask": False},
    "coffee/box": {"box": (120, 60, 480, 320), "multimask": False},
    "coffee/box_and_point": {
        "box": (120, 60, 480, 320),
        "points": [(300, 200)],
        "labels": [0],
        "multimask": True,
    },
    "chelsea/point": {"points": [(230, 160)], "multimask": True},
    "chelsea/box": {"box": (100, 20, 400, 290), "multimask": True},
}


@pytest.fixture(scope="module", params=["t", "b"])
def reference(request: pytest.FixtureRequest) -> tuple[mobilesam.Predictor, dict[str, NDArray[Any]]]:
    """Our predictor with stand-in weights, and the reference's answers."""
    with np.load(GOLDEN / f"vit_{request.param}.npz") as file:
        golden = {key: file[key] for key in file.files}
    return mobilesam.Predictor(TorchBackend(build(request.param))), golden


@pytest.mark.parametrize(("kind", "config"), [("t", MOBILE_SAM), ("b", SAM_VIT_B), ("l", SAM_VIT_L), ("h", SAM_VIT_H)])
def test_keys_and_shapes_are_the_official_ones_and_name_the_model(kind: str, config: SamConfig) -> None:
    official = spec(kind)
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in Sam(config).state_dict().items()}
        state = {key: torch.empty(shape) for key, shape in official.items()}
    assert ours == official
    assert detect_config(state) == config


def test_embedding_prompts_and_masks_equal_the_references(
    reference: tuple[mobilesam.Predictor, dict[str, NDArray[Any]]],
) -> None:
    sam, golden = reference
    photos = sorted({key.split("/")[0] for key in golden if key.endswith("original_hw")})
    checked = 0
    for photo in photos:
        image = sam.embed(EXAMPLES / f"{photo}.png")
        assert image.original_hw == tuple(golden[f"{photo}/original_hw"])
        assert image.input_hw == tuple(golden[f"{photo}/input_hw"])
        np.testing.assert_allclose(image.array[0, ::8, ::8, ::8], golden[f"{photo}/embedding_sub"], atol=TOLERANCE)
        mean, deviation, largest = golden[f"{photo}/embedding_stats"]
        assert image.array.mean() == pytest.approx(mean, abs=TOLERANCE)
        assert image.array.std() == pytest.approx(deviation, abs=TOLERANCE)
        assert np.abs(image.array).max() == pytest.approx(largest, abs=TOLERANCE)
        for name, prompt in PROMPTS.items():
            if name.startswith(photo) and f"{name}/scores" in golden:
                multimask = len(golden[f"{name}/scores"]) == 3
                check(image.predict(**{**prompt, "multimask": multimask}), golden, name)
                checked += 1
        prior = golden[f"{photo}/prior/mask_input"][0].astype(np.float32)
        check(image.predict(points=PROMPTS[f"{photo}/point"]["points"], prior=prior), golden, f"{photo}/prior")
    assert checked == sum(f"{name}/scores" in golden for name in PROMPTS)
    assert checked >= 1


def check(found: mobilesam.Prediction, golden: dict[str, NDArray[Any]], name: str) -> None:
    np.testing.assert_allclose(found.scores, golden[f"{name}/scores"], atol=TOLERANCE)
    np.testing.assert_allclose(found.low_res[:, ::8, ::8], golden[f"{name}/low_res_sub"], atol=TOLERANCE)
    h, w = found.original_hw
    expected = np.unpackbits(golden[f"{name}/mask_bits"], axis=1)[:, : h * w].reshape(-1, h, w).astype(bool)
    for ours, theirs in zip(found.masks, expected, strict=True):
        assert (ours & theirs).sum() >= 0.999 * (ours | theirs).sum()


def test_the_preprocessed_input_equals_the_references() -> None:
    with torch.device("cpu"):
        model = Sam(MOBILE_SAM)
    for kind in "tb":
        golden = np.load(GOLDEN / f"vit_{kind}.npz")
        for photo in ("coffee", "chelsea"):
            if f"{photo}/input_sub" not in golden.files:
                continue
            rgb = open_photo(EXAMPLES / f"{photo}.png")
            assert resize_long_side(rgb, 1024).shape[:2] == tuple(golden[f"{photo}/input_hw"])
            padded = model.preprocess(torch.from_numpy(to_input(rgb, 1024)))
            np.testing.assert_allclose(padded[0, :, ::32, ::32].numpy(), golden[f"{photo}/input_sub"], atol=1e-5)
        golden.close()
