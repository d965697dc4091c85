"""Networks of the official sizes with made-up weights."""

from __future__ import annotations

import numpy as np
import torch

from mobilesam.model.detect import detect_config
from mobilesam.model.sam import Sam
from tests.helpers.standin import fill, spec


def build(kind: str) -> Sam:
    state = {key: torch.from_numpy(np.asarray(array)) for key, array in fill(spec(kind)).items()}
    model = Sam(detect_config(state))
    model.load_state_dict(state, strict=True)
    return model.eval()
