"""Weights of few levels in ONNX files, which every runtime unpacks once, when it loads the file.

A weight is stored as whole numbers, with a scale for each output channel. 255 levels take a byte; with 39 levels three
weights share 16 bits (39³ < 2¹⁶), with 15 levels two share a byte. They are unpacked by
plain operators on constants (Cast, Mul, Floor), which runtimes fold; ONNX's own DequantizeLinear is kept by onnxruntime
as a place for int8 kernels, and would be computed anew in every call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
LARGE = 100_000
"""Matrices of an encoder from this number of elements on take 39 levels in mixed storage."""
WORDS: dict[int, tuple[int, type[np.unsignedinteger]]] = {39: (3, np.uint16), 15: (2, np.uint8)}
"""Levels → how many weights share a word, and its type."""
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
    """Name of a weight → the number of its levels; those that stay in float16 are left out.

    In mixed storage the encoder keeps more levels than the decoder, whose masks hardly move.
    """
    chosen = {}
    for name, weight in sam.state_dict().items():
        if not weight.is_floating_point() or weight.ndim < 2 or weight.numel() < SMALL:
            continue
        is_depthwise = weight.ndim == 4 and weight.shape[1] == 1
        if precision != "mixed" or (name.startswith("image_encoder") and (is_depthwise or weight.numel() < LARGE)):
            chosen[name] = 255
        else:
            is_mlp = name.startswith("mask_decoder") and ".mlp." in name
            chosen[name] = 15 if is_mlp else 39
    return chosen


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
        if levels not in WORDS:
            nodes += [node for name in group if name in used for node in _bytes(model, used[name], group[name])]
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


def pack(codes: NDArray[np.int16], levels: int) -> NDArray[np.unsignedinteger]:
    """Pack whole numbers several to a word: word i holds those at i, i + n, i + 2n, where n is the number of words."""
    count, kind = WORDS[levels]
    digits = np.pad(codes + (levels - 1) // 2, (0, -len(codes) % count)).reshape(count, -1).astype(np.uint32)
    return np.asarray(sum(row * levels**i for i, row in enumerate(digits)), kind)


def _bytes(model: onnx.ModelProto, initializer: TensorProto, weight: Levels) -> Iterable[onnx.NodeProto]:
    name = initializer.name
    _add(model, weight.codes.astype(np.int8), f"{name}:int8")
    yield helper.make_node("Cast", [f"{name}:int8"], [f"{name}:codes"], to=TensorProto.FLOAT)


def _words(
    model: onnx.ModelProto, group: Mapping[str, Levels], used: Mapping[str, TensorProto], levels: int
) -> list[onnx.NodeProto]:
    """One tensor of words for all weights of a group, so that it is unpacked in a dozen operations for all."""
    p = f"packed{levels}"
    flat = np.concatenate([weight.codes.ravel() for weight in group.values()])
    words = pack(flat, levels)
    count, _ = WORDS[levels]
    _add(model, words, p)
    for key, value in (("half", 0.5), ("part", 1 / levels), ("levels", levels), ("middle", (levels - 1) // 2)):
        _add(model, np.array(value, np.float32), f"{p}:{key}")
    nodes = [helper.make_node("Cast", [p], [f"{p}:rest0"], to=TensorProto.FLOAT)]
    for i in range(count - 1):  # the lowest digit is what division leaves over
        rest, after = f"{p}:rest{i}", f"{p}:rest{i + 1}"
        nodes += [
            # Half is added so that a product just below a whole number cannot be rounded down.
            helper.make_node("Add", [rest, f"{p}:half"], [f"{p}:a{i}"]),
            helper.make_node("Mul", [f"{p}:a{i}", f"{p}:part"], [f"{p}:b{i}"]),
            helper.make_node("Floor", [f"{p}:b{i}"], [after]),
            helper.make_node("Mul", [after, f"{p}:levels"], [f"{p}:c{i}"]),
            helper.make_node("Sub", [rest, f"{p}:c{i}"], [f"{p}:digit{i}"]),
        ]
    digits = [*(f"{p}:digit{i}" for i in range(count - 1)), f"{p}:rest{count - 1}"]
    nodes.append(helper.make_node("Concat", digits, [f"{p}:all"], axis=0))
    nodes.append(helper.make_node("Sub", [f"{p}:all", f"{p}:middle"], [f"{p}:centred"]))
    sizes = [weight.codes.size for weight in group.values()]
    parts = [f"{name}:flat" for name in group]
    if padding := -len(flat) % count:
        sizes, parts = [*sizes, padding], [*parts, f"{p}:padding"]
    _add(model, np.array(sizes, np.int64), f"{p}:sizes")
    nodes.append(helper.make_node("Split", [f"{p}:centred", f"{p}:sizes"], parts, axis=0))
    for name in group:
        if name in used:
            _add(model, np.array(group[name].codes.shape, np.int64), f"{name}:shape")
            nodes.append(helper.make_node("Reshape", [f"{name}:flat", f"{name}:shape"], [f"{name}:codes"]))
    return nodes


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
