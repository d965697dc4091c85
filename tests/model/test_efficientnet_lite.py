from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mobilesam.errors import SettingsError
from mobilesam.model.config import CONFIGS, EFFICIENTNET_LITE, EMBEDDED, MOBILE_SAM, TINY_LITE
from mobilesam.model.efficientnet_lite import NORM_EPS, ConvNorm, EfficientNetLite, FastDepthwise
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Batch statistics that matter."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, ConvNorm):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.normal_(layer.bias)
    return module


def test_sizes_are_the_published_ones() -> None:
    millions = {
        name: sum(p.numel() for p in EfficientNetLite(c, 256).parameters()) for name, c in EFFICIENTNET_LITE.items()
    }
    assert {name: round(count / 1e6, 2) for name, count in millions.items()} == {
        "lite0": 3.75,
        "lite1": 4.52,
        "lite2": 5.18,
    }


@pytest.mark.parametrize("side", [32, 64, 96, 256])
def test_any_multiple_of_32_gives_a_cell_per_16_pixels(side: int) -> None:
    encoder = EfficientNetLite(TINY_LITE.encoder, 32).eval()
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, 32, side // 16, side // 16)


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 2, 1), (1, 1, 1), (5, 2, 8)])
def test_a_folded_convolution_is_the_convolution_and_its_batch_norm(kernel: int, stride: int, groups: int) -> None:
    layer = randomised(ConvNorm(8, 8, kernel, stride, groups)).eval()
    x = torch.randn(2, 8, 12, 12)
    expected = F.batch_norm(
        layer.conv(x),  # type: ignore[operator]
        layer.running_mean,
        layer.running_var,
        layer.weight,
        layer.bias,
        eps=NORM_EPS,
    )
    assert_same_function(layer(x).detach(), expected.detach())


def test_batch_statistics_stay_as_they_are_in_training() -> None:
    encoder = randomised(EfficientNetLite(TINY_LITE.encoder, 32)).train()
    before = {key: value.clone() for key, value in encoder.named_buffers()}
    encoder(torch.rand(2, 3, 64, 64)).sum().backward()
    assert before
    assert all(torch.equal(before[key], value) for key, value in encoder.named_buffers())


@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_a_bfloat16_depthwise_convolution_is_the_float32_one(stride: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 6, 10, 10).bfloat16(), torch.randn(6, 1, 3, 3), torch.randn(6)
    grads = []
    for fast in (True, False):
        leaves = [t.clone().float().requires_grad_() for t in (x, weight, bias)]
        if fast:
            y = FastDepthwise.apply(leaves[0].bfloat16(), leaves[1], leaves[2], stride).float()
        else:
            y = F.conv2d(*leaves, stride, 1, 1, 6)  # type: ignore[call-overload]
        (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape).bfloat16().float()).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for fast_grad, grad in zip(*grads, strict=True):
        assert (fast_grad - grad).abs().max() <= 2**-7 * grad.abs().max()  # x and the gradient are rounded to bfloat16


def test_a_model_is_offered_at_the_sides_its_encoder_takes() -> None:
    assert EMBEDDED.at(384).image_size == 384
    assert list(EMBEDDED.sides)[:2] == [256, 288]
    assert EMBEDDED.sides[-1] == 1024
    with pytest.raises(SettingsError, match="from 256 to 1024 in steps of 32, not 400"):
        EMBEDDED.at(400)
    with pytest.raises(SettingsError, match=r"mobile_sam works at 1024 px only, because its encoder has attention"):
        MOBILE_SAM.at(512)
    assert MOBILE_SAM.at(1024) == MOBILE_SAM
    with pytest.raises(ValueError, match="multiple of 32"):
        replace(TINY_LITE, image_size=48)


def test_a_photo_is_encoded_at_another_side_than_the_models_own() -> None:
    torch.manual_seed(0)
    sam = Sam(TINY_LITE).eval()
    image = torch.rand(1, 3, 50, 96) * 255
    with torch.inference_mode():
        assert sam.encode(image, 96).shape == (1, 32, 6, 6)
        with pytest.raises(ValueError, match="exceeds 64"):
            sam.encode(image)


def test_every_configuration_survives_its_own_data() -> None:
    for config in CONFIGS.values():
        assert type(config).from_dict(config.to_dict()) == config
