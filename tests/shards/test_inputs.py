from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilesam.annotate.work import begin
from mobilesam.data.checksums import Listings
from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef, Problem
from mobilesam.errors import DataError, MobileSamError
from mobilesam.remote import RefusedError, StoreError
from mobilesam.shards import inputs, lost, stores
from mobilesam.shards.inputs import find_tasks, sources
from mobilesam.shards.lists import NO_MATCH
from mobilesam.shards.tasks import Task
from mobilesam.shards.worker import run_worker
from tests.helpers.annotating import plan
from tests.helpers.scenes import write_shard


def found_in(*named: Path | str, photos: Path | str | None = None) -> tuple[list[str], list[str]]:
    """The photos and the problems of some inputs."""
    items = list(find_tasks(sources([str(one) for one in named], photos), Listings()))
    problems = [f"{one.id}: {one.reason}" for one in items if isinstance(one, Problem)]
    return [str(one.photo) for one in items if not isinstance(one, Problem)], problems


def test_patterns_and_names_of_a_list_are_relative_to_it(photos, tmp_path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (photos / "a.png").rename(photos / "IMG[1].png")
    lines = ["IMG[1].png", "*.jpg", "sub/?.png", "none*.png", "IMG[2].png", str(photos / "sub" / "*.jpg")]
    (photos / "list.txt").write_text("\n".join(lines))
    there, problems = found_in(photos / "list.txt")
    names = ["IMG[1].png", "b.jpg", "sub/a.png", str(photos / "sub" / "d.jpg")]
    assert there == [f"list/{name}" for name in names]
    assert problems == [f"list/{name}: {NO_MATCH}" for name in ("none*.png", "IMG[2].png")]


def test_tars_in_a_folder_are_read_once_beside_its_photos(photos, tmp_path) -> None:
    write_shard(photos / "sub" / "s.tar", 2)
    loose = ["a.png", "b.jpg", "c.png", "sub/a.png", "sub/d.jpg"]
    inside = ["photos/sub/s/photo_00", "photos/sub/s/photo_01"]
    assert found_in(photos) == ([*inside, *(f"photos/{name}" for name in loose)], [])
    there, _ = found_in(photos, photos / "sub" / "s.tar")
    assert len(there) == 7
    (tmp_path / "tars").mkdir()
    write_shard(tmp_path / "tars" / "1.tar", 1)
    assert found_in(tmp_path / "tars") == (["tars/1/photo_00"], [])


def test_parquet_files_in_a_folder_are_read_if_they_hold_photos(photos, caplog) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    (photos / "set").mkdir()
    write_table(pa.table({"image": [(photos / "a.png").read_bytes()], "id": ["7"]}), photos / "set" / "x.parquet")
    write_table(pa.table({"url": ["u"], "caption": ["c"]}), photos / "set" / "metadata.parquet")
    write_table(pa.table({"file_name": ["a.png"], "bbox": [[1.0, 2.0, 3.0, 4.0]]}), photos / "boxes.parquet")
    there, problems = found_in(photos)
    assert there[0] == "photos/set/x/7"
    assert (len(there), problems) == (6, [])
    assert "metadata.parquet" in caplog.text
    assert "boxes.parquet" in caplog.text
    with pytest.raises(DataError, match="no column of encoded photos"):
        found_in(photos / "set" / "metadata.parquet")


def test_results_of_a_run_inside_of_its_folder_of_photos_are_no_photos(photos, detections, small) -> None:
    job = plan(photos, photos / "masks", small, detections)
    run_worker(job.folder, begin, threads=1)
    there, _ = found_in(photos)
    assert len(there) == 5


def test_an_input_that_holds_no_photo_is_a_problem(photos, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    write_shard(tmp_path / "none.tar", 0)
    there, problems = found_in(photos, tmp_path / "empty", tmp_path / "list.txt", tmp_path / "none.tar")
    assert len(there) == 5
    names = ("empty/empty", "list/list.txt", "none/none.tar")
    assert problems == [f"{name}: this input holds no photo" for name in names]


def test_a_store_in_memory_holds_lists_patterns_and_coco_files(photos, tmp_path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    coco = {"images": [{"id": 7, "file_name": "b.jpg"}, {"id": 8, "file_name": "no.jpg"}], "annotations": []}
    files = {
        "photos/a.png": (photos / "a.png").read_bytes(),
        "photos/b.jpg": (photos / "b.jpg").read_bytes(),
        "photos/x[1].png": (photos / "c.png").read_bytes(),
        "photos/1.tar": write_shard(tmp_path / "1.tar", 1).read_bytes(),
        "list.txt": b"photos/a.png\nphotos/*.jpg\nphotos/x[1].png\nphotos/a.png\nmemory://inputs/photos/b.jpg\nno*\n",
        "photos/coco.json": json.dumps(coco).encode(),
        "photos/notes.txt": b"no photo",
    }
    for name, data in files.items():
        store.pipe_file(f"/inputs/{name}", data)
    try:
        root = "memory://inputs"
        there, problems = found_in(f"{root}/list.txt")
        names = ["photos/a.png", "photos/b.jpg", "photos/x[1].png", "memory://inputs/photos/b.jpg"]
        assert [one.removeprefix("inputs/list/") for one in there] == names
        assert [one.partition(": ")[2] for one in problems] == [NO_MATCH]

        assert found_in(f"{root}/photos/*.tar")[0] == ["inputs/photos/1/photo_00"]
        assert found_in(f"{root}/photos/1.tar", f"{root}/photos")[0][:2] == [
            "inputs/photos/1/photo_00",
            "inputs/photos/a.png",
        ]
        with pytest.raises(DataError, match=r"nothing in the store matches 'memory://inputs/\*\.none'"):
            found_in(f"{root}/*.none")
        with pytest.raises(DataError, match="holds no photos that are known"):
            found_in(f"{root}/photos/a.png")

        there, problems = found_in(f"{root}/photos/coco.json")
        assert there == ["inputs/photos/coco/b.jpg"]
        assert "the photo is not there" in problems[0]
        (tmp_path / "coco.json").write_text(json.dumps(coco))
        assert found_in(tmp_path / "coco.json", photos=f"{root}/photos/")[0] == ["coco/b.jpg"]
        (tmp_path / "list.txt").write_text("memory://inputs/photos/a.png\nmemory://inputs/photos/*.jpg\n")
        there, _ = found_in(tmp_path / "list.txt")
        assert there == ["list/memory://inputs/photos/a.png", "list/memory://inputs/photos/b.jpg"]
    finally:
        store.rm("/inputs", recursive=True)


def test_a_list_of_no_text_in_a_store_is_an_error(tmp_path) -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/binary/list.txt", b"a.png\n\xff\xfe\n")
    with pytest.raises(MobileSamError, match=r"list\.txt' cannot be read"):
        found_in("memory://binary/list.txt")


def test_a_store_that_is_lost_inside_of_a_tar_is_no_fault_of_the_tar(monkeypatch) -> None:
    def read(url: str, dataset: str) -> Iterator[PhotoRef]:
        yield PhotoRef(PhotoId(dataset, "a"), FileRef(url, (0, 1)), None)
        raise DataError("no tar") from StoreError("does not answer")

    monkeypatch.setattr(stores, "read_tar", read)
    found = stores.read_object("s3://b/x.tar", None)
    assert next(found).id == PhotoId("b/x", "a")
    with pytest.raises(StoreError, match=r"s3://b/x\.tar' cannot be read"):
        next(found)


@pytest.mark.parametrize("is_refused_alone", [True, False])
def test_a_photo_that_a_store_refuses_is_a_problem_where_the_one_before_can_be_read(
    is_refused_alone, monkeypatch
) -> None:
    def state(path: str) -> tuple[int, int]:
        if path == "s3://b/2.jpg":
            raise RefusedError("'s3://b/2.jpg' refuses")
        return 10, 0

    monkeypatch.setattr(inputs, "file_state", state)
    monkeypatch.setattr(lost, "read_range", lambda *_: b"x" if is_refused_alone else b"")
    items = [PhotoRef(PhotoId("b", f"{i}.jpg"), FileRef(f"s3://b/{i}.jpg"), None) for i in (1, 2, 3)]
    found = find_tasks([("s3://b", iter(items))], Listings())
    if not is_refused_alone:
        with pytest.raises(RefusedError):
            list(found)
        return
    _, problem, task = found
    assert problem == Problem(items[1].id, "the photo is not there ('s3://b/2.jpg' refuses)")
    assert isinstance(task, Task)
