"""Mask quality of a model on shards of the SA-1B schema: one click, and a tight box.

    python benchmarks/quality.py 'eval/*.tar' [--model embedded] [--backend auto] [--json report.json]

Protocol, fixed: of each photo at most the four largest masks of at least 1000 px, in the photo's own pixels.

    click          one point, the deepest inside the object (maximum of the distance transform);
                   of three masks the one the model itself scores highest
    click-oracle   the same point; of three masks the one with the best IoU
    box            the tight box of the object; single mask

The number is the mean IoU over objects, with a 95 % bootstrap interval over photos.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import mobilesam
from mobilesam import boxes
from mobilesam.shards import Photo, expand, index_shard, read_photo

MAX_MASKS, MIN_AREA = 4, 1000


def deepest_point(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The pixel (x, y) farthest from the object's border; the photo's border counts as one."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return float(x), float(y)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def measure_photo(sam: mobilesam.Predictor, photo: Photo) -> list[dict[str, Any]]:
    """One row per object."""
    areas = [float(annotation["area"]) for annotation in photo.annotations]
    chosen = [i for i in np.argsort(areas)[::-1] if areas[i] >= MIN_AREA][:MAX_MASKS]
    image = sam.embed(photo.rgb)
    rows = []
    for i in chosen:
        truth = photo.mask(int(i))
        click = image.predict(points=[deepest_point(truth)], multimask=True)
        box = image.predict(box=boxes.from_mask(truth), multimask=False)
        ious = [iou(mask, truth) for mask in click.masks]
        row = {"photo": photo.name, "source": photo.name.split("_")[0], "click": ious[click.best_index]}
        rows.append(row | {"click-oracle": max(ious), "box": iou(box.masks[0], truth)})
    return rows


def summarise(rows: list[dict[str, Any]], protocol: str) -> dict[str, float]:
    """Mean over objects, and the bootstrap interval over photos."""
    by_photo: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_photo[row["photo"]].append(row[protocol])
    sums = np.array([(sum(v), len(v)) for v in by_photo.values()])
    rng = np.random.default_rng(0)
    draws = sums[rng.integers(0, len(sums), (2000, len(sums)))].sum(axis=1)
    low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
    return {"mean_iou": float(sums[:, 0].sum() / sums[:, 1].sum()), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    sam = mobilesam.load(arguments.model, backend=arguments.backend)
    samples = [sample for path in expand(arguments.shards) for sample in index_shard(path)]
    start = time.perf_counter()
    rows = [row for sample in tqdm(samples, unit="photo") for row in measure_photo(sam, read_photo(sample))]
    seconds = time.perf_counter() - start

    print(
        f"{sam.info.name} {sam.info.weights_sha256[:12]}, {len(samples)} photos, {len(rows)} objects, {seconds:.0f} s"
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, mobilesam {mobilesam.__version__}")
    report: dict[str, Any] = {"model": sam.info.name, "weights_sha256": sam.info.weights_sha256, "rows": rows}
    for source in [*sorted({row["source"] for row in rows}), "all"]:
        kept = [row for row in rows if source in ("all", row["source"])]
        report[source] = {protocol: summarise(kept, protocol) for protocol in ("click", "click-oracle", "box")}
        cells = (f"{p} {s['mean_iou']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for p, s in report[source].items())
        print(f"{source:<8} {len(kept):>4} objects  " + "  ".join(cells))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
