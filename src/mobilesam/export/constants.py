"""Computation of what depends on weights alone, once and before an export.

Runtimes compute such steps again at every inference, and a convolution whose weight is computed is not left to their
fast kernels. Here those steps are: batch norms folded into weights, attention biases gathered by offset, products
split by head, position codes of the grid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn


def fold_constants(module: nn.Module, inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    """Trace a module for inputs of these shapes; steps that do not depend on the inputs are replaced by their results.

    Args:
        module: in eval mode.
        inputs: an example.

    Returns:
        A module with the same function, for inputs of these shapes.
    """
    with torch.no_grad():
        traced = torch.export.export(module, inputs).module(check_guards=False)
        assert isinstance(traced, fx.GraphModule)
        values = known_values(traced)
        for node, value in values.items():
            needed = [user for user in node.users if user not in values]
            if needed and node.op == "call_function":
                store(traced, node, value, len(list(traced.buffers())))
        for node in reversed(values):  # also checks of a tensor's type, which count as effects
            if not node.users and node.op == "call_function":
                traced.graph.erase_node(node)
        traced.graph.eliminate_dead_code()
        traced.delete_all_unused_submodules()
        remove_unused(traced)
        # A new module of the graph: the exporter's own refuses `eval()`, which converters call.
        return fx.GraphModule(traced, traced.graph).eval()


def known_values(traced: fx.GraphModule) -> dict[fx.Node, Any]:
    """The values of all nodes that do not depend on an input, in the graph's order."""
    values: dict[fx.Node, Any] = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            values[node] = attribute(traced, str(node.target))
        elif node.op == "call_function" and all(source in values for source in node.all_input_nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    return values


def store(traced: fx.GraphModule, node: fx.Node, value: Tensor, number: int) -> None:
    """Let a buffer stand for a node."""
    name = f"constant_{number}"
    traced.register_buffer(name, value.detach().clone().contiguous())
    with traced.graph.inserting_before(node):
        node.replace_all_uses_with(traced.graph.get_attr(name))


def attribute(module: nn.Module, path: str) -> Any:
    """An attribute by its dotted path."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def remove_unused(traced: fx.GraphModule) -> None:
    """Remove weights that no node reads any more, so that they take no room in a file."""
    used = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    for owner, module in traced.named_modules():
        for table in (module._parameters, module._buffers):
            for name in list(table):
                if f"{owner}.{name}".lstrip(".") not in used:
                    del table[name]
