"""`mobilesam evaluate`: run protocols on data sets, compute AP with a detector's boxes, and compare two reports."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilesam.choices import MOST_WORKERS, zoom_of
from mobilesam.cli import options
from mobilesam.cli.groups import RunByDefault
from mobilesam.cli.photos import Opening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilesam.data.photo import Problem
    from mobilesam.evaluate.records import EvaluatedPhoto
    from mobilesam.evaluate.settings import EvaluateSettings
    from mobilesam.everything.settings import EverythingSettings

DEFAULT_PROTOCOLS = ("box", "click")
SECTION = "everything."  # prefix of the settings that --set can change
VERBS = "mobilesam evaluate"


evaluate_app = typer.Typer(
    cls=RunByDefault,
    help="Measure a model by the field's protocols: run, detections, compare. DATA... alone means run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Images = Annotated[str, typer.Option(help="Folder with the photos of a COCO or LVIS file; default: found near it.")]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--protocol", "-p", help="A protocol of docs/evaluate.md; repeatable. Default: box, click."),
]
SearchSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of everything, such as everything.points_per_side=16; repeatable."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The JSON report; tables are written beside it as .md.")]
Worst = Annotated[int, typer.Option("--save-worst", min=0, help="Save pictures of the N worst cases of each protocol.")]


@evaluate_app.command("run")
def run_protocols(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Shards, folders or COCO files.")],
    protocols: Protocols = None,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    teacher: Annotated[str, typer.Option(help="The model that the protocols teacher and two-point compare with.")] = "",
    images: Images = "",
    unclear_frame: options.UnclearFrame = "upright",
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    min_area: Annotated[int, typer.Option(min=0, help="Skip objects with fewer pixels.")] = 1,
    max_objects: Annotated[int, typer.Option(min=0, help="Use only the N largest objects per photo; 0: all.")] = 0,
    zoom: options.ZoomName = "auto",
    overrides: SearchSettings = None,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Number of processes.")] = 1,
    output: Output = Path("report.json"),
    worst: Worst = 0,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    detections: Annotated[
        list[str] | None, options.moved("--detections", f"{VERBS} detections COCO.json BOXES.json")
    ] = None,
    search: Annotated[list[str] | None, options.moved("--search", f"--set {SECTION}NAME=VALUE")] = None,
) -> None:
    """Prompt a model for annotated objects, and report how well its masks match them."""
    from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings

    names, opening = tuple(protocols or DEFAULT_PROTOCOLS), Opening.parse(max_pixels, value_range)
    # Checked here and not only in EvaluateSettings, where a --set that repeats a default cannot be seen.
    if overrides and EVERYTHING not in names:
        raise typer.BadParameter(f"--set {SECTION}NAME=VALUE does nothing without --protocol {EVERYTHING}")
    if worst and set(names) == {EVERYTHING}:
        raise typer.BadParameter(f"--save-worst does nothing here: {EVERYTHING} asks about no single object")
    settings = EvaluateSettings(
        data=tuple(data),
        protocols=names,
        model=model,
        backend=backend,
        device=device,
        teacher=teacher,
        images=images,
        unclear_frame=unclear_frame,
        max_pixels=opening.limit,
        value_range=opening.value_range,
        min_area=min_area,
        max_objects=max_objects,
        everything=parse_search(overrides or []),
        precision=precision,
        image_size=image_size,
        zoom=zoom_of(zoom),
    )
    measure(settings, output, workers, worst, as_json, overwrite=overwrite)


def parse_search(overrides: list[str]) -> EverythingSettings:
    """Settings of the search from texts `everything.NAME=VALUE`."""
    from mobilesam.everything.settings import EverythingSettings

    for override in overrides:
        if not override.startswith(SECTION):
            said = f"--set takes {SECTION}NAME=VALUE, such as {SECTION}{override}"
            raise typer.BadParameter(f"{said}, found '{override}'")
    return options.read_settings(EverythingSettings, {}, [text.removeprefix(SECTION) for text in overrides])


def measure(
    settings: EvaluateSettings, output: Path, workers: int, worst: int, as_json: bool, *, overwrite: bool = False
) -> None:
    """Run an evaluation and write its report, with a journal from which an interrupted run continues.

    Raises:
        OutputError: the report would replace one of the data files, or a file of somebody else.
    """
    from mobilesam.data.layouts import expand
    from mobilesam.evaluate import report
    from mobilesam.evaluate.markdown import to_markdown
    from mobilesam.evaluate.photo import load_models
    from mobilesam.evaluate.run import check_inputs, run
    from mobilesam.evaluate.worst import save_worst
    from mobilesam.outputs import Outputs
    from mobilesam.weights import check_named

    # Expanded, because a pattern is no path, and what it matches must not be replaced.
    outputs = Outputs.beside([*expand(settings.data), settings.images, settings.model], overwrite=overwrite)
    for file in (output, output.with_suffix(".md")):  # now, and not after hours of work
        outputs.check(file)
    check_inputs(settings, workers)  # before a folder is made, and perhaps a model downloaded
    for model in filter(None, (settings.model, settings.teacher)):
        check_named(model)
    options.make_folder_of(output)
    journal = output.with_name(output.name + ".journal")
    # Loaded here even if worker processes load their own: the report needs the identity of the model, and a wrong name
    # fails before any photo is read.
    models = load_models(settings)
    with RunningMean() as bar:
        results, memory_mb = run(settings, journal, models=models, workers=workers, on_result=bar.update)
    built = report.build(settings, models.student.backend, results, memory_mb)
    files = report.write(built, output, outputs)
    if worst:
        files += save_worst(built.rows, settings, models, output.with_name(output.stem + "_worst"), worst, outputs)
    journal.unlink()  # only now: until the report is written, the journal is the only copy of hours of work
    name_problems(built.problems)
    record = built.to_dict()
    options.say(
        {"files": [str(file) for file in files], "summary": record["summary"], "counts": record["counts"]},
        f"{to_markdown(built)}\nwrote {output} and {len(files) - 1} more",
        as_json,
    )
    # Last, so that the report, which lists the problems, exists all the same.
    refuse_nothing(results)
    count_problems(built.problems)


def refuse_nothing(results: Sequence[EvaluatedPhoto]) -> None:
    """Raise an error if an evaluation measured nothing, so that scripts see a failing exit code.

    Raises:
        DataError: no photo could be read, or no object was measured.
    """
    from mobilesam.errors import DataError

    if not any(result.is_read for result in results):
        raise DataError(f"nothing was measured: none of {len(results)} photos and their annotations could be read")
    if not any(result.rows or (result.search and result.search.num_objects) for result in results):
        raise DataError(
            f"nothing was measured: no object of {len(results)} photos was asked about; look at the problems above, "
            "and at --min-area"
        )


def name_problems(problems: tuple[Problem, ...]) -> None:
    """Print photos and annotations that could not be used to standard error, so that --json output stays valid."""
    for problem in problems:
        typer.echo(f"problem: {problem.id}: {problem.reason}", err=True)


def count_problems(problems: tuple[Problem, ...]) -> None:
    """Count what was named as a problem, and exit with code 1 if it is anything: the numbers are of the rest."""
    if problems:
        typer.echo(f"{len(problems)} photos or objects could not be used; the numbers are of the others", err=True)
        raise typer.Exit(1)


class RunningMean:
    """A progress bar with the running mean IoU of all protocols together."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self.bar = tqdm(unit="photo", disable=not sys.stderr.isatty())
        self.total = self.count = 0.0

    def __enter__(self) -> RunningMean:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self, result: EvaluatedPhoto) -> None:
        """Add the result of one photo."""
        self.total += sum(row.iou for row in result.rows)
        self.count += len(result.rows)
        self.bar.update()
        if self.count:  # 0 if no photo had objects yet, or only `everything` runs: it has no IoU per object
            self.bar.set_postfix(mean_iou=f"{self.total / self.count:.3f}")


@evaluate_app.command("detections")
def measure_detections(
    truth: Annotated[Path, typer.Argument(metavar="COCO.json", help="COCO or LVIS instance annotations.")],
    boxes: Annotated[Path, typer.Argument(metavar="BOXES.json", help="COCO-format detections of any detector.")],
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    images: Images = "",
    unclear_frame: options.UnclearFrame = "upright",
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    zoom: options.ZoomName = "auto",
    output: Annotated[Path, typer.Option("--output", "-o", help="The report.")] = Path("report.json"),
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Prompt a model with a detector's boxes, and report the COCO or LVIS AP of its masks."""
    from tqdm import tqdm

    from mobilesam.evaluate.detections import check_inputs, evaluate_detections
    from mobilesam.files import save_json
    from mobilesam.outputs import Outputs
    from mobilesam.predict.load import load
    from mobilesam.weights import check_named

    opening = Opening.parse(max_pixels, value_range)
    outputs = Outputs.beside([truth, boxes, images, model], overwrite=overwrite)
    outputs.check(output)  # now, and not after hours of work
    check_inputs(truth, boxes)  # before a folder is made, and perhaps a model downloaded
    check_named(model)
    options.make_folder_of(output)
    sam = load(model, backend=backend, device=device, precision=precision, image_size=image_size)
    result = evaluate_detections(
        sam,
        truth,
        boxes,
        Path(images) if images else None,
        zoom=zoom_of(zoom),
        unclear_frame=unclear_frame,
        max_pixels=opening.limit,
        value_range=opening.value_range,
        progress=partial(tqdm, unit="photo", disable=None),  # None: no bar where the output is no terminal
    )
    save_json(result.to_dict(), output, outputs, indent=1)
    name_problems(result.problems)
    # Box files often cover a whole data set while the annotations are a subset of it: worth a note, not an error.
    elsewhere = f"{result.num_boxes_elsewhere} boxes of photos that are not in {truth.name}, left out\n"
    numbers = "\n".join(f"{name:<12} {value:.3f}" for name, value in result.ap.items())
    about = f"{result.style} AP, single mask, detector's score, boxes of {result.detections}"
    text = f"{about}\n{elsewhere if result.num_boxes_elsewhere else ''}{numbers}\nwrote {output}"
    options.say(result.to_dict(), text, as_json)
    count_problems(result.problems)


@evaluate_app.command("compare")
def compare_reports(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A report.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another, over the same data and protocols.")],
    as_json: options.AsJson = False,
) -> None:
    """Compare two reports object by object: the mean difference B - A, with a 95 % interval over photos."""
    from mobilesam.evaluate import compare
    from mobilesam.evaluate.markdown import compare_markdown
    from mobilesam.evaluate.report import read_report

    differences = compare.compare_reports(read_report(a), read_report(b))
    record = {"compare": {name: asdict(one) for name, one in differences.items()}}
    options.say(record, compare_markdown(differences), as_json)
