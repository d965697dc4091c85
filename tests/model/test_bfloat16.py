"""Computing in bfloat16, and not doing so where the processor cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mobilesam.model.backend import TorchBackend
from mobilesam.model.bfloat16 import has_bfloat16
from mobilesam.model.config import TINY_LITE
from mobilesam.model.sam import Sam

SIDE = TINY_LITE.image_size


def encode(backend: TorchBackend) -> np.ndarray:
    return backend.encode(np.linspace(0, 255, 3 * SIDE * SIDE, dtype=np.float32).reshape(1, 3, SIDE, SIDE))


@pytest.mark.parametrize(
    ("vectors", "pays"),
    [("DEFAULT", False), ("NO AVX", False), ("AVX2", False), ("Z VECTOR", False), ("AVX512", True), ("SVE256", True)],
)
def test_bfloat16_pays_where_torch_has_long_vectors(monkeypatch: pytest.MonkeyPatch, vectors: str, pays: bool) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    assert has_bfloat16() is pays


def test_torch_computes_in_float32_where_the_processor_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch, said) -> None:
    torch.manual_seed(0)
    model = Sam(TINY_LITE)
    exact = encode(TorchBackend(model))
    monkeypatch.setattr("mobilesam.model.backend.has_bfloat16", lambda: True)
    rough = TorchBackend(model, precision="bfloat16")
    assert rough.precision == "bfloat16"
    assert 0 < np.abs(encode(rough) - exact).max() < 0.1 * np.abs(exact).max()
    assert not said.records
    monkeypatch.setattr("mobilesam.model.backend.has_bfloat16", lambda: False)
    for _ in range(2):
        instead = TorchBackend(model, precision="bfloat16")
        assert instead.precision == "float32"
        np.testing.assert_array_equal(encode(instead), exact)
    assert [record.getMessage() for record in said.records] == [
        "torch has no fast bfloat16 on this processor, so it computes in float32"
    ]
