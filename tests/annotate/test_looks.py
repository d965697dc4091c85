from __future__ import annotations

import json

import numpy as np
import pytest

from mobilesam import masks
from mobilesam.annotate import looks
from mobilesam.annotate.report import results_of
from mobilesam.annotate.work import annotate_shard
from tests.helpers.annotating import plan

NAMES = ("a.png", "b.jpg", "c.png", "sub/a.png", "sub/d.jpg")


@pytest.fixture
def mixed(tmp_path):
    """Boxes and points, small and large, unevenly spread; one photo has none."""
    records = []
    for i, name in enumerate(NAMES[:4]):
        records += [{"file_name": name, "bbox": [10 + 3 * k, 20, 14, 12 + k]} for k in range(i)]
        records += [{"file_name": name, "point": [30 + i, 40]}, {"file_name": name, "bbox": [5, 5, 80, 80]}]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(records))
    return path


def calls_of(monkeypatch) -> list[tuple[int, int]]:
    """(regions, photos) of each call of the encoder for second looks, from now on."""
    seen, original = [], looks.look

    def look(backend, chosen):
        seen.append((len(chosen), len({id(one.photo) for one in chosen})))
        return original(backend, chosen)

    monkeypatch.setattr(looks, "look", look)
    return seen


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_regions_of_several_photos_share_a_call_and_masks_are_those_of_the_python_api(
    batch, photos, mixed, small, tmp_path, monkeypatch
) -> None:
    calls = calls_of(monkeypatch)
    job = plan(photos, tmp_path / "out", small, mixed, shard_photos=10, zoom_batch=batch)
    annotate_shard(job, job.shard(0), small)
    assert max(regions for regions, _ in calls) <= batch
    if batch > 1:
        assert max(regions for regions, _ in calls) > 3 or batch == 100
        assert max(shared for _, shared in calls) > 1
    results = list(results_of(job, 0))
    assert [task.photo.path for task, _, _ in results] == list(NAMES)
    for task, _, records in results:
        image = small.embed(photos / task.photo.path)
        for ask, record in zip(task.asks, records, strict=True):
            expected = image.predict(box=ask.box_xyxy) if ask.box_xyxy else image.predict(points=[ask.point_xy])
            assert np.array_equal(masks.from_rle(record["segmentation"]), expected.best.array)
    done = json.loads(job.done_file(job.names[0]).read_text())
    assert done["second_looks"] == sum(regions for regions, _ in calls) > 5
    assert 0 < done["second_look_seconds"] < done["seconds"]


def test_without_zoom_nothing_is_looked_at_again(photos, mixed, small, tmp_path, monkeypatch) -> None:
    calls = calls_of(monkeypatch)
    job = plan(photos, tmp_path / "out", small, mixed, shard_photos=10, zoom=False, zoom_batch=4)
    annotate_shard(job, job.shard(0), small)
    assert calls == []
    assert json.loads(job.done_file(job.names[0]).read_text())["second_looks"] == 0


@pytest.mark.parametrize(("name", "value"), [("MOST_PHOTOS", 1), ("MOST_PIXELS", 96 * 96)])
def test_few_photos_wait_however_large_the_batch(name, value, photos, mixed, small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(looks, name, value)
    calls = calls_of(monkeypatch)
    job = plan(photos, tmp_path / "out", small, mixed, shard_photos=10, zoom_batch=1000)
    annotate_shard(job, job.shard(0), small)
    assert len(calls) >= 2
    assert max(shared for _, shared in calls) <= 3
