from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilesam.errors import DataError
from mobilesam.shards import read_photo
from mobilesam.store import Store, StoreHeader, StoreWriter
from mobilesam.train.config import DataConfig
from mobilesam.train.epochs import EpochPhotos, Needs, in_photo, keep_fraction
from mobilesam.train.survey import Survey, survey
from mobilesam.train.views import make_view


@pytest.fixture
def config(shard: Path) -> DataConfig:
    return DataConfig(shards=(str(shard),), masks_per_photo=3)


def dataset(config: DataConfig, **kwargs: object) -> EpochPhotos:
    settings = {"stores": None, "needs": Needs(masks=True)} | kwargs
    return EpochPhotos(survey(config), config, 64, 0, **settings)  # type: ignore[arg-type]


def test_every_epoch_shows_every_photo_once_in_another_order(config: DataConfig) -> None:
    photos = dataset(config, needs=Needs(image=False))
    epochs = [[photos[i]["name"] for i in range(first, first + 12)] for first in (0, 12)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(s.name for s in photos.samples)
    assert epochs[0] != epochs[1]
    assert dataset(config)[17]["name"] == epochs[1][5]


def test_masks_lie_on_their_objects_in_every_view(config: DataConfig) -> None:
    photos = dataset(config, views=5)
    for i in range(24):
        item = photos[i]
        image, masks = item["image"].float(), item["masks"]
        h, w = item["input_hw"].tolist()
        assert not masks[:, h:].any()
        assert not masks[:, :, w:].any()
        for mask in masks:
            mean = image[:, mask].mean(1)
            is_disc, is_square = mean[0] > 180, mean[2] > mean[0] + 40
            assert is_disc or is_square, (i, mean)


def test_the_whole_photo_comes_first_and_crops_are_drawn_by_name_and_seed() -> None:
    array = np.arange(60 * 80).reshape(60, 80)
    np.testing.assert_array_equal(make_view("a", 0, (60, 80), 0).cut(array), array)
    crops = [
        make_view(name, i, (60, 80), seed) for name, i, seed in (("a", 1, 0), ("a", 2, 0), ("b", 1, 0), ("a", 1, 1))
    ]
    assert len(set(crops)) == 4
    assert crops[0] == make_view("a", 1, (60, 80), 0)
    for crop in crops:
        assert crop.cut(array).shape == (crop.height, crop.width)
        assert crop.height >= 30
        assert crop.width >= 40
    assert {make_view("a", i, (60, 80), 0).is_mirrored for i in range(1, 9)} == {True, False}


def test_a_cached_embedding_is_padded_to_the_grid_and_checked_against_its_photo(
    config: DataConfig, tmp_path: Path
) -> None:
    found = survey(config)
    header = StoreHeader(teacher="t", image_size=64, embed_dim=2, shard="s")
    with StoreWriter(tmp_path / "s.npz", header) as writer:
        for sample in found.samples:
            writer.add(sample.name, 0, np.ones((2, 4, 4), np.float32))
        store = Store(writer.finish({}))
    stores = {s.name: store for s in found.samples}
    item = dataset(config, stores=stores, needs=Needs(image=False))[0]
    assert "image" not in item
    assert item["embedding"].shape == (2, 4, 4)
    with StoreWriter(tmp_path / "t.npz", header) as writer:
        for sample in found.samples:
            writer.add(sample.name, 0, np.ones((2, 2, 4), np.float32))
        wrong = Store(writer.finish({}))
    with pytest.raises(DataError, match="the photo has changed"):
        dataset(config, stores=dict.fromkeys(stores, wrong))[0]


def test_fractions_are_nested_and_sources_can_be_chosen(config: DataConfig) -> None:
    found = survey(config)
    many = Survey([replace(found.samples[0], name=str(i)) for i in range(400)], ["a", "b"] * 200, {})  # type: ignore[type-var]
    quarter, half = ({s.name for s in keep_fraction(many, f).samples} for f in (0.25, 0.5))
    assert 70 < len(quarter) < 130
    assert quarter < half
    assert len(keep_fraction(many, 1.0).samples) == 400
    assert set(keep_fraction(found, 1.0, ("b",)).sources) == {"b"}
    with pytest.raises(DataError, match="sources here: a, b"):
        keep_fraction(found, 1.0, ("c",))


def test_the_part_that_a_photo_covers() -> None:
    inside = in_photo(torch.tensor([[2, 4], [4, 1]]), 4)
    assert inside.shape == (2, 1, 4, 4)
    assert inside[0, 0].sum() == 8
    assert inside[0, 0, :2].all()
    assert inside[1, 0, :, 0].all()
    assert inside[1, 0].sum() == 4


def test_a_photo_is_read_as_it_is_stored(shard: Path) -> None:
    sample = survey(DataConfig(shards=(str(shard),))).samples[0]
    assert read_photo(sample).rgb.shape == (96, 96, 3)
