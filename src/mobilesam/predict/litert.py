"""The LiteRT backend: runs a model that was exported for LiteRT (TensorFlow Lite), as on an Android phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from mobilesam.errors import ModelError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats
from mobilesam.predict.fixed import FixedBackend


class LiteRtBackend(FixedBackend[Any]):
    """Backend for encoder.tflite and decoder.tflite, on the CPU (XNNPACK)."""

    name, suffix = "litert", ".tflite"

    def _open(self, path: Path) -> Any:
        try:
            return Interpreter(str(path), num_threads=self._threads).get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged or no LiteRT model{described(path)} ({first_line(error)})") from error

    def _run(self, graph: Any, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        answers = graph(**{name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return [np.array(answers[name], np.float32) for name in outputs]
