from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.checksums import photo_checksum
from mobilesam.data.decoded import read_photo
from mobilesam.data.store import Store
from mobilesam.data.store_format import StoreHeader
from mobilesam.data.store_writer import StoreWriter
from mobilesam.errors import DataError
from mobilesam.train.epochs import EpochPhotos, Needs
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.photos import find_photos


@pytest.fixture
def config(shard: Path) -> DataConfig:
    return DataConfig(shards=(str(shard),), masks_per_photo=3)


def dataset(config: DataConfig, **kwargs: object) -> EpochPhotos:
    settings = {"stores": None, "needs": Needs(masks=True)} | kwargs
    return EpochPhotos(find_photos(config), config, 64, 0, **settings)


def test_every_epoch_shows_every_photo_once_in_another_order(config: DataConfig) -> None:
    photos = dataset(config, needs=Needs(image=False))
    epochs = [[photos[i]["name"] for i in range(first, first + 12)] for first in (0, 12)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(str(p.id) for p in photos.photos)
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


def test_a_cached_embedding_is_padded_to_the_grid_and_checked_against_its_photo(
    config: DataConfig, tmp_path: Path
) -> None:
    found = find_photos(config)
    header = StoreHeader(teacher="t", image_size=64, embed_dim=2, shard="s")
    with StoreWriter(tmp_path / "s.npz", header) as writer:
        for photo in found.photos:
            writer.add(photo.name, 0, np.ones((2, 4, 4), np.float32))
        store = Store(writer.finish({}))
    stores = {photo.id: store for photo in found.photos}
    item = dataset(config, stores=stores, needs=Needs(image=False))[0]
    assert "image" not in item
    assert item["embedding"].shape == (2, 4, 4)
    with StoreWriter(tmp_path / "t.npz", header) as writer:
        for photo in found.photos:
            writer.add(photo.name, 0, np.ones((2, 2, 4), np.float32))
        wrong = Store(writer.finish({}))
    with pytest.raises(DataError, match="the photo has changed"):
        dataset(config, stores=dict.fromkeys(stores, wrong))[0]


def test_a_photo_edited_in_place_is_refused_when_it_is_read(config: DataConfig, tmp_path: Path) -> None:
    """Its size is the same, so the listing that is compared at the start cannot tell."""
    found = find_photos(config)
    with StoreWriter(tmp_path / "s.npz", StoreHeader(teacher="t", image_size=64, embed_dim=2, shard="s")) as writer:
        for photo in found.photos:
            checksum = photo_checksum(photo.file.read())
            writer.add(photo.name, 0, np.ones((2, 4, 4), np.float32), checksum)
        store = Store(writer.finish({}))
    photos = dataset(config, stores={photo.id: store for photo in found.photos})
    photos[0]
    edited = found.photos[3]
    start, size = edited.file.member or (0, 0)
    path = Path(edited.file.path)
    whole = path.read_bytes()
    data = bytearray(whole)
    data[start + size - 10] ^= 1
    try:
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"photo '{edited.name}' has changed since .*distill embed` again"):
            photos.check(edited, edited.file.read())
    finally:
        path.write_bytes(whole)


def test_a_photo_is_read_as_it_is_stored(shard: Path) -> None:
    photo = find_photos(DataConfig(paths=(str(shard),))).photos[0]
    assert read_photo(photo).rgb.shape == (96, 96, 3)
