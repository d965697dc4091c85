from __future__ import annotations

from dataclasses import replace

import pytest

from mobilesam.annotate.job import ModelChoice
from mobilesam.annotate.run import annotate, fastest_batch, worker_mb
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.errors import SettingsError
from mobilesam.shards.job import open_record
from mobilesam.shards.run import Running
from tests.helpers.annotating import CHOICE


def test_all_masks_and_larger_sides_need_more_memory() -> None:
    given, everything = AnnotateSettings(prompts="given"), AnnotateSettings()
    assert 390 < worker_mb(256, given) < worker_mb(512, given) < worker_mb(512, everything)
    assert worker_mb(512, everything) > 530


def test_the_number_of_regions_in_a_call_is_chosen_by_the_backend_and_recorded(photos, detections, tmp_path) -> None:
    assert fastest_batch(CHOICE) == 1
    assert fastest_batch(ModelChoice(model="embedded", backend="torch", device="cuda")) == 16
    for batch in (0, 3):
        settings, out = AnnotateSettings(prompts="given", zoom_batch=batch), tmp_path / f"out{batch}"
        annotate([str(photos)], out, choice=CHOICE, settings=settings, prompts=detections, running=Running(workers=1))
        assert open_record(out)["asked"]["settings"]["zoom_batch"] == (batch or 1)


def test_with_torch_the_number_of_threads_is_part_of_the_run(photos, detections, tmp_path, monkeypatch) -> None:
    from mobilesam.annotate import run as module

    monkeypatch.setattr(module, "backend_name", lambda _: "torch")
    monkeypatch.setattr(module, "run_job", lambda job, *_, **__: job)
    asked = ([str(photos)], tmp_path / "out")
    job = annotate(*asked, choice=CHOICE, prompts=None)
    assert (job.asked["threads"], job.model_choice.threads) == (1, 1)  # type: ignore[attr-defined]


def test_the_precision_of_a_run_is_the_one_that_its_planner_computes_in(photos, small, tmp_path, monkeypatch) -> None:
    from mobilesam.annotate import run as module

    monkeypatch.setattr(module, "run_job", lambda job, *_, **__: job)
    monkeypatch.setattr(ModelChoice, "load", lambda self, threads: small)
    asked, choice = [str(photos)], replace(CHOICE, precision="bfloat16")
    for first, second in (("float32", "bfloat16"), ("bfloat16", "float32")):
        for found in (first, second):  # the same command on another kind of processor opens the same run
            monkeypatch.setattr(module, "precision_of", lambda _, found=found: found)
            job = annotate(asked, tmp_path / first, choice=choice, prompts=None)
            assert job.model_choice.computed == first  # type: ignore[attr-defined]


def test_there_are_no_more_workers_than_shards(photos, detections, tmp_path, monkeypatch) -> None:
    from mobilesam.shards import run as module

    class StartedError(Exception):
        pass

    def start(crew: object, engine: str, workers: int, *_: object) -> None:
        raise StartedError(workers)

    monkeypatch.setattr(module, "run_crew", start)
    settings = AnnotateSettings(prompts="given", shard_photos=2)
    with pytest.raises(StartedError, match=r"^3$"):
        annotate(
            [str(photos)],
            tmp_path / "out",
            choice=CHOICE,
            settings=settings,
            prompts=detections,
            running=Running(workers=40),
        )


@pytest.mark.parametrize("workers", [0, -1, 1025, 10**12, 1.5])
def test_a_number_of_workers_that_cannot_be_is_refused(workers) -> None:
    with pytest.raises(SettingsError, match="'workers' must be an integer of at least 1 and at most 1024"):
        Running(workers=workers)
