"""Lost folders against lost photos; tests/annotate/test_s3.py has the same of stores."""

from __future__ import annotations

import json
import shutil

import pytest

from mobilesam.annotate.prompts import annotated_boxes
from mobilesam.annotate.work import begin
from mobilesam.data.checksums import Listings
from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef, Problem
from mobilesam.data.truths import RecordTruth
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError
from mobilesam.remote import RefusedError, StoreError
from mobilesam.shards import inputs, lost
from mobilesam.shards.inputs import find_tasks, sources
from mobilesam.shards.worker import run_worker
from tests.helpers.annotating import plan


def errors_of(job) -> list[list[str]]:
    return [error for name in job.names for error in json.loads(job.done_file(name).read_text())["errors"]]


@pytest.mark.parametrize("how", ["moved away", "an empty mount point"])
def test_a_folder_of_photos_that_is_gone_ends_the_run_and_a_second_start_goes_on(
    how, photos, detections, small, tmp_path
) -> None:
    job = plan(photos, tmp_path / "out", small, detections)
    away = photos.rename(tmp_path / "away")
    if how != "moved away":
        photos.mkdir()
    with pytest.raises(DataError, match=r"photos' is gone or empty; run the command again when it is there"):
        run_worker(job.folder, begin, threads=1)
    assert not job.finished()
    assert not job.set_aside()
    assert not list((job.folder / "shards").iterdir())
    assert Claims(job.folder / "claims").tries(job.names[0]) == 0
    if photos.exists():
        photos.rmdir()
    away.rename(photos)
    assert run_worker(job.folder, begin, threads=1) == job.num_shards
    assert errors_of(job) == []


def test_photos_that_are_deleted_cost_themselves_also_with_their_subfolder(photos, detections, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, detections, shard_photos=5)
    (photos / "b.jpg").unlink()
    shutil.rmtree(photos / "sub")
    run_worker(job.folder, begin, threads=1)
    assert [photo for photo, _ in errors_of(job)] == ["photos/b.jpg", "photos/sub/a.png", "photos/sub/d.jpg"]


def test_the_folder_that_a_list_leads_to_is_gone(photos, small, tmp_path) -> None:
    (tmp_path / "list.txt").write_text("photos/a.png\nphotos/b.jpg\n")
    job = plan(tmp_path / "list.txt", tmp_path / "out", small, None)
    photos.rename(tmp_path / "away")
    with pytest.raises(DataError, match="photos' is gone or empty"):
        run_worker(job.folder, begin, threads=1)


def test_a_folder_that_goes_away_while_it_is_listed_ends_the_plan(photos, tmp_path) -> None:
    found = find_tasks(sources([str(photos)], None), Listings())
    assert next(found).photo.path == "a.png"
    photos.rename(tmp_path / "away")
    with pytest.raises(OSError, match="photos' is gone or empty"):
        list(found)


def test_a_subfolder_that_cannot_be_listed_is_a_problem(photos, monkeypatch) -> None:
    def walk(folder, tell):
        yield str(folder), [], ["a.png"]
        if tell:
            tell(PermissionError(13, "Permission denied", str(photos / "sub")))

    monkeypatch.setattr(inputs, "walk", walk)
    first, second = inputs.read_photos(photos, "set")
    assert isinstance(first, PhotoRef)
    assert second == Problem(PhotoId("set", "sub"), "the folder cannot be listed (Permission denied)")


@pytest.mark.parametrize(("others_are_readable", "is_own"), [(True, True), (False, False)])
def test_a_refused_photo_is_its_own_fault_only_where_another_one_is_not(
    others_are_readable, is_own, monkeypatch
) -> None:
    monkeypatch.setattr(lost, "is_readable", lambda path: others_are_readable and path == "s3://b/y")
    asked = RefusedError("'s3://b/x' refuses"), PhotoId("b", "x"), "s3://b/x", ["s3://b/x", "s3://b/y"]
    if is_own:
        lost.check_store(*asked)
    else:
        with pytest.raises(RefusedError):
            lost.check_store(*asked)
    with pytest.raises(StoreError):  # no credentials make a store answer
        lost.check_store(StoreError("does not answer"), *asked[1:])


def test_few_of_many_others_are_tried_and_those_from_everywhere(monkeypatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(lost, "is_readable", lambda path: bool(tried.append(path)))
    assert not lost.any_readable("0", [str(i) for i in range(100)])
    assert len(tried) <= lost.OTHERS
    assert int(tried[-1]) > 80


def test_a_readable_file_is_told_from_others(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "empty").write_bytes(b"")
    assert [lost.is_readable(str(tmp_path / name)) for name in ("a", "empty", "none")] == [True, False, False]


def test_a_store_that_is_lost_at_the_record_of_a_photo_is_lost(monkeypatch) -> None:
    photo = PhotoRef(
        PhotoId("b", "x"), FileRef("s3://b/x.tar", (0, 10)), RecordTruth(FileRef("s3://b/x.tar", (10, 10)))
    )

    def read(_: FileRef) -> bytes:
        raise StoreError("does not answer")

    monkeypatch.setattr(FileRef, "read", read)
    with pytest.raises(StoreError):  # or the plan would ask nothing of this photo
        annotated_boxes(photo, "s3://b/x.tar", pytest.fail)
    with pytest.raises(StoreError):  # or the photo could be turned wrongly
        photo.framing_of((60, 120), 6)
