from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.cached import open_stores
from mobilesam.data.checksums import photo_checksum
from mobilesam.data.store_format import StoreHeader
from mobilesam.data.store_writer import StoreWriter
from mobilesam.data.survey import Survey, survey
from mobilesam.errors import DataError
from tests.helpers.scenes import draw_scene, save_picture, write_shard


def embed(path: Path, folder: Path, value: float, *, name: str = "", teacher: str = "t") -> None:
    """A store of a data set embedded by itself, whose embeddings hold one value."""
    found = survey([str(path)], need_masks=False)
    ((dataset, listing),) = found.listings.items()
    folder.mkdir(exist_ok=True)
    header = StoreHeader(teacher=teacher, image_size=64, embed_dim=1, shard=f"{dataset} {listing}")
    with StoreWriter(folder / f"{name or dataset}.npz", header) as store:
        for photo in found.photos:
            store.add(photo.name, 0, np.full((1, 4, 4), value, np.float32), photo_checksum(photo.file.read()))
        store.finish({})


def values(folder: Path, photos: Survey) -> dict[str, set[float]]:
    """Data set → the values of its photos' embeddings."""
    found: dict[str, set[float]] = {}
    for photo, store in open_stores(folder, photos, teacher="t").items():
        found.setdefault(photo.dataset, set()).add(float(store.read(photo.path)[0, 0, 0]))
    return found


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two data sets that share every name, of other sizes."""
    paths = [tmp_path / name / "x.tar" for name in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
    write_shard(paths[0], 4)
    write_shard(paths[1], 4, seed=1)
    return paths


def test_two_stores_that_share_photo_names_give_each_data_set_its_own_embeddings(
    two: list[Path], tmp_path: Path
) -> None:
    """Each was embedded alone, when it was called "x"; together they are called by their folders."""
    for value, (path, name) in enumerate(zip(two, ("first", "second"), strict=True)):
        embed(path, tmp_path / "store", value, name=name)
    for order in (two, two[::-1]):
        photos = survey([str(path) for path in order])
        assert values(tmp_path / "store", photos) == {"one/x.tar": {0.0}, "two/x.tar": {1.0}}
    assert values(tmp_path / "store", survey([str(two[1])])) == {"x": {1.0}}


def test_stores_of_photos_with_the_same_names_and_sizes_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    rgb, _ = draw_scene(np.random.default_rng(0))
    for value, name in enumerate(("one", "two")):
        save_picture(tmp_path / name / "img" / "a.bmp", rgb + value)
        save_picture(tmp_path / name / "gt" / "a.png", np.full(rgb.shape[:2], 255, np.uint8))
        embed(tmp_path / name, tmp_path / "store", value)
    photos = survey([str(tmp_path / "two"), str(tmp_path / "one")])
    assert photos.listings["one"] == photos.listings["two"]
    assert values(tmp_path / "store", photos) == {"one": {0.0}, "two": {1.0}}


def test_a_data_set_that_changed_since_it_was_embedded_is_refused(two: list[Path], tmp_path: Path) -> None:
    embed(two[0], tmp_path / "store", 0)
    shutil.copy(two[1], two[0])  # other photos under the same names
    with pytest.raises(DataError, match=r"'x' has changed since .*x\.npz was written.*distill embed` again"):
        open_stores(tmp_path / "store", survey([str(two[0])]), teacher="t")


def test_a_data_set_that_was_never_embedded_is_missing_though_another_has_its_names(
    two: list[Path], tmp_path: Path
) -> None:
    embed(two[0], tmp_path / "store", 0)
    with pytest.raises(DataError, match=r"lacks 4 of 8 photos \(two/x\.tar/photo_00, .*run `mobilesam distill embed`"):
        open_stores(tmp_path / "store", survey([str(path) for path in two]), teacher="t")


def test_stores_of_another_teacher_and_of_two_kinds_are_refused(two: list[Path], tmp_path: Path) -> None:
    photos = survey([str(path) for path in two])
    embed(two[0], tmp_path / "store", 0, name="a")
    embed(two[1], tmp_path / "store", 0, name="b", teacher="other")
    with pytest.raises(DataError, match=r"b\.npz holds embeddings of weights other, the teacher here is t;"):
        open_stores(tmp_path / "store", photos, teacher="t")


def test_a_data_set_has_stores_of_its_parts_in_subfolders_and_a_part_twice_counts_once(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "x.tar", 4)
    found = survey([str(shard)], need_masks=False)
    header = StoreHeader(teacher="t", image_size=64, embed_dim=1, shard=f"x {found.listings['x']}")
    for value, (name, part) in enumerate((("a", (0, 1)), ("b/b", (2,)), ("b/again", (2,)))):
        path = tmp_path / "store" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with StoreWriter(path, header) as store:
            for photo in (found.photos[i] for i in part):
                store.add(photo.name, 0, np.full((1, 4, 4), value, np.float32), photo_checksum(photo.file.read()))
            store.finish({found.photos[3].name: "truncated"} if name != "a" else {})
    stores = open_stores(tmp_path / "store", found, teacher="t")
    assert sorted(photo.path for photo in stores) == ["photo_00", "photo_01", "photo_02"]
    assert len({store.path for store in stores.values()}) == 2
