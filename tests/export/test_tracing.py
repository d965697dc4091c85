"""Traced graphs: what is kept once, and which weights are stored in float16."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobilesam.export import tracing


def test_equal_constants_are_kept_once() -> None:
    values = [numpy_helper.from_array(np.array([value], np.float32)) for value in (1, 1, 2, 1)]
    constants = [helper.make_node("Constant", [], [f"c{i}"], value=value) for i, value in enumerate(values)]
    model = model_of([*constants, helper.make_node("Sum", ["x", "c0", "c1", "c2", "c3"], ["y"])])
    tracing.share_constants(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Constant", "Constant", "Sum"]
    assert ort.InferenceSession(model.SerializeToString()).run(None, {"x": np.zeros(1, np.float32)})[0] == 5


def test_a_constant_that_is_an_output_stays() -> None:
    one = numpy_helper.from_array(np.ones(1, np.float32))
    constants = [helper.make_node("Constant", [], [name], value=one) for name in ("c", "y")]
    model = model_of([*constants, helper.make_node("Add", ["x", "c"], ["z"])])
    tracing.share_constants(model)
    onnx.checker.check_model(model)
    assert [node.output[0] for node in model.graph.node] == ["c", "y", "z"]


@pytest.mark.parametrize(("smallest", "casts"), [(0, 2), (8, 1), (9, 0)])
def test_only_large_weights_are_halved(smallest: int, casts: int) -> None:
    weights = [numpy_helper.from_array(np.ones(n, np.float32), name) for n, name in ((1, "a"), (8, "b"))]
    model = model_of([helper.make_node("Sum", ["x", "a", "b"], ["y"])])
    model.graph.initializer.extend(weights)
    tracing.store_as_fp16(model, smallest=smallest)
    assert sum(node.op_type == "Cast" for node in model.graph.node) == casts
    halves = [weight.name for weight in model.graph.initializer if weight.data_type == TensorProto.FLOAT16]
    assert halves == ["a", "b"][2 - casts :]


def model_of(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A graph from `x` to `y`."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
