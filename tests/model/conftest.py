from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam


@pytest.fixture
def model() -> Sam:
    """A small network with random weights."""
    torch.manual_seed(0)
    return Sam(replace(TINY, image_size=96)).eval()
