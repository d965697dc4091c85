"""Weights of few levels in ONNX files, which every runtime unpacks once, when it loads the file.

A weight is stored as whole numbers, with a scale for each output channel. 255 levels take a byte, 63 levels 6 bits and
15 levels 4 bits, as two's complement. They are unpacked by plain operators on constants, which runtimes fold; ONNX's
own DequantizeLinear is kept by onnxruntime as a place for int8 kernels, and would be computed anew in every call.

Opening a file must not take longer than it saves in reading: as long as possible, the operators work on bytes, all
weights of a group at once. Looking up each word in a table would take ten times as long.
"""

from __future__ import annotations

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
    (r"", 63),
)
"""Pattern of a name → levels in mixed storage, the first that is found: by what each costs in masks
(benchmarks/weight_levels.py). Half of the decoder is its feed-forward layers, which hardly matter."""


BITS = {63: 6, 15: 4}
"""Levels → bits of a packed weight; levels that are not here take a byte."""
SHARED = {6: 4, 4: 2}
"""Bits → the number of weights that share whole bytes."""
CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
"""Shares of the largest weight of a channel that may become the largest level; the one of least error is taken."""

SMALLEST_SCALE = 2**-24
"""The smallest positive number of float16."""


@dataclass(frozen=True)
class Levels:
    """A weight as n levels: whole numbers from -(n - 1) / 2 to (n - 1) / 2, and a scale for each channel."""

    codes: NDArray[np.int16]
    scale: NDArray[np.float32]
    """(channels, 1, ...); a float16 number times `unit`."""
    levels: int

    @property
    def values(self) -> NDArray[np.float32]:
        """The weight as the file gives it back."""
        return self.codes.astype(np.float32) * self.scale


def plan(sam: nn.Module, precision: StoredPrecision) -> dict[str, int]:
    """Name of a weight → the number of its levels; those that stay in float16 are left out."""
    chosen = {}
    for name, weight in sam.state_dict().items():
        graph = "encoder" if name.startswith("image_encoder") else "decoder"
        is_large = weight.numel() >= few(graph, depthwise=is_depthwise(weight))
        if weight.is_floating_point() and weight.ndim >= 2 and is_large:
            chosen[name] = mixed_levels(name, weight) if precision == "mixed" else 255
    return chosen


def few(graph: str, *, depthwise: bool) -> int:
    """From which size on a weight of the "encoder" or the "decoder" is stored in whole numbers.

    The rule of `int8-weights` and `mixed`, and of the int8 of LiteRT and ExecuTorch.
    """
    if graph == "decoder":
        return SMALL
    return FEW_DEPTHWISE if depthwise else FEW


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
    best, scale = torch.full_like(largest, torch.inf), largest
    for clip in CLIPS:
        # A float16 number after division by the unit, which is what the file stores.
        tried = (largest * clip / half / unit(levels)).half().clamp(min=SMALLEST_SCALE).double() * unit(levels)
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
        if levels not in BITS:
            nodes += [node for name in group if name in used for node in _bytes(model, name, group[name])]
        elif group.keys() & used.keys():
            nodes += _words(model, group, used, levels)
    # The unpacked weight takes the old name, so that no other node changes.
    nodes += [helper.make_node("Mul", [f"{name}:codes", f"{name}:scale"], [name]) for name in weights if name in used]
    for name, initializer in used.items():
        model.graph.initializer.remove(initializer)
        _add(model, weights[name].scale / unit(weights[name].levels), f"{name}:scale")
    _put_first(model, nodes)


def store_together(model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Replace small weights of a graph by one tensor in float16, so that one Cast unpacks all: most have a few bytes.

    Args:
        model: whose initializers are named as in `weights`, and have these values already.
        weights: all of them are stored, those that the graph does not use too, so that graphs can share the bytes.
    """
    used = {initializer.name: initializer for initializer in model.graph.initializer if initializer.name in weights}
    if not used:
        return
    _add(model, np.concatenate([array.ravel() for array in weights.values()]).astype(np.float16), "halves")
    _add(model, np.array([array.size for array in weights.values()], np.int64), "halves:sizes")
    parts = {name: f"{name}:flat" if array.ndim != 1 else name for name, array in weights.items()}
    nodes = [
        helper.make_node("Cast", ["halves"], ["halves:float32"], to=TensorProto.FLOAT),
        helper.make_node("Split", ["halves:float32", "halves:sizes"], list(parts.values()), axis=0),
    ]
    for name, initializer in used.items():
        model.graph.initializer.remove(initializer)
        if parts[name] != name:
            _add(model, np.array(weights[name].shape, np.int64), f"{name}:shape")
            nodes.append(helper.make_node("Reshape", [parts[name], f"{name}:shape"], [name]))
    _put_first(model, nodes)


def unit(levels: int) -> int:
    """What one level counts in the bytes that packed weights are unpacked to: their bits stand at the top."""
    return 1 << (8 - BITS.get(levels, 8))


def pack(codes: NDArray[np.int16], levels: int) -> NDArray[np.uint8]:
    """Pack whole numbers, whose count `SHARED` divides, into bytes.

    Returns:
        6 bits: (3, N / 4), the first three quarters of the numbers at the top, and two bits each of the last quarter.
        4 bits: (N / 2,), the first half of the numbers at the top, the second half below.
    """
    bits = BITS[levels]
    rows = (codes & (2**bits - 1)).astype(np.uint8).reshape(SHARED[bits], -1)
    if bits == 4:
        return rows[0] << 4 | rows[1]
    return np.stack([rows[i] << 2 | rows[3] >> 2 * i & 3 for i in range(3)])


def _bytes(model: onnx.ModelProto, name: str, weight: Levels) -> Iterable[onnx.NodeProto]:
    _add(model, weight.codes.astype(np.int8), f"{name}:int8")
    yield helper.make_node("Cast", [f"{name}:int8"], [f"{name}:codes"], to=TensorProto.FLOAT)


def _words(
    model: onnx.ModelProto, group: Mapping[str, Levels], used: Collection[str], levels: int
) -> list[onnx.NodeProto]:
    """One tensor of bytes for all weights of a group, so that it is unpacked in a few operations for all."""
    p, bits = f"packed{levels}", BITS[levels]
    flat = np.concatenate([weight.codes.ravel() for weight in group.values()])
    padding = -len(flat) % SHARED[bits]
    _add(model, pack(np.pad(flat, (0, padding)), levels), p)
    nodes = list(_unpack(model, p, bits))
    _add(model, np.array([-1], np.int64), f"{p}:all")
    nodes.append(helper.make_node("Reshape", [f"{p}:bytes", f"{p}:all"], [f"{p}:flat"]))
    nodes.append(helper.make_node("Cast", [f"{p}:flat"], [f"{p}:int8"], to=TensorProto.INT8))  # bits as they are
    sizes = [*(weight.codes.size for weight in group.values()), *([padding] if padding else [])]
    parts = [*(f"{name}:flat" for name in group), *([f"{p}:padding"] if padding else [])]
    _add(model, np.array(sizes, np.int64), f"{p}:sizes")
    nodes.append(helper.make_node("Split", [f"{p}:int8", f"{p}:sizes"], parts, axis=0))
    for name in group:
        if name in used:
            _add(model, np.array(group[name].codes.shape, np.int64), f"{name}:shape")
            nodes.append(helper.make_node("Reshape", [f"{name}:flat", f"{name}:shape"], [f"{name}:int8"]))
            nodes.append(helper.make_node("Cast", [f"{name}:int8"], [f"{name}:codes"], to=TensorProto.FLOAT))
    return nodes


def _unpack(model: onnx.ModelProto, p: str, bits: int) -> Iterable[onnx.NodeProto]:
    """Operators from the bytes `p` to `p:bytes`, one for each number, which stands in the upper bits."""
    _add(model, np.array(2 ** (8 - bits), np.uint8), f"{p}:base")
    # By remainders: a shift to the right rounds in OpenVINO's compiled graphs, and one to the left may clip what it
    # would push out.
    yield helper.make_node("Mod", [p, f"{p}:base"], [f"{p}:rest"])
    yield helper.make_node("Sub", [p, f"{p}:rest"], [f"{p}:upper"])
    if bits == 4:
        _add(model, np.array(bits, np.uint8), f"{p}:shift")
        yield helper.make_node("BitShift", [f"{p}:rest", f"{p}:shift"], [f"{p}:lower"], direction="LEFT")
    else:  # (3, N / 4) pairs of bits → (1, N / 4) numbers
        _add(model, np.array([[4, 16, 64]], np.float32), f"{p}:places")
        yield helper.make_node("Cast", [f"{p}:rest"], [f"{p}:pairs"], to=TensorProto.FLOAT)
        yield helper.make_node("MatMul", [f"{p}:places", f"{p}:pairs"], [f"{p}:joined"])
        yield helper.make_node("Cast", [f"{p}:joined"], [f"{p}:lower"], to=TensorProto.UINT8)
    yield helper.make_node("Concat", [f"{p}:upper", f"{p}:lower"], [f"{p}:bytes"], axis=0)


def _add(model: onnx.ModelProto, array: NDArray[np.generic], name: str) -> None:
    model.graph.initializer.append(numpy_helper.from_array(array, name))


def _put_first(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])


def shorten(model: onnx.ModelProto) -> None:
    """Give weights and values inside a graph short names, and its nodes none: a tenth of a small model is such text."""
    graph = model.graph
    renamed = {name: name for name in ("", *(value.name for value in (*graph.input, *graph.output)))}
    for weight in graph.initializer:
        weight.name = renamed.setdefault(weight.name, f"w{len(renamed)}")
    for node in graph.node:
        node.name = node.doc_string = ""
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.setdefault(name, f"v{len(renamed)}")
    del graph.value_info[:]
