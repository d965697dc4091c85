"""Biases that take off the mean shift of rounded weights."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilesam.export.agreement import example_photos
from mobilesam.export.bias_correction import correct_biases, input_means, watching
from mobilesam.export.folding import fold_norms
from mobilesam.export.small_weights import quantise
from mobilesam.model import checkpoint


@pytest.mark.parametrize(
    "layer", [nn.Linear(5, 3), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 1, groups=6), nn.Conv2d(6, 4, 1, groups=2)]
)
def test_the_mean_output_of_a_rounded_layer_is_that_before(layer: nn.Linear | nn.Conv2d) -> None:
    generator = torch.Generator().manual_seed(0)
    is_linear = isinstance(layer, nn.Linear)
    channels = layer.in_features if is_linear else layer.in_channels
    x = torch.rand((7, channels) if is_linear else (2, channels, 5, 5), generator=generator)
    network = nn.Sequential(layer)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dims = (0,) if is_linear else (0, 2, 3)
    sums: dict[str, tuple[torch.Tensor, int]] = {}
    with torch.no_grad(), watching(network, sums):
        expected = network(x).mean(dims)
        layer.weight.copy_((layer.weight * 4).round() / 4)
        shifted = network(x).mean(dims)
        correct_biases(network, before, {name: (total / count).float() for name, (total, count) in sums.items()})
        found = network(x).mean(dims)
    assert (shifted - expected).abs().max() > 0.01
    assert (found - expected).abs().max() < 2e-3, "the bias is rounded to float16"


def test_the_embedding_of_a_coarsely_rounded_network_is_nearer(tiny_lite_checkpoint: Path) -> None:
    sam = checkpoint.load(tiny_lite_checkpoint)
    fold_norms(sam.image_encoder)
    before = copy.deepcopy(sam.state_dict())
    means = input_means(sam, example_photos()[:1])
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        expected = sam.encode(image)
    large = {name: 15 for name, value in before.items() if value.ndim == 4 and name.startswith("image_encoder.stages")}
    quantise(sam, large)
    with torch.inference_mode():
        rounded = (sam.encode(image) - expected).square().mean()
        correct_biases(sam, before, means)
        corrected = (sam.encode(image) - expected).square().mean()
    assert corrected < 0.9 * rounded
