from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mobilesam import masks
from mobilesam.data import shapes
from mobilesam.data.decoded import read_photo
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoRef
from mobilesam.errors import DataError
from tests.helpers.scenes import draw_scene, save_picture

RGB, (DISC, SQUARE) = draw_scene(np.random.default_rng(0))


def references(path: Path) -> list[PhotoRef]:
    return [item for item in read(path) if isinstance(item, PhotoRef)]


def coco_file(folder: Path, annotations: list[dict[str, object]]) -> Path:
    save_picture(folder / "a.png", RGB)
    shared = {"image_id": 1, "category_id": 1}
    records = [{"id": i, **shared, **one} for i, one in enumerate(annotations)]
    path = folder / "coco.json"
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": records}))
    return path


def test_stated_areas_count_and_others_are_counted_from_the_run_lengths(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", RGB)
    stated = {"segmentation": masks.to_rle(DISC), "area": 7}
    counted = {"segmentation": masks.to_rle(SQUARE)}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [stated, counted]}))
    photo = read_photo(references(tmp_path)[0])
    assert photo.areas == (7.0, float(SQUARE.sum()))
    assert photo.source == "sa1b"
    np.testing.assert_array_equal(photo.mask(0), DISC)
    np.testing.assert_array_equal(photo.mask(1), SQUARE)


def test_crowds_and_objects_without_a_pixel_are_left_out(tmp_path: Path) -> None:
    speck = [[5.0, 5.0, 5.1, 5.0, 5.1, 5.1]]
    path = coco_file(
        tmp_path,
        [
            {"segmentation": masks.to_rle(DISC), "iscrowd": 1, "area": 1},
            {"segmentation": speck, "area": 1},
            {"segmentation": masks.to_rle(SQUARE), "area": 1},
        ],
    )
    photo = read_photo(references(path)[0])
    assert photo.areas == (float(SQUARE.sum()),)
    np.testing.assert_array_equal(photo.mask(0), SQUARE)


def test_a_label_picture_is_decoded_once_for_all_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_picture(tmp_path / "JPEGImages" / "a.jpg", RGB)
    save_picture(tmp_path / "SegmentationObject" / "a.png", DISC + 2 * (SQUARE & ~DISC).astype(np.uint8))
    (reference,) = references(tmp_path)
    calls = []

    original = shapes.label_pixels

    def counted(file: FileRef) -> shapes.Labels:
        calls.append(file)
        return original(file)

    monkeypatch.setattr(shapes, "label_pixels", counted)
    photo = read_photo(reference)
    assert len(calls) == 1
    np.testing.assert_array_equal(photo.mask(0), DISC)
    np.testing.assert_array_equal(photo.mask(1), SQUARE & ~DISC)


def test_without_masks_the_annotation_is_not_read(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", RGB)
    (tmp_path / "a.json").write_text("{")
    (reference,) = references(tmp_path)
    photo = read_photo(reference, need_masks=False)
    assert (photo.source, photo.areas, photo.rgb.shape) == ("unread", (), RGB.shape)
    with pytest.raises(DataError, match=r"a\.jpg: photo '.*/a' is damaged \(broken annotation"):
        read_photo(reference)


def test_a_mask_of_another_size_and_a_file_that_is_gone_are_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", RGB)
    record = {"annotations": [{"segmentation": masks.to_rle(DISC[:50]), "area": 7}]}
    (tmp_path / "a.json").write_text(json.dumps(record))
    (reference,) = references(tmp_path)
    with pytest.raises(DataError, match="mask is 96x50, the photo 96x96"):
        read_photo(reference)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"photo '.*/a' is damaged"):
        read_photo(reference)


def test_one_broken_mask_costs_its_object_and_not_its_photo(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", RGB)
    bad = masks.to_rle(DISC[:50])
    records = [{"id": i, "segmentation": rle, "area": 7} for i, rle in enumerate((bad, masks.to_rle(SQUARE)))]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": records}))
    with pytest.warns(UserWarning, match=r"left out: .*a\.jpg: photo '.*/a': object .*mask is 96x50"):
        photo = read_photo(references(tmp_path)[0])
    assert len(photo.run_lengths) == 1
    np.testing.assert_array_equal(photo.mask(0), SQUARE)
