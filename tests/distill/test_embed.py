from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mobilesam.distill.embed as module
from mobilesam.data.photo import PhotoId
from mobilesam.data.store import Store, find_stores
from mobilesam.data.tar import index_tar
from mobilesam.data.views import make_view
from mobilesam.distill.embed import begin, embed, plan, verify
from mobilesam.distill.teacher import load_teacher, memory_mb
from mobilesam.engines.local import run_local
from mobilesam.errors import DataError, ModelError, SettingsError
from mobilesam.image import open_photo, resize_long_side
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.remote import filesystem, find
from mobilesam.shards.report import write_errors
from mobilesam.shards.run import Running
from mobilesam.shards.status import read_status
from mobilesam.shards.worker import ShardCrew
from tests.helpers.distilling import embed_here, store_bytes
from tests.helpers.killing import killing_a_writer
from tests.helpers.s3 import needs_store, put
from tests.helpers.scenes import draw_scene, save_picture, wide_shard, write_shard


def errors_of(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "done").glob("*.json"))


def photos_of(folder: Path) -> set[str]:
    return {name for path in find_stores(folder) for name in Store(path).photos}


def test_each_record_is_what_the_teacher_says_of_that_photo(recipes, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    job = embed_here(recipes(data={"paths": [str(shard)]}, store={"views": 3}))
    (path,) = find_stores(tmp_path / "store")
    assert path == Path(job.result(job.names[0]))
    store, model = Store(path), checkpoint.load(tiny_checkpoint)
    rgb = open_photo(index_tar(shard)[0]["wide_2.jpg"].read())
    for i in range(3):
        seen = resize_long_side(np.ascontiguousarray(make_view("wide_2", i, (40, 80), 0).cut(rgb)), 64)
        with torch.inference_mode():
            expected = model.encode(torch.from_numpy(seen.transpose(2, 0, 1).copy())[None].float())[0].numpy()
        found = store.read("wide_2", i)
        assert found.shape == (32, -(-seen.shape[0] // 16), -(-seen.shape[1] // 16))
        np.testing.assert_allclose(found, expected[:, : found.shape[1], : found.shape[2]], atol=5e-3)


def test_a_photo_that_cannot_be_read_is_named_and_the_rest_embedded(recipes, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    job = embed_here(recipes(data={"paths": [str(shard)]}))
    assert "truncated" in write_errors(job).read_text()
    assert read_status(job.folder).photos_done == 2
    assert "2 of 3 photos, 1 errors" in read_status(job.folder).text()
    (path,) = find_stores(job.folder)
    assert Store(path).photos == {"wide_0", "wide_2"}
    assert list(Store(path).skipped) == ["wide_1"]


def test_an_embedding_that_is_not_finite_costs_its_photo_alone(recipes, tmp_path: Path, monkeypatch) -> None:
    from mobilesam.distill.teacher import Teacher

    original = Teacher.embed

    def spoiled(self, photos):
        found = original(self, photos).clone()
        found[0, 0, 0, 0] = float("nan")
        return found

    monkeypatch.setattr(Teacher, "embed", spoiled)
    job = embed_here(recipes(teacher={"batch_size": 3}, store={"shard_photos": 4}))
    status = read_status(job.folder)
    assert status.is_complete
    assert not status.set_aside
    assert 0 < status.errors < status.photos
    assert status.photos_done == status.photos - status.errors == len(photos_of(job.folder))
    assert "not finite" in errors_of(job.folder)


def test_padding_is_kept_only_on_request(recipes, tmp_path: Path) -> None:
    shard = wide_shard(tmp_path / "wide.tar")
    job = embed_here(recipes(data={"paths": [str(shard)]}, store={"keep_padding": True}))
    assert Store(find_stores(job.folder)[0]).read("wide_0").shape == (32, 4, 4)


def test_a_run_of_another_teacher_or_another_kind_is_refused(recipes, tmp_path: Path) -> None:
    embed_here(recipes())
    torch.manual_seed(1)
    checkpoint.save(Sam(TINY), tmp_path / "other.safetensors")
    with pytest.raises(SettingsError, match=r"begun with other model; give another --output"):
        embed_here(recipes(teacher={"checkpoint": str(tmp_path / "other.safetensors")}))
    with pytest.raises(SettingsError, match=r"other settings\.dtype"):
        embed_here(recipes(store={"dtype": "int8"}))


def test_a_worker_with_another_teacher_is_refused(recipes, tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(tiny_checkpoint, copy)
    job = embed_here(recipes(teacher={"checkpoint": str(copy)}))
    torch.manual_seed(1)
    checkpoint.save(Sam(TINY), copy)
    with pytest.raises(ModelError, match="not the teacher"):
        begin(job.folder, 1)


def test_a_photo_that_changed_after_the_plan_is_an_error(recipes, shard: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar"
    shutil.copy(shard, copy)
    job = embed_here(recipes(data={"paths": [str(copy)]}))
    job.done_file(job.names[0]).unlink()
    wide_shard(copy)
    embed_here(recipes(data={"paths": [str(copy)]}))
    assert "changed after the run was planned" in errors_of(job.folder)


def test_worker_processes_write_what_one_process_writes(recipes, shard: Path, tmp_path: Path) -> None:
    other = wide_shard(tmp_path / "wide.tar")
    data, store = {"paths": [str(shard), str(other)]}, {"shard_photos": 3}
    alone = embed_here(recipes(data=data, store={**store, "path": str(tmp_path / "alone")}))
    shared = recipes(data=data, store={**store, "path": str(tmp_path / "shared")})
    outcome = embed(shared, running=Running(workers=2))
    assert outcome.status.is_complete
    assert {path.name for path in outcome.files} == {"errors.jsonl", "report.json", "report.md"}
    assert "size of a photo's embeddings" in (tmp_path / "shared" / "report.md").read_text()
    stores = store_bytes(tmp_path / "alone")
    assert len(stores) == alone.num_shards > 2
    assert store_bytes(tmp_path / "shared") == stores


def test_a_cluster_is_told_the_device_of_the_teacher(recipes, tmp_path: Path, monkeypatch) -> None:
    """With "auto" its nodes may have GPUs where the machine that plans has none."""
    asked: list[Running] = []
    monkeypatch.setattr(module, "run_job", lambda _job, _begin, running, *_, **__: asked.append(running))
    shard = wide_shard(tmp_path / "wide.tar")
    for device in ("auto", "cpu"):
        recipe = recipes(
            data={"paths": [str(shard)]}, teacher={"device": device}, store={"path": str(tmp_path / device)}
        )
        embed(recipe, running=Running(engine="ray", workers=3))
    assert [(running.device, running.workers) for running in asked] == [("auto", 3), ("cpu", 3)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_killed_in_the_middle_costs_nothing(recipes, tmp_path: Path) -> None:
    expected = embed_here(recipes(store={"shard_photos": 1, "path": str(tmp_path / "alone")}))
    job = planned(recipes(store={"shard_photos": 1}))
    with killing_a_writer(job.folder / "claims") as killed:
        run_local(ShardCrew(job.folder, begin), 2, 1, lambda: None)
    assert killed
    assert store_bytes(job.folder) == store_bytes(expected.folder)
    assert not list((job.folder / "claims").iterdir())


def planned(recipe):
    return plan(recipe, load_teacher(recipe.teacher))


def test_only_what_is_missing_is_done_again(recipes, tmp_path: Path) -> None:
    job = embed_here(recipes(store={"shard_photos": 2}))
    before = store_bytes(job.folder)
    for name in (job.names[0], job.names[2]):
        job.done_file(name).unlink()
        Path(job.result(name)).unlink()
    untouched = Path(job.result(job.names[1])).stat().st_mtime_ns
    embed_here(recipes(store={"shard_photos": 2}))
    assert store_bytes(job.folder) == before
    assert Path(job.result(job.names[1])).stat().st_mtime_ns == untouched


def test_two_data_sets_of_one_name_get_stores_each_and_one_given_twice_one(recipes, shard: Path, tmp_path) -> None:
    (tmp_path / "other").mkdir()
    other = wide_shard(tmp_path / "other" / shard.name)
    job = embed_here(recipes(data={"paths": [str(other), str(shard), str(shard)]}))
    assert sorted(job.listings) == sorted(["other/synthetic.tar", f"{shard.parent.name}/synthetic.tar"])
    assert job.num_shards == 2


def test_an_annotation_without_a_photo_is_named(recipes, tmp_path: Path) -> None:
    save_picture(tmp_path / "set" / "a.jpg", np.zeros((40, 80, 3), np.uint8))
    for name in "ab":
        (tmp_path / "set" / f"{name}.json").write_text('{"annotations": []}')
    job = embed_here(recipes(data={"paths": [str(tmp_path / "set")]}))
    assert '"set/b", "reason": "an annotation without a photo of its name"' in write_errors(job).read_text()
    assert photos_of(job.folder) == {"a"}


@pytest.mark.parametrize("kind", ["folder", "list", "parquet"])
def test_inputs_of_annotate_are_inputs_of_embed(kind, recipes, tmp_path: Path) -> None:
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    for name in ("a.png", "sub/b.png"):
        save_picture(photos / name, draw_scene(rng)[0])
    path = photos
    if kind == "list":
        path = tmp_path / "list.txt"
        path.write_text("photos/a.png\nphotos/sub/b.png\nphotos/a.png\n")
    if kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow.parquet import write_table

        path = tmp_path / "set.parquet"
        table = {"image": [(photos / n).read_bytes() for n in ("a.png", "sub/b.png")], "path": ["a.png", "sub/b.png"]}
        write_table(pa.table(table), path)
    job = embed_here(recipes(data={"paths": [str(path)]}))
    prefix = "photos/" if kind == "list" else ""
    assert photos_of(job.folder) == {f"{prefix}a.png", f"{prefix}sub/b.png"}
    assert not write_errors(job).read_text()  # the list names a photo twice, which counts once


@needs_store
def test_photos_and_embeddings_in_a_store_are_those_of_the_disk(recipes, store, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for i in range(3):
        save_picture(photos / f"{i}.png", draw_scene(np.random.default_rng(i))[0])
    shard = write_shard(tmp_path / "x.tar", 3)
    put(photos, f"{store}/embed/in")
    put(shard, f"{store}/embed/in/x.tar")
    data = {"paths": [f"{store}/embed/in"]}
    job = embed_here(recipes(data=data, store={"shard_photos": 2}), results=f"{store}/embed/out")
    local = embed_here(
        recipes(data={"paths": [str(shard), str(photos)]}, store={"path": str(tmp_path / "local"), "shard_photos": 2})
    )
    remote = list(find(f"{store}/embed/out"))
    assert len(remote) == job.num_shards == 4
    assert not list((job.folder / "shards").iterdir())
    for url in remote:
        found, path = filesystem(url)
        (tmp_path / "got").mkdir(exist_ok=True)
        found.get_file(path, str(tmp_path / "got" / url.rpartition("/")[2]))
    here = {name: Store(path).read(name) for path in find_stores(local.folder) for name in Store(path).photos}
    there = {name: Store(path).read(name) for path in find_stores(tmp_path / "got") for name in Store(path).photos}
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_photos_of_a_coco_file_may_be_in_a_store_and_another_folder_is_refused(recipes, tmp_path: Path) -> None:
    store = pytest.importorskip("fsspec").filesystem("memory")
    save_picture(tmp_path / "a.png", draw_scene(np.random.default_rng(0))[0])
    store.pipe_file("/embed-photos/a.png", (tmp_path / "a.png").read_bytes())
    (tmp_path / "set").mkdir()
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}
    (tmp_path / "set" / "coco.json").write_text(json.dumps(coco))
    data = {"paths": [str(tmp_path / "set" / "coco.json")], "photos": "memory://embed-photos"}
    job = embed_here(recipes(data=data))
    assert photos_of(job.folder) == {"a.png"}
    with pytest.raises(SettingsError, match="other photos"):
        planned(recipes(data={**data, "photos": str(tmp_path)}))


def test_training_finds_every_photo_in_the_stores_of_its_data_set(recipes, shard: Path, tmp_path: Path) -> None:
    from mobilesam.data.cached import open_stores
    from mobilesam.data.survey import survey

    job = embed_here(recipes(store={"shard_photos": 3}))
    photos = survey([str(shard)], need_masks=False)
    found = open_stores(job.folder, photos, teacher=job.model["teacher"])
    assert set(found) == {photo.id for photo in photos.photos}
    assert len({store.path for store in found.values()}) == job.num_shards > 1
    assert isinstance(next(iter(found)), PhotoId)


def test_a_larger_teacher_and_a_larger_batch_need_more_memory() -> None:
    model = Sam(TINY)
    assert 700 < memory_mb(model, 1) < memory_mb(model, 8)


def test_verify_names_damaged_records(recipes, tmp_path: Path) -> None:
    job = embed_here(recipes())
    (path,) = find_stores(job.folder)
    assert verify(job.folder) == {str(path): []}
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (damaged,) = verify(job.folder).values()
    assert len(damaged) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no store of embeddings"):
        verify(tmp_path / "empty")
