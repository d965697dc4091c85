"""`mobilesam everything`: photos → all their masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mobilesam.cli import options
from mobilesam.cli.photos import STDIN, Opening, count_failures, expand, output_names
from mobilesam.errors import ImageError

if TYPE_CHECKING:
    from mobilesam.everything.settings import DenseWhere, EverythingSettings
    from mobilesam.predict.backend import Precision
    from mobilesam.predict.load import BackendName
    from mobilesam.predict.predictor import Predictor


def everything(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or quoted patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("everything"),
    forms: Annotated[
        list[str] | None,
        typer.Option("--write", "-w", help="labels, overlay, masks, yolo, coco; repeatable. Default: labels, overlay."),
    ] = None,
    points_per_side: Annotated[int, typer.Option(help="The grid has this many points along each side.")] = 32,
    pred_iou_thresh: Annotated[float | None, typer.Option(help="Drop masks scored lower; default by model.")] = None,
    stability_score_thresh: Annotated[float | None, typer.Option(help="Drop less stable masks.")] = None,
    box_nms_thresh: Annotated[float, typer.Option(help="Overlap of boxes above which one of two masks goes.")] = 0.7,
    crop_n_layers: Annotated[int, typer.Option(help="Also search 4 crops (1), and 16 (2): finds smaller things.")] = 0,
    min_mask_region_area: Annotated[int, typer.Option(help="Remove holes and islands of fewer pixels.")] = 0,
    coarse: Annotated[int, typer.Option(help="First a grid this many times coarser; 2 takes half the time.")] = 1,
    dense_where: Annotated[
        str, typer.Option(help="After a coarse grid, ask the full one near what is 'small', or where 'uncovered'.")
    ] = "small",
    refine: Annotated[bool, typer.Option("--refine", help="Ask each mask once more, at its innermost pixel.")] = False,
    workers: Annotated[int, typer.Option(help="Photos at once.")] = 1,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    recursive: options.Recursive = False,
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    as_json: options.AsJson = False,
) -> None:
    """Find all masks of each photo. A finished photo is skipped when the command is repeated."""
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.predict.load import load

    wanted = check_forms(forms or ["labels", "overlay"])
    settings = EverythingSettings(
        points_per_side=points_per_side,
        pred_iou_thresh=pred_iou_thresh,
        stability_score_thresh=stability_score_thresh,
        box_nms_thresh=box_nms_thresh,
        crop_n_layers=crop_n_layers,
        min_mask_region_area=min_mask_region_area,
        coarse_factor=coarse,
        dense_where=cast("DenseWhere", dense_where),
        refine=refine,
    )
    opening = Opening.parse(max_pixels, value_range)
    paths = list(expand(photos, recursive=recursive))
    sam = load(
        model,
        backend=cast("BackendName", backend),
        device=device,
        threads=1 if workers > 1 else None,
        precision=cast("Precision", precision),
        image_size=image_size,
    )
    has_bar = not as_json and sys.stderr.isatty()
    job = Job(
        sam, settings, wanted, output, precision=cast("Precision", precision), show_progress=has_bar, opening=opening
    )
    count_failures(job.run(paths, workers, as_json), len(paths))


def check_forms(forms: list[str]) -> list[str]:
    """The forms of --write, all of them known."""
    from mobilesam.everything.write import FORMS

    for form in forms:
        if form not in FORMS:
            raise typer.BadParameter(f"--write takes {', '.join(FORMS)}, not '{form}'")
    return forms


class Job:
    """A folder of photos on its way to a folder of results."""

    def __init__(
        self,
        sam: Predictor,
        settings: EverythingSettings,
        forms: list[str],
        output: Path,
        *,
        precision: Precision,
        show_progress: bool,
        opening: Opening,
    ) -> None:
        from mobilesam.everything.write import fingerprint

        self.sam, self.settings, self.forms, self.output = sam, settings, forms, output
        self.show_progress, self.opening = show_progress, opening
        self.identity = fingerprint(sam.info, settings, forms, precision)

    def run(self, paths: list[Path | str], workers: int, as_json: bool) -> int:
        """Do every photo, say what was written; returns how many failed."""
        from mobilesam.everything.write import write_coco

        self.output.mkdir(parents=True, exist_ok=True)
        names = ["stdin" if name == STDIN else name for name in output_names(paths)]
        done, failed = [], 0
        for path, name, answer in self.answers(paths, names, workers):
            if isinstance(answer, Exception):
                typer.echo(f"error: {answer}", err=True)
                failed += 1
                continue
            done.append(name)
            typer.echo(json.dumps({"photo": str(path), **answer}) if as_json else tell(str(path), answer))
        if "coco" in self.forms and done:
            written = write_coco(self.output, done)
            typer.echo(json.dumps({"coco": str(written)}) if as_json else f"wrote {written}")
        return failed

    def answers(
        self, paths: list[Path | str], names: list[str], workers: int
    ) -> Iterator[tuple[Path | str, str, dict[str, Any] | Exception]]:
        """Each photo's result, in order, with a bar over the folder."""
        from tqdm import tqdm

        with ThreadPoolExecutor(max(1, workers)) as pool:
            # One at a time shows its own bar; several would draw over each other.
            has_bar = self.show_progress and workers <= 1
            results = pool.map(lambda path, name: self.do(path, name, has_bar), paths, names)
            hidden = not self.show_progress or len(paths) < 2
            yield from tqdm(zip(paths, names, results, strict=True), total=len(paths), unit="photo", disable=hidden)

    def do(self, path: Path | str, name: str, has_bar: bool) -> dict[str, Any] | Exception:
        """One photo: skipped when finished, else searched and written."""
        from tqdm import tqdm

        from mobilesam.everything.generate import segment_everything
        from mobilesam.everything.write import is_finished, write

        if is_finished(self.output, name, self.identity):
            return {"skipped": True, "files": [str(self.output / f"{name}.json")]}
        try:
            rgb = self.opening.open(path)
            with tqdm(unit="prompt", leave=False, disable=not has_bar, desc=name, position=1) as bar:

                def progress(asked: int, total: int) -> None:
                    bar.total, bar.n = total, asked
                    bar.refresh()

                found = segment_everything(self.sam, rgb, settings=self.settings, progress=progress)
            files = write(self.output, name, str(path), rgb, found, self.forms, self.identity)
        except (ImageError, OSError) as error:
            return error
        return {"num_masks": len(found), "files": [str(file) for file in files]}


def tell(photo: str, answer: dict[str, Any]) -> str:
    """One line about a photo."""
    if answer.get("skipped"):
        return f"{photo}: finished before, skipped"
    return f"{photo}: {answer['num_masks']} masks: {', '.join(answer['files'])}"
