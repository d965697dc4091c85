from __future__ import annotations

import pytest
import torch

from mobilesam.export import folded
from mobilesam.export.verify import decoder_feed
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function
from tests.helpers.networks import build


@pytest.fixture(scope="module")
def published() -> Sam:
    """MobileSAM's size with stand-in weights, whose attention is sharp and whose biases are not zero."""
    return build("t")


@pytest.fixture(scope="module")
def exact() -> Sam:
    """The same in float64, where the order of a sum does not show."""
    return build("t").double()


@pytest.mark.parametrize(
    ("num_prompts", "num_points", "has_prior"), [(1, 2, 0.0), (3, 2, 0.0), (2, 5, 1.0), (1, 22, 1.0)]
)
def test_the_folded_decoder_computes_the_plain_one(
    published: Sam, num_prompts: int, num_points: int, has_prior: float
) -> None:
    inputs = [torch.from_numpy(a) for a in decoder_feed(published, num_prompts, num_points, has_prior).values()]
    with torch.inference_mode():
        plain, reordered = published.decode(*inputs), folded.decode(published, *inputs)
    for a, b in zip(plain, reordered, strict=True):
        assert_same_function(b, a)


def test_the_folded_decoder_is_the_plain_one_exactly(exact: Sam) -> None:
    inputs = [torch.from_numpy(a).double() for a in decoder_feed(exact, 2, 5, 1.0).values()]
    with torch.inference_mode():
        plain, reordered = exact.decode(*inputs), folded.decode(exact, *inputs)
    for a, b in zip(plain, reordered, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9)


def test_one_mask_input_serves_all_prompts_in_both_forms() -> None:
    torch.manual_seed(0)
    sam = Sam(TINY).eval()
    embedding, coords, labels, masks, flags = (torch.from_numpy(a) for a in decoder_feed(sam, 3, 2, 1.0).values())
    masks, flags = masks[:1], flags[:1]
    with torch.inference_mode():
        for decode in (sam.decode, lambda *a: folded.decode(sam, *a)):
            shared = decode(embedding, coords, labels, masks, flags)
            each = decode(embedding, coords, labels, masks.expand(3, -1, -1, -1), flags.expand(3))
            for a, b in zip(shared, each, strict=True):
                assert_same_function(a, b)


def test_masks_are_made_only_for_prompts_that_are_sure_enough(published: Sam) -> None:
    inputs = [torch.from_numpy(a) for a in decoder_feed(published, 6, 2, 0.0).values()]
    with torch.inference_mode():
        masks, scores = folded.decode(published, *inputs)
        best = scores.amax(dim=1)
        threshold = best.sort().values[3:5].mean()  # between two scores, so that rounding decides nothing
        some, same_scores = folded.decode(published, *inputs, threshold)  # type: ignore[call-arg]
    assert_same_function(same_scores, scores)
    assert_same_function(some, masks[best > threshold])
    assert len(some) == 2
