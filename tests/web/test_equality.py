"""The page computes what the library computes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import mobilesam
import mobilesam.boxes
from mobilesam import masks
from mobilesam.everything.write import label_image
from mobilesam.image import resize_long_side
from mobilesam.interchange.svg import svg_path
from tests.web.driver import Opened, iou

SAME = 0.99  # IoU


@pytest.mark.parametrize("hw", [(37, 61), (400, 600), (900, 640), (5, 3000)])
def test_photos_are_resized_bit_for_bit_as_pillow_does_it(loaded: Opened, hw: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)
    rgba = np.dstack([photo, np.full(hw, 255, np.uint8)])
    code = """async ([bytes, h, w]) => {
        const { inputSize, resizeToPlanes } = await import("/core/resize.js");
        const data = Uint8ClampedArray.from(atob(bytes), (sign) => sign.charCodeAt(0));
        const size = inputSize([h, w], 384);
        const planes = resizeToPlanes({ width: w, height: h, data }, [0, 0, w, h], size);
        return [size, [...planes]];
    }"""
    size, planes = loaded.page.evaluate(code, [base64.b64encode(rgba.tobytes()).decode(), *hw])
    expected = resize_long_side(photo, 384)
    assert tuple(size) == expected.shape[:2]
    assert np.array_equal(np.array(planes, np.uint8).reshape(3, *size).transpose(1, 2, 0), expected)


@pytest.mark.parametrize("hw", [(400, 600), (701, 333)])
def test_logits_become_the_same_masks(loaded: Opened, hw: tuple[int, int]) -> None:
    from mobilesam.image import input_size

    rng = np.random.default_rng(1)
    low_res = rng.normal(size=(128, 128)).astype(np.float32)
    code = """async ([values, h, w]) => {
        const { upscale } = await import("/core/logits.js");
        const { inputSize } = await import("/core/resize.js");
        return [...upscale(Float32Array.from(values), 512, inputSize([h, w], 512), [h, w])];
    }"""
    found = np.array(loaded.page.evaluate(code, [low_res.ravel().tolist(), *hw]), np.float32).reshape(hw)
    assert np.allclose(found, masks.upscale(low_res, 512, input_size(hw, 512), hw), atol=1e-4)


@pytest.fixture(scope="module")
def chelsea_embedding(embedded: mobilesam.Predictor) -> mobilesam.ImageEmbedding:
    return embedded.embed(Path(__file__).parents[2] / "examples" / "chelsea.png")


def test_a_click_gives_the_mask_of_the_library(coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding) -> None:
    coffee_page.click(290, 120)
    assert iou(coffee_page.mask(), coffee_embedding.predict(points=[(290, 120)]).best.array) >= SAME


def test_a_box_gives_the_mask_of_the_library(coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding) -> None:
    coffee_page.box(170, 15, 410, 310)
    assert iou(coffee_page.mask(), coffee_embedding.predict(box=(170, 15, 410, 310)).best.array) >= SAME


def test_a_small_box_gets_the_second_look_of_the_library(
    coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    box = (325, 225, 415, 330)
    coffee_page.box(*box)
    found = coffee_page.mask()
    assert iou(found, coffee_embedding.predict(box=box).best.array) >= SAME
    assert iou(found, coffee_embedding.predict(box=box, zoom=False).best.array) < SAME


def test_a_correction_refines_the_first_mask_as_the_library_does(
    coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    coffee_page.click(290, 120)
    coffee_page.click(140, 200, button="right")
    first = coffee_embedding.predict(points=[(290, 120)])
    finer = coffee_embedding.predict(points=[(290, 120), (140, 200)], labels=[1, 0], prior=first)
    assert iou(coffee_page.mask(), finer.best.array) >= SAME


def test_the_cat_is_the_same_cat(loaded: Opened, chelsea_embedding: mobilesam.ImageEmbedding) -> None:
    loaded.example("chelsea")
    loaded.click(250, 150)
    assert iou(loaded.mask(), chelsea_embedding.predict(points=[(250, 150)]).best.array) >= SAME


def test_its_eye_gets_a_second_look_in_the_photo_that_was_opened_last(
    coffee_page: Opened, chelsea_embedding: mobilesam.ImageEmbedding
) -> None:
    coffee_page.example("chelsea")
    coffee_page.box(270, 95, 310, 130)
    eye = chelsea_embedding.predict(box=(270, 95, 310, 130))
    assert eye.closeups, "no second look: choose a smaller object"
    assert iou(coffee_page.mask(), eye.best.array) >= SAME


def test_a_small_spoon_is_the_same_after_its_second_look(
    coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    coffee_page.click(375, 290)
    spoon = coffee_embedding.predict(points=[(375, 290)])
    assert spoon.closeups, "no second look: choose a smaller object"
    assert iou(coffee_page.mask(), spoon.best.array) >= SAME


def test_three_extents_are_those_of_the_library_from_the_smallest_to_the_largest(
    coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    page = coffee_page.page
    coffee_page.click(290, 120)
    extents = sorted(coffee_embedding.predict(points=[(290, 120)], zoom=False), key=lambda mask: mask.area)
    assert extents[0].area < extents[1].area < extents[2].area
    for i in range(3):
        page.keyboard.press(str(i + 1))
        page.wait_for_selector(f'[data-choice="{i + 1}"][aria-pressed=true]')
        assert iou(coffee_page.mask(), extents[i].array) >= SAME
    page.mouse.wheel(0, 100)
    page.wait_for_selector('[data-choice="2"][aria-pressed=true]')
    page.wait_for_timeout(200)  # between two steps of the wheel
    page.mouse.wheel(0, -100)
    page.wait_for_selector('[data-choice="3"][aria-pressed=true]')
    assert iou(coffee_page.mask(), extents[2].array) >= SAME, "the wheel away from the user enlarges"


def test_an_extent_wished_before_the_click_is_that_of_the_click(
    coffee_page: Opened, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    extents = sorted(coffee_embedding.predict(points=[(290, 120)], zoom=False), key=lambda mask: mask.area)
    for i in (1, 3):
        coffee_page.start_anew()
        coffee_page.page.keyboard.press(str(i))
        coffee_page.click(290, 120)
        assert iou(coffee_page.mask(), extents[i - 1].array) >= SAME


def filled(points: list[list[int]], hw: tuple[int, int]) -> Any:
    """Pixels inside a polygon along pixel edges, by pycocotools."""
    from pycocotools import mask as coco_mask

    flat = [float(value) for point in points for value in point]
    return coco_mask.decode(coco_mask.frPyObjects([flat], *hw))[..., 0].astype(bool)


def test_files_hold_the_mask_exactly(coffee_page: Opened) -> None:
    coffee_page.click(290, 120)
    mask = coffee_page.mask()
    coco = json.loads(coffee_page.download("coco"))
    annotation = coco["annotations"][0]
    assert annotation["segmentation"] == masks.to_rle(mask)
    assert annotation["area"] == mask.sum()
    assert coco["images"][0] == {"id": 1, "file_name": "coffee.png", "width": 600, "height": 400}
    shapes = json.loads(coffee_page.download("labelme"))["shapes"]
    united = np.zeros(mask.shape, bool)
    for shape in shapes:
        united |= filled(shape["points"], (400, 600))
    assert np.array_equal(united, mask)
    svg = coffee_page.download("svg").decode()
    path = svg.split(' d="')[1].split('"')[0]
    assert sorted(path.count(sign) for sign in "MHVZ") == sorted(svg_path(mask).count(sign) for sign in "MHVZ")


def test_the_cut_out_is_the_photo_inside_the_mask(coffee_page: Opened, coffee: Path, tmp_path: Path) -> None:
    coffee_page.click(290, 120)
    mask = coffee_page.mask()
    (tmp_path / "cut.png").write_bytes(coffee_page.download("cutout"))
    x0, y0, x1, y1 = mobilesam.boxes.from_mask(mask)
    with Image.open(tmp_path / "cut.png") as picture, Image.open(coffee) as photo:
        cut, rgb = np.asarray(picture), np.asarray(photo.convert("RGB"))
    assert np.array_equal(cut[..., 3] > 0, mask[y0:y1, x0:x1])
    assert np.array_equal(cut[..., :3], rgb[y0:y1, x0:x1])


def test_the_label_picture_numbers_the_objects(coffee_page: Opened, tmp_path: Path) -> None:
    coffee_page.box(170, 15, 410, 310)
    coffee_page.page.keyboard.press("n")
    coffee_page.box(325, 225, 415, 330)
    (tmp_path / "labels.png").write_bytes(coffee_page.download("labels"))
    records = json.loads(coffee_page.download("coco"))["annotations"]
    found = [mobilesam.Mask(record["segmentation"], record["score"]) for record in records]
    with Image.open(tmp_path / "labels.png") as picture:
        assert np.array_equal(np.asarray(picture), label_image(found, (400, 600)))


def test_a_turned_photo_is_opened_upright(loaded: Opened, tmp_path: Path) -> None:
    canvas = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(canvas).rectangle((0, 0, 99, 199), fill="black")
    exif = Image.Exif()
    exif[0x0112] = 6
    canvas.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    loaded.page.set_input_files("#file", tmp_path / "turned.jpg")
    loaded.until("document.getElementById('file-name').textContent.includes('200 × 300')")
    loaded.ready()
    loaded.click(100, 30)
    loaded.box(20, 0, 180, 60)
    assert loaded.mask().shape == (300, 200)


def test_the_decoder_for_many_prompts_gives_the_masks_of_the_other(loaded: Opened) -> None:
    code = """async () => {
        const runtime = await import("/engine/runtime.js");
        const { askPoints } = await import("/engine/search.js");
        const base = location.origin + "/";
        await runtime.startRuntime(base, () => {}, 1, "wasm");
        const get = (name) => runtime.fetchBytes(`${base}model/${name}`);
        const [plain, many] = await Promise.all([get("decoder.onnx"), get("decoder_many.onnx")]);
        const values = Float32Array.from({ length: 256 * 24 * 24 }, (_, i) => Math.sin(i * i));
        const embedding = new runtime.ort.Tensor("float32", values, [1, 256, 24, 24]);
        const model = { photoHw: [400, 600], embeddings: new Map([[384, embedding]]) };
        const answers = [];
        for (const decoder of [
            await runtime.openGraph(plain, 24),
            await runtime.openGraph(many, 24, [{ path: "decoder.onnx", data: plain }]),
        ]) answers.push(await askPoints(model, decoder, 384, 4, 0, 16));
        const [a, b] = answers.map((one) => [...one.low_res_masks.data, ...one.iou_predictions.data]);
        return [a.length, a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)];
    }"""
    count, most = loaded.page.evaluate(code)
    assert count == 16 * 4 * (96 * 96 + 1)
    assert most < 0.01
