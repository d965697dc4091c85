"""Mask IoU of exported models with the float32 network, on annotated photos that nothing was calibrated on.

    python -m benchmarks.agreement eval.tar ... --folders int8/ mixed/ [--model embedded] [--backend openvino]

On each photo: a grid of 25 clicks, and the boxes around the masks that the float32 network answers.
"""

from __future__ import annotations

import os
from pathlib import Path

import mobilesam
from benchmarks.common import machine, make_pair, make_parser, parse, pick_photos, synthetic_shard
from mobilesam.export.agreement import Reference

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def smallest(folder: Path) -> tuple[str, ...]:
    """The smallest model against itself, on a drawn photo."""
    make_pair("tiny", folder / "pair")
    pair = str(folder / "pair")
    return synthetic_shard(folder, 1), "--folders", pair, "--model", pair, "--photos", "1"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("data", help="a pattern of annotated data sets")
    parser.add_argument("--folders", nargs="+", required=True, help="exported models")
    parser.add_argument("--model", default="embedded", help="what they were exported from")
    parser.add_argument("--backend", default="onnx", choices=RUNTIMES, help="that runs the folders")
    parser.add_argument("--photos", type=int, default=110)
    arguments = parse(parser, smallest)
    print(machine(os.cpu_count() or 1, [RUNTIMES[arguments.backend]]))
    models = {folder: mobilesam.load(folder, backend=arguments.backend).backend for folder in arguments.folders}
    photos = list(pick_photos(arguments.data, arguments.photos))
    reference = Reference.of(mobilesam.load(arguments.model, backend="torch").backend, photos)
    print("| folder | photos | masks | mean IoU | 5th percentile | click | box |")
    print("|" + " --- |" * 7)
    for folder, backend in models.items():
        found = reference.agreement(backend)
        values = " | ".join(f"{value:.4f}" for value in (found.iou, found.iou_p5, found.click, found.box))
        print(f"| {folder} | {len(photos)} | {found.num_masks} | {values} |")


if __name__ == "__main__":
    main()
