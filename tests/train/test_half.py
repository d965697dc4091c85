from __future__ import annotations

import pytest
import torch

from mobilesam.model.config import TINY, TINY_LITE, SamConfig
from mobilesam.model.sam import Sam
from mobilesam.train.half import keep_bfloat16


@pytest.mark.parametrize("config", [TINY, TINY_LITE], ids=lambda c: c.name)
def test_the_gpus_forms_compute_the_same_and_keep_the_image_stream_in_bfloat16(config: SamConfig) -> None:
    torch.manual_seed(0)
    plain = Sam(config).eval()
    kept = Sam(config).eval()
    kept.load_state_dict(plain.state_dict())
    keep_bfloat16(kept)
    seen: list[torch.dtype] = []
    kept.mask_decoder.transformer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    image = torch.rand(2, 3, 64, 64) * 255
    coords, labels = torch.tensor([[[20.0, 30.0]], [[40.0, 10.0]]]), torch.ones(2, 1)
    results = []
    for model in (plain, kept):
        with torch.autocast("cpu", torch.bfloat16):
            embedding = model.encode(image)
            results.append(model.decode(embedding, coords, labels, torch.randn(2, 1, 16, 16) * 0, torch.zeros(2)))
    assert seen == [torch.bfloat16]
    for found, expected in zip(results[1], results[0], strict=True):
        scale = expected.float().abs().max()
        assert (found.float() - expected.float()).abs().max() < 0.1 * scale


def test_every_parameter_still_learns() -> None:
    model = Sam(TINY_LITE).train()
    keep_bfloat16(model)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model.encode(torch.rand(1, 3, 64, 64) * 255)
        ones = torch.ones(1, 1)
        logits, scores = model.decode(embedding, torch.rand(1, 1, 2) * 60, ones, torch.randn(1, 1, 16, 16), ones[0])
    (logits.float().square().mean() + scores.float().square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    # A click trains the embedding of clicks alone; every other table of prompts is multiplied by zero.
    assert without == []
