"""The second look, with a model that answers exactly."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam import boxes, contract, masks
from mobilesam.errors import ImageError, PromptError
from mobilesam.predict import zoom
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom
from tests.helpers.closeness import assert_same_function, assert_same_masks
from tests.helpers.seer import SIZE, dark_photo, see, without_photo

HW = (300, 400)
SMALL = (200, 100, 240, 130)  # 40 px of 400: a tenth
NO_POINTS = np.zeros((0, 2), np.float32)
SMALL_BOXES = [(30 * i, 20 * i, 30 * i + 20 + i, 20 * i + 12) for i in range(1, 12)]


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*HW, 3)).astype(np.uint8)


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


# Where the region lies


@pytest.mark.parametrize(
    ("box", "hw"),
    [
        (SMALL, HW),
        ((0, 0, 30, 40), HW),
        ((370, 260, 400, 300), HW),
        ((0, 100, 60, 120), HW),
        ((10, 0, 12, 300), (300, 40)),
        ((0, 10, 3000, 12), (40, 3000)),
        ((5, 5, 6, 6), HW),
        ((399, 299, 400, 300), HW),
        ((0.4, 0.6, 1.2, 2.9), (3, 3)),
    ],
)
def test_the_region_holds_the_box_and_lies_in_the_photo(box: tuple[float, ...], hw: tuple[int, int]) -> None:
    x0, y0, x1, y1 = zoom.region_around(box, NO_POINTS, hw)
    assert 0 <= x0 <= box[0]
    assert 0 <= y0 <= box[1]
    assert box[2] <= x1 <= hw[1]
    assert box[3] <= y1 <= hw[0]


def test_the_region_is_larger_than_the_box_by_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoom, "REGION_FACTOR", 1.5)
    assert zoom.region_around((100, 100, 180, 140), NO_POINTS, HW) == (80, 80, 200, 160)


def test_the_region_of_a_pixel_is_not_enlarged_without_end() -> None:
    x0, y0, x1, y1 = zoom.region_around((200, 100, 201, 101), NO_POINTS, HW)
    assert min(x1 - x0, y1 - y0) >= zoom.SMALLEST_REGION


def test_the_region_is_widened_to_hold_every_point() -> None:
    points = np.array([(10.5, 110), (399.9, 0), (400, 300)], np.float32)
    x0, y0, x1, y1 = zoom.region_around(SMALL, points, HW)
    assert (x0, y0, x1, y1) == (10, 0, 400, 300)


def test_the_region_does_not_grow_by_errors_of_rounding() -> None:
    box = (0.0, 0.0, float(np.float32(60.000004)), 60.0)  # what is left of 60 after two conversions in float32
    points = np.array([(0, 0), (np.float32(239.99998), 0)], np.float32)
    assert zoom.region_around(box, NO_POINTS, HW) == zoom.region_around((0, 0, 60, 60), NO_POINTS, HW)
    assert zoom.region_around(SMALL, points, HW) == zoom.region_around(SMALL, points.round(), HW)


# What a box is answered with


def test_a_second_look_sees_what_the_first_cannot() -> None:
    stripes = [(200 + 4 * i, 100, 202 + 4 * i, 130) for i in range(10)]
    photo = dark_photo(HW, *stripes)
    truth = photo[..., 0] > 0
    image = see(photo)
    assert iou(image.predict(box=SMALL).masks[0], truth) < 0.7
    assert iou(image.predict(box=SMALL, zoom=True).masks[0], truth) > 0.95


def test_after_a_box_nothing_outside_of_its_region_is_object() -> None:
    other = (20, 20, 80, 80)
    image = see(dark_photo(HW, SMALL, other))
    x0, y0, x1, y1 = zoom.region_around(SMALL, NO_POINTS, HW)
    for multimask in (False, True):
        found = image.predict(box=SMALL, multimask=multimask, zoom=True)
        for mask in found:
            assert mask.array[y0:y1, x0:x1].any()
            assert mask.area == mask.array[y0:y1, x0:x1].sum()
    assert image.predict(box=SMALL, zoom=False).masks[0][20:80, 20:80].any()


@pytest.mark.parametrize("hw", [(300, 400), (900, 50), (50, 900), (40, 40)])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.2, 0.9)])
def test_a_bright_box_is_found_where_it_lies(hw: tuple[int, int], at: tuple[float, float]) -> None:
    x, y = round(at[0] * (hw[1] - 12)), round(at[1] * (hw[0] - 9))
    bright = (x, y, x + 12, y + 9)
    found = see(dark_photo(hw, bright)).predict(box=bright, zoom=True).best
    assert found.array.shape == hw
    assert np.abs(np.subtract(found.box_xyxy, bright)).max() <= 1


def test_a_box_of_one_pixel_is_answered() -> None:
    pixel = (123, 45, 124, 46)
    found = see(dark_photo(HW, pixel)).predict(box=pixel, zoom=True).best
    assert np.abs(np.subtract(found.box_xyxy, pixel)).max() <= 1
    assert found.area >= 1


def test_the_prior_is_the_first_looks_and_the_scores_are_the_seconds(noise: np.ndarray) -> None:
    image = see(noise)
    first, second = image.predict(box=SMALL, zoom=False), image.predict(box=SMALL, zoom=True)
    np.testing.assert_array_equal(second.low_res, first.low_res)
    assert second.closeups[0] is not None
    assert second.scores == pytest.approx(0.9)


def test_masks_logits_best_and_items_agree(noise: np.ndarray) -> None:
    for prompt in ({"box": SMALL, "multimask": True}, {"points": [(220, 115)]}):
        found = see(noise).predict(**prompt, zoom=True)
        alone = [found[i].array for i in range(len(found))]  # each by itself
        best = found.best.array
        np.testing.assert_array_equal(found.masks, np.stack(alone))
        np.testing.assert_array_equal(found.masks[found.best_index], best)
        np.testing.assert_array_equal([found[i].array for i in range(len(found))], found.masks)
        for i in range(len(found)):
            np.testing.assert_array_equal(masks.threshold(found.logits(i)), found.masks[i])
        assert found.logits(0, (150, 200)).shape == (150, 200)


def test_the_best_mask_alone_is_made_for_the_best(noise: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    found = see(noise).predict(points=[(220, 115)])
    made: list[int] = []
    logits = Prediction.logits
    monkeypatch.setattr(Prediction, "logits", lambda self, i, hw=None: made.append(i) or logits(self, i, hw))
    assert found.best.area > 0
    _ = found.best.array
    assert made == [found.best_index]


# Many boxes


def test_a_batch_answers_as_single_prompts_do_in_any_order(noise: np.ndarray) -> None:
    image = see(noise)
    together = image.predict_batch(boxes=SMALL_BOXES, zoom=True)
    turned = image.predict_batch(boxes=SMALL_BOXES[::-1], zoom=True)[::-1]
    for box, one, other in zip(SMALL_BOXES, together, turned, strict=True):
        single = image.predict(box=box, zoom=True)
        np.testing.assert_array_equal(one.masks, single.masks)
        np.testing.assert_array_equal(other.masks, single.masks)


def test_prompts_of_different_lengths_keep_their_order(noise: np.ndarray) -> None:
    image = see(noise)
    points = [[(50, 60)], [(300, 200), (320, 210)], [(150, 250)]]
    labels = [[1], [1, 0], [1]]
    for found, xy, codes in zip(
        image.predict_batch(points=points, labels=labels, zoom=True), points, labels, strict=True
    ):
        np.testing.assert_array_equal(found.masks, image.predict(points=xy, labels=codes, zoom=True).masks)


def test_regions_are_encoded_in_batches_that_memory_bounds(noise: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    image = see(noise)
    image.predict_batch(boxes=SMALL_BOXES, zoom=True)
    assert [len(batch) for batch in image.backend.encoded] == [11]  # type: ignore[attr-defined]
    monkeypatch.setattr(zoom, "regions_per_call", lambda info: 4)
    image.backend.encoded.clear()  # type: ignore[attr-defined]
    image.predict_batch(boxes=SMALL_BOXES, zoom=True)
    assert [len(batch) for batch in image.backend.encoded] == [4, 4, 3]  # type: ignore[attr-defined]


def test_a_region_is_filled_up_with_what_normalisation_makes_zero() -> None:
    image = see(dark_photo((50, 900), (100, 10, 300, 40)))
    image.predict(box=(100, 10, 300, 40), zoom=True)
    (batch,) = image.backend.encoded  # type: ignore[attr-defined]
    assert batch.shape == (1, 3, SIZE, SIZE)
    np.testing.assert_array_equal(batch[0, :, -1, -1], np.array(contract.PIXEL_MEAN, np.float32))


# Clicks


@pytest.mark.parametrize("hw", [(300, 400), (900, 60), (60, 900)])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.5, 0.5), (0.999, 0.999), (0.1, 0.8)])
def test_a_point_is_mapped_into_its_region(hw: tuple[int, int], at: tuple[float, float]) -> None:
    x, y = int(at[0] * hw[1]), int(at[1] * hw[0])
    image = see(dark_photo(hw), scores=(0.1, 0.9, 0.2, 0.3))  # the disc is the best
    found = image.predict(points=[(x, y)], zoom=True)
    assert len(image.backend.encoded) == 1  # type: ignore[attr-defined]
    assert found.best.array[y, x]
    closeup = found.closeups[found.best_index]
    assert closeup is not None
    left, top, right, bottom = closeup.region_xyxy
    asked_x, asked_y = image.backend.asked[-1]["coords"][0, 0]  # type: ignore[attr-defined]
    height, width = closeup.input_hw
    assert left + asked_x / width * (right - left) == pytest.approx(x, abs=1e-3)
    assert top + asked_y / height * (bottom - top) == pytest.approx(y, abs=1e-3)


def test_a_click_replaces_the_best_mask_by_the_one_most_like_it(noise: np.ndarray) -> None:
    image = see(noise, scores=(0.1, 0.5, 0.4, 0.3))
    first = image.predict(points=[(220, 115)], zoom=False)
    second = image.predict(points=[(220, 115)], zoom=True)
    assert second.best_index == first.best_index == 0
    np.testing.assert_array_equal(second.scores, first.scores)
    np.testing.assert_array_equal(second.low_res, first.low_res)
    np.testing.assert_array_equal(second.masks[1:], first.masks[1:])
    assert (second.masks[0] ^ first.masks[0]).any()
    assert second.best.array[115, 220]


def test_a_click_that_found_nothing_gets_no_second_look() -> None:
    image = see(dark_photo(HW))
    found = image.predict(points=[(220, 115)], zoom=True)  # what is bright scores best, and nothing is
    assert not found.best.area
    assert found.closeups == ()
    assert not image.backend.encoded  # type: ignore[attr-defined]


def test_a_second_look_at_the_whole_photo_is_none() -> None:
    image = see(dark_photo(HW, SMALL))
    image.predict(box=(0, 0, 400, 300), zoom=True)
    assert not image.backend.encoded  # type: ignore[attr-defined]


def test_a_box_with_points_has_one_region_for_both() -> None:
    image = see(dark_photo(HW, SMALL))
    found = image.predict(box=SMALL, points=[(20, 280)], labels=[0], zoom=True)
    (closeup,) = found.closeups
    assert closeup is not None
    x0, _, _, y1 = closeup.region_xyxy
    assert (x0, y1) == (20, 281)
    assert found.best.box_xyxy == pytest.approx(SMALL, abs=3)


# When


def test_auto_looks_again_below_the_models_share_and_not_at_it() -> None:
    image = see(dark_photo(HW, SMALL), zoom_below=0.1)
    assert image.predict(box=SMALL).closeups == ()  # 40 of 400 is the share itself
    assert image.predict(box=(200, 100, 239.9, 130)).closeups
    assert image.predict(box=(200, 100, 239.9, 130), zoom=False).closeups == ()
    assert image.predict(points=[(220, 115)]).closeups == ()  # clicks have a share of their own


def test_auto_looks_again_after_clicks_that_found_something_small() -> None:
    image = see(dark_photo(HW, SMALL), click_zoom_below=0.2)
    assert any(image.predict(points=[(220, 115)]).closeups)
    assert see(dark_photo(HW, SMALL), click_zoom_below=0.05).predict(points=[(220, 115)]).closeups == ()
    assert image.predict(box=SMALL).closeups == ()


def test_auto_is_off_where_the_model_says_nothing(noise: np.ndarray) -> None:
    image = see(noise)
    assert image.predict(box=SMALL).closeups == ()
    assert not image.backend.encoded  # type: ignore[attr-defined]
    mixed = see(noise, zoom_below=0.1).predict_batch(boxes=[SMALL_BOXES[0], (10, 10, 300, 200)])
    assert [bool(found.closeups) for found in mixed] == [True, False]


def test_what_zoom_may_be_is_said(noise: np.ndarray) -> None:
    with pytest.raises(PromptError, match=r'"auto", True or False; found \'on\''):
        see(noise).predict(box=SMALL, zoom="on")


# With a prior


@pytest.mark.parametrize("zoom", ["auto", True])
def test_with_a_prior_the_region_gives_the_mask_most_like_the_refined_one(zoom: Zoom) -> None:
    image = see(dark_photo(HW, SMALL), zoom_below=1.0, click_zoom_below=1.0)
    prior = image.predict(points=[(220, 115)])
    for prompt in ({"points": [(220, 115)]}, {"box": SMALL}):
        refined = image.predict(**prompt, prior=prior, zoom=zoom)
        asked = image.backend.asked[-1]  # type: ignore[attr-defined]
        assert not asked["has_mask_input"].any()  # of the region there is no rough mask
        assert refined.closeups
        assert np.abs(np.subtract(refined.best.box_xyxy, SMALL)).max() <= 2
    with pytest.raises(PromptError, match="add the points or the box"):
        image.predict(prior=prior, zoom=True)
    assert image.predict(prior=prior).closeups == ()


# Without a photo


def test_without_a_photo_true_says_how_to_mend_it_and_auto_warns() -> None:
    image = without_photo(see(dark_photo(HW, SMALL), zoom_below=0.5))
    with pytest.raises(PromptError, match=r"load_embedding\(path, photo=photo\)"):
        image.predict(box=SMALL, zoom=True)
    with pytest.warns(UserWarning, match=r"load_embedding\(path, photo=photo\)") as caught:
        found = image.predict_batch(boxes=[SMALL, SMALL])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert found[0].closeups == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is missed here
        image.predict(box=(0, 0, 300, 200))
        image.predict(box=SMALL, zoom=False)
        image.predict(points=[(220, 115)])


def test_a_saved_embedding_takes_its_photo_along(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding, coffee: Path, tmp_path: Path
) -> None:
    coffee_embedding.save(tmp_path / "coffee.emb")
    box = (170, 15, 260, 90)
    expected = coffee_embedding.predict(box=box, zoom=True)
    loaded = embedded.load_embedding(tmp_path / "coffee.emb", photo=coffee)
    assert_same_masks(loaded.predict(box=box, zoom=True).masks, expected.masks)
    with pytest.raises(ImageError, match=r"the photo is 10x20, .* 600x400"):
        embedded.load_embedding(tmp_path / "coffee.emb", photo=np.zeros((20, 10, 3), np.uint8))


# With a real model


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_every_backend_looks_again(backend: str, coffee: Path) -> None:
    from mobilesam.extras import is_installed

    if not is_installed(backend.replace("onnx", "onnxruntime")):
        pytest.skip(f"{backend} is not installed")
    image = mobilesam.load(backend=backend).embed(coffee)
    given = [(170, 15, 260, 90), (300, 200, 330, 290), (10, 300, 200, 390)]
    together = image.predict_batch(boxes=given, zoom=True)
    for box, found in zip(given, together, strict=True):
        single = image.predict(box=box, zoom=True)
        assert found.closeups[0] is not None
        assert single.closeups[0] is not None
        assert_same_function(found.closeups[0].low_res, single.closeups[0].low_res)
        x0, y0, x1, y1 = boxes.from_mask(found.masks[0])
        left, top, right, bottom = found.closeups[0].region_xyxy
        assert left <= x0 < x1 <= right
        assert top <= y0 < y1 <= bottom
