"""Training on data sets of every layout, the broken parts of which are counted and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilesam.data.decoded import read_photo
from mobilesam.data.tar import index_tar
from mobilesam.errors import DataError, SettingsError
from mobilesam.masks import to_rle
from mobilesam.recipe import from_dict
from mobilesam.train.config import TrainRecipe
from mobilesam.train.data import MaskPhotos
from mobilesam.train.epochs import EpochPhotos, Needs
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import data_patterns, find_photos
from mobilesam.train.resident import Plans, ResidentPhotos
from tests.helpers.scenes import draw_scene, save_picture
from tests.helpers.training import recipe, train

SCENES = [draw_scene(np.random.default_rng(i)) for i in range(4)]


def yolo(folder: Path) -> Path:
    """Four photos, and one without labels and one with a line that is no polygon."""
    for i, (rgb, _) in enumerate([*SCENES, SCENES[0], SCENES[0]]):
        save_picture(folder / "images" / f"{i}.jpg", rgb)
    (folder / "labels").mkdir()
    for i in range(4):
        (folder / "labels" / f"{i}.txt").write_text("0 0.2 0.2 0.7 0.2 0.7 0.7 0.2 0.7\n")
    (folder / "labels" / "4.txt").write_text("0 0.5 0.5\n")
    return folder


def voc(folder: Path) -> Path:
    """Four photos, one of them with nothing but void, and a damaged label picture."""
    for i, (rgb, (disc, square)) in enumerate(SCENES):
        save_picture(folder / "JPEGImages" / f"{i}.jpg", rgb)
        labels = np.full(disc.shape, 255, np.uint8) if i == 3 else disc + 2 * (square & ~disc).astype(np.uint8)
        save_picture(folder / "SegmentationObject" / f"{i}.png", labels)
    save_picture(folder / "JPEGImages" / "4.jpg", SCENES[0][0])
    (folder / "SegmentationObject" / "4.png").write_bytes(b"no picture")
    return folder


def coco(folder: Path) -> Path:
    """Four photos, and records without an id, without a photo, and of a photo with a broken annotation."""
    images, annotations = [], []
    for i, (rgb, (disc, _)) in enumerate([*SCENES, SCENES[0]]):
        save_picture(folder / f"{i}.jpg", rgb)
        images.append({"id": i, "file_name": f"{i}.jpg"})
        annotations.append({"id": i, "image_id": i, "segmentation": to_rle(disc) if i < 4 else [[1, 2]]})
    images += [{"file_name": "0.jpg"}, {"id": 9, "file_name": "gone.jpg"}]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


@pytest.mark.parametrize(("layout", "usable", "broken"), [(yolo, 4, 2), (voc, 3, 2), (coco, 4, 3)])
def test_training_goes_on_without_what_is_broken_in_any_layout(
    layout: Callable[[Path], Path], usable: int, broken: int, tmp_path: Path
) -> None:
    path = layout(tmp_path / "data")
    plain = recipe(path, tmp_path / "run", steps=2)
    found = find_photos(plain.data)
    assert len(found.photos) == usable
    assert sum(map(len, found.skipped.values())) == broken
    assert train(plain).is_file()
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["data"] == found.summary()


def damaged_inside(shard: Path, path: Path) -> Path:
    """A copy whose second photo begins and ends as a JPEG should but does not decode: its Huffman codes are bogus."""
    data = bytearray(shard.read_bytes())
    start, size = index_tar(shard)[0]["photo_01.jpg"].member or (0, 0)
    codes = data.index(b"\xff\xc4", start, start + size) + 5
    data[codes : codes + 16] = b"\xff" * 16
    path.write_bytes(data)
    return path


def test_a_photo_found_damaged_only_when_it_is_decoded_is_named_and_others_stand_in(
    shard: Path, tmp_path: Path
) -> None:
    config = DataConfig(paths=(str(damaged_inside(shard, tmp_path / "x.tar")),), masks_per_photo=2)
    found = find_photos(config)
    assert len(found.photos) == 12
    message = "left out: .*photo 'x/photo_01' is damaged"
    with pytest.warns(UserWarning, match=message):
        shown = {MaskPhotos(found, config, 64, 0)[i]["name"] for i in range(40)}
    assert len(shown) == 11
    epochs = EpochPhotos(found, config, 64, 0, stores=None, needs=Needs(masks=True))
    with pytest.warns(UserWarning, match=message):
        names = [epochs[i]["name"] for i in range(12)]
    assert len(set(names)) == 11
    with pytest.warns(UserWarning, match=message):
        resident = ResidentPhotos(found.photos, [2] * 12, 96, torch.device("cpu"), workers=0)
    assert [len(facts.areas) for facts in resident.facts].count(0) == 1
    plans = [Plans(MaskPhotos(found, config, 64, 0), resident.facts)[i][1] for i in range(40)]
    assert 1 in {plan.photo for plan in plans}
    assert resident.batch(plans, 64, 2, config.min_area)["masks"].flatten(2).any(2).all()


def test_the_older_keys_add_to_paths(tmp_path: Path) -> None:
    config = DataConfig(paths=("c/",), shards=("a.tar",), coco=("b.json",))
    assert data_patterns(config) == ["a.tar", "b.json", "c/"]
    with pytest.raises(DataError, match=r"names no data: set data\.paths"):
        find_photos(DataConfig())
    file = coco(tmp_path / "data")
    for image in (tmp_path / "data").glob("*.jpg"):
        save_picture(tmp_path / "elsewhere" / "photos" / image.name, SCENES[0][0])
        image.unlink()
    old = from_dict(TrainRecipe, {"data": {"coco": [str(file)], "photos": str(tmp_path / "elsewhere" / "photos")}})
    assert len(find_photos(old.data).photos) == 4


def test_a_folder_of_photos_that_no_data_set_uses_is_refused(shard: Path) -> None:
    with pytest.raises(SettingsError, match=r"'data\.photos' does nothing here: only COCO and LVIS files"):
        find_photos(DataConfig(paths=(str(shard),), photos="photos"))


def test_masks_of_a_yolo_folder_lie_where_its_polygons_do(tmp_path: Path) -> None:
    photo = read_photo(find_photos(DataConfig(paths=(str(yolo(tmp_path)),))).photos[0])
    rows, columns = np.nonzero(photo.mask(0))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([19, 66, 19, 66], abs=1)
