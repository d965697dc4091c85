"""One click, part by part, on every backend: torch as it is written, onnxruntime, OpenVINO in float32 and bfloat16.

    python -m benchmarks.click [--model embedded|mobile_sam] [--repeat 7] [--threads 2] [--photos 'PATH/*.tar']
        [--folders FOLDER ...]

The backends take turns, each in a process of its own: in one process, the threads of one runtime still wait for work
when the next one starts, which doubles its time. Medians, and the ratio to torch within each turn. `mobile_sam` is
MobileSAM's size with the stand-in weights of the tests. With `--photos`, also what bfloat16 does to masks: IoU with
float32 on 16 points of each of 20 photos, masks of at least 50 pixels. `--folders` adds exports of any format, each in
its own runtime, where that is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import mobilesam
from benchmarks.common import (
    MODELS,
    ROOT,
    in_process,
    load_kind,
    machine,
    make_pair,
    make_parser,
    parse,
    pick_photos,
    runs_here,
    synthetic_shard,
)
from mobilesam.image import open_photo, to_input

REFERENCE = "torch"
KINDS = {
    REFERENCE: "torch",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "openvino, bfloat16": "openvino:bfloat16",
}
PARTS = ("encode", "decode 1", "decode 16")
PACKAGES = ("torch", "onnxruntime", "openvino", "ai-edge-litert", "executorch")
CALLS, WARM_UP = 5, 2  # of each part in a process


def run_one(arguments: argparse.Namespace) -> None:
    """Print the median seconds of each part on one backend, as JSON."""
    sam = load_kind(arguments.folder, arguments.one, arguments.threads)
    image = to_input(open_photo(ROOT / "examples" / "coffee.png"), sam.info.image_size)
    turns = [time_parts(sam, image, turn) for turn in range(WARM_UP + CALLS)][WARM_UP:]
    print(json.dumps({part: statistics.median(turn[part] for turn in turns) for part in PARTS}))


def measure(kind: str, folder: str, threads: int) -> dict[str, float]:
    """Median seconds of each part, in a process of its own."""
    words = ["--one", kind, "--folder", folder, "--threads", str(threads)]
    found: dict[str, float] = in_process("benchmarks.click", words, threads)
    return found


def time_parts(sam: mobilesam.Predictor, image: np.ndarray, seed: int) -> dict[str, float]:
    """Seconds of the encoder, of the decoder for one point, and per prompt for sixteen."""
    side, size = sam.info.low_res, sam.info.image_size
    start = time.perf_counter()
    embedding = sam.backend.encode(image)
    seconds = {"encode": time.perf_counter() - start}
    rng = np.random.default_rng(seed)
    for count in (1, 16):
        coords = rng.uniform(0, size / 2, (count, 2, 2)).astype(np.float32)
        labels = np.tile(np.array([1, -1], np.float32), (count, 1))
        # torch's plain form gets a mask input for each prompt, as the reference does.
        masks = np.zeros((count if type(sam.backend).__name__ == "TorchBackend" else 1, 1, side, side), np.float32)
        start = time.perf_counter()
        sam.backend.decode(embedding, coords, labels, masks, np.zeros(len(masks), np.float32))
        seconds[f"decode {count}"] = (time.perf_counter() - start) / count
    return seconds


def rough_iou(pair: Path, shards: str, threads: int) -> list[float]:
    """IoU of bfloat16's masks with float32's."""
    models = [load_kind(pair, kind, threads) for kind in ("openvino", "openvino:bfloat16")]
    found: list[float] = []
    for rgb in pick_photos(shards, 20):
        points = np.random.default_rng(0).uniform(0, 1, (16, 1, 2)) * (rgb.shape[1], rgb.shape[0])
        exact, rough = (model.embed(rgb).predict_batch(points=points, multimask=True) for model in models)
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
    parser.add_argument("--folders", nargs="*", default=[])
    for hidden in ("--one", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parse(parser, lambda folder: ("--model", "tiny", "--repeat", "1", "--photos", synthetic_shard(folder)))
    if arguments.one:
        run_one(arguments)
        return

    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder)
        make_pair(arguments.model, pair)
        kinds = {name: (kind, folder) for name, kind in KINDS.items() if runs_here(kind)}
        kinds |= {name: ("auto", str(Path(name).resolve())) for name in arguments.folders}
        turns = [
            {name: measure(kind, place, arguments.threads) for name, (kind, place) in kinds.items()}
            for _ in range(arguments.repeat)
        ]
        is_compared = bool(arguments.photos) and runs_here("openvino:bfloat16")
        ious = rough_iou(pair, arguments.photos, arguments.threads) if is_compared else []
    print(f"{arguments.model}: {machine(arguments.threads, PACKAGES)}\n")
    print(f"| ms (share of torch) | {' | '.join(PARTS)} a prompt |\n|---|---|---|---|")
    for name in kinds:
        cells = []
        for part in PARTS:
            ratio = statistics.median(turn[name][part] / turn[REFERENCE][part] for turn in turns)
            cells.append(f"{1000 * statistics.median(turn[name][part] for turn in turns):.1f} ({ratio:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")
    if arguments.photos and not ious:
        print("\nmasks are not compared: no OpenVINO here that computes in bfloat16")
    if ious:
        middle = f"mean IoU {np.mean(ious):.4f}, median {np.median(ious):.4f}"
        print(f"\nbfloat16 against float32, {len(ious)} masks: {middle}, 5th percentile {np.percentile(ious, 5):.4f}")


if __name__ == "__main__":
    main()
