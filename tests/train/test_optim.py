from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mobilesam.model import checkpoint
from mobilesam.train.config import OptimConfig
from mobilesam.train.optim import Ema, build_optimizer, learning_rate


def test_the_learning_rate_warms_up_and_decays() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=10, min_lr_ratio=0.1)
    rates = [learning_rate(step, 110, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[60] == pytest.approx(0.55, abs=0.01)
    assert rates[110] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_norms_biases_and_tables_are_not_decayed(tiny_checkpoint: Path) -> None:
    model = checkpoint.load(tiny_checkpoint)
    decayed, free = build_optimizer(model, OptimConfig()).param_groups
    assert decayed["weight_decay"] > 0 == free["weight_decay"]
    assert min(p.ndim for p in decayed["params"]) == 2
    tables = [p for n, p in model.named_parameters() if "attention_biases" in n or n.endswith("iou_token.weight")]
    assert all(any(p is f for f in free["params"]) for p in tables)


def test_ema_follows_the_weights_slowly_after_its_warm_up() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    ema = Ema(layer, decay=0.9)
    torch.nn.init.ones_(layer.weight)
    ema.update(layer, step=0)
    assert ema.state["weight"].item() == pytest.approx(0.9)
    before = ema.state["weight"].item()
    torch.nn.init.zeros_(layer.weight)
    ema.update(layer, step=10_000)
    assert ema.state["weight"].item() == pytest.approx(0.9 * before)
