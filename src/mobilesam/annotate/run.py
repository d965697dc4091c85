"""One call of `mobilesam annotate`: plan, work, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mobilesam.annotate.job import ModelChoice
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import write_report
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import begin
from mobilesam.everything.write import COCO_FILE
from mobilesam.outputs import DEFAULT
from mobilesam.predict.identity import backend_name, precision_of
from mobilesam.shards.inputs import check_inputs
from mobilesam.shards.run import Outcome, Running, run_job
from mobilesam.shards.status import Status

GPU_BATCH = 16
BASE_MB, ENCODE_MB, SEARCH_MB = 400.0, 200.0, 500.0
"""Memory of a worker: at 256 px 170 MB were measured with onnxruntime and 390 MB with OpenVINO, and 530 MB for all
masks of small photos at 512 px; photos of a camera's size take more."""


def annotate(
    inputs: Sequence[str],
    output: Path,
    *,
    choice: ModelChoice,
    settings: AnnotateSettings | None = None,
    prompts: Path | None = None,
    photos: Path | str | None = None,
    coco: bool = False,
    results: str = "",
    running: Running | None = None,
) -> Outcome:
    """Find masks for every photo of the inputs, in shards, resuming what is there.

    Args:
        inputs: see `mobilesam.shards.inputs.sources`.
        output: folder of the run.
        choice: the model.
        settings: what to ask and how to write; None for the defaults.
        prompts: file of boxes or points.
        photos: folder of the photos of COCO inputs, or its address in an object store.
        coco: merge all masks into one COCO file at the end.
        results: address in an object store for the shards' results; "" for the folder `shards` of the output.
        running: engine, workers and progress; None for the defaults.

    Raises:
        DataError: an input cannot be read, the output's disk is full, or every worker ended with an error.
        SettingsError: the output holds a run of other inputs, settings or another model.
        MissingExtraError: an extra is needed.
        OutputError: the COCO file is there and was changed after it was written.
    """
    if coco:
        DEFAULT.check(Path(output) / COCO_FILE)  # now, and not after hours of work
    check_inputs(inputs, output)
    predictor = choice.load(1)
    # "auto" could mean another one on another machine, and not every processor computes in bfloat16.
    choice = replace(choice, backend=backend_name(predictor.backend), computed=precision_of(predictor.backend))
    running = (running or Running()).on(choice.device.lower())
    if choice.backend == "torch":
        running = replace(running, threads=running.threads or 1)
        choice = replace(choice, threads=running.threads)
    settings = settings or AnnotateSettings()
    settings = replace(settings, zoom_batch=settings.zoom_batch or fastest_batch(choice))
    asked = (inputs, output, predictor, choice, settings)
    job = make_plan(*asked, prompts=prompts, photos=photos, results=results)
    side = predictor.info.image_size
    del predictor  # each worker has its own

    def report(status: Status, seconds: float, new_photos: int) -> list[Path]:
        named = [*inputs, *([] if prompts is None else [str(prompts)])]
        merged = named if coco else None
        return write_report(job, status, wall_seconds=seconds, new_photos=new_photos, coco=merged)

    return run_job(job, begin, running, report, worker_mb=worker_mb(side, settings))


def worker_mb(side: int, settings: AnnotateSettings) -> float:
    """Memory in megabytes that a worker may take.

    Args:
        side: of what the model sees, in pixels.
        settings: all masks take more than a mask for each prompt.
    """
    each = ENCODE_MB if settings.prompts == "given" else ENCODE_MB + SEARCH_MB
    return BASE_MB + each * (side / 512) ** 2


def fastest_batch(choice: ModelChoice) -> int:
    """Regions of second looks in a call that were fastest with a backend (docs/scale.md)."""
    return 1 if choice.device.lower() == "cpu" else GPU_BATCH
