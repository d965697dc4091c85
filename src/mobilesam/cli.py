"""`mobilesam`: the verbs are the stages. Thin: each verb checks its arguments, calls the library, says what it wrote.

Everything heavy is imported inside the verbs, so that `--help` loads neither torch nor onnxruntime.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from mobilesam import __version__
from mobilesam.errors import ImageError, MobileSamError, PromptError, SettingsError

if TYPE_CHECKING:
    from mobilesam.predict.load import BackendName
    from mobilesam.predict.predictor import Predictor
    from mobilesam.predict.results import Mask, Prediction

app = typer.Typer(
    name="mobilesam",
    help="Cut any object out of any photo; train, distil and export small Segment Anything models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="List, download and verify models.", rich_markup_mode=None)
app.add_typer(models_app, name="models")

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")
]
BackendOption = Annotated[str, typer.Option(help="auto, onnx or torch.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line; the exit code is 0, 1 (failed) or 2 (bad usage)."""
    # No verb of the inference side multiplies matrices in numpy; its thread pool costs a fifth of a cold start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except (PromptError, SettingsError) as error:
        _fail(error, 2)
    except (MobileSamError, OSError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 1)


def _fail(error: object, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def segment(
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of photos.")],
    point: Annotated[
        list[str] | None, typer.Option("--point", "-p", help="X,Y on the object, or X,Y,0 off it; repeatable.")
    ] = None,
    box: Annotated[str | None, typer.Option("--box", "-b", help="X0,Y0,X1,Y1 around the object.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file for one photo, else a folder; .json for run lengths.")
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the photo with the mask tinted in.")] = False,
    cutout: Annotated[bool, typer.Option("--cutout", help="Write the object alone on a transparent ground.")] = False,
    all_masks: Annotated[bool, typer.Option("--all", help="Keep all three masks, not the best alone.")] = False,
    model: ModelOption = "embedded",
    backend: BackendOption = "auto",
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Segment the object that points or a box mean, in each photo.

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout or a .json output asks for something else.
    """
    points, labels = _parse_points(point or [])
    corners = _parse_numbers(box, 4, "--box", "X0,Y0,X1,Y1") if box else None
    if not points and corners is None:
        raise typer.BadParameter("say what to segment: --point X,Y or --box X0,Y0,X1,Y1")
    kinds = [kind for kind, wanted in (("overlay", overlay), ("cutout", cutout)) if wanted] or ["mask"]
    paths = list(_expand_photos(photos))
    if len(paths) > 1 and output is not None and output.suffix:
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")

    from mobilesam.predict.load import load

    sam = load(model, backend=cast("BackendName", backend), device=device)
    prompt = {
        "points": points or None,
        "labels": labels or None,
        "box": corners,
        "multimask": True if all_masks else None,
    }
    failed = False
    for path in _with_progress(paths):
        try:
            found = _predict(sam, path, prompt)
            files = _write(found, path, output, kinds, all_masks, points, labels, corners)
        except (ImageError, PromptError, OSError) as error:
            if len(paths) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed = True
            continue
        _report(sam, path, list(found) if all_masks else [found.best], files, as_json)
    if failed:
        raise typer.Exit(1)


def _predict(sam: Predictor, path: Path | str, prompt: dict[str, Any]) -> Prediction:
    return sam.embed(path).predict(**prompt)


def _parse_numbers(text: str, count: int, option: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise typer.BadParameter(f"{option} takes {form}, found '{text}'")
    return numbers


def _parse_points(texts: list[str]) -> tuple[list[tuple[float, float]], list[int]]:
    points, labels = [], []
    for text in texts:
        count = 3 if text.count(",") == 2 else 2
        x, y, *label = _parse_numbers(text, count, "--point", "X,Y or X,Y,0")
        points.append((x, y))
        labels.append(int(label[0]) if label else 1)
    return points, labels


def _expand_photos(photos: list[str]) -> Iterator[Path | str]:
    """Folders become their photos; everything else stays, so that a missing file or an address gets its own error."""
    from mobilesam.image import SUFFIXES

    for text in photos:
        path = Path(text)
        if "://" in text:
            yield text
        elif path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ImageError(f"'{path}' holds no photos ({', '.join(sorted(SUFFIXES))})")
            yield from inside
        else:
            yield path


def _with_progress(paths: list[Path | str]) -> Iterator[Path | str]:
    if len(paths) < 4 or not sys.stderr.isatty():
        yield from paths
        return
    from tqdm import tqdm

    yield from tqdm(paths, unit="photo")


def _write(
    found: Prediction,
    photo: Path | str,
    output: Path | None,
    kinds: list[str],
    all_masks: bool,
    points: list[tuple[float, float]],
    labels: list[int],
    box: list[float] | None,
) -> list[Path]:
    """Write what was asked for one photo; returns the files."""
    kept = list(found) if all_masks else [found.best]
    stem = Path(photo).stem
    if output is not None and output.suffix == ".json":
        return [_write_json(kept, str(photo), output)]
    written = []
    for kind in kinds:
        target = _target(stem, kind, output, several_kinds=len(kinds) > 1)
        if kind == "overlay":
            assert found.photo is not None
            from mobilesam.draw import overlay

            corners = None if box is None else (box[0], box[1], box[2], box[3])
            picture = overlay(found.photo, [m.array for m in kept], points=points, labels=labels, box=corners)
            written.append(_save_picture(picture, target))
            continue
        for i, mask in enumerate(kept, 1):
            numbered = target.with_stem(f"{target.stem}_{i}") if len(kept) > 1 else target
            if kind == "mask":
                mask.save(numbered)
            else:
                _save_picture(mask.cutout(), numbered)
            written.append(numbered)
    return written


def _target(stem: str, kind: str, output: Path | None, *, several_kinds: bool) -> Path:
    """Where one picture goes: the named file, or STEM_KIND.png in the named or the current folder."""
    if output is not None and output.suffix:
        return output.with_stem(f"{output.stem}_{kind}") if several_kinds else output
    folder = output or Path()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stem}_{kind}.png"


def _write_json(kept: list[Mask], photo: str, output: Path) -> Path:
    from mobilesam.files import replacing

    with replacing(output) as partial:
        record = {"photo": photo, "masks": [mask.to_dict() for mask in kept]}
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return output


def _save_picture(picture: Any, target: Path) -> Path:
    from PIL import Image

    from mobilesam.files import replacing

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    with replacing(target) as partial:
        try:
            image.save(partial)
        except (ValueError, OSError) as error:
            raise ImageError(f"cannot write '{target}' as '{target.suffix}' ({error}); use .png") from error
    return target


def _report(sam: Predictor, photo: Path | str, kept: list[Mask], files: list[Path], as_json: bool) -> None:
    if as_json:
        record = {
            "photo": str(photo),
            "model": sam.info.name,
            "masks": [mask.to_dict() for mask in kept],
            "files": [str(file) for file in files],
        }
        typer.echo(json.dumps(record))
        return
    names = ", ".join(str(file) for file in files)
    for mask in kept:
        share = 100 * mask.area / mask.array.size
        typer.echo(f"{names}: score {mask.score:.2f}, {mask.area} px, {share:.1f} % of the photo, box {mask.box_xyxy}")
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models this package knows."""
    if context.invoked_subcommand is None:
        list_models(as_json)


@models_app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models this package knows, and which are on this machine."""
    from mobilesam.weights import EMBEDDED, MODELS, checkpoint_path, has_pair, pair_folder

    rows = []
    for spec in MODELS.values():
        here = has_pair(pair_folder(spec)) or (spec.name != EMBEDDED and checkpoint_path(spec).is_file())
        rows.append((spec, here))
    if as_json:
        typer.echo(json.dumps([{**vars(spec), "on_this_machine": here} for spec, here in rows], indent=2))
        return
    for spec, here in rows:
        size = f"{spec.num_bytes / 1e6:,.0f} MB" if spec.num_bytes else "built in"
        mark = "here" if here else "not here"
        typer.echo(f"{spec.name:<12} {size:>9}  {mark:<9} {spec.description}; {spec.licence}")


@models_app.command("download")
def download_model(
    name: Annotated[str, typer.Argument(help="A name of `mobilesam models`.")],
    as_json: JsonOption = False,
) -> None:
    """Download a model, verify it, and convert it to ONNX where torch is installed."""
    from importlib.util import find_spec

    from mobilesam.predict.load import convert
    from mobilesam.weights import EMBEDDED, download, get_spec, has_pair, pair_folder

    spec = get_spec(name)
    if spec.name == EMBEDDED:
        _say({"model": name, "path": str(pair_folder(spec))}, f"'{name}' is inside the package", as_json)
        return
    path = download(spec)
    folder = pair_folder(spec)
    if not has_pair(folder) and find_spec("torch"):
        convert(spec, folder)
    converted = has_pair(folder)
    text = f"{path}\n" + (str(folder) if converted else 'to convert it to ONNX: pip install "mobilesam[torch]"')
    _say({"model": name, "checkpoint": str(path), "onnx": str(folder) if converted else None}, text, as_json)


@models_app.command("verify")
def verify_model(
    name: Annotated[str, typer.Argument(help="A name of `mobilesam models`.")],
    as_json: JsonOption = False,
) -> None:
    """Check that a model's files are whole; exit code 1 when not."""
    from mobilesam.predict.load import load
    from mobilesam.weights import EMBEDDED, checkpoint_path, get_spec, is_verified

    spec = get_spec(name)
    if spec.name == EMBEDDED:
        good, what = bool(load().info), "the pair inside the package loads"
    else:
        good, what = is_verified(spec), f"{checkpoint_path(spec)} has sha256 {spec.sha256}"
    _say({"model": name, "verified": good}, f"{name}: {what}: {'yes' if good else 'NO'}", as_json)
    if not good:
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model from photos and masks."""
    _require("lightning", "train", "training")
    from mobilesam.train.config import load_recipe
    from mobilesam.train.loop import train as run

    weights = run(load_recipe(recipe, overrides), resume=resume, show_progress=not as_json)
    _say({"weights": str(weights)}, f"wrote {weights}", as_json)


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, a folder with a pair, or a model's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the ONNX files.")],
    layout: Annotated[
        Literal["pair", "sam"], typer.Option(help="sam: also the decoder with SAM's official signature.")
    ] = "pair",
    licence: Annotated[str, typer.Option(help="Of the weights, for the metadata.")] = "unknown",
    fp16_storage: Annotated[
        bool, typer.Option("--fp16-storage", help="Store weights as float16, compute in float32: half the size.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write encoder.onnx and decoder.onnx, checked against torch."""
    _require("torch", "torch", "exporting")
    from mobilesam.export.onnx import SAM_DECODER_FILE, export_pair, export_sam_decoder
    from mobilesam.model import checkpoint as checkpoints
    from mobilesam.predict.load import find_checkpoint

    sam = checkpoints.load(find_checkpoint(checkpoint))
    files = export_pair(sam, output, licence=licence, fp16_storage=fp16_storage)
    if layout == "sam":
        files.append(export_sam_decoder(sam, output / SAM_DECODER_FILE))
    text = "\n".join(f"{file}: {file.stat().st_size / 1e6:.1f} MB" for file in files)
    _say({"files": [str(file) for file in files]}, f"{text}\nonnxruntime and torch agree", as_json)


def _require(module: str, extra: str, purpose: str) -> None:
    from importlib.util import find_spec

    from mobilesam.errors import MissingExtraError

    if find_spec(module) is None:
        raise MissingExtraError(extra, purpose)


def _say(record: dict[str, Any], text: str, as_json: bool) -> None:
    typer.echo(json.dumps(record) if as_json else text)
