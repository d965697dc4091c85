"""All masks of a photo: SAM's algorithm written plainly in torch, against `segment_everything`.

    python -m benchmarks.everything [--model embedded|mobile_sam] [--points-per-side 32] [--keep all|tenth]
        [--photo examples/coffee.png] [--repeat 3] [--threads 2] [--coarse 2]

Paired: each repeat runs every way in turn, each in a process of its own. `mobile_sam` is MobileSAM's size with the
stand-in weights of the tests, since speed does not depend on the weights. Thresholds let all masks pass, or a tenth.
Seconds (medians) count the encoder, not imports, loading and a first search with 4x4 points; `found` and `alike` are
the mean IoU of torch's masks with the most alike of ours, and of ours with the most alike of torch's. The coarse
searches only run where a tenth passes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.common import MODELS, ROOT, in_process, load_kind, machine, make_pair, make_parser, parse, runs_here

if TYPE_CHECKING:
    from mobilesam.model.sam import Sam

KINDS = {
    "torch, plainly": "reference",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "openvino, bfloat16": "openvino:bfloat16",
}
BATCH = 64  # the reference's points per batch
OFFSET = 1.0


def reference(sam: Sam, rgb: Any, per_side: int, iou_threshold: float, stability_threshold: float) -> list[Any]:
    """SAM's generator, plainly: every mask of a batch is scaled up, then judged. Returns (RLE, score) pairs.

    https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/automatic_mask_generator.py
    """
    import torch
    import torch.nn.functional as F

    from mobilesam.everything.filters import nms
    from mobilesam.everything.grid import point_grid
    from mobilesam.image import to_input
    from mobilesam.masks import to_rle

    image = torch.from_numpy(to_input(rgb, sam.config.image_size))
    hw, input_hw = rgb.shape[:2], image.shape[-2:]
    with torch.inference_mode():
        embedding = sam.encode(image)
        points = point_grid(per_side) * (input_hw[1], input_hw[0])
        kept: list[tuple[Any, float, tuple[int, ...]]] = []
        for start in range(0, len(points), BATCH):
            batch = torch.from_numpy(points[start : start + BATCH].astype(np.float32))
            n, side = len(batch), 4 * sam.config.grid
            coords = torch.stack([batch, torch.zeros_like(batch)], dim=1)
            labels = torch.tensor([[1.0, -1.0]]).expand(n, 2)
            low_res, scores = sam.decode(embedding, coords, labels, torch.zeros(n, 1, side, side), torch.zeros(n))
            square = F.interpolate(low_res[:, 1:], (sam.config.image_size,) * 2, mode="bilinear", align_corners=False)
            logits = F.interpolate(square[..., : input_hw[0], : input_hw[1]], hw, mode="bilinear", align_corners=False)
            logits, flat = logits.flatten(0, 1), scores[:, 1:].flatten()
            if iou_threshold > 0:
                logits, flat = logits[flat > iou_threshold], flat[flat > iou_threshold]
            high, low = (logits > OFFSET).sum((1, 2)), (logits > -OFFSET).sum((1, 2))
            stable = high / low >= stability_threshold
            for mask, score in zip(logits[stable] > 0, flat[stable], strict=True):
                ys, xs = torch.nonzero(mask, as_tuple=True)
                box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())) if len(xs) else (0, 0, 0, 0)
                kept.append((to_rle(mask.numpy()), float(score), box))
    if not kept:
        return []
    order = nms(np.array([box for *_, box in kept], float), np.array([score for _, score, _ in kept]), 0.7)
    return [(kept[i][0], kept[i][1]) for i in order]


def run_one(arguments: argparse.Namespace) -> None:
    """One run in this process; its result as JSON on the last line."""
    from mobilesam.image import open_photo

    rgb = open_photo(arguments.photo)
    thresholds = (arguments.iou, arguments.stability)
    result: dict[str, Any]
    if arguments.one == "reference":
        import torch

        from mobilesam.model import checkpoint

        torch.set_num_threads(arguments.threads)
        sam = checkpoint.load(arguments.pair)
        reference(sam, rgb, 4, *thresholds)
        start = time.perf_counter()
        found = reference(sam, rgb, arguments.points_per_side, *thresholds)
    else:
        import mobilesam
        from mobilesam import EverythingSettings

        predictor = load_kind(arguments.pair, arguments.one, arguments.threads)
        settings = EverythingSettings(
            points_per_side=arguments.points_per_side,
            pred_iou_thresh=thresholds[0],
            stability_score_thresh=thresholds[1],
            coarse_factor=arguments.coarse,
        )
        mobilesam.segment_everything(predictor, rgb, settings=replace(settings, points_per_side=4, coarse_factor=1))
        start = time.perf_counter()
        found = [(m.rle(), m.score) for m in mobilesam.segment_everything(predictor, rgb, settings=settings)]
    seconds = time.perf_counter() - start
    result = {"seconds": seconds, "memory_mb": peak_memory_mb(), "masks": [rle for rle, _ in found]}
    print(json.dumps(result))


def peak_memory_mb() -> float:
    """Of this process since its program was loaded (Linux); `ru_maxrss` would count its parent's memory too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def call(kind: str, arguments: argparse.Namespace, pair: Path, coarse: int, thresholds: tuple[float, float]) -> Any:
    """`run_one` in a process of its own."""
    words = ["--one", kind, "--pair", str(pair), "--photo", str(Path(arguments.photo).resolve())]
    words += ["--points-per-side", str(arguments.points_per_side), "--threads", str(arguments.threads)]
    words += ["--coarse", str(coarse), "--iou", str(thresholds[0]), "--stability", str(thresholds[1])]
    return in_process("benchmarks.everything", words, arguments.threads)


def alike(masks: list[Any], others: list[Any]) -> float:
    """Mean over masks of the IoU with the most alike of the others."""
    from pycocotools import mask as coco_mask

    if not masks or not others:
        return float("nan")
    return float(np.asarray(coco_mask.iou(masks, others, [0] * len(others))).max(axis=1).mean())


def choose_thresholds(pair: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    """(predicted IoU, stability): nothing is dropped, or nine tenths of the masks are by their predicted IoU."""
    if arguments.keep == "all":
        return 0.0, 0.0
    import mobilesam
    from mobilesam.everything.grid import point_grid

    image = mobilesam.load(pair, backend="onnx").embed(arguments.photo)
    points = point_grid(6) * (image.original_hw[1], image.original_hw[0])
    scores = np.concatenate([p.scores for p in image.predict_batch(points=points[:, None], multimask=True)])
    return max(1e-6, float(np.quantile(scores, 0.9))), 0.0


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--keep", choices=("all", "tenth"), default="tenth")
    parser.add_argument("--photo", default=str(ROOT / "examples" / "coffee.png"))
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--coarse", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    for hidden in ("--one", "--pair"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--iou", "--stability"):
        parser.add_argument(hidden, type=float, help=argparse.SUPPRESS)
    arguments = parse(parser, lambda _: ("--model", "tiny", "--points-per-side", "4", "--repeat", "1", "--keep", "all"))
    if arguments.one:
        run_one(arguments)
        return

    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder)
        make_pair(arguments.model, pair)
        thresholds = choose_thresholds(pair, arguments)
        coarse = arguments.coarse
        kinds = {label: (kind, 1) for label, kind in KINDS.items() if runs_here(kind)}
        if arguments.keep == "tenth":
            kinds |= {f"{label}, coarse {coarse}": (kind, coarse) for label, (kind, _) in list(kinds.items())[1:]}
        results: dict[str, list[Any]] = {label: [] for label in kinds}
        for _ in range(arguments.repeat):
            for label, (kind, factor) in kinds.items():
                results[label].append(call(kind, arguments, pair, factor, thresholds))
    print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")))
    print(f"{arguments.model}, {arguments.points_per_side} points a side, predicted IoU above {thresholds[0]:.3f}\n")
    print("| | seconds | against torch | peak memory | masks | found | alike |")
    print("|---|---|---|---|---|---|---|")
    base = results["torch, plainly"]
    for label, runs in results.items():
        ratio = statistics.median(b["seconds"] / r["seconds"] for b, r in zip(base, runs, strict=True))
        seconds, memory = (statistics.median(r[key] for r in runs) for key in ("seconds", "memory_mb"))
        mine, theirs = runs[0]["masks"], base[0]["masks"]
        print(
            f"| {label} | {seconds:.1f} | {ratio:.1f}x | {memory:.0f} MB | {len(mine)} "
            f"| {alike(theirs, mine):.3f} | {alike(mine, theirs):.3f} |"
        )


if __name__ == "__main__":
    main()
