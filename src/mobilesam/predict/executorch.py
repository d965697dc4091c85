"""The ExecuTorch backend: runs a model that was exported for ExecuTorch, in its Python bindings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.runtime import Runtime, Verification

from mobilesam.errors import ModelError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats
from mobilesam.predict.fixed import FixedBackend


class ExecuTorchBackend(FixedBackend[Any]):
    """Backend for encoder.pte and decoder.pte, on the CPU (XNNPACK); ExecuTorch sets the number of threads."""

    name, suffix = "executorch", ".pte"

    def _open(self, path: Path) -> Any:
        try:
            program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
            method = program.load_method("forward")
        except RuntimeError as error:
            raise ModelError(
                f"{path} is damaged or no ExecuTorch program{described(path)} ({first_line(error)})"
            ) from error
        return program, method  # the method reads the program's memory

    def _run(self, graph: Any, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        _, method = graph
        arrays = [torch.from_numpy(np.array(array, order="C")) for array in inputs.values()]
        # Copied, because the next inference writes over the outputs.
        return [np.array(answer.numpy(), np.float32) for answer in method.execute(arrays)]
