"""Equality of dataclasses with array fields, which the generated `==` cannot compare."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def same_fields(a: DataclassInstance, b: DataclassInstance) -> bool:
    """Whether two dataclass instances of one type agree in every field that takes part in comparison."""
    return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare)


def same(a: object, b: object) -> bool:
    """Compare two values as one bool; arrays are equal if shapes and all elements are, also inside tuples."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)  # type: ignore[arg-type]
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
