from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from mobilesam.model.config import TINY, TINY_LITE, SamConfig
from mobilesam.model.layers import binomial
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function
from tests.helpers.networks import TINY_VIT


@pytest.fixture(params=[TINY, TINY_VIT, TINY_LITE], ids=["tinyvit", "vit", "lite"])
def config(request: pytest.FixtureRequest) -> SamConfig:
    return request.param


@pytest.fixture
def model(config: SamConfig) -> Sam:
    torch.manual_seed(0)
    return Sam(config).eval()


def decode(
    model: Sam, embedding: torch.Tensor, num_prompts: int, prior_shift: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    h, w = embedding.shape[-2:]
    coords = torch.linspace(1, 60, num_prompts * 4).reshape(num_prompts, 2, 2)
    labels = torch.tensor([[1.0, -1.0]]).expand(num_prompts, -1)
    prior = torch.linspace(-3, 3, 16 * h * w).reshape(1, 1, 4 * h, 4 * w).expand(num_prompts, -1, -1, -1)
    return model.decode(embedding, coords, labels, prior + prior_shift, torch.ones(num_prompts))


def test_every_parameter_gets_a_gradient(model: Sam) -> None:
    model.train()
    embedding = model.encode(torch.rand(2, 3, 48, 64) * 255)
    coords = torch.rand(2, 5, 2) * 64
    labels = torch.tensor([[1.0, 0.0, -1.0, 2.0, 3.0]]).expand(2, -1)
    # One prompt with a rough mask and one without, so that both branches are used.
    low_res, scores = model.decode(embedding, coords, labels, torch.randn(2, 1, 16, 16), torch.tensor([0.0, 1.0]))
    (low_res.square().mean() + scores.square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@torch.inference_mode()
def test_a_batch_equals_its_photos_one_by_one(model: Sam) -> None:
    images = torch.rand(3, 3, 64, 40) * 255
    together = model.encode(images)
    assert together.shape == (3, 32, 4, 4)
    for i in range(3):
        assert_same_function(together[i : i + 1], model.encode(images[i : i + 1]))


@torch.inference_mode()
def test_many_prompts_equal_single_ones(model: Sam) -> None:
    embedding = model.encode(torch.rand(1, 3, 64, 64) * 255)
    low_res, scores = decode(model, embedding, 3)
    assert low_res.shape == (3, 4, 16, 16)
    assert scores.shape == (3, 4)
    coords = torch.linspace(1, 60, 12).reshape(3, 2, 2)[2:]
    prior = torch.linspace(-3, 3, 256).reshape(1, 1, 16, 16)
    single, _ = model.decode(embedding, coords, torch.tensor([[1.0, -1.0]]), prior, torch.ones(1))
    assert_same_function(single, low_res[2:])


@torch.inference_mode()
def test_a_photo_per_prompt_equals_a_shared_photo(model: Sam) -> None:
    embeddings = model.encode(torch.rand(2, 3, 64, 64) * 255)
    both, _ = decode(model, embeddings, 2)
    coords = torch.linspace(1, 60, 8).reshape(2, 2, 2)
    prior = torch.linspace(-3, 3, 256).reshape(1, 1, 16, 16)
    second, _ = model.decode(embeddings[1:], coords[1:], torch.tensor([[1.0, -1.0]]), prior, torch.ones(1))
    assert_same_function(second, both[1:])


@torch.inference_mode()
@pytest.mark.parametrize("config", [TINY, TINY_VIT], ids=["tinyvit", "vit"])
@pytest.mark.parametrize("hw", [(16, 16), (48, 80), (96, 32), (112, 112)])
def test_an_attention_encoder_takes_any_multiple_of_sixteen(model: Sam, hw: tuple[int, int]) -> None:
    embedding = model.image_encoder(torch.rand(1, 3, *hw))
    assert embedding.shape == (1, 32, hw[0] // 16, hw[1] // 16)
    low_res, _ = decode(model, embedding, 2)
    assert low_res.shape == (2, 4, hw[0] // 4, hw[1] // 4)


@torch.inference_mode()
@pytest.mark.parametrize("config", [TINY, TINY_VIT], ids=["tinyvit", "vit"])
@pytest.mark.parametrize("size", [32, 80, 128])
def test_such_a_model_can_be_built_at_any_multiple_of_sixteen(config: SamConfig, size: int) -> None:
    model = Sam(replace(config, image_size=size)).eval()
    assert model.encode(torch.rand(1, 3, size, size // 2) * 255).shape == (1, 32, size // 16, size // 16)


@pytest.mark.parametrize("size", [0, 16, 100, 1023])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        replace(TINY, image_size=size)


def test_smoothing_is_the_binomial_kernel() -> None:
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 16
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    torch.testing.assert_close(binomial(point)[0, 0, 1:4, 1:4], expected)
    assert binomial(point).sum() == 16


def test_the_shift_is_added_to_every_logit_and_taken_off_masks_that_come_back() -> None:
    torch.manual_seed(0)
    plain, shifted = (Sam(replace(TINY_LITE, logit_shift=shift)).eval() for shift in (0.0, 0.75))
    shifted.load_state_dict(plain.state_dict())
    embedding = torch.randn(1, TINY.embed_dim, TINY.grid, TINY.grid)
    with torch.no_grad():
        masks, scores = decode(plain, embedding, 2)
        moved, same = decode(shifted, embedding, 2, prior_shift=0.75)
        _, other = decode(shifted, embedding, 2)
    assert_same_function(moved, masks + 0.75)
    assert_same_function(same, scores)
    assert not torch.equal(other, scores)


def test_smooth_masks_are_the_masks_smoothed_and_scores_stay() -> None:
    torch.manual_seed(0)
    plain, smooth = Sam(TINY).eval(), Sam(replace(TINY, smooth_masks=True)).eval()
    smooth.load_state_dict(plain.state_dict())
    embedding = torch.randn(1, 32, 4, 4)
    with torch.inference_mode():
        (masks, scores), (smoothed, same) = (decode(model, embedding, 2) for model in (plain, smooth))
    assert_same_function(smoothed, binomial(masks))
    assert_same_function(same, scores)


def test_padding_is_the_mean_colour(model: Sam) -> None:
    padded = model.preprocess(torch.full((1, 3, 32, 64), 255.0))
    assert padded.shape == (1, 3, 64, 64)
    assert (padded[:, :, 32:] == 0).all()
    assert (padded[:, :, :32] > 2).all()


def test_an_image_larger_than_the_network_is_refused(model: Sam) -> None:
    with pytest.raises(ValueError, match=r"\(64, 80\) exceeds 64"):
        model.encode(torch.zeros(1, 3, 64, 80))


@torch.inference_mode()
def test_a_rough_mask_counts_only_where_its_flag_is_set(model: Sam) -> None:
    embedding = model.encode(torch.rand(1, 3, 64, 64) * 255)
    coords, labels = torch.full((2, 2, 2), 30.0), torch.tensor([[1.0, -1.0]] * 2)
    prior = torch.randn(1, 1, 16, 16).repeat(2, 1, 1, 1) * 5
    low_res, _ = model.decode(embedding, coords, labels, prior, torch.tensor([0.0, 1.0]))
    without, _ = model.decode(embedding, coords, labels, torch.zeros_like(prior), torch.zeros(2))
    torch.testing.assert_close(low_res[0], without[0])
    assert (low_res[1] - without[1]).abs().max() > 1e-3


class TestAttentionBiases:
    """The reference caches gathered biases in .eval(); weights loaded afterwards are then silently ignored."""

    @torch.inference_mode()
    def test_weights_loaded_after_eval_count(self) -> None:
        image = torch.rand(1, 3, 64, 64) * 255
        torch.manual_seed(1)
        source = Sam(TINY).eval()
        for name, parameter in source.named_parameters():
            if name.endswith("attention_biases"):
                parameter.normal_(0, 2)
        expected = source.encode(image)
        late = Sam(TINY).eval()  # eval first, weights second: the trap
        late.encode(image)
        late.load_state_dict(source.state_dict())
        torch.testing.assert_close(late.encode(image), expected)

    @torch.inference_mode()
    def test_they_change_the_answer_at_once(self) -> None:
        torch.manual_seed(1)
        model = Sam(TINY).eval()
        image = torch.rand(1, 3, 64, 64) * 255
        before = model.encode(image)
        changed = copy.deepcopy(model)
        for name, parameter in changed.named_parameters():
            if name.endswith("attention_biases"):
                parameter.normal_(0, 3)
        assert (changed.encode(image) - before).abs().max() > 1e-3


def test_autocast_leaves_the_place_of_a_prompt_as_exact_as_it_is(model: Sam) -> None:
    coords = torch.tensor([[[20.3, 41.7], [20.4, 41.7]]])
    labels = torch.ones(1, 2)
    exact = model.prompt_encoder.embed_points(coords, labels, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        found = model.prompt_encoder.embed_points(coords, labels, (64, 64))
    torch.testing.assert_close(found.float(), exact, atol=1e-4, rtol=0)
