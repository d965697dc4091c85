"""`--range` and `--max-pixels` mean the same in every verb, and so do their recipe keys."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam import boxes, masks
from mobilesam.data.cached import open_stores
from mobilesam.data.checksums import listing_checksum, photo_checksum
from mobilesam.data.decoded import read_bytes, read_photo
from mobilesam.data.store import Store
from mobilesam.data.store_format import StoreHeader
from mobilesam.data.store_writer import StoreWriter
from mobilesam.data.survey import survey
from mobilesam.errors import DataError, SettingsError
from mobilesam.image import open_photo
from mobilesam.image import open_stored as original
from mobilesam.tracking.frames import open_frames

needs_coco_eval = pytest.mark.skipif(not find_spec("faster_coco_eval"), reason="the extra eval is not installed")
HW = (96, 128)
RANGE = (300.0, 2500.0)
Y, X = np.mgrid[: HW[0], : HW[1]]
DISK = (X - 70) ** 2 + (Y - 50) ** 2 < 30**2


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A data set of one photo of 16 bits, as COCO and as label pictures, with a detector's boxes."""
    values = np.where(DISK, 2300, 500).astype(np.uint16)
    values[0, 0] = 60_000  # so that no rule that the values suggest shows the object
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    Image.fromarray(values).save(tmp_path / "set" / "images" / "a.png")
    Image.fromarray(DISK.astype(np.uint8) * 255).save(tmp_path / "set" / "masks" / "a.png")
    shared: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": list(boxes.xyxy_to_xywh(boxes.from_mask(DISK)))}
    record = {
        "images": [{"id": 1, "file_name": "images/a.png", "height": HW[0], "width": HW[1]}],
        "annotations": [{**shared, "id": 1, "segmentation": masks.to_rle(DISK), "area": int(DISK.sum()), "iscrowd": 0}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(record))
    (tmp_path / "boxes.json").write_text(json.dumps([{**shared, "score": 0.5}]))
    return tmp_path


def test_an_evaluation_opens_photos_in_the_range_that_is_given(run, deep: Path, monkeypatch) -> None:
    seen = opened(monkeypatch)
    code, _, err = run("evaluate", "set", "-p", "box", "--range", "300,2500", "-o", "r.json")
    assert code == 0, err
    assert json.loads(Path("r.json").read_text())["settings"]["value_range"] == list(RANGE)
    assert seen == [{"value_range": RANGE, "max_pixels": 200_000_000}]
    code, _, err = run("evaluate", "set", "-p", "box", "--max-pixels", "100", "-o", "r2.json")
    assert (code, "too many pixels" in err) == (1, True)
    assert run("evaluate", "set", "-p", "box", "--range", "9,1")[0] == 2


@needs_coco_eval
def test_detections_are_measured_on_photos_in_the_range_that_is_given(run, deep: Path, monkeypatch) -> None:
    seen = opened(monkeypatch)
    words = ("evaluate", "detections", "truth.json", "boxes.json", "--images", "set")
    code, out, err = run(*words, "--range", "300,2500", "--json")
    assert code == 0, err
    assert json.loads(out)["value_range"] == list(RANGE)
    assert seen[0]["value_range"] == RANGE
    code, _, err = run(*words, "--max-pixels", "100", "-o", "r2.json")
    assert (code, "too many pixels" in err) == (1, True)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How photos of data sets are opened from now on."""
    seen: list[dict[str, Any]] = []

    def open_stored(encoded: Any, **options: Any) -> Any:
        seen.append({key: options[key] for key in ("value_range", "max_pixels")})
        return original(encoded, **options)

    monkeypatch.setattr("mobilesam.data.photo.open_stored", open_stored)
    return seen


def test_annotation_runs_open_photos_in_the_range_that_is_given_and_remember_it(run, deep: Path) -> None:
    words = ("annotate", "set/images", "--workers", "1", "--set", "points_per_side=2", "--backend", "onnx")
    assert run(*words, "-o", "a", "--range", "300,2500")[0] == 0
    assert run(*words, "-o", "a")[0] != 0  # another run
    assert run(*words, "-o", "b", "--max-pixels", "100")[0] == 1
    assert "too many pixels" in Path("b/errors.jsonl").read_text()


def test_frames_are_opened_in_the_range_that_is_given(deep: Path, tmp_path: Path) -> None:
    folder = deep / "set" / "images"
    (frame,) = open_frames(folder, value_range=RANGE).read()
    np.testing.assert_array_equal(frame.photo, open_photo(folder / "a.png", value_range=RANGE))
    (tmp_path / "v.mp4").write_bytes(b"")
    with pytest.raises(SettingsError, match="does nothing here"):
        open_frames(tmp_path / "v.mp4", value_range=RANGE)


def test_the_survey_of_a_training_gives_the_range_and_the_limit_to_every_reader(deep: Path) -> None:
    expected = open_photo(deep / "set" / "images" / "a.png", value_range=RANGE)
    (photo,) = survey([str(deep / "set")], value_range=RANGE).photos
    np.testing.assert_array_equal(read_photo(photo).rgb, expected)
    with pytest.raises(DataError, match="too many pixels"):
        survey([str(deep / "set")], max_pixels=100)


@pytest.mark.torch
def test_recipe_keys_reach_the_photos_of_a_training(deep: Path) -> None:
    from mobilesam.recipe import from_dict
    from mobilesam.train.photo_config import DataConfig
    from mobilesam.train.photos import find_photos

    config = from_dict(DataConfig, {"paths": [str(deep / "set")], "value_range": [300, 2500], "max_pixels": 20_000})
    (photo,) = find_photos(config).photos
    assert (photo.value_range, photo.max_pixels) == (RANGE, 20_000)


def test_embeddings_of_photos_in_another_range_are_refused(deep: Path) -> None:
    photos = survey([str(deep / "set")], value_range=RANGE)
    (photo,) = photos.photos
    path = deep / "x.npz"
    for value_range in (RANGE, None):
        shard = f"x {listing_checksum(photos.photos)}"
        header = StoreHeader(teacher="t", image_size=64, embed_dim=1, shard=shard, value_range=value_range)
        with StoreWriter(path, header) as store:
            store.add(photo.name, 0, np.zeros((1, 3, 4), np.float32), photo_checksum(read_bytes(photo)))
            store.finish({})
        assert Store(path).header == header
        if value_range:
            assert list(open_stores(deep, photos, teacher="t")) == [photo.id]
    with pytest.raises(DataError, match=r"value_range 'None', the recipe says"):
        open_stores(deep, photos, teacher="t")
    # A store without a range has the header that it had before there was this setting.
    assert b"value_range" not in bytes(Store(path).payload("header.json"))
