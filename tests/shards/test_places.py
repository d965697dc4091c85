"""Paths of a run lead to the same files from every folder, by every name, in every order."""

from __future__ import annotations

import glob
import json
import shutil
from pathlib import Path

import pytest

from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import begin
from mobilesam.distill.embed import plan as plan_embeddings
from mobilesam.distill.teacher import load_teacher
from mobilesam.errors import SettingsError
from mobilesam.shards.job import open_job
from mobilesam.shards.places import placed
from mobilesam.shards.worker import run_worker
from tests.distill.conftest import recipes
from tests.helpers.annotating import CHOICE

__all__ = ["recipes"]


def planned(small, output: Path, *inputs: Path | str, photos: str | None = None) -> AnnotateJob:
    settings = AnnotateSettings(prompts="everything", shard_photos=2)
    return make_plan([str(one) for one in inputs], output, small, CHOICE, settings, photos=photos)


def paths(folder: Path) -> set[str]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {task["path"] for line in lines for task in json.loads(line)["tasks"]}


def test_a_run_of_a_relative_folder_goes_on_from_another_folder_with_one_of_the_same_name(
    photos, detections, small, tmp_path, monkeypatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(photos, tmp_path / "elsewhere" / "photos")
    settings = AnnotateSettings(prompts="given", shard_photos=2)
    monkeypatch.chdir(tmp_path)
    make_plan(["photos"], Path("out"), small, CHOICE, settings, prompts=Path(detections.name))
    monkeypatch.chdir(tmp_path / "elsewhere")
    job = make_plan([str(photos)], tmp_path / "out", small, CHOICE, settings, prompts=detections)
    assert paths(job.folder) == {str(path) for path in photos.rglob("*.*")}
    shutil.move(tmp_path / "out", tmp_path / "moved")
    run_worker(tmp_path / "moved", begin, threads=1)
    assert all('"errors": []' in path.read_text() for path in (tmp_path / "moved" / "done").iterdir())
    assert len(open_job(tmp_path / "moved", AnnotateJob).finished()) == 3


def test_a_plan_of_embeddings_holds_whole_paths(recipes, photos, tmp_path, monkeypatch) -> None:
    (tmp_path / "coco.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}))
    monkeypatch.chdir(tmp_path)
    recipe = recipes(data={"paths": ["photos", "coco.json"], "photos": "photos"})
    job = plan_embeddings(recipe, load_teacher(recipe.teacher), "stores")
    assert paths(Path(recipe.store.path)) == {str(path) for path in photos.rglob("*.*")}
    assert job.asked["inputs"] == [str(photos), str(tmp_path / "coco.json")]
    assert (job.asked["photos"], job.results) == (str(photos), str(tmp_path / "stores"))


def test_other_paths_of_the_same_folders_in_another_order_are_the_same_run(photos, small, tmp_path) -> None:
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    shutil.copytree(photos, tmp_path / "more")
    first = planned(small, tmp_path / "out", photos, tmp_path / "more")
    for one in (f"{photos}/../photos", tmp_path / "link"):
        assert planned(small, tmp_path / "out", tmp_path / "more", one).names == first.names
    assert set(planned(small, tmp_path / "other", tmp_path / "more", photos).names) == set(first.names)
    with pytest.raises(SettingsError, match="begun with other inputs"):
        planned(small, tmp_path / "out", photos)


def test_another_path_of_the_folder_of_photos_is_the_same_run(photos, small, tmp_path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}))
    first = planned(small, tmp_path / "out", tmp_path / "coco.json", photos=str(photos))
    again = planned(small, tmp_path / "out", tmp_path / "coco.json", photos=f"{photos}/sub/..")
    assert again == first


def test_a_path_loses_its_dots_only_where_that_leads_to_the_same_place(tmp_path, monkeypatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert placed("./a/b/../b/") == str(tmp_path / "a" / "b")
    assert placed("link/../b") == str(tmp_path / "link" / ".." / "b")
    assert placed("link") == str(tmp_path / "link")
    assert placed("s3://bucket/a/../b") == "s3://bucket/a/../b"


def test_a_folder_whose_name_looks_like_a_pattern_can_be_worked_in(photos, small, tmp_path, monkeypatch) -> None:
    photos.rename(tmp_path / "photos[1]")
    monkeypatch.chdir(tmp_path / "photos[1]")
    job = planned(small, tmp_path / "out", "su?")
    assert paths(job.folder) == {str(path) for path in (Path.cwd() / "sub").iterdir()}


@pytest.mark.parametrize("named", ["photos", "phot*", "~/photos"])
def test_a_run_goes_on_whose_plan_was_made_before_folders_were_escaped(
    photos, small, tmp_path, monkeypatch, named
) -> None:
    here = tmp_path / "[x]"
    here.mkdir()
    photos.rename(here / "photos")
    monkeypatch.chdir(here)
    (tmp_path / "photos").symlink_to(here / "photos", target_is_directory=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = planned(small, tmp_path / "out", named).names
    record = json.loads((tmp_path / "out" / "job.json").read_text())
    record["asked"]["inputs"] = [f"{here}/{named}"]
    (tmp_path / "out" / "job.json").write_text(json.dumps(record))
    assert planned(small, tmp_path / "out", named).names == names
    with pytest.raises(SettingsError, match="begun with other inputs"):
        planned(small, tmp_path / "out", f"{glob.escape(str(here))}/photos/sub")


def test_a_pattern_is_not_taken_for_the_folder_of_an_old_plan(small, photos, tmp_path) -> None:
    shutil.copytree(photos, tmp_path / "[1]")
    photos.rename(tmp_path / "1")
    planned(small, tmp_path / "out", tmp_path / "[1]")  # the pattern, which means the folder 1
    with pytest.raises(SettingsError, match="begun with other inputs"):
        planned(small, tmp_path / "out", f"{tmp_path}/[[]1]")
