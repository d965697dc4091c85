"""A model whose files say that they store its weights in another precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mobilesam
from mobilesam.weights import EMBEDDED, get_spec, pair_folder


def relabelled(folder: Path, precision: str, form: str = "onnx") -> Path:
    """The embedded model's files, in a folder whose model.json names a format and a precision."""
    shutil.copytree(pair_folder(get_spec(EMBEDDED)), folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "format": form, "precision": precision}))
    return folder


def opened(folder: Path, precision: str, form: str = "onnx", image_size: int | None = None) -> mobilesam.Predictor:
    """Such a model, loaded."""
    return mobilesam.load(relabelled(folder, precision, form), backend="onnx", image_size=image_size)
