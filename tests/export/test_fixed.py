"""The graphs of fixed shapes compute what the contract's encoder and decoder compute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from mobilesam.contract import FIXED_POINTS
from mobilesam.export.constants import fold_constants
from mobilesam.export.fixed import FixedDecoder, FixedEncoder, with_fused_norms
from mobilesam.export.verify import decoder_feed
from mobilesam.model.config import CONFIGS
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function
from tests.helpers.networks import TINY_VIT, with_positions

PROMPTS: dict[str, list[float]] = {
    "a click": [1, -1],
    "clicks": [1, 0, 1, -1],
    "five clicks": [1, 0, 1, 1, 0, -1],
    "a box": [2, 3],
    "a box and clicks": [1, 0, 0, 2, 3],
    "a mask alone": [-1],
}
"""Labels of prompts as `mobilesam.predict.prompts` makes them."""


@pytest.fixture(scope="module", params=[CONFIGS["tiny"], CONFIGS["tiny_lite"], TINY_VIT], ids=lambda one: one.name)
def sam(request: pytest.FixtureRequest) -> Sam:
    torch.manual_seed(0)
    network = with_positions(Sam(request.param))
    with torch.no_grad():  # biases of nothing, and norms that norm nothing, would hide a mistake
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor += 0.3 * torch.rand_like(tensor)
    return network


class Graphs(NamedTuple):
    """The graphs of a network, and what folding makes of them, which takes a second each."""

    encoder: FixedEncoder
    decoder: FixedDecoder
    folded_encoder: GraphModule
    folded_decoder: GraphModule


@pytest.fixture(scope="module")
def graphs(sam: Sam) -> Graphs:
    encoder, decoder = FixedEncoder(sam), FixedDecoder(sam)
    folded = [fold_constants(graph, graph.example()) for graph in (encoder, decoder)]
    return Graphs(encoder, decoder, *folded)


def padded(coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A prompt as the fixed decoder takes it: without the padding of the predictor, filled to five."""
    kept = labels[0] != -1
    count = FIXED_POINTS - int(kept.sum())
    more = torch.full((1, count, 2), 1e3)  # wherever they lie
    return torch.cat([coords[:, kept], more], 1), torch.cat([labels[:, kept], -torch.ones(1, count)], 1)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("has_prior", [0.0, 1.0])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_of_any_length_gets_the_masks_of_the_plain_decoder(
    sam: Sam, graphs: Graphs, prompt: str, has_prior: float, folded: bool
) -> None:
    module = graphs.folded_decoder if folded else graphs.decoder
    labels = torch.tensor([PROMPTS[prompt]])
    feed = decoder_feed(sam, 1, labels.shape[1], has_prior)
    embedding, coords, _, mask, flag = (torch.from_numpy(array) for array in feed.values())
    with torch.inference_mode():
        expected = sam.decode(embedding, coords, labels, mask, flag)
        found = module(embedding, *padded(coords, labels), mask, flag)
    for left, right in zip(found, expected, strict=True):
        assert_same_function(left, right)


def test_pixels_outside_of_the_photo_are_ignored(sam: Sam, graphs: Graphs) -> None:
    side = sam.config.image_size
    rng = np.random.default_rng(0)
    for module in (graphs.encoder, graphs.folded_encoder):
        for h, w in ((side, side), (side * 3 // 4, side), (side, 7)):
            square = torch.from_numpy(rng.uniform(0, 255, (1, 3, side, side)).astype(np.float32))
            with torch.inference_mode():
                expected = sam.encode(square[..., :h, :w])
                found = module(square, torch.tensor([h, w], dtype=torch.float32))
            assert_same_function(found, expected)


def test_what_depends_on_weights_alone_is_computed_before(graphs: Graphs) -> None:
    """No convolution's or product's weight is computed, no bias gathered: runtimes would do it at every inference."""
    for folded in (graphs.folded_encoder, graphs.folded_decoder):
        nodes = [node for node in folded.graph.nodes if node.op == "call_function"]
        assert all(node.all_input_nodes for node in nodes)
        for node in nodes:
            assert any(source.op != "get_attr" for source in node.all_input_nodes), node.format_node()
        assert not [n for n in nodes if "index" in str(n.target) or "batch_norm" in str(n.target)]
        used = {str(node.target) for node in folded.graph.nodes if node.op == "get_attr"}
        assert {name for name, _ in [*folded.named_parameters(), *folded.named_buffers()]} == used


def test_no_array_has_more_than_five_dimensions(graphs: Graphs) -> None:
    for folded in (graphs.folded_encoder, graphs.folded_decoder):
        ranks = [node.meta["val"].ndim for node in folded.graph.nodes if hasattr(node.meta.get("val"), "ndim")]
        assert max(ranks) <= 5


def test_layer_norms_of_a_float16_graph_compute_in_float32(sam: Sam) -> None:
    """ExecuTorch adds up their squares in the type they get; those of the embedded model's 256 channels overflowed."""
    for build in (FixedEncoder, FixedDecoder):
        graph = build(sam, torch.float16).eval()
        folded = fold_constants(graph, graph.example())
        norms = [node for node in folded.graph.nodes if "layer_norm" in str(node.target)]
        assert len(norms) >= 2
        assert {node.args[0].meta["val"].dtype for node in norms} == {torch.float32}
        others = [node.meta["val"].dtype for node in folded.graph.nodes if "conv" in str(node.target)]
        assert set(others) == {torch.float16}


def test_the_network_itself_stays_as_it_is(sam: Sam) -> None:
    before = {key: value.clone() for key, value in sam.state_dict().items()}
    with_fused_norms(sam)
    for graph in (FixedEncoder(sam), FixedDecoder(sam)):
        fold_constants(graph, graph.example())
    assert sam.image_encoder is not None
    assert all(torch.equal(value, before[key]) for key, value in sam.state_dict().items())
    assert sam.state_dict().keys() == before.keys()
