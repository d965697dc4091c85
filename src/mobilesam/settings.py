"""Settings as frozen dataclasses that check every value against its annotation.

A settings class derives from `Settings`. Its annotations say what each value may be: plain types, `Literal` for
choices, `Annotated[float, Range(...)]` for bounds; the names below stand for the usual ones. The values are checked
however the object is made: from a file, from the command line, or in Python.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mobilesam.choices import MOST_WORKERS
from mobilesam.errors import SettingsError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds of a number, as part of an annotation: `Annotated[int, Range(low=1)]`. NaN and infinity are refused."""

    low: float | None = None
    """The smallest value."""
    above: float | None = None
    """Every value is larger than this."""
    high: float | None = None
    """The largest value."""
    below: float | None = None
    """Every value is smaller than this."""
    multiple_of: int | None = None
    limit: float | None = None
    """The largest value that the computation can take; messages tell it only where a value is larger."""

    def contains(self, value: float) -> bool:
        """Whether a number lies inside the bounds."""
        return (
            _is_finite(value)
            and (self.limit is None or value <= self.limit)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        return self.words()

    def words(self, found: Any = None) -> str:
        """The bounds in words, with the limit if a number in `found` exceeds it."""
        is_beyond = self.limit is not None and _is_beyond(found, self.limit)
        high = self.limit if is_beyond else self.high
        words = {"of at least": self.low, "above": self.above, "at most": high, "below": self.below}
        parts = [f"{word} {bound}" for word, bound in words.items() if bound is not None]
        if self.multiple_of is not None:
            parts.append(f"a multiple of {self.multiple_of}")
        return " and ".join(parts) or "that is finite"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return isinstance(value, int)


def _is_beyond(found: Any, limit: float) -> bool:
    """Whether a value, or any inside a list or a table, is a finite number above the limit."""
    if isinstance(found, tuple | list | dict):
        return any(_is_beyond(one, limit) for one in (found.values() if isinstance(found, dict) else found))
    number: Any = found  # a number of numpy may be no int and no float
    return isinstance(found, Real) and bool(limit < number < math.inf)


LARGEST_INT = 2**31 - 1
LARGEST_LONG = 2**63 - 1
LARGEST_SIDE = 2**14
LARGEST_FLOAT = 1e30  # products with sizes of photos still fit into 32 bits
Count = Annotated[int, Range(low=1, limit=LARGEST_INT)]
CountOrZero = Annotated[int, Range(low=0, limit=LARGEST_INT)]
LargeCount = Annotated[int, Range(low=1, limit=LARGEST_LONG)]
"""A number of bytes or pixels."""
Seed = Annotated[int, Range(low=0, limit=LARGEST_LONG)]
Workers = Annotated[int, Range(low=1, high=MOST_WORKERS)]
WorkersOrZero = Annotated[int, Range(low=0, high=MOST_WORKERS)]
Positive = Annotated[float, Range(above=0, limit=LARGEST_FLOAT)]
PositiveOrZero = Annotated[float, Range(low=0, limit=LARGEST_FLOAT)]
Probability = Annotated[float, Range(low=0, high=1)]
"""A probability, or any fraction for which 0 makes sense."""
Fraction = Annotated[float, Range(above=0, high=1)]
"""A fraction above 0."""
Side = Annotated[int, Range(low=32, multiple_of=32, limit=LARGEST_SIDE)]
"""Side of the network's square input, in pixels."""
SideOrZero = Annotated[int, Range(low=0, multiple_of=32, limit=LARGEST_SIDE)]
"""Side of the network's square input, in pixels; 0 for the model's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class of all settings; it refuses values that the field's annotation does not allow.

    A subclass may check more in `__post_init__` after calling this one. Its messages begin with the name of the field
    in single quotes, so that the reader can put the table's name before it: 'steps' becomes 'run.steps'.

    Raises:
        SettingsError: names the field, what it may be, and what was found.
    """

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, kind in kinds(cls).items():
            value = getattr(self, name)
            if not fits(value, kind):
                raise SettingsError(f"'{name}' must be {describe(kind, value)}, found {value!r}")

    def needs(self, name: str) -> str | None:
        """What a field lacks to have an effect beside the other values, such as "method = 'x'"; None if nothing.

        Asked for what somebody has set, and not for defaults: `mobilesam.recipe.check_effects`.

        Args:
            name: of the field; of a field in a table, with the name of the table: "loss.dice".
        """
        return None


@cache
def kinds(cls: Any) -> dict[str, Any]:
    """The fields of a settings class and their annotated types."""
    return get_type_hints(cls, include_extras=True)


def fits(value: Any, kind: Any) -> bool:
    """Whether an annotation allows a value."""
    origin, inner = _parts(kind)
    if origin is Annotated:
        return fits(value, inner[0]) and all(rule.contains(value) for rule in inner[1:] if isinstance(rule, Range))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        items = inner[:1] * len(value) if is_endless(kind) else inner
        return len(value) == len(items) and all(map(fits, value, items))
    if origin is dict:
        return isinstance(value, dict) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if kind in (int, float):  # a numpy integer is not an instance of int, but True is
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)


def describe(kind: Any, found: Any = None) -> str:
    """Describe in words what an annotation allows, with the limits that a number in `found` exceeds."""
    origin, inner = _parts(kind)
    if origin is Annotated:
        return " ".join(
            [describe(inner[0], found), *(rule.words(found) for rule in inner[1:] if isinstance(rule, Range))]
        )
    if origin is Literal:
        choices = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in inner]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if origin in (Union, UnionType):
        return " or ".join(describe(option, found) for option in inner)
    if origin is tuple:
        count = "" if is_endless(kind) else f" of {len(inner)} items"
        return f"a list (in Python a tuple){count}, each item {describe(inner[0], found)}"
    if origin is dict:
        return f"a table, each value {describe(inner[1], found)}"
    if dataclasses.is_dataclass(kind):
        return f"a table of settings ({getattr(kind, '__name__', kind)})"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "text", NoneType: '"none"'}
    return words.get(kind, str(kind))


def check_workers(workers: int) -> int:
    """Return a number of workers, if it can be meant.

    Raises:
        SettingsError: it is no integer of 1 to `MOST_WORKERS`.
    """
    if not fits(workers, Workers):
        raise SettingsError(f"'workers' must be {describe(Workers)}, found {workers!r}")
    return workers


def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Split a generic type: `tuple[int, str]` → tuple, (int, str); a plain type → None, ()."""
    return get_origin(kind), get_args(kind)


def is_endless(kind: Any) -> bool:
    """Whether a tuple's annotation is `tuple[X, ...]`."""
    return get_args(kind)[-1:] == (Ellipsis,)
