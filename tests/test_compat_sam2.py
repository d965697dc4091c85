"""SAM 2's image predictor on our models: argument names and shapes as SAM 2 documents them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from PIL import Image

from mobilesam.compat import SAM2ImagePredictor, SamPredictor
from mobilesam.compat.model import SamModel
from mobilesam.errors import ImageError, ModelError, PromptError
from mobilesam.predict.closeup import Closeup
from mobilesam.predict.results import Prediction
from mobilesam.region import Region
from tests.conftest import EXAMPLES

POINT, LABEL = np.array([[300, 180]]), np.array([1])
BOXES = np.array([[120, 60, 440, 290], [326, 229, 406, 326]])


@pytest.fixture(scope="module")
def model() -> SamModel:
    return SamModel("embedded")


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("RGB")) for name in ("coffee", "chelsea")]


@pytest.fixture(scope="module")
def one(model: SamModel, photos: list[np.ndarray]) -> SAM2ImagePredictor:
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(Image.fromarray(photos[0]))
    return predictor


@pytest.fixture(scope="module")
def batch(model: SamModel, photos: list[np.ndarray]) -> SAM2ImagePredictor:
    predictor = SAM2ImagePredictor(model)
    predictor.set_image_batch(photos)
    return predictor


@pytest.fixture(scope="module")
def sam1(model: SamModel, photos: list[np.ndarray]) -> SamPredictor:
    predictor = SamPredictor(model)
    predictor.set_image(photos[0])
    return predictor


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("__init__", "sam_model mask_threshold max_hole_area max_sprinkle_area"),
        ("set_image", "image"),
        ("set_image_batch", "image_list"),
        (
            "predict",
            "point_coords point_labels box mask_input multimask_output return_logits normalize_coords",
        ),
        (
            "predict_batch",
            "point_coords_batch point_labels_batch box_batch mask_input_batch multimask_output return_logits "
            "normalize_coords",
        ),
    ],
)
def test_arguments_are_those_of_sam_2(name: str, arguments: str) -> None:
    found = list(inspect.signature(getattr(SAM2ImagePredictor, name)).parameters)[1:]
    assert found[: len(arguments.split())] == arguments.split()


def test_one_prompt_has_no_axis_of_prompts_and_finds_sams_masks(one: SAM2ImagePredictor, sam1: SamPredictor) -> None:
    masks, scores, logits = one.predict(point_coords=POINT, point_labels=LABEL)
    assert (masks.shape, scores.shape, logits.shape) == ((3, 400, 600), (3,), (3, 128, 128))
    assert masks.dtype == np.float32
    expected = sam1.predict(point_coords=POINT, point_labels=LABEL)
    np.testing.assert_array_equal(masks, expected[0].astype(np.float32))
    np.testing.assert_array_equal(scores, expected[1])
    refined = one.predict(point_coords=POINT, point_labels=LABEL, mask_input=logits[:1], multimask_output=False)
    assert refined[0].shape == (1, 400, 600)


def test_several_prompts_keep_their_axis(one: SAM2ImagePredictor) -> None:
    masks, scores, logits = one.predict(box=BOXES, multimask_output=False)
    assert (masks.shape, scores.shape, logits.shape) == ((2, 1, 400, 600), (2, 1), (2, 1, 128, 128))
    points = np.repeat(POINT[None], 4, axis=0)  # (4, 1, 2)
    masks, scores, _ = one.predict(point_coords=points, point_labels=np.ones((4, 1)))
    assert (masks.shape, scores.shape) == ((4, 3, 400, 600), (4, 3))


def test_coordinates_may_be_shares_of_the_sides(one: SAM2ImagePredictor) -> None:
    in_pixels = one.predict(point_coords=POINT, point_labels=LABEL, box=BOXES[0], multimask_output=False)
    shares = one.predict(
        point_coords=POINT / (600, 400),
        point_labels=LABEL,
        box=BOXES[0] / (600, 400, 600, 400),
        multimask_output=False,
        normalize_coords=False,
    )
    for a, b in zip(in_pixels, shares, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_logits_are_limited_and_become_the_masks(one: SAM2ImagePredictor) -> None:
    full, _, low_res = one.predict(box=BOXES[0], return_logits=True)
    masks, _, _ = one.predict(box=BOXES[0])
    np.testing.assert_array_equal(full > 0, masks > 0)
    assert np.abs(low_res).max() <= 32


def test_a_batch_answers_each_image_with_its_own_prompts(batch: SAM2ImagePredictor, one: SAM2ImagePredictor) -> None:
    masks, scores, logits = batch.predict_batch(
        point_coords_batch=[None, np.array([[[150, 120]], [[300, 100]]])],
        point_labels_batch=[None, np.ones((2, 1))],
        box_batch=[BOXES[0], None],
        multimask_output=False,
    )
    assert [mask.shape for mask in masks] == [(1, 400, 600), (2, 1, 300, 451)]
    assert [score.shape for score in scores] == [(1,), (2, 1)]
    assert [one_.shape for one_ in logits] == [(1, 128, 128), (2, 1, 128, 128)]
    np.testing.assert_array_equal(masks[0], one.predict(box=BOXES[0], multimask_output=False)[0])


def test_small_holes_and_pieces_can_be_removed(model: SamModel) -> None:
    predictor = SAM2ImagePredictor(model, max_hole_area=4, max_sprinkle_area=3)
    logits = np.full((1, 1, 20, 20), -5, np.float32)
    logits[..., 2:12, 2:12] = 5
    logits[..., 4:6, 4:6] = -1  # a hole of four pixels
    logits[..., 7:9, 6:9] = -1  # one of six
    logits[..., 15, 15:18] = 5  # a piece of three
    logits[..., 18, 2:6] = 5  # one of four
    found = predictor._without_small_pieces(logits)[0, 0] > 0
    assert found[4:6, 4:6].all()
    assert not found[7:9, 6:9].any()
    assert not found[15].any()
    assert found[18, 2:6].all()


@pytest.mark.parametrize("box", [(385, 45, 425, 110), (170, 15, 410, 310)])  # one with a second look, one without
def test_cleaning_that_finds_nothing_leaves_the_answer_as_it_is(
    model: SamModel, photos: list[np.ndarray], box: tuple[int, ...]
) -> None:
    answers = []
    for area in (0, 0.5):  # no hole and no piece is as small as half a pixel
        predictor = SAM2ImagePredictor(model, max_hole_area=area, max_sprinkle_area=area)
        predictor.set_image(photos[0])
        answers.append(predictor.predict(box=np.array(box), multimask_output=False))
    for plain, cleaned in zip(*answers, strict=True):
        np.testing.assert_array_equal(plain, cleaned)


def test_the_masks_of_both_looks_are_cleaned(model: SamModel) -> None:
    def logits(hole: slice) -> np.ndarray:
        made = np.full((1, 32, 32), 5, np.float32)
        made[:, hole, hole] = -5
        return made

    closeup = Closeup(Region(0, 0, 16, 16), logits(slice(24, 26))[0], 32, (32, 32), goes_on=True)
    found = Prediction(logits(slice(28, 30)), np.ones(1, np.float32), 32, (32, 32), (32, 32), closeups=(closeup,))
    assert found.logits(0)[12, 12] < 0  # the hole of the second look, whose region is enlarged twice
    assert found.logits(0)[28, 28] < 0
    cleaned = SAM2ImagePredictor(model, max_hole_area=4)._cleaned(found)
    assert (cleaned.logits(0) > 0).all()


def test_what_is_asked_in_the_wrong_order_or_form_is_refused(
    one: SAM2ImagePredictor, batch: SAM2ImagePredictor, model: SamModel, photos: list[np.ndarray]
) -> None:
    fresh = SAM2ImagePredictor(model)
    for call in (
        lambda: fresh.predict(box=BOXES[0]),
        lambda: fresh.predict_batch(),
        lambda: one.predict_batch(box_batch=[BOXES]),
        lambda: batch.predict(box=BOXES[0]),
        lambda: batch.get_image_embedding(),
    ):
        with pytest.raises(RuntimeError, match="set_image"):
            call()
    with pytest.raises(PromptError, match="box_batch needs an entry for each of the 2 images, None for none; has 1"):
        batch.predict_batch(box_batch=[BOXES])
    with pytest.raises(PromptError, match="given together"):
        one.predict(point_coords=POINT)
    with pytest.raises(PromptError, match="finite"):
        one.predict(box=np.array([np.nan, 0, 1, 1]))
    with pytest.raises(AssertionError, match="list of images"):
        fresh.set_image_batch(np.stack([photos[0]] * 2))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="uint8"):
        fresh.set_image(np.zeros((3, 4)))


def test_a_model_is_loaded_by_its_name_and_none_of_sam_2(photos: list[np.ndarray]) -> None:
    predictor = SAM2ImagePredictor.from_pretrained("embedded", device="cpu", max_hole_area=3)
    assert (predictor.device, predictor.max_hole_area) == ("cpu", 3)
    smaller = SAM2ImagePredictor.from_pretrained("embedded", image_size=256)
    smaller.set_image(photos[0])
    assert smaller.predict(box=BOXES[0])[2].shape == (3, 64, 64)
    with pytest.raises(ModelError, match="unknown model 'facebook/sam2-hiera-tiny'"):
        SAM2ImagePredictor.from_pretrained("facebook/sam2-hiera-tiny")


@pytest.mark.torch
def test_the_embedding_is_a_tensor_and_can_be_forgotten(model: SamModel, photos: list[np.ndarray]) -> None:
    predictor = SAM2ImagePredictor(model, some_option_of_sam_2=True)
    predictor.set_image(photos[0])
    assert tuple(predictor.get_image_embedding().shape) == (1, 256, 32, 32)
    predictor.reset_predictor()
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(box=BOXES[0])
