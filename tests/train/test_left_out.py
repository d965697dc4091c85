"""Photos that a run could not use: named, counted, and an exit code of 1 once the run is finished."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.photo import PhotoId, Problem
from mobilesam.recipe import from_dict
from mobilesam.train.config import TrainRecipe
from mobilesam.train.left_out import LEFT_OUT_FILE, LeftOut, begin, read_left_out
from mobilesam.train.loop import Job, fit
from mobilesam.train.supervised import supervised_job
from tests.helpers.scenes import draw_scene, save_picture
from tests.helpers.training import recipe, train

COUNT = 4


def data_set(folder: Path) -> Path:
    """Photos with an object each."""
    for i in range(COUNT):
        rgb, (disc, _) = draw_scene(np.random.default_rng(i))
        save_picture(folder / "images" / f"{i}.png", rgb)
        save_picture(folder / "masks" / f"{i}.png", disc.astype(np.uint8) * 255)
    return folder


def written(folder: Path, data: Path, output: Path) -> Path:
    """A recipe as a file."""
    path = folder / "r.toml"
    path.write_text(
        f"""
model = "tiny"
[data]
paths = ["{data}"]
masks_per_photo = 2
[run]
output = "{output}"
steps = 2
batch_size = 2
workers = 0
accelerator = "cpu"
report = false
""",
        encoding="utf-8",
    )
    return path


def damage(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:200])


def test_a_run_with_a_damaged_photo_ends_writes_its_weights_and_exits_with_1(run, tmp_path: Path) -> None:
    path = written(tmp_path, data_set(tmp_path / "set"), tmp_path / "run")
    assert run("train", path)[0] == 0
    damage(tmp_path / "set" / "images" / "1.png")
    code, out, err = run("train", path, "-o", "again", "--json")
    assert code == 1
    assert "problem: set/1.png: " in err
    assert "1 photos could not be used" in err
    assert Path(json.loads(out)["weights"]).is_file()
    assert len(json.loads(out)["left_out"]) == 1
    # Mended, and gone on with: nothing is missing any more.
    data_set(tmp_path / "set")
    assert run("train", path, "-o", "again", "--resume", "--set", "run.steps=3")[0] == 0
    assert not (tmp_path / "again" / LEFT_OUT_FILE).exists()


def test_a_photo_without_objects_is_no_failure(run, tmp_path: Path) -> None:
    data_set(tmp_path / "set")
    save_picture(tmp_path / "set" / "masks" / "1.png", np.zeros((96, 96), np.uint8))
    assert run("train", written(tmp_path, tmp_path / "set", tmp_path / "run"))[0] == 0


@pytest.mark.parametrize("resident", [False, True])
def test_a_photo_that_is_damaged_after_the_survey_is_named_when_it_is_read(tmp_path: Path, resident: bool) -> None:
    asked = recipe(data_set(tmp_path / "set"), tmp_path / "run", steps=6)
    asked = from_dict(TrainRecipe, {**_as_dict(asked), "run": {**_as_dict(asked)["run"], "resident": resident}})

    def job() -> Job:
        made = supervised_job(asked)
        damage(tmp_path / "set" / "images" / "2.png")
        return made

    with pytest.warns(UserWarning, match="left out"):
        fit(asked, job, show_progress=False)
    found = read_left_out(tmp_path / "run")
    assert len(found) == 1
    assert "set/2.png" in found[0]


def _as_dict(settings: TrainRecipe) -> dict:
    import dataclasses

    return dataclasses.asdict(settings)


def test_what_was_found_in_earlier_steps_is_kept_and_the_survey_is_not(tmp_path: Path) -> None:
    writer = LeftOut(tmp_path)
    writer.survey([Problem(PhotoId("set", "a.jpg"), "damaged")])
    writer.add(["", "b.jpg is damaged\nc.jpg is damaged", "b.jpg is damaged"], 3)
    writer.add(["b.jpg is damaged"], 4)
    assert read_left_out(tmp_path) == ["set/a.jpg: damaged", "b.jpg is damaged", "c.jpg is damaged"]
    with (tmp_path / LEFT_OUT_FILE).open("a") as file:
        file.write('{"problem": "cut o')
    begin(tmp_path, is_resumed=True)
    assert read_left_out(tmp_path) == ["b.jpg is damaged", "c.jpg is damaged"]
    begin(tmp_path, is_resumed=False)
    assert not (tmp_path / LEFT_OUT_FILE).exists()


def test_a_finished_run_that_lost_nothing_has_no_such_file(shard: Path, tmp_path: Path) -> None:
    train(recipe(shard, tmp_path / "run", steps=2))
    assert read_left_out(tmp_path / "run") == []
