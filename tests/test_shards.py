from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from mobilesam.errors import DataError
from mobilesam.shards import Sample, expand, index_shard, read_photo
from tests.helpers.scenes import add_member, draw_scene


def test_photos_and_masks_come_back_from_the_tar(shard: Path) -> None:
    samples = index_shard(str(shard))
    assert [s.name for s in samples] == [f"photo_{i:02}" for i in range(12)]
    rgb, objects = draw_scene(np.random.default_rng(0))
    photo = read_photo(samples[0])
    assert photo.source == "a"
    assert np.abs(photo.rgb.astype(int) - rgb).mean() < 10  # JPEG
    for i, mask in enumerate(objects):
        np.testing.assert_array_equal(photo.mask(i), mask)


def test_a_photo_without_annotation_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a.jpg", b"x")
        add_member(tar, "b.jpg", b"x")
        add_member(tar, "b.json", b"{}")
    assert [s.name for s in index_shard(str(path))] == ["b"]


def test_damage_is_reported_with_the_photos_name(shard: Path, tmp_path: Path) -> None:
    good = index_shard(str(shard))[3]
    with pytest.raises(DataError, match="'photo_03' is damaged"):
        read_photo(Sample(good.shard, good.name, (good.jpg[0], 100), good.json))
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match=r"bad\.tar"):
        index_shard(str(bad))


def test_a_pattern_without_a_match_is_named(shard: Path) -> None:
    assert expand([str(shard.parent / "*.tar")]) == [str(shard)]
    with pytest.raises(DataError, match=r"no shard matches 'nowhere/\*\.tar'"):
        expand(["nowhere/*.tar"])
