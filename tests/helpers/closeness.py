"""How far two float32 evaluations of one function may lie apart, whatever processor they ran on.

Runtimes, batch shapes and processors order the same sum differently. A sum of n terms is off by at most n·eps of the
sum of the terms' magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2), so that is
the bound: relative to the largest value of the whole array, never to the single, perhaps tiny, element.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LONGEST_SUM = 4096  # the cells of a 1024 px photo, over which the decoder's attention sums


def assert_same_function(found: ArrayLike, expected: ArrayLike, *, terms: int = LONGEST_SUM) -> None:
    """Fail where two arrays differ by more than float32 sums of `terms` terms do."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape
    allowed = terms * float(np.finfo(np.float32).eps) * float(np.abs(b).max(initial=0.0))
    error = float(np.abs(a - b).max(initial=0.0))
    assert error <= allowed, f"differs by {error:.2e}, float32 sums of {terms} terms allow {allowed:.2e}"


def assert_same_masks(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> None:
    """Fail where masks differ by more than the few pixels whose logit is zero but for rounding."""
    assert found.shape == expected.shape
    union = int((found | expected).sum())
    assert union == 0 or int((found ^ expected).sum()) <= max(2, union // 1000)
