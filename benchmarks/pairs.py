"""What the benchmarks run on: the embedded model, or MobileSAM's size with the stand-in weights of the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def make_pair(model: str, folder: Path) -> None:
    """The model under test as an exported pair, which is a checkpoint too."""
    sys.path.insert(0, str(ROOT / "tests"))
    import torch

    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint
    from mobilesam.model.checkpoint import detect_config
    from mobilesam.model.sam import Sam
    from mobilesam.weights import find_checkpoint
    from standin import fill, spec  # type: ignore[import-not-found]

    if model == "embedded":
        sam = checkpoint.load(find_checkpoint("embedded"))
    else:
        state = {key: torch.from_numpy(np.asarray(array)) for key, array in fill(spec("t")).items()}
        sam = Sam(detect_config(state))
        sam.load_state_dict(state)
    export_pair(sam, folder, licence="none")
