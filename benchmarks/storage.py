"""What float16 storage of weights does to masks: the same checkpoint exported both ways.

    python benchmarks/storage.py weights.safetensors 'eval/*.tar'

For every object of `quality.py`'s protocol: the IoU between the two models' masks, for a click and for a box.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from quality import MAX_MASKS, MIN_AREA, deepest_point, iou
from tqdm import tqdm

import mobilesam
from mobilesam import boxes
from mobilesam.export.onnx import export_pair
from mobilesam.model import checkpoint
from mobilesam.shards import Photo, expand, index_shard, read_photo


def export_both(weights: Path, folder: Path) -> tuple[mobilesam.Predictor, mobilesam.Predictor]:
    """The checkpoint as float32 and as float16 storage."""
    for name, is_half in (("full", False), ("half", True)):
        paths = export_pair(checkpoint.load(weights), folder / name, licence="unknown", fp16_storage=is_half)
        print(f"{name}: {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB")
    return mobilesam.load(folder / "full"), mobilesam.load(folder / "half")


def compare(full: mobilesam.Predictor, half: mobilesam.Predictor, photo: Photo) -> list[float]:
    """IoU between the two models' masks, two prompts per object."""
    images = [sam.embed(photo.rgb) for sam in (full, half)]
    areas = [float(annotation["area"]) for annotation in photo.annotations]
    chosen = [i for i in np.argsort(areas)[::-1] if areas[i] >= MIN_AREA][:MAX_MASKS]
    values = []
    for i in chosen:
        truth = photo.mask(int(i))
        point, box = [deepest_point(truth)], boxes.from_mask(truth)
        values.append(iou(*(image.predict(points=point).best.array for image in images)))
        values.append(iou(*(image.predict(box=box).best.array for image in images)))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("shards", nargs="+")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, half = export_both(arguments.weights, Path(folder))
        samples = [sample for path in expand(arguments.shards) for sample in index_shard(path)]
        values = [v for sample in tqdm(samples, unit="photo") for v in compare(full, half, read_photo(sample))]
    print(f"{len(values)} masks, IoU between float32 and float16 storage:")
    print(f"median {statistics.median(values):.4f}, mean {statistics.mean(values):.4f}")
    print(f"1st percentile {np.percentile(values, 1):.4f}")


if __name__ == "__main__":
    main()
