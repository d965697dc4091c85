from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mobilesam.distill.crew import EmbedCrew

from mobilesam.data.store import Store
from mobilesam.data.tar import index_tar
from mobilesam.data.views import make_view
from mobilesam.distill.teacher import claims_in, embed, verify
from mobilesam.engines.claims import Claims
from mobilesam.engines.local import run_local
from mobilesam.errors import DataError
from mobilesam.image import open_photo, resize_long_side
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from tests.helpers.scenes import save_picture, wide_shard


def test_each_record_is_what_the_teacher_says_of_that_photo(recipes, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    done = embed(recipes(data={"paths": [str(shard)]}, store={"views": 3}), show_progress=False)
    assert done.written == [str(tmp_path / "store" / "wide.npz")]
    store, model = Store(Path(done.written[0])), checkpoint.load(tiny_checkpoint)
    rgb = open_photo(index_tar(shard)[0]["wide_2"].read())
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
        done = embed(recipes(data={"paths": [str(shard)]}), show_progress=False)
        assert list(done.skipped) == ["wide/wide_1"]
        assert "truncated" in done.skipped["wide/wide_1"]
    assert done.present
    assert Store(Path(done.present[0])).photos == {"wide_0", "wide_2"}


def test_padding_is_kept_only_on_request(recipes, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    embed(recipes(data={"paths": [str(shard)]}, store={"keep_padding": True}), show_progress=False)
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
    embed(recipes(data={"paths": [str(copy)]}), show_progress=False)
    wide_shard(copy)
    with pytest.raises(DataError, match="shard is copy"):
        embed(recipes(data={"paths": [str(copy)]}), show_progress=False)


def test_a_shard_that_another_process_writes_is_left_to_it(recipes, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    other = Claims(claims_in(tmp_path / "store"), worker="another")
    other.take("synthetic.npz")
    done = embed(recipes(), show_progress=False)
    assert (len(done.busy), done.written) == (1, [])
    other.release("synthetic.npz")
    assert embed(recipes(), show_progress=False).written
    assert not other.held()


def test_a_shard_whose_process_died_is_taken_over(recipes, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    Claims(claims_in(tmp_path / "store"), clock=lambda: time.time() - 61, worker="dead").take("synthetic.npz")
    assert embed(recipes(), show_progress=False).written


def test_worker_processes_write_what_one_process_writes(recipes, shard: Path, tmp_path: Path) -> None:
    other = wide_shard(tmp_path / "wide.tar")
    alone = recipes("alone", data={"paths": [str(shard), str(other)]}, store={"path": str(tmp_path / "alone")})
    shared = recipes("shared", data={"paths": [str(shard), str(other)]}, store={"path": str(tmp_path / "shared")})
    embed(alone, show_progress=False)
    crew = EmbedCrew(shared)
    assert not crew.is_over()
    run_local(crew, 2, 1, lambda: None)
    assert crew.is_over()
    stores = {path.name: path.read_bytes() for path in (tmp_path / "alone").glob("*.npz")}
    assert len(stores) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "shared").glob("*.npz")} == stores


def test_two_data_sets_of_one_name_get_a_store_each_and_one_given_twice_one(
    recipes, shard: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = wide_shard(tmp_path / "other" / shard.name)
    alone = embed(recipes(data={"paths": [str(shard), str(shard)]}), show_progress=False)
    assert [Path(path).name for path in alone.written] == ["synthetic.npz"]
    both = embed(recipes(data={"paths": [str(other), str(shard)]}), show_progress=False)
    assert [Path(path).name for path in both.written] == ["other__synthetic.tar.npz"]
    assert both.present == alone.written  # found by its photos, though it is called otherwise beside the other
    again = embed(recipes(data={"paths": [str(other)]}), show_progress=False)
    assert again.present == both.written  # though the other store has its name


def test_an_annotation_without_a_photo_is_named(recipes, tmp_path: Path) -> None:
    save_picture(tmp_path / "set" / "a.jpg", np.zeros((40, 80, 3), np.uint8))
    for name in "ab":
        (tmp_path / "set" / f"{name}.json").write_text('{"annotations": []}')
    done = embed(recipes(data={"paths": [str(tmp_path / "set")]}), show_progress=False)
    assert done.skipped == {"set/b": "an annotation without a photo of its name"}
    assert Store(Path(done.written[0])).photos == {"a"}


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
