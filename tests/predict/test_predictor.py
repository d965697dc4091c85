from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from mobilesam.errors import ImageError, ModelError, PromptError
from mobilesam.extras import is_installed
from mobilesam.predict.prompts import Prompt
from tests.helpers.closeness import assert_same_function, assert_same_masks

POINT, BOX = (300, 180), (120, 60, 480, 320)


def test_one_point_gives_three_masks_and_a_box_one(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    three = coffee_embedding.predict(points=[POINT])
    assert three.masks.shape == (3, 400, 600)
    assert three.masks.dtype == np.bool_
    assert three.scores.shape == (3,)
    assert three.low_res.shape == (3, 128, 128)
    one = coffee_embedding.predict(box=BOX)
    assert one.masks.shape == (1, 400, 600)
    assert len(coffee_embedding.predict(points=[POINT], multimask=False)) == 1
    assert len(coffee_embedding.predict(box=BOX, multimask=True)) == 3


def test_the_embedded_model_finds_the_cup(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    cup = np.zeros((400, 600), np.uint8)  # drawn by hand: the rim, and the body below it
    cv2.ellipse(cup, (291, 112), (118, 94), 0, 0, 360, 1, -1)
    body = [(175, 130), (190, 230), (230, 275), (290, 285), (340, 270), (385, 190), (405, 130)]
    cv2.fillPoly(cup, [np.array(body, np.int32)], 1)
    found = coffee_embedding.predict(box=(170, 15, 410, 310)).masks[0]
    assert (found & (cup > 0)).sum() / (found | (cup > 0)).sum() > 0.75


def test_a_batch_answers_as_single_prompts_do(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    points = [[POINT], [(60, 350), (80, 300)], [(500, 100)]]
    batch = coffee_embedding.predict_batch(points=points, labels=[[1], [1, 0], [1]])
    assert [len(found) for found in batch] == [3, 1, 3]
    for found, prompt, labels in zip(batch, points, [[1], [1, 0], [1]], strict=True):
        single = coffee_embedding.predict(points=prompt, labels=labels)
        assert_same_function(found.low_res, single.low_res)
        assert_same_function(found.scores, single.scores)


def test_each_prompt_refines_its_own_prior_beyond_one_call(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    count = coffee_embedding.backend.info.prompts_per_call + 1
    prompts = [Prompt.of(np.zeros((0, 2)), [], BOX)] * count
    first = [coffee_embedding.predict(box=box, zoom=False).low_res for box in (BOX, (20, 20, 90, 90))]  # (1, L, L) each
    priors = np.stack([first[0], *[first[1]] * (count - 1)])  # (N, 1, L, L)
    found = coffee_embedding.answer(prompts, [False] * count, priors, zoom=False)
    for answer, prior in ((found[0], first[0]), (found[-1], first[1])):
        alone = coffee_embedding.predict(box=BOX, prior=prior, multimask=False, zoom=False)
        assert_same_function(answer.low_res, alone.low_res)
    assert np.abs(found[0].low_res - found[-1].low_res).max() > 0.1
    assert coffee_embedding.answer([], [], None, zoom=True) == []


def test_a_batch_larger_than_one_call_keeps_its_order(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    boxes = np.array([(10 + i, 10, 200 + i, 200) for i in range(70)])
    batch = coffee_embedding.predict_batch(boxes=boxes)
    assert len(batch) == 70
    last = coffee_embedding.predict(box=boxes[69])
    assert_same_function(batch[69].low_res, last.low_res)


def test_a_batch_of_unequal_arguments_is_refused(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    with pytest.raises(PromptError, match="2 prompts but 1 boxes"):
        coffee_embedding.predict_batch(points=[POINT, POINT], boxes=[BOX])
    with pytest.raises(PromptError, match="nothing to segment"):
        coffee_embedding.predict_batch()


def test_a_prior_changes_the_answer_as_prediction_or_as_logits(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    found = coffee_embedding.predict(points=[POINT])
    refined = coffee_embedding.predict(points=[POINT], prior=found)
    assert len(refined) == 1
    same = coffee_embedding.predict(points=[POINT], prior=found.low_res[found.best_index])
    assert_same_function(refined.low_res, same.low_res)
    plain = coffee_embedding.predict(points=[POINT], multimask=False)
    assert np.abs(refined.low_res - plain.low_res).max() > 0.1
    with pytest.raises(PromptError, match=r"\(128, 128\)"):
        coffee_embedding.predict(points=[POINT], prior=np.zeros((64, 64), np.float32))


def test_mask_speaks_every_format(coffee_embedding: mobilesam.ImageEmbedding, tmp_path: Path) -> None:
    mask = coffee_embedding.predict(box=BOX).best
    assert mask.area == mask.array.sum()
    np.testing.assert_array_equal(masks.from_rle(mask.rle()), mask.array)
    np.testing.assert_array_equal(masks.from_polygons(mask.polygons(), (400, 600)), mask.array)
    x0, y0, x1, y1 = mask.box_xyxy
    cutout = mask.cutout()
    assert cutout.mode == "RGBA"
    assert cutout.size == (x1 - x0, y1 - y0)
    np.testing.assert_array_equal(np.asarray(cutout)[..., 3] > 0, mask.array[y0:y1, x0:x1])
    mask.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored) == 255, mask.array)
    mask.save(tmp_path / "m.json")
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["area"] == mask.area
    assert record["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    with pytest.raises(ImageError, match=r"\.png or \.json"):
        mask.save(tmp_path / "m.xyz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.json", "m.png"]


def test_an_embedding_survives_a_file(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding, coffee: Path, tmp_path: Path
) -> None:
    coffee_embedding.save(tmp_path / "coffee.emb")
    loaded = embedded.load_embedding(tmp_path / "coffee.emb")
    before, after = coffee_embedding.predict(points=[POINT]), loaded.predict(points=[POINT])
    assert_same_masks(after.masks, before.masks)
    with pytest.raises(ImageError, match=r"give the photo"):
        after.best.cutout()
    assert after.best.cutout(coffee).size == before.best.cutout().size
    with pytest.raises(ImageError, match="the photo is"):
        after.best.cutout(np.zeros((10, 10, 3), np.uint8))


def test_an_embedding_of_another_model_is_refused(
    coffee_embedding: mobilesam.ImageEmbedding, embedded: mobilesam.Predictor, tmp_path: Path
) -> None:
    class Other:
        info = replace(embedded.info, name="other", weights_sha256="f" * 64)

    path = tmp_path / "coffee.emb"
    coffee_embedding.save(path)
    with pytest.raises(ModelError, match=r"made by 'embedded'.*this model is 'other'"):
        mobilesam.ImageEmbedding.load(path, Other())


@pytest.mark.parametrize("content", [b"", b"not a file", b"PK\x03\x04 cut off"])
def test_a_damaged_embedding_is_refused(embedded: mobilesam.Predictor, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.emb"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an embedding"):
        embedded.load_embedding(path)
    with pytest.raises(ModelError, match="does not exist"):
        embedded.load_embedding(tmp_path / "none")


def test_threads_share_a_predictor(embedded: mobilesam.Predictor, coffee: Path, chelsea: Path) -> None:
    alone = {p: embedded.embed(p).predict(points=[(100, 100)]).low_res for p in (coffee, chelsea)}
    with ThreadPoolExecutor(4) as pool:
        photos = [coffee, chelsea] * 4
        together = list(pool.map(lambda p: embedded.embed(p).predict(points=[(100, 100)]).low_res, photos))
    for photo, low_res in zip(photos, together, strict=True):
        assert_same_function(low_res, alone[photo])


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (700, 3), (64, 64)])
def test_extreme_shapes_work(embedded: mobilesam.Predictor, hw: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*hw, 3)).astype(np.uint8)
    assert embedded.embed(photo).predict(points=[(0, 0)]).masks.shape == (3, *hw)


def test_an_empty_mask_has_no_cutout() -> None:
    mask = mobilesam.Mask(np.zeros((4, 4), bool), 0.1, np.zeros((4, 4, 3), np.uint8))
    assert mask.box_xyxy == (0, 0, 0, 0)
    assert mask.polygons() == []
    with pytest.raises(ImageError, match="empty"):
        mask.cutout()


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_points_that_are_not_sure_enough_are_left_out_and_the_others_answered_alike(backend: str, coffee: Path) -> None:
    if not is_installed(backend.replace("onnx", "onnxruntime")):
        pytest.skip(f"{backend} is not installed")
    image = mobilesam.load(backend=backend).embed(coffee)
    points = np.array([(x, y) for x in range(30, 600, 90) for y in range(20, 400, 60)])
    everyone = image.predict_batch(points=points[:, None], multimask=True)
    threshold = float(np.median([p.scores.max() for p in everyone]))
    sure = image.predict_points(points, min_score=threshold)
    assert 5 < len(sure) < len(points) - 5
    for i, prediction in sure:
        assert_same_function(prediction.low_res, everyone[i].low_res)
        assert_same_function(prediction.scores, everyone[i].scores)
    left_out = set(range(len(points))) - {i for i, _ in sure}
    assert all(everyone[i].scores.max() <= threshold + 1e-3 for i in left_out)
    assert image.predict_points(points, min_score=9.0) == []


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_arrays_that_do_not_belong_together_are_refused_alike_and_spoil_nothing(backend: str, coffee: Path) -> None:
    if not is_installed(backend.replace("onnx", "onnxruntime")):
        pytest.skip(f"{backend} is not installed")
    sam = mobilesam.load(backend=backend)
    image, side = sam.embed(coffee), sam.info.low_res
    before = image.predict(points=[POINT]).low_res

    def ask(points: tuple[int, ...], labels: tuple[int, ...], prior: tuple[int, ...] = (1, 1, side, side)) -> None:
        shapes = (points, labels, prior, prior[:1])
        sam.backend.decode(image.array, *(np.zeros(shape, np.float32) for shape in shapes))

    for points, labels in (((1, 3, 2), (1, 2)), ((1, 2, 2), (1, 1)), ((24, 2, 2), (24, 3)), ((1, 2, 3), (1, 2))):
        with pytest.raises(PromptError, match="must be"):
            ask(points, labels)
    with pytest.raises(PromptError, match="mask_input"):
        ask((1, 2, 2), (1, 2), (1, 1, side, side // 2))
    for shape in ((1, 5, 64, 512), (1, 3, 64, 64), (3, 64, 512)):
        with pytest.raises(ImageError, match="the longer of H and W at 512"):
            sam.backend.encode(np.zeros(shape, np.float32))
    assert_same_function(image.predict(points=[POINT]).low_res, before)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (np.full((128, 128), np.nan), "finite"),
        (np.full((128, 128), -np.inf), "finite"),
        ([["x"] * 128] * 128, "prior must be numbers"),
        ("here", "prior must be numbers"),
        ([[1, 2], [3]], "prior must be numbers"),
        (np.zeros((0, 0)), r"found shape \(0, 0\)"),
        (np.zeros((3, 128, 128)), r"found shape \(3, 128, 128\)"),
    ],
)
def test_a_prior_that_is_none_is_refused(
    coffee_embedding: mobilesam.ImageEmbedding, prior: object, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        coffee_embedding.predict(points=[POINT], prior=prior)
    broken = replace(coffee_embedding.predict(points=[POINT]), low_res=np.full((3, 128, 128), np.nan, np.float32))
    with pytest.raises(PromptError, match="finite"):
        coffee_embedding.predict(points=[POINT], prior=broken)


def test_prompts_of_another_shape_are_refused(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    for points in ([], np.zeros((0, 2)), ()):
        with pytest.raises(PromptError, match="no points"):
            coffee_embedding.predict_points(points, min_score=0.5)
    with pytest.raises(PromptError, match=r"\(N, 2\)"):
        coffee_embedding.predict_points(np.zeros((3, 3)), min_score=0.5)
    with pytest.raises(PromptError, match="min_score must be a number"):
        coffee_embedding.predict_points(np.array([POINT]), min_score=float("nan"))
    with pytest.raises(PromptError, match=r"box must be \(x0, y0, x1, y1\); found shape \(3,\)"):
        coffee_embedding.predict_batch(boxes=[(1, 2, 3)])
    for wrong in (5, np.array(5)):
        with pytest.raises(PromptError, match="one entry per prompt"):
            coffee_embedding.predict_batch(boxes=wrong)
    with pytest.raises(PromptError, match="one entry per prompt"):
        coffee_embedding.predict_batch(points=[POINT], labels=1)
    assert coffee_embedding.predict_batch(boxes=[]) == []
