"""What each group of a network's weights costs in masks when it alone is stored in few levels.

    python -m benchmarks.weight_levels 'PATH/train/*.tar' [--photos 4] [--levels 255 63 39 15] [--only GROUP]
    python -m benchmarks.weight_levels 'PATH/train/*.tar' --photos 8 --only nothing      # the plans alone

For each group: 1 - mean mask IoU with the float32 network, times 1000, of a grid of clicks and of the boxes around
their masks. `export/small_weights.py` chooses the levels of `--precision mixed` by this; choose on photos that nothing
is measured on afterwards. At the end: the plans of the exports and others like them, without the bias correction, with
the megabytes of their weights.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from benchmarks.common import machine, make_pair, make_parser, parse, pick_photos, synthetic_shard
from mobilesam.export.agreement import Agreement, Reference
from mobilesam.export.folding import fold_norms
from mobilesam.export.small_weights import plan, quantise
from mobilesam.model import checkpoint
from mobilesam.model.backend import TorchBackend
from mobilesam.model.sam import Sam
from mobilesam.weights import find_checkpoint

SMALLEST = 256
"""Smaller weights are left out."""


def group_of(name: str) -> str:
    """The group of a weight: the same layer in all blocks of a stage, and in all hypernetworks."""
    name = re.sub(r"(stages\.\d+|blocks|hypernetworks_mlps)\.\d+", r"\1.*", name.removesuffix(".weight"))
    return re.sub(r"\.(q|k)_proj$", ".qk", re.sub(r"\.(v|out)_proj$", ".vo", name))


def grouped(sam: Sam) -> dict[str, list[str]]:
    """Group → names of its weights."""
    found: dict[str, list[str]] = {}
    for name, weight in sam.state_dict().items():
        if weight.is_floating_point() and weight.ndim >= 2 and weight.numel() >= SMALLEST:
            found.setdefault(group_of(name), []).append(name)
    return found


def agreement(sam: Sam, reference: Reference, levels: Mapping[str, int]) -> Agreement:
    """How masks agree when weights have so many levels; the network is as before afterwards."""
    state = sam.state_dict()
    kept = {name: state[name].clone() for name in levels}
    quantise(sam, levels)
    found = reference.agreement(TorchBackend(sam))
    with torch.no_grad():
        for name, weight in kept.items():
            state[name].copy_(weight)
    return found


def plans(sam: Sam) -> dict[str, dict[str, int]]:
    """The plans of the exports, and `mixed` with one part changed."""
    plain, mixed = plan(sam, "int8-weights"), plan(sam, "mixed")
    weights = {name: weight for name, weight in sam.state_dict().items() if weight.is_floating_point()}
    every = {name: 255 for name, weight in weights.items() if weight.ndim >= 2 and weight.numel() >= SMALLEST}
    large = [name for name, levels in mixed.items() if name.startswith("image_encoder") and levels != 255]
    decoder = [name for name in mixed if not name.startswith("image_encoder")]
    return {
        "255 everywhere, the encoder's first layers too": every,
        "`int8-weights`: 255, the encoder's first layers in float16": plain,
        "`mixed`": mixed,
        "`mixed`, the encoder's large matrices 39": mixed | dict.fromkeys(large, 39),
        "`mixed`, the encoder's large matrices 255": mixed | dict.fromkeys(large, 255),
        "`mixed`, all of the decoder 15": mixed | dict.fromkeys(decoder, 15),
        "`mixed`, all of the decoder 63": mixed | dict.fromkeys(decoder, 63),
    }


def megabytes(sam: Sam, levels: Mapping[str, int]) -> float:
    """Of the weights, in whole bits; those that are not in the plan take 16."""
    state = {name: weight for name, weight in sam.state_dict().items() if weight.is_floating_point()}
    bits = sum(w.numel() * (math.log2(levels[n] + 1) if n in levels else 16) for n, w in state.items())
    return bits / 8e6


def line(label: str, size: int, values: Iterable[float]) -> str:
    """A row of the table."""
    return f"| {label} | {size} | " + " | ".join(f"{value:.2f}" for value in values) + " |"


def smallest(folder: Path) -> tuple[str, ...]:
    """The smallest model on a drawn photo."""
    make_pair("tiny", folder / "pair")
    return (
        synthetic_shard(folder, 1),
        "--model",
        str(folder / "pair"),
        "--photos",
        "1",
        "--levels",
        "15",
        "--only",
        "upscaling",
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("data", help="a pattern of annotated data sets")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--levels", type=int, nargs="+", default=[255, 63, 39, 15])
    parser.add_argument("--only", default="", help="groups whose names hold this regular expression")
    arguments = parse(parser, smallest)
    sam = checkpoint.load(find_checkpoint(arguments.model)).eval()
    fold_norms(sam.image_encoder)
    reference = Reference.of(TorchBackend(sam), list(pick_photos(arguments.data, arguments.photos)))
    print(machine(os.cpu_count() or 1, ["torch"]))
    print("| weights | elements | " + " | ".join(f"{count} levels" for count in arguments.levels) + " |")
    print("|" + " --- |" * (2 + len(arguments.levels)))
    sizes = {name: weight.numel() for name, weight in sam.state_dict().items()}
    for group, names in grouped(sam).items():
        if not re.search(arguments.only, group):
            continue
        values = (1000 * (1 - agreement(sam, reference, dict.fromkeys(names, count)).iou) for count in arguments.levels)
        print(line(group, sum(sizes[name] for name in names), values), flush=True)
    print("\n| plan | MB of weights | mean IoU | click | box |\n|---|---|---|---|---|")
    for label, levels in plans(sam).items():
        found = agreement(sam, reference, levels)
        print(f"| {label} | {megabytes(sam, levels):.1f} | {found.iou:.3f} | {found.click:.3f} | {found.box:.3f} |")


if __name__ == "__main__":
    main()
