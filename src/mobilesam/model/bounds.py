"""Validation of a configuration that was read from a file, before memory for its network is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.model.config import KINDS, SamConfig
from mobilesam.model.sam import Sam

MAX_BLOCKS = 1000  # of an encoder, in all its stages
MAX_WINDOW = 128  # cells; a global block of SAM has 64
MAX_SIDE = 8192  # pixels
MAX_BUFFERS = 2**28  # bytes, of tables that are computed, not read
MAX_NUMBER = 2**20  # any other size; `check_fit` compares with the file's tensors, a tighter bound

_DEPTHS, _WINDOWS = ("depth", "depths"), ("window_size", "window_sizes")


def config_from(data: Any) -> SamConfig:
    """Convert parsed JSON to a configuration, checking every value.

    Raises:
        ModelError: it is not of the form that `SamConfig.to_dict` writes, or a size is out of all bounds.
    """
    try:
        kind = data["encoder"]["kind"]
        if kind not in KINDS:
            raise ModelError(
                f"its encoder is a '{str(kind)[:40]}', which this version does not know; known: {', '.join(KINDS)}"
            )
        for name, value in {**data, **data["encoder"]}.items():
            _check_number(name, value)
        config = SamConfig.from_dict(data)
        _check_form(config.to_dict(), SamConfig)
        _check_form(config.to_dict()["encoder"], KINDS[kind])
        return config
    except KeyError as error:
        raise ModelError(f"its configuration lacks {error}; save or export it again") from None
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ModelError(f"its configuration cannot be read ({error}); save or export it again") from error


def config_from_json(text: str, path: Path) -> SamConfig:
    """Read the configuration of a file from its JSON text; every error begins with the file's path.

    Raises:
        ModelError: as `config_from`, or it is no JSON.
    """
    try:
        return config_from(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its configuration is invalid JSON ({error}); save or export it again") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _check_number(name: str, value: Any) -> None:
    """Refuse a number, or a list of numbers, that is out of bounds."""
    numbers = [n for n in (value if isinstance(value, (list, tuple)) else [value]) if type(n) in (int, float)]
    most = {"image_size": MAX_SIDE, **dict.fromkeys(_DEPTHS, MAX_BLOCKS), **dict.fromkeys(_WINDOWS, MAX_WINDOW)}
    limit = most.get(name, MAX_NUMBER)
    if not all(0 <= n <= limit for n in numbers) or (name in _DEPTHS and sum(numbers) > limit):
        raise ValueError(f"{name} is {str(value)[:80]}, at most {limit} makes sense")


def _check_form(data: Mapping[str, Any], cls: type) -> None:
    """Refuse entries whose type or length differs from that of the class's field."""
    for field in fields(cls):
        value, form = data[field.name], str(field.type)
        is_right = {
            "str": isinstance(value, str),
            "bool": isinstance(value, bool),
            "int": type(value) is int,
            "float": type(value) in (int, float) and math.isfinite(value),
        }.get(form, True)
        if form.startswith("tuple["):
            count = None if "..." in form else form.count("int")
            is_right = isinstance(value, tuple) and all(type(n) is int for n in value) and count in (None, len(value))
        if not is_right:
            raise ValueError(f"{field.name} must be {form}, not {value!r}")


def check_fit(config: SamConfig, state: Mapping[str, Tensor]) -> None:
    """Compare the tensor shapes of a configuration with those in a file, without allocating memory.

    Raises:
        ModelError: names keys that are missing, too many or of another shape.
    """
    with torch.device("meta"):
        sam = Sam(config)
    if sum(buffer.nbytes for buffer in sam.buffers()) > MAX_BUFFERS:
        raise ModelError(f"its windows take over {MAX_BUFFERS} bytes to look up, which no model of this package does")
    wanted = {key: tuple(value.shape) for key, value in sam.state_dict().items()}
    lines = [
        f"{what}: {_some(keys)}"
        for what, keys in (
            ("missing", [key for key in wanted if key not in state]),
            ("unknown", [key for key in state if key not in wanted]),
            (
                "of another shape",
                [
                    f"{key} {tuple(state[key].shape)}, not {shape}"
                    for key, shape in wanted.items()
                    if key in state and tuple(state[key].shape) != shape
                ],
            ),
        )
        if keys
    ]
    if lines:
        raise ModelError("the weights do not fit the architecture their keys describe: " + "; ".join(lines))


def _some(keys: Iterable[str]) -> str:
    """List the first few keys and count the others, for a message."""
    names = list(keys)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
