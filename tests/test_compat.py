"""Code written for SAM runs unchanged."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from mobilesam.compat import (
    NotCoveredError,
    ResizeLongestSide,
    SamAutomaticMaskGenerator,
    SamPredictor,
    sam_model_registry,
)
from mobilesam.errors import ImageError, MobileSamError, ModelError, PromptError
from mobilesam.image import open_photo
from tests.helpers.closeness import assert_same_function, assert_same_masks

# In the manner of SAM's predictor example: what a user's script looks like. Not a line of it knows of mobilesam.
SAM_SCRIPT = """
import cv2
import numpy as np
from segment_anything import SamPredictor, sam_model_registry

sam = sam_model_registry[model_type](checkpoint=checkpoint)
sam.to(device="cpu")
predictor = SamPredictor(sam)
image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)
predictor.set_image(image)

input_point, input_label = np.array([[300, 180]]), np.array([1])
masks, scores, logits = predictor.predict(
    point_coords=input_point, point_labels=input_label, multimask_output=True
)
mask_input = logits[np.argmax(scores), :, :]
refined, _, _ = predictor.predict(
    point_coords=np.array([[300, 180], [60, 350]]),
    point_labels=np.array([1, 0]),
    mask_input=mask_input[None, :, :],
    multimask_output=False,
)
boxed, _, _ = predictor.predict(point_coords=None, point_labels=None, box=np.array([120, 60, 480, 320])[None, :],
                                multimask_output=False)
"""


@pytest.fixture
def predictor(coffee: Path) -> SamPredictor:
    predictor = SamPredictor(sam_model_registry["vit_t"]())
    predictor.set_image(cv2.imread(str(coffee)), image_format="BGR")
    return predictor


def test_a_script_written_for_sam_runs_unchanged(monkeypatch: pytest.MonkeyPatch, coffee: Path) -> None:
    module = ModuleType("segment_anything")
    vars(module).update(SamPredictor=SamPredictor, sam_model_registry=sam_model_registry)
    monkeypatch.setitem(sys.modules, "segment_anything", module)
    scope: dict[str, object] = {"model_type": "vit_t", "checkpoint": None, "photo": str(coffee)}
    exec(SAM_SCRIPT, scope)

    image = mobilesam.load().embed(coffee)
    ours = image.predict(points=[(300, 180)])
    assert_same_masks(scope["masks"], ours.masks)
    assert_same_function(scope["scores"], ours.scores)
    assert_same_function(scope["logits"], ours.low_res)
    refined = image.predict(points=[(300, 180), (60, 350)], labels=[1, 0], prior=ours)
    assert_same_masks(scope["refined"], refined.masks)
    assert_same_masks(scope["boxed"], image.predict(box=(120, 60, 480, 320)).masks)


def test_logits_can_be_asked_for(predictor: SamPredictor) -> None:
    coords, labels = np.array([[300, 180]]), np.array([1])
    logits, _, _ = predictor.predict(coords, labels, return_logits=True)
    masks, _, _ = predictor.predict(coords, labels)
    assert logits.dtype == np.float32
    assert_same_masks(logits > predictor.model.mask_threshold, masks)


def test_predict_torch_takes_transformed_prompts_in_a_batch(predictor: SamPredictor) -> None:
    torch = pytest.importorskip("torch")
    boxes = torch.tensor([[120, 60, 480, 320], [10, 10, 200, 200]])
    transformed = predictor.transform.apply_boxes_torch(boxes, predictor.original_size)
    masks, scores, low_res = predictor.predict_torch(None, None, boxes=transformed, multimask_output=False)
    assert masks.shape == (2, 1, 400, 600)
    assert scores.shape == (2, 1)
    assert low_res.shape == (2, 1, 128, 128)
    single, _, _ = predictor.predict(box=boxes[1].numpy(), multimask_output=False)
    assert_same_masks(masks[1].numpy(), single)
    assert predictor.get_image_embedding().shape == (1, 256, 32, 32)


def test_a_predictor_may_look_again(predictor: SamPredictor, coffee: Path) -> None:
    closer, once = (SamPredictor(predictor.model, zoom=zoom) for zoom in (True, False))
    for made in (closer, once):
        made.set_image(cv2.imread(str(coffee)), image_format="BGR")
    box, point = (170, 15, 260, 90), (215, 50)
    image = mobilesam.load().embed(coffee)
    for given, ours in (
        ({"box": np.array(box), "multimask_output": False}, image.predict(box=box, zoom=True)),
        (
            {"point_coords": np.array([point]), "point_labels": np.array([1])},
            image.predict(points=[point], multimask=True, zoom=True),
        ),
    ):
        found, scores, logits = closer.predict(**given)
        assert_same_masks(found, ours.masks)
        assert_same_function(scores, ours.scores)
        assert_same_function(logits, ours.low_res)
        plain, _, _ = once.predict(**given)
        assert (plain != found).any()


def test_an_image_given_as_a_tensor_has_no_second_look(predictor: SamPredictor) -> None:
    torch = pytest.importorskip("torch")
    closer = SamPredictor(predictor.model, zoom=True)
    size = predictor.transform.target_length
    closer.set_torch_image(torch.zeros(1, 3, size, size), (400, 600))
    with pytest.raises(PromptError, match="needs the photo"):
        closer.predict(box=np.array([170, 15, 260, 90]))


def test_set_torch_image_equals_set_image(predictor: SamPredictor, coffee: Path) -> None:
    torch = pytest.importorskip("torch")
    rgb = cv2.cvtColor(cv2.imread(str(coffee)), cv2.COLOR_BGR2RGB)
    tensor = torch.as_tensor(predictor.transform.apply_image(rgb)).permute(2, 0, 1)[None]
    other = SamPredictor(predictor.model)
    other.set_torch_image(tensor, rgb.shape[:2])
    assert_same_function(other.features, predictor.features)


def test_without_an_image_it_says_so(predictor: SamPredictor) -> None:
    predictor.reset_image()
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict(np.array([[1, 1]]), np.array([1]))
    with pytest.raises(AssertionError, match="image_format"):
        predictor.set_image(np.zeros((4, 4, 3), np.uint8), "HSV")


def test_the_wrong_registry_key_names_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    sam = mobilesam.load()

    class Published:
        info = replace(sam.info, name="mobile_sam")

    monkeypatch.setattr("mobilesam.compat.model.load", lambda source, **options: mobilesam.Predictor(Published()))
    assert sam_model_registry["vit_t"](checkpoint="mobile_sam.pt").image_encoder.img_size == sam.info.image_size
    with pytest.raises(ModelError, match=r"holds mobile_sam, not sam_vit_h; use sam_model_registry\['vit_t'\]"):
        sam_model_registry["vit_h"](checkpoint="mobile_sam.pt")


def test_sams_generator_gives_sams_records_in_every_output_mode(coffee: Path) -> None:
    rgb = open_photo(coffee)
    sam = sam_model_registry["vit_t"]()
    settings = {"points_per_side": 5, "pred_iou_thresh": 0.2, "stability_score_thresh": 0.6}
    modes = ("binary_mask", "coco_rle", "uncompressed_rle")
    binary, coco, plain = (SamAutomaticMaskGenerator(sam, **settings, output_mode=m).generate(rgb) for m in modes)
    assert len(binary) > 3
    keys = ["segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"]
    assert list(binary[0]) == keys
    for a, b, c in zip(binary, coco, plain, strict=True):
        np.testing.assert_array_equal(masks.from_rle(b["segmentation"]), a["segmentation"])
        assert sum(c["segmentation"]["counts"]) == a["segmentation"].size
        assert sum(c["segmentation"]["counts"][1::2]) == a["area"] == a["segmentation"].sum()


def test_sams_generator_takes_point_grids_and_refuses_both(coffee: Path) -> None:
    sam = sam_model_registry["vit_t"]()
    one = [np.array([[0.5, 0.3]])]
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=None, point_grids=one, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1.1
    )
    found = generator.generate(open_photo(coffee))
    assert {tuple(record["point_coords"][0]) for record in found} == {(300.0, 120.0)}
    with pytest.raises(AssertionError, match="Exactly one"):
        SamAutomaticMaskGenerator(sam, point_grids=one)


def test_random_boxes_get_the_masks_of_predict(chelsea: Path) -> None:
    torch = pytest.importorskip("torch")
    predictor = SamPredictor(sam_model_registry["embedded"]())
    predictor.set_image(open_photo(chelsea))
    rng = np.random.default_rng(0)
    corners = rng.integers((0, 0), (370, 220), (5, 2))
    boxes = np.concatenate([corners, corners + rng.integers(6, 40, (5, 2)) * 2], axis=1)
    boxes[0] = (0, 0, 60, 60)
    image = predictor.model.predictor.embed(open_photo(chelsea))
    expected = image.predict_batch(boxes=boxes)
    resized = predictor.transform.apply_boxes_torch(torch.from_numpy(boxes), predictor.original_size)
    together, _, _ = predictor.predict_torch(None, None, resized, multimask_output=False)
    for found, ours in zip(together.numpy(), expected, strict=True):
        assert_same_masks(found, ours.masks)
    for box in boxes[:2]:  # positions in the photo are computed with as they are
        found, scores, _ = predictor.predict(box=box, multimask_output=False, return_logits=True)
        np.testing.assert_array_equal(found[0], image.predict(box=box).logits(0))
        np.testing.assert_array_equal(scores, image.predict(box=box).scores)


@pytest.mark.parametrize("box", [(700, 50, 760, 90), (-80, 10, -20, 60), (120, 90, 40, 20)])
def test_a_box_outside_the_photo_or_turned_round_gets_an_answer_as_in_sam(
    predictor: SamPredictor, box: tuple[int, int, int, int]
) -> None:
    masks_, scores, _ = predictor.predict(box=np.array(box), multimask_output=False)
    assert (masks_.shape, scores.shape) == ((1, 400, 600), (1,))


def test_without_a_photo_there_is_no_second_look_and_no_warning(predictor: SamPredictor, coffee: Path) -> None:
    torch = pytest.importorskip("torch")
    rgb = open_photo(coffee)
    other = SamPredictor(predictor.model)
    other.set_torch_image(torch.as_tensor(predictor.transform.apply_image(rgb)).permute(2, 0, 1)[None], rgb.shape[:2])
    assert other.predict(box=np.array([390, 50, 420, 110]), multimask_output=False)[0].any()  # warnings are errors here


def test_the_key_of_the_embedded_model_is_embedded() -> None:
    sam = sam_model_registry["embedded"]()
    assert sam.predictor.info.name == "embedded"
    assert sam_model_registry["vit_t"]().predictor.info == sam.predictor.info
    with pytest.raises(ModelError, match=r"use sam_model_registry\['embedded'\]"):
        sam_model_registry["vit_b"](checkpoint="embedded")


def test_the_generator_finds_masks_with_its_defaults_on_the_embedded_model(coffee: Path) -> None:
    rgb = open_photo(coffee)
    generator = SamAutomaticMaskGenerator(sam_model_registry["embedded"](), points_per_side=12)
    found = generator.generate(rgb)
    assert len(found) > 3
    assert generator.generate(rgb)[0]["bbox"] == found[0]["bbox"]
    ys, xs = np.nonzero(found[0]["segmentation"])
    width, height = int(np.ptp(xs)), int(np.ptp(ys))  # SAM's box ends at the last pixel
    assert found[0]["bbox"] == [int(xs.min()), int(ys.min()), width, height]
    assert SamAutomaticMaskGenerator(generator.model, 12, pred_iou_thresh=0.999).generate(rgb) == []


def test_thresholds_are_sams_where_the_model_is_not_the_embedded_one() -> None:
    from dataclasses import replace

    settings = SamAutomaticMaskGenerator(sam_model_registry["embedded"]()).settings
    published = settings.for_model(replace(mobilesam.load().info, name="mobile_sam"))
    assert (published.pred_iou_thresh, published.stability_score_thresh) == (0.88, 0.95)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_model_preprocesses_and_encodes_as_sam_does(coffee: Path, as_tensor: bool) -> None:
    sam = sam_model_registry["embedded"]()
    size = sam.image_encoder.img_size
    resized = ResizeLongestSide(size).apply_image(open_photo(coffee))
    given = np.ascontiguousarray(resized.transpose(2, 0, 1)[None])
    if as_tensor:
        torch = pytest.importorskip("torch")
        made = sam.preprocess(torch.from_numpy(given))
        assert isinstance(made, torch.Tensor)
        embedding = sam.image_encoder(made).numpy()
        made = made.numpy()
    else:
        made = sam.preprocess(given)
        embedding = sam.image_encoder(made)
    assert made.shape == (1, 3, size, size)
    expected = (given[0, :, 5, 7] - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(made[0, :, 5, 7], expected, rtol=1e-5)
    assert not made[:, :, given.shape[2] :].any()
    assert_same_function(embedding, mobilesam.load().embed(coffee).array)
    assert sam.prompt_encoder.embed_dim == embedding.shape[1]
    assert sam.prompt_encoder.image_embedding_size == embedding.shape[2:]
    with pytest.raises(ModelError, match="ResizeLongestSide comes first"):
        sam.preprocess(np.zeros((3, size + 1, 4), np.uint8))


def test_the_model_answers_batches_as_sam_does(predictor: SamPredictor, coffee: Path) -> None:
    torch = pytest.importorskip("torch")
    sam, transform = predictor.model, predictor.transform
    rgb = open_photo(coffee)
    boxes = torch.tensor([[120, 60, 480, 320], [10, 10, 200, 200]])
    image = torch.as_tensor(transform.apply_image(rgb)).permute(2, 0, 1)
    one = {"image": image, "original_size": rgb.shape[:2], "boxes": transform.apply_boxes_torch(boxes, rgb.shape[:2])}
    first, second = sam([one, one], multimask_output=False)
    assert first["masks"].shape == (2, 1, 400, 600)
    assert torch.equal(first["masks"], second["masks"])
    predictor.set_torch_image(image[None], rgb.shape[:2])
    expected, scores, low_res = predictor.predict_torch(None, None, one["boxes"], multimask_output=False)
    assert_same_masks(first["masks"].numpy(), expected.numpy())
    assert_same_function(first["iou_predictions"].numpy(), scores.numpy())
    full = sam.postprocess_masks(low_res, predictor.input_size, predictor.original_size)
    assert_same_masks((full > sam.mask_threshold).numpy(), expected.numpy())


def test_a_tensor_is_resized_as_sam_does(coffee: Path) -> None:
    torch = pytest.importorskip("torch")
    rgb = open_photo(coffee)
    transform = ResizeLongestSide(256)
    resized = transform.apply_image_torch(torch.tensor(rgb).permute(2, 0, 1)[None].float())
    assert resized.shape == (1, 3, 171, 256)
    np.testing.assert_allclose(resized[0].permute(1, 2, 0).numpy(), transform.apply_image(rgb), atol=1.5)


def test_the_side_of_a_model_can_be_chosen_and_stays(coffee: Path) -> None:
    sam = sam_model_registry["embedded"](image_size=256)
    assert sam.image_encoder.img_size == 256
    assert sam.prompt_encoder.input_image_size == (256, 256)
    predictor = SamPredictor(sam)
    predictor.set_image(open_photo(coffee))
    assert predictor.predict(box=np.array([170, 15, 410, 310]))[2].shape == (3, 64, 64)
    sam.device = "elsewhere"
    assert sam.to("cpu").image_encoder.img_size == 256


def test_a_move_that_fails_leaves_the_model_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sam = sam_model_registry["embedded"]()
    before = dict(vars(sam))

    def fail(*given: object, **options: object) -> None:
        raise ModelError("there is no GPU here")

    monkeypatch.setattr("mobilesam.compat.model.load", fail)
    with pytest.raises(ModelError, match="no GPU"):
        sam.cuda()
    assert sam.device == "cpu"
    assert vars(sam) == before
    with pytest.raises(ModelError, match="no GPU"):  # not taken for a move that is done already
        sam.to("cuda")


@pytest.mark.parametrize(
    "use",
    [
        lambda sam: sam.mask_decoder,
        lambda sam: next(sam.parameters()),
        lambda sam: sam.prompt_encoder(points=None, boxes=None, masks=None),
    ],
)
def test_what_is_not_covered_says_what_is(use) -> None:
    sam = sam_model_registry["embedded"]()
    with pytest.raises(NotCoveredError, match="Covered are SamPredictor, SamAutomaticMaskGenerator") as raised:
        use(sam)
    assert isinstance(raised.value, MobileSamError)
    assert not hasattr(sam, "mask_decoder")
    assert sam.eval().to("cpu").cpu() is sam


@pytest.mark.parametrize(
    "prompt",
    [
        {"box": np.array([[0, 0, 50, 50], [60, 60, 90, 90]])},
        {"point_coords": np.array([[10, 10], [20, 20]]), "point_labels": np.array([1])},
        {"point_coords": np.array([[np.nan, 10]]), "point_labels": np.array([1])},
    ],
)
def test_what_sam_refuses_is_refused_and_the_next_prompt_works(coffee: Path, prompt: dict[str, np.ndarray]) -> None:
    predictor = SamPredictor(sam_model_registry["embedded"]())
    predictor.set_image(open_photo(coffee))
    with pytest.raises(PromptError):
        predictor.predict(**prompt)
    masks_, _, _ = predictor.predict(box=np.array([170, 15, 410, 310]), multimask_output=False)
    assert masks_[0].sum() > 10_000


def test_the_size_of_the_resized_photo_is_sams() -> None:
    assert ResizeLongestSide.get_preprocess_shape(400, 600, 1024) == (683, 1024)


def test_features_are_a_tensor_where_torch_is_installed(
    predictor: SamPredictor, coffee: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    other = SamPredictor(predictor.model)
    assert other.features is None
    other.set_image(cv2.cvtColor(cv2.imread(str(coffee)), cv2.COLOR_BGR2RGB))
    assert isinstance(other.features, torch.Tensor)
    assert other.features.shape == other.get_image_embedding().shape
    monkeypatch.setattr("mobilesam.compat.predictor.is_installed", lambda module: False)
    assert isinstance(other.features, np.ndarray)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (None, "cv2.imread returns"),
        (Image.new("RGB", (8, 8)), "np.asarray"),
        (np.zeros((8, 8), np.uint8), r"not \(8, 8\) of uint8"),
        (np.zeros((8, 8, 1), np.uint8), r"not \(8, 8, 1\)"),
        (np.zeros((8, 8, 4), np.uint8), r"not \(8, 8, 4\)"),
        (np.zeros((8, 8, 3), np.float32), "of float32"),
        (np.zeros((8, 8, 3), np.uint16), "of uint16"),
        (np.zeros((0, 8, 3), np.uint8), r"not \(0, 8, 3\)"),
    ],
)
def test_an_image_that_sam_fails_on_is_refused_in_words(predictor: SamPredictor, image: object, why: str) -> None:
    before = predictor.original_size
    with pytest.raises(ImageError, match=why):
        predictor.set_image(image)
    assert predictor.original_size == before


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_no_boxes_give_no_masks(predictor: SamPredictor, multimask: bool, count: int) -> None:
    torch = pytest.importorskip("torch")
    boxes = torch.zeros((0, 4))
    found, scores, low_res = predictor.predict_torch(None, None, boxes, multimask_output=multimask)
    assert found.shape == (0, count, *predictor.original_size)
    assert (found.dtype, scores.shape, low_res.shape[:2]) == (torch.bool, (0, count), (0, count))


@pytest.mark.parametrize("kind", ["tensor", "half", "array", "list"])
def test_an_embedding_that_a_script_kept_is_used_again(predictor: SamPredictor, tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch")
    point = np.array([[300, 180]]), np.array([1])
    expected, _, _ = predictor.predict(*point)
    kept = {
        "features": predictor.get_image_embedding(),
        "original_size": predictor.original_size,
        "input_size": predictor.input_size,
        "is_image_set": predictor.is_image_set,
    }
    torch.save(kept, tmp_path / "kept.pt")
    restored = torch.load(tmp_path / "kept.pt")
    change = {"tensor": lambda x: x, "half": lambda x: x.half(), "array": lambda x: x.numpy(), "list": lambda x: x}
    restored["features"] = change[kind](restored["features"])
    if kind == "list":
        restored |= {"original_size": list(kept["original_size"]), "input_size": list(kept["input_size"])}  # type: ignore[call-overload]
    other = SamPredictor(predictor.model)
    for name, value in restored.items():
        setattr(other, name, value)
    found, _, _ = other.predict(*point)
    assert (found & expected).sum() / (found | expected).sum() > (0.99 if kind == "half" else 0.9999)
    other.reset_image()
    assert (other.features, other.is_image_set) == (None, False)


def test_features_that_do_not_belong_are_refused(predictor: SamPredictor) -> None:
    for wrong in (np.zeros((1, 256, 8, 8), np.float32), np.full(predictor.features.shape, np.nan), "x", [[1]]):
        with pytest.raises(ImageError, match="features must be"):
            predictor.features = wrong
    other = SamPredictor(predictor.model)
    other.features, other.is_image_set = predictor.features, True
    with pytest.raises(PromptError, match="original_size must be the height and width"):
        other.predict(np.array([[3, 3]]), np.array([1]))
    other.reset_image()
    other.is_image_set = True
    with pytest.raises(RuntimeError, match="set_image"):
        other.get_image_embedding()


@pytest.mark.parametrize("shape", [(3, 512, 341), (1, 3, 100, 60), (2, 3, 512, 512), (1, 1, 512, 512)])
def test_a_tensor_of_another_shape_is_refused_as_in_sam(predictor: SamPredictor, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match=r"must be \(1, 3, H, W\) with the longer side 512"):
        predictor.set_torch_image(torch.zeros(shape), (400, 600))


WRONG_PROMPTS = {
    "point_coords must be numbers of the shape (any, 2)": [
        {"point_coords": [3, 4], "point_labels": [1]},
        {"point_coords": [[3, 4, 5]], "point_labels": [1]},
        {"point_coords": [["a", "b"]], "point_labels": [1]},
        {"point_coords": [[3, 4j]], "point_labels": [1]},
        {"point_coords": [[1, 2], [3]], "point_labels": [1]},
    ],
    "point_labels must be": [
        {"point_coords": [[3, 4]], "point_labels": [[1]]},
        {"point_coords": [[3, 4]], "point_labels": [2]},
        {"point_coords": [[3, 4]], "point_labels": [float("nan")]},
    ],
    "box must be numbers": [{"box": ["a"] * 4}],
    "mask_input must be": [
        {"point_coords": [[3, 4]], "point_labels": [1], "mask_input": "x"},
        {"point_coords": [[3, 4]], "point_labels": [1], "mask_input": np.zeros((128, 128))},
        {"point_coords": [[3, 4]], "point_labels": [1], "mask_input": np.full((1, 128, 128), np.nan)},
    ],
}


@pytest.mark.parametrize("message", WRONG_PROMPTS)
def test_a_prompt_of_another_shape_or_kind_is_refused_in_words(predictor: SamPredictor, message: str) -> None:
    for prompt in WRONG_PROMPTS[message]:  # type: ignore[attr-defined]
        with pytest.raises(PromptError, match=re.escape(message)):
            predictor.predict(**prompt)


def test_tensors_and_batches_of_another_shape_are_refused_in_words(predictor: SamPredictor) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(PromptError, match="boxes must be numbers of the shape"):
        predictor.predict_torch(None, None, torch.tensor([1, 2, 3, 4]))
    for record in ({}, {"original_size": (3, 3)}, "x"):
        with pytest.raises(ImageError, match="each photo of a batch is a dict"):
            predictor.model([record])  # type: ignore[list-item]
    for photo in (None, 3, torch.zeros(3, 4, 4)):
        with pytest.raises(ImageError, match="a photo is a path, bytes, a PIL image or an array, not"):
            open_photo(photo)
