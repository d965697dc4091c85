"""The ExecuTorch backend: runs a model that was exported for ExecuTorch, in its Python bindings."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime, Verification

from mobilesam.errors import ModelError, SettingsError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats
from mobilesam.predict.fixed import FixedBackend


class Opened:
    """A program that was opened, and its method, which reads the program's memory."""

    def __init__(self, path: Path) -> None:
        self.program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
        self.method: Any = self.program.load_method("forward")


DEFAULT_THREADS: int = portable_lib._threadpool_get_thread_count()
"""What ExecuTorch chooses on this machine."""
_lock = Lock()
_opened: WeakSet[Opened] = WeakSet()
"""Programs of this process, which hold on to the threads that there were when they were opened."""


class ExecuTorchBackend(FixedBackend[Opened]):
    """Backend for encoder.pte and decoder.pte, on the CPU (XNNPACK).

    All ExecuTorch models of a process share their threads: while one is open, another one cannot have more or fewer.

    Raises:
        SettingsError: another number of threads is in use.
    """

    name, suffix = "executorch", ".pte"

    def _open(self, path: Path) -> Opened:
        with _lock:
            set_threads(self._threads)
            try:
                opened = Opened(path)
            except RuntimeError as error:
                raise ModelError(
                    f"{path} is damaged or no ExecuTorch program{described(path)} ({first_line(error)})"
                ) from error
            _opened.add(opened)
        return opened

    def _run(self, graph: Opened, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        arrays = [torch.from_numpy(np.array(array, order="C")) for array in inputs.values()]
        # Copied, because the next inference writes over the outputs.
        return [np.array(answer.numpy(), np.float32) for answer in graph.method.execute(arrays)]


def set_threads(threads: int | None) -> None:
    """Set how many threads the programs that are opened from now on compute with; None: as many as ExecuTorch chose.

    Raises:
        SettingsError: an open program uses another number.
    """
    now = portable_lib._threadpool_get_thread_count()
    if now == (threads or DEFAULT_THREADS):
        return
    if not _opened:
        portable_lib._unsafe_reset_threadpool(
            threads or DEFAULT_THREADS
        )  # programs that are open would lose their threads
    elif threads is not None:
        raise SettingsError(
            f"ExecuTorch has one number of threads for all models of a process, and another model is open with {now}, "
            f"not {threads}; give the same number, or none, or load this model in another process"
        )
