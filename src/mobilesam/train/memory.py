"""A device's memory: what a run took of it, and errors of any library where it is too small, with what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mobilesam.errors import OutOfMemoryError, first_line
from mobilesam.train.run_config import RunConfig

# Only some libraries have an exception class for this; the others raise a RuntimeError with one of these texts.
WORDS = ("out of memory", "DefaultCPUAllocator: can't allocate memory", "not enough memory", "ALLOC_FAILED")


@contextmanager
def explained(run: RunConfig) -> Iterator[None]:
    """Turn "out of memory", raised inside, into an error of this package; every other error passes through.

    Args:
        run: whose settings the message names.

    Raises:
        OutOfMemoryError: says which settings to lower.
    """
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"the training needs more memory than there is ({first_line(error)}); lower run.batch_size "
            f"(now {run.batch_size}) and raise run.accumulate (now {run.accumulate}) by the same factor, or lower "
            "image_size or the sides of phases; a run that has a checkpoint goes on with --resume"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return any(word in str(error) for word in WORDS)


def peak(device: torch.device) -> dict[str, float]:
    """The most memory of a GPU that this process has taken so far, as a number for the log; nothing on a CPU."""
    return {"gpu_memory_gb": torch.cuda.max_memory_reserved(device) / 1e9} if device.type == "cuda" else {}
