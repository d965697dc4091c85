"""One click, part by part, on every backend: torch as it is written, onnxruntime, OpenVINO in float32 and bfloat16.

    python -m benchmarks.click [--model embedded|mobile_sam] [--repeat 7] [--threads 2] [--photos 'PATH/*.tar']

All backends take turns in one process; medians, and the ratio to torch within each turn. `mobile_sam` is MobileSAM's
size with the stand-in weights of the tests. With `--photos`, also what bfloat16 does to masks: IoU with float32 on 16
points of each of 20 photos, masks of at least 50 pixels.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import mobilesam
from benchmarks.common import MODELS, ROOT, machine, make_pair, make_parser, parse, pick_photos, synthetic_shard
from mobilesam.image import open_photo, to_input

REFERENCE = "torch"
PARTS = ("encode", "decode 1", "decode 16")


def load_all(pair: Path, threads: int) -> dict[str, mobilesam.Predictor]:
    """Every backend on the same weights."""
    torch.set_num_threads(threads)
    return {
        REFERENCE: mobilesam.load(pair, backend="torch"),
        "onnxruntime": mobilesam.load(pair, backend="onnx", threads=threads),
        "openvino": mobilesam.load(pair, backend="openvino", threads=threads),
        "openvino, bfloat16": mobilesam.load(pair, backend="openvino", threads=threads, precision="bfloat16"),
    }


def time_parts(sam: mobilesam.Predictor, image: np.ndarray, num_turns: int) -> dict[str, float]:
    """Seconds of the encoder, of the decoder for one point, and per prompt for sixteen."""
    side, size = sam.info.low_res, sam.info.image_size
    start = time.perf_counter()
    embedding = sam.backend.encode(image)
    seconds = {"encode": time.perf_counter() - start}
    rng = np.random.default_rng(num_turns)
    for count in (1, 16):
        coords = rng.uniform(0, size / 2, (count, 2, 2)).astype(np.float32)
        labels = np.tile(np.array([1, -1], np.float32), (count, 1))
        # torch's plain form gets a mask input for each prompt, as the reference does.
        masks = np.zeros((count if type(sam.backend).__name__ == "TorchBackend" else 1, 1, side, side), np.float32)
        start = time.perf_counter()
        sam.backend.decode(embedding, coords, labels, masks, np.zeros(len(masks), np.float32))
        seconds[f"decode {count}"] = (time.perf_counter() - start) / count
    return seconds


def rough_iou(models: dict[str, mobilesam.Predictor], shards: str) -> list[float]:
    """IoU of bfloat16's masks with float32's."""
    found: list[float] = []
    for rgb in pick_photos(shards, 20):
        points = np.random.default_rng(0).uniform(0, 1, (16, 1, 2)) * (rgb.shape[1], rgb.shape[0])
        exact, rough = (
            models[name].embed(rgb).predict_batch(points=points, multimask=True)
            for name in ("openvino", "openvino, bfloat16")
        )
        for a, b in zip(exact, rough, strict=True):
            pairs = [(x, y) for x, y in zip(a.masks, b.masks, strict=True) if x.sum() >= 50]
            found += [float((x & y).sum() / (x | y).sum()) for x, y in pairs]
    return found


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--photos", default="")
    arguments = parse(parser, lambda folder: ("--model", "tiny", "--repeat", "1", "--photos", synthetic_shard(folder)))

    with tempfile.TemporaryDirectory() as folder:
        make_pair(arguments.model, Path(folder))
        models = load_all(Path(folder), arguments.threads)
        image = to_input(open_photo(ROOT / "examples" / "coffee.png"), models[REFERENCE].info.image_size)
        turns = [
            {name: time_parts(sam, image, turn) for name, sam in models.items()} for turn in range(arguments.repeat + 2)
        ][2:]  # the first two warm up
        ious = rough_iou(models, arguments.photos) if arguments.photos else []
    print(f"{arguments.model}: {machine(arguments.threads, ('torch', 'onnxruntime', 'openvino'))}\n")
    print(f"| ms (share of torch) | {' | '.join(PARTS)} a prompt |\n|---|---|---|---|")
    for name in models:
        cells = []
        for part in PARTS:
            ratio = statistics.median(turn[name][part] / turn[REFERENCE][part] for turn in turns)
            cells.append(f"{1000 * statistics.median(turn[name][part] for turn in turns):.1f} ({ratio:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")
    if ious:
        middle = f"mean IoU {np.mean(ious):.4f}, median {np.median(ious):.4f}"
        print(f"\nbfloat16 against float32, {len(ious)} masks: {middle}, 5th percentile {np.percentile(ious, 5):.4f}")


if __name__ == "__main__":
    main()
