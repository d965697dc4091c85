"""Annotation files as people have them: what can be read is read, and what cannot is named, object by object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.data.coco import image_key
from mobilesam.data.layouts import read
from mobilesam.data.photo import Annotation, PhotoRef, Problem
from mobilesam.errors import DataError
from mobilesam.everything.write import yolo_line
from tests.helpers.children import in_child

HW = (60, 80)
RGB = np.full((*HW, 3), 90, np.uint8)
GOOD = np.zeros(HW, bool)
GOOD[10:50, 20:60] = True
RLE = masks.to_rle(GOOD)
ONE = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": RLE}
TWO = {**ONE, "id": 2, "image_id": 2}


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def coco(folder: Path, *annotations: Any, images: list[Any] | None = None, encoding: str = "utf-8") -> Path:
    """A COCO file of two photos in `images`."""
    for name in ("p1", "p2"):
        save(folder / "images" / f"{name}.jpg", RGB)
    listed = [{"id": i, "file_name": f"p{i}.jpg", "width": HW[1], "height": HW[0]} for i in (1, 2)]
    path = folder / "instances.json"
    data = {"images": listed if images is None else images, "annotations": annotations, "categories": [{"id": 1}]}
    path.write_bytes(json.dumps(data).encode(encoding))
    return path


def items(path: Path) -> tuple[dict[str, PhotoRef], dict[str, str]]:
    """Photos by name, and problems by name."""
    found = list(read(path))
    photos = {item.name: item for item in found if isinstance(item, PhotoRef)}
    return photos, {item.name: item.reason for item in found if isinstance(item, Problem)}


def ids(annotation: Annotation) -> list[str]:
    return [one.id for one in annotation.objects]


def only(folder: Path) -> Annotation:
    (photo,) = read(folder)
    assert isinstance(photo, PhotoRef)
    return photo.annotation()


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        ([[float("nan"), 50, 150, 50, 150, 150, 50, 150]], "not a finite number"),
        ([[float("inf"), 50, 150, 50, 150, 150]], "not a finite number"),
        ([[None, 1, 2, 3, 4, 5]], "not a number"),
        ([], "no segmentation"),
        (None, "no segmentation"),
        ([[50, 10, 70, 50, 30, 50], [10, 10, 12, 12]], "three"),
        ([50, 10, 70, 50, 30, 50], "a list of numbers"),
        ({"size": list(HW), "counts": "zzzzz~~~~"}, "not COCO's"),
        ({"size": list(HW), "counts": ""}, "add up to 0"),
        ({"size": list(HW), "counts": [5, 5]}, "add up to 10"),
        ({"size": [10**6, 10**6], "counts": "11"}, "more than"),
        ("text", "size and counts"),
    ],
)
def test_one_bad_segmentation_costs_its_object_and_not_its_photo(tmp_path: Path, segmentation: Any, why: str) -> None:
    photos, problems = items(coco(tmp_path, ONE, {**TWO, "segmentation": segmentation}, {**TWO, "id": 3}))
    assert problems == {}
    assert photos["p1.jpg"].annotation().broken == ()
    second = photos["p2.jpg"].annotation()
    assert ids(second) == ["3"]
    np.testing.assert_array_equal(second.objects[0].mask(HW), GOOD)
    ((id, reason),) = second.broken
    assert id == "2"
    assert why in reason


def test_a_mask_of_another_size_names_its_object(tmp_path: Path) -> None:
    small = {**TWO, "segmentation": masks.to_rle(np.ones((10, 10), bool))}
    photos, _ = items(coco(tmp_path, ONE, small))
    (one,) = photos["p2.jpg"].annotation().objects
    with pytest.raises(DataError, match="object 2: the mask is 10x10, the photo 80x60"):
        one.mask(HW)


def test_an_annotation_that_names_no_image_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    nameless = {key: value for key, value in TWO.items() if key != "image_id"}
    lost = [{**TWO, "id": i, "image_id": image_id} for i, image_id in ((3, None), (4, [2]), (5, 99))]
    path = coco(tmp_path, ONE, nameless, 3, *lost)
    photos, problems = items(path)
    assert ids(photos["p1.jpg"].annotation()) == ["1"]
    assert photos["p2.jpg"].annotation() == Annotation("instances", ())
    assert "image_id" in problems["annotations[1]"]
    assert set(problems) == {f"annotations[{i}]" for i in (1, 2, 3, 4)} | {"annotations"}
    assert "1 of images that the file does not list, such as image_id 99" in problems["annotations"]


def test_image_records_need_no_size_and_may_be_broken_one_by_one(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "p1.jpg"}, 3, {"id": 2}, {"id": {}, "file_name": "p2.jpg"}, {"id": 4}]
    photos, problems = items(coco(tmp_path, ONE, images=[*images, {"id": 5, "file_name": "x" * 5000}]))
    np.testing.assert_array_equal(photos["p1.jpg"].annotation().objects[0].mask(HW), GOOD)
    assert set(problems) == {f"images[{i}]" for i in range(1, 6)}


def test_two_images_of_one_id_cannot_be_told_apart(tmp_path: Path) -> None:
    photos, problems = items(coco(tmp_path, ONE, images=[{"id": 1, "file_name": f"p{i}.jpg"} for i in (1, 2)]))
    assert list(photos) == ["p1.jpg"]
    assert "another image has the id 1 too" in problems["images[1]"]


@pytest.mark.parametrize("pair", [(2, "2"), ("2", 2.0), (2.0, 2), ("photo-2", "photo-2"), ("002", "002")])
def test_ids_of_images_are_numbers_or_texts(tmp_path: Path, pair: tuple[Any, Any]) -> None:
    photos, problems = items(
        coco(tmp_path, {**TWO, "image_id": pair[1]}, images=[{"id": pair[0], "file_name": "p2.jpg"}])
    )
    assert problems == {}
    assert ids(photos["p2.jpg"].annotation()) == ["2"]
    assert photos["p2.jpg"].image_id == image_key(pair[0])


def test_ids_of_objects_are_unique_whatever_the_file_says(tmp_path: Path) -> None:
    own = [{**ONE, "id": id} for id in (7, 7.0, "a", None, True, 2.5)]
    photos, _ = items(coco(tmp_path, *own, {**TWO, "id": "a"}))
    found = [one for photo in photos.values() for one in ids(photo.annotation())]
    assert len(set(found)) == len(found) == 7
    assert found[:3] == ["p1.jpg/7", "p1.jpg/7#2", "p1.jpg/a"]
    photos, _ = items(coco(tmp_path, *({**ONE, "id": id} for id in (7, "a", 9.0)), {**TWO, "id": None}))
    assert [one for photo in photos.values() for one in ids(photo.annotation())] == ["7", "a", "9", "p2.jpg/0"]


@pytest.mark.parametrize(("flag", "is_crowd"), [(1, True), (True, True), ("1", True), (None, False), ("0", False)])
def test_a_crowd_is_one_however_it_is_written(tmp_path: Path, flag: Any, is_crowd: bool) -> None:
    photos, _ = items(coco(tmp_path, {**ONE, "iscrowd": flag}))
    assert photos["p1.jpg"].annotation().objects[0].is_crowd == is_crowd


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_from_windows_is_read(tmp_path: Path, encoding: str) -> None:
    images = [{"id": 1, "file_name": "images\\p1.jpg"}, {"id": 2, "file_name": "C:\\photos\\p2.jpg"}]
    photos, problems = items(coco(tmp_path, ONE, TWO, images=images, encoding=encoding))
    assert problems == {}
    assert list(photos) == ["images/p1.jpg", "C:/photos/p2.jpg"]
    assert [photo.open().shape for photo in photos.values()] == [RGB.shape] * 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 200_000, id="deep"),  # its own text as a name is longer than a program's environment may be
        "[]",
        "3",
        '{"images": 3, "annotations": []}',
        '{"images": []}',
        "\0",
    ],
)
def test_what_is_no_coco_file_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    found, *_ = in_child(f"""
from pathlib import Path
from mobilesam.data.layouts import read
try:
    print(list(read(Path({str(tmp_path / "a.json")!r}))))
except MobileSamError as error:
    print(error)
""")
    assert "is not a COCO annotation file" in found


def record(folder: Path, data: Any, *, encoding: str = "utf-8") -> Path:
    save(folder / "a.jpg", RGB)
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / "a.json").write_bytes(text.encode(encoding))
    return folder


def test_an_sa1b_record_loses_its_bad_objects_alone(tmp_path: Path) -> None:
    good = {"segmentation": RLE, "area": 1600}
    bad = [3, None, {"id": 5}, {"segmentation": {"size": [10**6, 10**6], "counts": "11"}}, {"segmentation": [[1, 2]]}]
    annotation = only(record(tmp_path, {"annotations": [good, *bad, {**good, "area": 1e999, "id": 5}]}))
    assert ids(annotation) == ["a/0", "a/5#3"]
    assert [id for id, _ in annotation.broken] == ["a/1", "a/2", "a/5", "a/4", "a/5#2"]


@pytest.mark.parametrize("data", ["[" * 200_000, [], 3, {}, {"annotations": 3}, {"annotations": None}, "{", "\ufeff"])
def test_a_record_that_is_none_is_a_broken_annotation(tmp_path: Path, data: Any) -> None:
    with pytest.raises(DataError, match="broken annotation"):
        only(record(tmp_path, data))


def test_a_record_without_one_usable_object_says_so(tmp_path: Path) -> None:
    annotation = only(record(tmp_path, {"annotations": [{"segmentation": []}]}))
    assert annotation.objects == ()
    assert annotation.broken == (("a/0", "no segmentation"),)


def labelme(*shapes: Any) -> dict[str, Any]:
    return {"version": "5.4.1", "shapes": shapes, "imagePath": "a.jpg", "imageHeight": HW[0], "imageWidth": HW[1]}


def shape(kind: str | None, *points: Any, **more: Any) -> dict[str, Any]:
    return {"label": "x", "points": points, "shape_type": kind, "group_id": None, **more}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labelmes_polygons_rectangles_and_circles_are_read(tmp_path: Path, encoding: str) -> None:
    square = [[20, 10], [60, 10], [60, 50], [20, 50]]
    shapes = (shape("polygon", *square), shape("rectangle", [60, 50], [20, 10]), shape("circle", [40, 30], [40, 10]))
    annotation = only(record(tmp_path, labelme(*shapes, shape(None, *square)), encoding=encoding))
    assert annotation.source == "labelme"
    assert annotation.broken == ()
    found = [one.mask(HW) for one in annotation.objects]
    for i in (0, 1, 3):
        np.testing.assert_array_equal(found[i], GOOD)
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    disc = np.hypot(columns + 0.5 - 40, rows + 0.5 - 30) < 20
    assert (found[2] & disc).sum() > 0.98 * (found[2] | disc).sum()


def test_labelmes_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    parts = [shape("rectangle", [20, 10], [60, y], group_id=4) for y in (30, 10)]
    parts[1]["points"] = [[20, 30], [60, 50]]
    other = shape("rectangle", [0, 0], [5, 5], group_id=4, label="y")
    annotation = only(record(tmp_path, labelme(parts[0], other, parts[1])))
    assert ids(annotation) == ["a/0", "a/1"]
    np.testing.assert_array_equal(annotation.objects[0].mask(HW), GOOD)


def test_labelmes_shapes_without_an_inside_are_named(tmp_path: Path) -> None:
    kinds = ("point", "line", "linestrip", "points", "mask", "cuboid")
    bad = [
        shape("polygon", [1, 2], [3, 4]),
        shape("polygon", [1, None], [3, 4], [5, 6]),
        shape("polygon", 3),
        shape("circle", [1, 2]),
        {"shape_type": "polygon"},
        7,
    ]
    annotation = only(record(tmp_path, labelme(*(shape(kind, [1, 2], [3, 4]) for kind in kinds), *bad)))
    assert annotation.objects == ()
    assert len(annotation.broken) == 12
    for kind, (_, reason) in zip(kinds, annotation.broken, strict=False):
        assert f"a {kind}, not a polygon" in reason


def yolo(folder: Path, text: str, encoding: str = "utf-8") -> Annotation:
    save(folder / "images" / "a.jpg", RGB)
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_bytes(text.encode(encoding))
    return only(folder)


def test_yolos_bad_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    lines = {
        "0 0.25 0.166667 0.75 0.166667 0.75 0.833333 0.25 0.833333": "",
        "0 0.5 0.5 0.1 0.1": "a box, not a polygon",
        "0 0.5 0.5 0.1 0.1 0.9": "three",
        "0 0.5 inf 0.1 0.1 0.9 0.9": "finite",
        "0 0.5 nan 0.1 0.1 0.9 0.9": "finite",
        "0 0.5 x 0.1 0.1 0.9 0.9": "could not convert",
        "0 20 10 60 10 60 50 20 50": "not in fractions",
        "0": "three",
    }
    annotation = yolo(tmp_path, "\n".join(lines) + "\n\n")
    assert ids(annotation) == ["a.jpg/0"]
    np.testing.assert_array_equal(annotation.objects[0].mask(HW), GOOD)
    assert [id for id, _ in annotation.broken] == [f"a.jpg/{i}" for i in range(1, len(lines))]
    for (_, reason), why in zip(annotation.broken, list(lines.values())[1:], strict=True):
        assert why in reason


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_yolos_labels_from_windows_are_read(tmp_path: Path, encoding: str) -> None:
    assert len(yolo(tmp_path, "0 0.25 0.25 0.75 0.25 0.75 0.75\r\n", encoding).objects) == 1


@pytest.mark.parametrize("kind", ["ring", "two pieces", "a row", "a pixel"])
def test_a_yolo_line_that_we_write_is_read_back_as_the_same_mask(tmp_path: Path, kind: str) -> None:
    mask = np.zeros(HW, bool)
    if kind == "ring":
        mask |= GOOD
        mask[20:40, 30:50] = False
    elif kind == "two pieces":
        mask[5:20, 3:17] = mask[30:57, 40:77] = True
    elif kind == "a row":
        mask[30, 4:76] = True
    else:
        mask[30, 4] = True

    class Found:
        array, original_hw = mask, HW

    annotation = yolo(tmp_path, yolo_line(Found()))
    np.testing.assert_array_equal(annotation.objects[0].mask(HW), mask)


def picture(folder: Path, pixels: np.ndarray, suffix: str = ".png", **options: Any) -> np.ndarray:
    save(folder / "images" / "a.jpg", RGB)
    save(folder / "masks" / f"a{suffix}", pixels, **options)
    (one,) = only(folder).objects
    return one.mask(HW)


def with_alpha(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([colour, alpha])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_opaque_part_of_a_cut_out_is_the_object(tmp_path: Path, channels: int) -> None:
    alpha = GOOD.astype(np.uint8) * 255
    alpha[9, 20:60], alpha[50, 20:60] = 90, 140  # soft edges
    expected = GOOD.copy()
    expected[50, 20:60] = True
    np.testing.assert_array_equal(picture(tmp_path, with_alpha(RGB[..., :channels], alpha)), expected)


def test_a_mask_that_is_opaque_everywhere_is_read_by_its_colour(tmp_path: Path) -> None:
    white = np.repeat(GOOD[..., None], 3, axis=2).astype(np.uint8) * 255
    np.testing.assert_array_equal(picture(tmp_path, with_alpha(white, np.full(HW, 255, np.uint8))), GOOD)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_the_noise_of_a_lossy_mask_is_no_object(tmp_path: Path, suffix: str) -> None:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    disc = np.hypot(columns - 40, rows - 30) < 21.5
    found = picture(tmp_path, disc.astype(np.uint8) * 255, suffix, quality=40)
    assert (found & disc).sum() > 0.98 * (found | disc).sum()
    assert not found[:5].any()


def test_a_jpeg_keeps_the_band_that_does_not_count(tmp_path: Path) -> None:
    labels = GOOD.astype(np.uint8) * 255
    labels[:, 30:40] = 128
    save(tmp_path / "data_GT" / "a.jpg", RGB)
    save(tmp_path / "boundary_GT" / "a.jpg", labels, quality=95)
    (one,) = only(tmp_path).objects
    ignored = one.shape.ignored()
    inside = slice(32, 38)
    assert ignored[:, inside].all()
    assert not one.mask(HW)[:, inside].any()
    assert one.mask(HW)[12:48, 42:58].all()


def test_a_dark_jpeg_and_a_jpeg_of_many_objects_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"object a\.jpg: .*brightest pixel is 6"):
        picture(tmp_path / "dark", GOOD.astype(np.uint8) * 60, ".jpg", quality=95)
    save(tmp_path / "voc" / "JPEGImages" / "a.jpg", RGB)
    save(tmp_path / "voc" / "SegmentationObject" / "a.jpg", GOOD.astype(np.uint8) * 3)
    annotation = only(tmp_path / "voc")
    assert annotation.objects == ()
    assert "does not keep the values" in annotation.broken[0][1]


def test_a_jpeg_of_one_object_among_davis_frames_is_one_object(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg", RGB)
    save(tmp_path / "Annotations" / "a.jpg", GOOD.astype(np.uint8) * 255, quality=90)
    (one,) = only(tmp_path).objects
    np.testing.assert_array_equal(one.mask(HW)[15:45], GOOD[15:45])


def test_a_label_picture_of_another_size_is_refused_by_its_objects_name(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.jpg", RGB)
    save(tmp_path / "masks" / "a.png", np.full((HW[0] // 2, HW[1]), 255, np.uint8))
    (one,) = only(tmp_path).objects
    with pytest.raises(DataError, match=rf"object a\.jpg: the mask is {HW[1]}x{HW[0] // 2}, the photo"):
        one.mask(HW)


def cut_out(mode: str) -> Image.Image:
    """A picture that is transparent off the object by one colour or by alphas of its palette, as pngquant saves it."""
    image = Image.fromarray(np.where(GOOD, 200, 60).astype(np.uint8))
    if mode == "P, alphas":
        image = Image.fromarray(np.where(GOOD, 0, 1).astype(np.uint8), "L").convert("P")
        image.putpalette([9, 9, 9, 200, 200, 200])
        image.info["transparency"] = bytes([255, 0])
        return image
    if mode == "P":
        image = Image.fromarray(np.where(GOOD, 0, 1).astype(np.uint8)).convert("P")
        image.putpalette([9, 9, 9, 200, 200, 200])
        image.info["transparency"] = 1
        return image
    if mode == "I;16":
        image = Image.fromarray(np.where(GOOD, 200, 60).astype(np.uint16) * 257)
        image.info["transparency"] = 60 * 257
        return image
    image.info["transparency"] = 60
    if mode == "RGB":
        image = Image.fromarray(np.repeat(np.asarray(image)[..., None], 3, axis=2))
        image.info["transparency"] = (60, 60, 60)
    return image


@pytest.mark.parametrize("mode", ["P", "P, alphas", "L", "RGB", "I;16"])
def test_a_cut_out_by_one_transparent_colour_is_its_opaque_part(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "images" / "a.jpg", RGB)
    (tmp_path / "masks").mkdir()
    image = cut_out(mode)
    image.save(tmp_path / "masks" / "a.png", transparency=image.info["transparency"])
    (one,) = only(tmp_path).objects
    np.testing.assert_array_equal(one.mask(HW), GOOD)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif"])
@pytest.mark.parametrize(
    ("palette", "is_swapped"),
    [
        ([255, 255, 255, 0, 0, 0], True),  # white first
        ([0, 0, 0, 250, 250, 250], False),  # not 255: of a BMP with black and white alone, Pillow reads bits
        ([0, 0, 0, 128, 0, 0], False),  # as DAVIS has it
        ([255, 0, 0, 0, 0, 0], True),
        ([0, 0, 0, 0, 0, 0], False),  # colours that tell nothing
        ([90, 90, 90, 255, 0, 0], False),  # no black
    ],
)
def test_of_a_palette_the_colours_count_and_not_the_indices(
    tmp_path: Path, suffix: str, palette: list[int], is_swapped: bool
) -> None:
    save(tmp_path / "images" / "a.jpg", RGB)
    (tmp_path / "masks").mkdir()
    image = Image.fromarray((GOOD ^ is_swapped).astype(np.uint8))
    image = image.convert("P")
    image.putpalette(palette)
    image.save(tmp_path / "masks" / f"a{suffix}", **({"optimize": False} if suffix == ".gif" else {}))
    (one,) = only(tmp_path).objects
    np.testing.assert_array_equal(one.mask(HW), GOOD)


LABELS = GOOD.astype(np.uint8) * 3


@pytest.mark.parametrize(
    ("suffix", "options", "is_lossy"),
    [
        (".webp", {"quality": 80}, True),
        (".webp", {"lossless": True}, False),
        (".avif", {"quality": 90}, True),
        (".jp2", {"irreversible": True, "quality_layers": [20]}, True),
        (".jp2", {}, False),
    ],
)
@pytest.mark.parametrize("has_alpha", [False, True])
def test_values_that_a_lossy_format_changed_are_named(
    tmp_path: Path, suffix: str, options: dict[str, Any], is_lossy: bool, has_alpha: bool
) -> None:
    grey = np.repeat(LABELS[..., None], 3, axis=2)
    save(tmp_path / "JPEGImages" / "a.jpg", RGB)
    pixels = np.dstack([grey, np.where(GOOD, 255, 254).astype(np.uint8)]) if has_alpha else grey
    save(tmp_path / "SegmentationObject" / f"a{suffix}", pixels, **options)
    annotation = only(tmp_path)
    if is_lossy:
        assert annotation.objects == ()
        assert "lossy" in annotation.broken[0][1]
        assert "does not keep the values" in annotation.broken[0][1]
    else:
        assert annotation.broken == ()
        np.testing.assert_array_equal(annotation.objects[0].mask(HW), GOOD)


@pytest.mark.parametrize(("lossless", "is_lossy"), [(True, False), (False, True)])
def test_an_animated_webp_says_as_well_whether_it_is_lossy(tmp_path: Path, lossless: bool, is_lossy: bool) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg", RGB)
    frames = [Image.fromarray(np.repeat((LABELS * k)[..., None], 3, axis=2)) for k in (1, 2)]
    (tmp_path / "SegmentationObject").mkdir()
    frames[0].save(
        tmp_path / "SegmentationObject" / "a.webp", save_all=True, append_images=frames[1:], lossless=lossless
    )
    assert (only(tmp_path).objects == ()) == is_lossy


def test_a_label_picture_with_smoothed_edges_is_named_and_not_read_as_hundreds_of_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save(tmp_path / "JPEGImages" / "a.jpg", RGB)
    save(tmp_path / "SegmentationObject" / "a.png", rng.integers(0, 256, (*HW, 3)).astype(np.uint8))
    with pytest.raises(DataError, match=r"a\.png: \d+ colours are more than 256 objects; .*anti-aliasing"):
        only(tmp_path)
    save(tmp_path / "large" / "JPEGImages" / "a.jpg", RGB)
    noise = np.arange(120 * 160, dtype=np.uint16).reshape(120, 160)
    save(tmp_path / "large" / "SegmentationObject" / "a.png", noise)
    with pytest.raises(DataError, match="19200 values are more than 10000 objects"):
        only(tmp_path / "large")
