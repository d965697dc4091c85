"""`mobilesam evaluate`: a data set and protocols → a report; two reports → their difference."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilesam.cli import options

if TYPE_CHECKING:
    from mobilesam.evaluate.settings import EvaluateSettings
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.predict.zoom import Zoom

DEFAULT_PROTOCOLS = ("box", "click")


def evaluate(
    data: Annotated[
        list[str],
        typer.Argument(help="Shards, folders or COCO files; or: compare A.json B.json."),
    ],
    protocols: Annotated[
        list[str] | None,
        typer.Option("--protocol", "-p", help="See docs/evaluate.md; repeatable. Default: box, click."),
    ] = None,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    teacher: Annotated[str, typer.Option(help="The model that teacher and two-point compare with.")] = "",
    detections: Annotated[
        Path | None, typer.Option(help="COCO-format detection file: score its boxes' masks as AP.")
    ] = None,
    images: Annotated[str, typer.Option(help="Folder of a COCO file's photos.")] = "",
    min_area: Annotated[int, typer.Option(help="Leave out objects with fewer pixels.")] = 1,
    max_objects: Annotated[int, typer.Option(help="Only the largest objects of each photo; 0 takes all.")] = 0,
    zoom: options.ZoomName = "auto",
    search: Annotated[
        list[str] | None, typer.Option("--search", help="A setting of everything, as points_per_side=16; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    output: Annotated[Path, typer.Option("--output", "-o", help="The report; its tables go beside it as .md.")] = Path(
        "report.json"
    ),
    worst: Annotated[int, typer.Option("--save-worst", help="Pictures of the N worst cases of each protocol.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model by the field's protocols; `evaluate compare A.json B.json` pairs two reports."""
    if data[0] == "compare":
        compare(data[1:], as_json)
    elif detections is not None:
        runtime = {"backend": backend, "device": device, "precision": precision, "image_size": image_size}
        measure_detections(data, detections, images, model, runtime, options.parse_zoom(zoom), output, as_json)
    else:
        from mobilesam.evaluate.settings import EvaluateSettings

        names = tuple(protocols or DEFAULT_PROTOCOLS)
        paths = tuple(data)
        everything = parse_search(search or [])
        settings = EvaluateSettings(
            data=paths,
            protocols=names,
            model=model,
            backend=backend,
            device=device,
            teacher=teacher,
            images=images,
            min_area=min_area,
            max_objects=max_objects,
            everything=everything,
            precision=precision,
            image_size=image_size,
            zoom=options.parse_zoom(zoom),
        )
        measure(settings, output, workers, worst, as_json)


def parse_search(pairs: list[str]) -> EverythingSettings:
    """name=value texts → settings."""
    from mobilesam.everything.settings import EverythingSettings

    return options.read_settings(EverythingSettings, {}, pairs, "--search")


def measure(settings: EvaluateSettings, output: Path, workers: int, worst: int, as_json: bool) -> None:
    """Run, report, and clear the journal that a kill would have left."""
    from mobilesam.evaluate import report
    from mobilesam.evaluate.run import load_models, run
    from mobilesam.evaluate.worst import save_worst

    journal = output.with_name(output.name + ".journal")
    models = load_models(settings)
    with RunningMean() as bar:
        results, memory_mb = run(settings, journal, models=models, workers=workers, on_result=bar.update)
    built = report.build(settings, models.student.info, results, memory_mb)
    files = report.write(built, output)
    if worst:
        files += save_worst(built["rows"], settings, models, output.with_name(output.stem + "_worst"), worst)
    journal.unlink()
    for name, reason in built["problems"]:
        typer.echo(f"problem: {name}: {reason}", err=True)
    record = {"files": [str(file) for file in files], "summary": built["summary"], "counts": built["counts"]}
    options.say(record, f"{report.to_markdown(built)}\nwrote {output} and {len(files) - 1} more", as_json)


class RunningMean:
    """A progress bar that shows the mean IoU so far, all protocols together."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self.bar = tqdm(unit="photo", disable=not sys.stderr.isatty())
        self.total = self.count = 0.0

    def __enter__(self) -> RunningMean:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self, result: dict[str, Any]) -> None:
        """Count a photo."""
        self.total += sum(row["iou"] for row in result["rows"])
        self.count += len(result["rows"])
        self.bar.update()
        if self.count:
            self.bar.set_postfix(mean_iou=f"{self.total / self.count:.3f}")


def measure_detections(
    data: list[str],
    detections: Path,
    images: str,
    model: str,
    runtime: dict[str, Any],
    zoom: Zoom,
    output: Path,
    as_json: bool,
) -> None:
    """COCO or LVIS AP of one detection file."""
    from tqdm import tqdm

    from mobilesam.evaluate.detections import evaluate_detections
    from mobilesam.files import replacing
    from mobilesam.predict.load import load

    if len(data) != 1:
        raise typer.BadParameter("--detections takes one COCO or LVIS annotation file")
    sam = load(model, **runtime)
    folder = Path(images) if images else None
    result = evaluate_detections(
        sam, Path(data[0]), detections, folder, zoom=zoom, progress=partial(tqdm, unit="photo", disable=None)
    )
    result["model"] = vars(sam.info)
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    numbers = "\n".join(f"{name:<12} {value:.3f}" for name, value in result["ap"].items())
    about = f"{result['style']} AP, {result['mask']}, boxes of {result['detections']}"
    options.say(result, f"{about}\n{numbers}\nwrote {output}", as_json)


def compare(reports: list[str], as_json: bool) -> None:
    """B - A, with its interval."""
    if len(reports) != 2:
        raise typer.BadParameter("compare takes two reports: mobilesam evaluate compare A.json B.json")
    from mobilesam.evaluate import report

    a, b = (report.read_report(Path(path)) for path in reports)
    result = report.compare(a, b)
    options.say({"compare": result}, report.compare_markdown(result), as_json)
