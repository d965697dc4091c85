from __future__ import annotations

import pytest
import torch

from mobilesam.export import low_rank
from mobilesam.export.verify import decoder_feed
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function
from tests.helpers.networks import build

EVERYONE = torch.tensor(-torch.inf)


@pytest.fixture(scope="module")
def published() -> Sam:
    """MobileSAM's size with stand-in weights, whose attention is sharp and whose biases are not zero."""
    return build("t")


@pytest.fixture(scope="module")
def exact() -> Sam:
    """The same in float64, where the order of a sum does not show."""
    return build("t").double()


@pytest.mark.parametrize(("num_prompts", "num_points"), [(1, 2), (5, 2), (3, 7)])
def test_the_low_rank_decoder_computes_the_plain_one(published: Sam, num_prompts: int, num_points: int) -> None:
    inputs = [torch.from_numpy(a) for a in decoder_feed(published, num_prompts, num_points, 0.0).values()]
    with torch.inference_mode():
        plain, low = published.decode(*inputs), low_rank.decode(published, *inputs[:3], EVERYONE)  # type: ignore[call-arg]
    for a, b in zip(plain, low, strict=True):
        assert_same_function(b, a)


def test_the_low_rank_decoder_is_the_plain_one_exactly(exact: Sam) -> None:
    inputs = [torch.from_numpy(a).double() for a in decoder_feed(exact, 3, 4, 0.0).values()]
    with torch.inference_mode():
        plain, low = exact.decode(*inputs), low_rank.decode(exact, *inputs[:3], EVERYONE.double())  # type: ignore[call-arg]
    for a, b in zip(plain, low, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9)


def test_masks_are_made_only_for_prompts_that_are_sure_enough(published: Sam) -> None:
    inputs = [torch.from_numpy(a) for a in decoder_feed(published, 6, 2, 0.0).values()][:3]
    with torch.inference_mode():
        masks, scores = low_rank.decode(published, *inputs, EVERYONE)  # type: ignore[call-arg]
        best = scores.amax(dim=1)
        threshold = best.sort().values[3:5].mean()  # between two scores, so that rounding decides nothing
        some, same_scores = low_rank.decode(published, *inputs, threshold)  # type: ignore[call-arg]
        none, _ = low_rank.decode(published, *inputs, -EVERYONE)  # type: ignore[call-arg]
    assert_same_function(same_scores, scores)
    assert_same_function(some, masks[best > threshold])
    assert len(some) == 2
    assert none.shape == (0, *masks.shape[1:])


def test_a_layer_norm_of_cells_that_are_never_built(published: Sam) -> None:
    torch.manual_seed(0)
    n, h, t, d, k, c = 2, 8, 3, 17, 11, 256
    values, basis = torch.randn(n, h, t, d), torch.randn(h, d, c)
    written = low_rank.Written(torch.rand(n, h * t, k), (values @ basis).flatten(1, 2), values, basis)
    cells = low_rank.Cells(torch.randn(k, c), torch.rand(n, 1, k) + 0.5, (written,), torch.zeros(c))
    norm = published.mask_decoder.transformer.layers[0].norm4
    with torch.inference_mode():
        expected = norm(low_rank.times(cells, torch.eye(c), torch.zeros(c)))  # type: ignore[operator]
        found = low_rank.times(low_rank.normalise(norm, cells), torch.eye(c), torch.zeros(c))
    assert_same_function(found, expected)
