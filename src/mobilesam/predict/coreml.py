"""The CoreML backend, which checks exported packages on Apple's systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools
import numpy as np
from PIL import Image

from mobilesam import contract
from mobilesam.errors import ModelError, first_line
from mobilesam.predict.backend import Floats
from mobilesam.predict.fixed import FixedBackend


class CoreMlBackend(FixedBackend[Any]):
    """Backend for encoder.mlpackage and decoder.mlpackage; the photo is given as a picture of 8 bits."""

    name, suffix = "coreml", ".mlpackage"

    def _open(self, path: Path) -> Any:
        try:
            return coremltools.models.MLModel(str(path))
        except Exception as error:  # coremltools passes on errors of many kinds
            raise ModelError(f"{path} is damaged or no CoreML package ({first_line(error)})") from error

    def _run(self, graph: Any, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        feed: dict[str, Any] = dict(inputs)
        if contract.ENCODER_INPUT in feed:  # (1, 3, S, S) of whole numbers
            pixels = np.round(feed[contract.ENCODER_INPUT][0]).astype(np.uint8).transpose(1, 2, 0)
            feed[contract.ENCODER_INPUT] = Image.fromarray(pixels)
        answers = graph.predict(feed)
        return [np.asarray(answers[name], np.float32) for name in outputs]
