from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mobilesam.errors import SettingsError
from mobilesam.model import checkpoint
from mobilesam.train.learning_config import OptimConfig
from mobilesam.train.optim import Ema, Guard, build_optimizer, learning_rate, set_rate


def test_the_learning_rate_warms_up_and_decays() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=10, min_lr_ratio=0.1)
    rates = [learning_rate(step, step / 110, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0, abs=0.02)
    assert rates[55] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_norms_biases_and_tables_are_not_decayed(tiny_checkpoint: Path) -> None:
    model = checkpoint.load(tiny_checkpoint)
    decayed, free = build_optimizer(model, OptimConfig()).param_groups
    assert decayed["weight_decay"] > 0 == free["weight_decay"]
    assert min(p.ndim for p in decayed["params"]) == 2
    tables = [p for n, p in model.named_parameters() if "attention_biases" in n or n.endswith("iou_token.weight")]
    assert all(any(p is f for f in free["params"]) for p in tables)


def test_the_longest_name_that_fits_scales_the_learning_rate(tiny_checkpoint: Path) -> None:
    model = checkpoint.load(tiny_checkpoint)
    optimizer = build_optimizer(model, OptimConfig(lr_scale={"image_encoder": 0.25, "image_encoder.neck": 2.0}))
    set_rate(optimizer, 0.4)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        expected = 0.4
        if name.startswith("image_encoder."):
            expected = 0.8 if name.startswith("image_encoder.neck.") else 0.1
        assert rates[id(parameter)] == pytest.approx(expected), name


def test_a_scaled_part_that_does_not_exist_is_refused(tiny_checkpoint: Path) -> None:
    config = OptimConfig(lr_scale={"image_encoder.nek": 0.5})
    with pytest.raises(
        SettingsError, match=r"optim\.lr_scale names 'image_encoder\.nek'.*did you mean image_encoder\.neck"
    ):
        build_optimizer(checkpoint.load(tiny_checkpoint), config)


def test_a_step_whose_gradient_is_not_finite_is_left_out() -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = build_optimizer(layer, OptimConfig(lr=0.1), fused=True)
    guard = Guard(optimizer, torch.device("cpu"))
    set_rate(optimizer, 0.1)
    before = layer.weight.detach().clone()
    for bad in (True, True, False):
        layer(torch.ones(1, 2)).sum().backward()
        if bad:
            layer.weight.grad.fill_(torch.nan)
        guard.watch(torch.nn.utils.get_total_norm([p.grad for p in layer.parameters() if p.grad is not None]))
        optimizer.step()
        optimizer.zero_grad()
        assert torch.equal(layer.weight, before) == bad
        assert (guard.num_left_out() > 0) == bad


def test_ema_follows_the_weights_slowly_after_its_warm_up() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    ema = Ema(layer, decay=0.9)
    torch.nn.init.ones_(layer.weight)
    ema.update(step=0)
    assert ema.state["weight"].item() == pytest.approx(0.9)
    before = ema.state["weight"].item()
    torch.nn.init.zeros_(layer.weight)
    ema.update(step=10_000)
    assert ema.state["weight"].item() == pytest.approx(0.9 * before)
