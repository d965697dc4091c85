"""Weights of few levels in ONNX files, which every runtime unpacks once, when it loads the file.

A weight is stored as whole numbers, with a scale for each output channel. 255 levels take a byte; with 39 levels three
weights share 16 bits (39³ < 2¹⁶), with 15 levels two share a byte, and 63 levels take 4 and 2 bits in two places. They
are unpacked by plain operators on constants (Cast, Gather, Mul), which runtimes fold; ONNX's own DequantizeLinear is
kept by onnxruntime as a place for int8 kernels, and would be computed anew in every call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mobilesam.choices import StoredPrecision

SMALL = 1024
"""Weights of fewer elements, and vectors, stay in float16."""
FEW, FEW_DEPTHWISE, MANY = 20_000, 10_000, 80_000
"""Weights of an encoder with fewer elements than `FEW` stay in float16 too: its first layers, which cost most masks and
fewest bytes. In mixed storage, matrices of at least `MANY` take 63 levels, the rest 255."""
DECODER = (
    (r"\.mlp\.|\.iou_prediction_head\.|\.self_attn\.[qk]_proj\.", 15),
    (r"\.cross_attn_image_to_token\.|\.final_attn|\.output_upscaling\.|mlps\.\d\.layers\.2|mask_tokens", 255),
    (r"\.output_hypernetworks_mlps\.|^prompt_encoder\.", 39),
    (r"", 63),
)
"""Pattern of a name → levels in mixed storage, the first that is found: by what each costs in masks
(benchmarks/weight_levels.py). Half of the decoder is its feed-forward layers, which hardly matter."""


@dataclass(frozen=True)
class Digits:
    """One digit of each weight: several share a word, which is a number of that base."""

    base: int
    count: int
    """Digits in a word; `base ** count` words exist."""
    word: type[np.unsignedinteger]


PACKED = {
    63: (Digits(16, 2, np.uint8), Digits(4, 4, np.uint8)),
    39: (Digits(39, 3, np.uint16),),
    15: (Digits(15, 2, np.uint8),),
}
"""Levels → the digits that a weight is written in, lowest first; levels that are not here take a byte."""
CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
"""Shares of the largest weight of a channel that may become the largest level; the one of least error is taken."""


@dataclass(frozen=True)
class Levels:
    """A weight as n levels: whole numbers from -(n - 1) / 2 to (n - 1) / 2, and a scale for each channel."""

    codes: NDArray[np.int16]
    scale: NDArray[np.float32]
    """(channels, 1, ...)"""
    levels: int

    @property
    def values(self) -> NDArray[np.float32]:
        """The weight as the file gives it back."""
        return self.codes.astype(np.float32) * self.scale


def plan(sam: nn.Module, precision: StoredPrecision) -> dict[str, int]:
    """Name of a weight → the number of its levels; those that stay in float16 are left out."""
    chosen = {}
    for name, weight in sam.state_dict().items():
        if weight.is_floating_point() and weight.ndim >= 2 and weight.numel() >= few(name, weight):
            chosen[name] = mixed_levels(name, weight) if precision == "mixed" else 255
    return chosen


def few(name: str, weight: Tensor) -> int:
    """From which number of elements on a weight is stored in levels."""
    if not name.startswith("image_encoder"):
        return SMALL
    return FEW_DEPTHWISE if is_depthwise(weight) else FEW


def mixed_levels(name: str, weight: Tensor) -> int:
    """Levels of a weight in mixed storage."""
    if not name.startswith("image_encoder"):
        return next(levels for pattern, levels in DECODER if re.search(pattern, name))
    return 255 if is_depthwise(weight) or weight.numel() < MANY else 63


def is_depthwise(weight: Tensor) -> bool:
    """Whether it is of a convolution of each channel by itself."""
    return weight.ndim == 4 and weight.shape[1] == 1


def quantise(sam: nn.Module, levels: Mapping[str, int]) -> dict[str, Levels]:
    """Round weights to their levels, in place, and return them as whole numbers."""
    found = {}
    state = sam.state_dict()
    for name, count in levels.items():
        found[name] = to_levels(state[name], count)
        state[name].copy_(torch.from_numpy(found[name].values))
    return found


def to_levels(weight: Tensor, levels: int) -> Levels:
    """Round a weight to a number of levels, with the scale of each channel that gives the least squared error."""
    rows = weight.detach().flatten(1).double()  # (channels, rest)
    half = (levels - 1) // 2
    largest = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12)
    best, scale = torch.full_like(largest, torch.inf), largest / half
    for clip in CLIPS:
        tried = (largest * clip / half).float().double()
        error = (((rows / tried).round().clamp(-half, half) * tried - rows) ** 2).sum(dim=1, keepdim=True)
        scale, best = torch.where(error < best, tried, scale), torch.minimum(error, best)
    codes = (rows / scale).round().clamp(-half, half)
    shape = (len(rows), *(1,) * (weight.ndim - 1))
    return Levels(codes.view(weight.shape).numpy().astype(np.int16), scale.view(shape).float().numpy(), levels)


def store(model: onnx.ModelProto, weights: Mapping[str, Levels]) -> None:
    """Replace weights of a graph by packed ones and the operators that unpack them.

    Args:
        model: whose initializers are named as in `weights`, and have these values already.
        weights: all of them are packed, those that the graph does not use too, so that graphs can share the bytes.
    """
    used = {initializer.name: initializer for initializer in model.graph.initializer if initializer.name in weights}
    nodes: list[onnx.NodeProto] = []
    for levels in sorted({weight.levels for weight in weights.values()}):
        group = {name: weight for name, weight in weights.items() if weight.levels == levels}
        if levels not in PACKED:
            nodes += [node for name in group if name in used for node in _bytes(model, name, group[name])]
        elif group.keys() & used.keys():
            nodes += _words(model, group, used, levels)
    # The unpacked weight takes the old name, so that no other node changes.
    nodes += [helper.make_node("Mul", [f"{name}:codes", f"{name}:scale"], [name]) for name in weights if name in used]
    for name, initializer in used.items():
        model.graph.initializer.remove(initializer)
        _add(model, weights[name].scale, f"{name}:scale")
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])


def pack(codes: NDArray[np.int16], levels: int) -> list[NDArray[np.unsignedinteger]]:
    """Pack whole numbers, whose count all of `PACKED[levels]` divide, into words: an array for each digit."""
    rest = (codes + (levels - 1) // 2).astype(np.uint32)
    arrays = []
    for digits in PACKED[levels]:
        lowest, rest = (rest % digits.base).reshape(-1, digits.count), rest // digits.base
        arrays.append((lowest * digits.base ** np.arange(digits.count)).sum(axis=1).astype(digits.word))
    return arrays


def _bytes(model: onnx.ModelProto, name: str, weight: Levels) -> Iterable[onnx.NodeProto]:
    _add(model, weight.codes.astype(np.int8), f"{name}:int8")
    yield helper.make_node("Cast", [f"{name}:int8"], [f"{name}:codes"], to=TensorProto.FLOAT)


def _words(
    model: onnx.ModelProto, group: Mapping[str, Levels], used: Collection[str], levels: int
) -> list[onnx.NodeProto]:
    """One tensor of words for all weights of a group, so that it is unpacked in a few operations for all."""
    p = f"packed{levels}"
    flat = np.concatenate([weight.codes.ravel() for weight in group.values()])
    padding = -len(flat) % math.lcm(*(digits.count for digits in PACKED[levels]))
    nodes: list[onnx.NodeProto] = []
    _add(model, np.array([-1], np.int64), f"{p}:flat")
    unit, middle = 1, (levels - 1) // 2
    for i, (digits, words) in enumerate(zip(PACKED[levels], pack(np.pad(flat, (0, padding)), levels), strict=True)):
        q = f"{p}:{i}"
        _add(model, words, q)
        nodes += _table(model, digits, unit, middle, q)
        nodes.append(helper.make_node("Cast", [q], [f"{q}:index"], to=TensorProto.INT32))
        nodes.append(helper.make_node("Gather", [f"{q}:table", f"{q}:index"], [f"{q}:rows"], axis=0))
        nodes.append(helper.make_node("Reshape", [f"{q}:rows", f"{p}:flat"], [f"{q}:values"]))
        unit, middle = unit * digits.base, 0
    values = f"{p}:0:values"
    if len(PACKED[levels]) > 1:
        nodes.append(helper.make_node("Sum", [f"{p}:{i}:values" for i in range(len(PACKED[levels]))], [f"{p}:sum"]))
        values = f"{p}:sum"
    sizes = [*(weight.codes.size for weight in group.values()), *([padding] if padding else [])]
    parts = [*(f"{name}:flat" for name in group), *([f"{p}:padding"] if padding else [])]
    _add(model, np.array(sizes, np.int64), f"{p}:sizes")
    nodes.append(helper.make_node("Split", [values, f"{p}:sizes"], parts, axis=0))
    for name in group:
        if name in used:
            _add(model, np.array(group[name].codes.shape, np.int64), f"{name}:shape")
            nodes.append(helper.make_node("Reshape", [f"{name}:flat", f"{name}:shape"], [f"{name}:codes"]))
    return nodes


def _table(model: onnx.ModelProto, digits: Digits, unit: int, middle: int, q: str) -> Iterable[onnx.NodeProto]:
    """Operators for a table (words, digits) of all words: each digit times `unit`, less `middle`."""
    numbers = {"zero": 0, "end": digits.base**digits.count, "one": 1, "half": 0.5, "part": 1 / digits.base}
    for key, value in (numbers | {"base": digits.base, "unit": unit, "middle": middle}).items():
        _add(model, np.array(value, np.float32), f"{q}:{key}")
    _add(model, np.array([1], np.int64), f"{q}:axis")
    yield helper.make_node("Range", [f"{q}:{key}" for key in ("zero", "end", "one")], [f"{q}:rest0"])
    columns = []
    for i in range(digits.count):  # a digit is what division by the base leaves over
        rest, after = f"{q}:rest{i}", f"{q}:rest{i + 1}"
        # Half is added so that a product just below a whole number cannot be rounded down.
        yield helper.make_node("Add", [rest, f"{q}:half"], [f"{q}:a{i}"])
        yield helper.make_node("Mul", [f"{q}:a{i}", f"{q}:part"], [f"{q}:b{i}"])
        yield helper.make_node("Floor", [f"{q}:b{i}"], [after])
        yield helper.make_node("Mul", [after, f"{q}:base"], [f"{q}:c{i}"])
        yield helper.make_node("Sub", [rest, f"{q}:c{i}"], [f"{q}:digit{i}"])
        yield helper.make_node("Unsqueeze", [f"{q}:digit{i}", f"{q}:axis"], [f"{q}:column{i}"])
        columns.append(f"{q}:column{i}")
    yield helper.make_node("Concat", columns, [f"{q}:digits"], axis=1)
    yield helper.make_node("Mul", [f"{q}:digits", f"{q}:unit"], [f"{q}:scaled"])
    yield helper.make_node("Sub", [f"{q}:scaled", f"{q}:middle"], [f"{q}:table"])


def _add(model: onnx.ModelProto, array: NDArray[np.generic], name: str) -> None:
    model.graph.initializer.append(numpy_helper.from_array(array, name))


def shorten(model: onnx.ModelProto) -> None:
    """Give the values inside a graph short names and its nodes none: a tenth of a small model is such text."""
    kept = {value.name for value in (*model.graph.input, *model.graph.output, *model.graph.initializer)}
    renamed: dict[str, str] = {"": ""}
    for node in model.graph.node:
        node.name = node.doc_string = ""
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name not in kept:
                    names[i] = renamed.setdefault(name, f"v{len(renamed)}")
    del model.graph.value_info[:]
