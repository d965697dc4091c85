from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from mobilesam.distill.teacher import embed, verify
from mobilesam.errors import DataError
from mobilesam.image import resize_long_side
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.shards import decode, index_shard
from mobilesam.store import Store
from mobilesam.train.views import make_view
from tests.helpers.scenes import wide_shard


def test_each_record_is_what_the_teacher_says_of_that_photo(recipes, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    done = embed(recipes(data={"shards": [str(shard)]}, store={"views": 3}), show_progress=False)
    assert done.written == [str(tmp_path / "store" / "wide.npz")]
    store, model = Store(Path(done.written[0])), checkpoint.load(tiny_checkpoint)
    sample = index_shard(str(shard))[2]
    rgb = decode(sample.read_bytes())
    for i in range(3):
        seen = resize_long_side(np.ascontiguousarray(make_view("wide_2", i, (40, 80), 0).cut(rgb)), 64)
        with torch.inference_mode():
            expected = model.encode(torch.from_numpy(seen.transpose(2, 0, 1).copy())[None].float())[0].numpy()
        found = store.read("wide_2", i)
        assert found.shape == (32, -(-seen.shape[0] // 16), -(-seen.shape[1] // 16))
        np.testing.assert_allclose(found, expected[:, : found.shape[1], : found.shape[2]], atol=5e-3)


def test_a_photo_that_cannot_be_read_is_named_and_the_rest_embedded(recipes, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    for _ in range(2):  # the second time the finished store says the same
        done = embed(recipes(data={"shards": [str(shard)]}), show_progress=False)
        assert list(done.skipped) == ["wide_1"]
        assert "truncated" in done.skipped["wide_1"]
    assert done.present
    assert Store(Path(done.present[0])).photos == {"wide_0", "wide_2"}


def test_padding_is_kept_only_on_request(recipes, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    embed(recipes(data={"shards": [str(shard)]}, store={"keep_padding": True}), show_progress=False)
    assert Store(tmp_path / "store" / "wide.npz").read("wide_0").shape == (32, 4, 4)


def test_a_store_of_another_teacher_or_another_kind_is_refused(recipes, tmp_path: Path) -> None:
    embed(recipes(), show_progress=False)
    torch.manual_seed(1)
    checkpoint.save(Sam(TINY), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"teacher is .*delete it, or choose another folder"):
        embed(recipes(teacher={"checkpoint": str(tmp_path / "other.safetensors")}), show_progress=False)
    with pytest.raises(DataError, match="dtype is float16, not int8"):
        embed(recipes(store={"dtype": "int8"}), show_progress=False)


def test_a_shard_that_changed_is_refused(recipes, shard: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar"
    shutil.copy(shard, copy)
    embed(recipes(data={"shards": [str(copy)]}), show_progress=False)
    wide_shard(copy)
    with pytest.raises(DataError, match="shard is copy"):
        embed(recipes(data={"shards": [str(copy)]}), show_progress=False)


def test_a_shard_that_another_process_writes_is_left_to_it(recipes, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with FileLock(tmp_path / "store" / "synthetic.npz.lock"):
        done = embed(recipes(), show_progress=False)
    assert (len(done.busy), done.written) == (1, [])
    assert embed(recipes(), show_progress=False).written


def test_two_shards_of_one_name_are_refused_and_one_given_twice_is_not(recipes, shard: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = wide_shard(tmp_path / "other" / shard.name)
    with pytest.raises(DataError, match="have one name"):
        embed(recipes(data={"shards": [str(shard), str(other)]}), show_progress=False)
    assert len(embed(recipes(data={"shards": [str(shard), str(shard)]}), show_progress=False).written) == 1


def test_verify_names_damaged_records(recipes, tmp_path: Path) -> None:
    path = Path(embed(recipes(), show_progress=False).written[0])
    assert verify(tmp_path / "store") == {str(path): []}
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (damaged,) = verify(tmp_path / "store").values()
    assert len(damaged) == 1
    with pytest.raises(DataError, match="no store of embeddings"):
        verify(tmp_path)
