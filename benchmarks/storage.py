"""What float16 storage of weights does to masks: the same checkpoint exported both ways.

    python -m benchmarks.storage weights.safetensors eval.tar ...

For every object of at least 1,000 pixels (`--min-area`): the IoU between the two models' masks, for one click and for
a tight box.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

import mobilesam
from benchmarks.common import make_pair, make_parser, parse, synthetic_shard
from mobilesam.choices import StoredPrecision
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from mobilesam.evaluate.metrics import iou
from mobilesam.evaluate.photo import Images, ask, read_objects
from mobilesam.export.onnx import export_pair
from mobilesam.model import checkpoint

PROTOCOLS = ("click", "box")


def export_both(weights: Path, folder: Path) -> list[mobilesam.Predictor]:
    """The checkpoint with float32 and with float16 storage."""
    precisions: tuple[tuple[str, StoredPrecision], ...] = (("full", "float32"), ("half", "float16"))
    for name, precision in precisions:
        paths = export_pair(checkpoint.load(weights), folder / name, licence="unknown", precision=precision)
        print(f"{name}: {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB")
    return [mobilesam.load(folder / name) for name in ("full", "half")]


def compare(models: list[mobilesam.Predictor], photo: PhotoRef, min_area: int) -> list[float]:
    """IoU between the two models' masks, for each object and protocol of one photo."""
    rgb = photo.open()
    images = [Images(sam.embed(rgb), None) for sam in models]
    objects, _ = read_objects(photo.id, photo.annotation(), images[0].student.original_hw)
    values = []
    for one in objects:
        if one.area < min_area:
            continue
        truth = one.decode()
        for protocol in PROTOCOLS:
            answers = [ask(protocol, truth, image, False) for image in images]
            values.append(iou(*(answer.mask for answer in answers if answer)))
    return values


def smallest(folder: Path) -> tuple[str, ...]:
    """The smallest model and some drawn photos."""
    make_pair("tiny", folder / "pair")
    return str(folder / "pair"), synthetic_shard(folder, 1), "--min-area", "1"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("weights", type=Path, help="a checkpoint or an exported pair")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--min-area", type=int, default=1000)
    arguments = parse(parser, smallest)
    with tempfile.TemporaryDirectory() as folder:
        models = export_both(arguments.weights, Path(folder))
        photos = [item for item in read_all(arguments.data) if isinstance(item, PhotoRef)]
        values = [v for photo in tqdm(photos, unit="photo") for v in compare(models, photo, arguments.min_area)]
    print(f"{len(values)} masks, IoU between float32 and float16 storage:")
    print(f"median {statistics.median(values):.4f}, mean {statistics.mean(values):.4f}")
    print(f"1st percentile {np.percentile(values, 1):.4f}")


if __name__ == "__main__":
    main()
