"""Checks of what scripts give to `compat`: shapes and types that SAM fails on, refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.errors import ImageError, PromptError

LABELS = (-1, 0, 1)
"""Labels of points: none, background, object."""


def check_image(image: object) -> None:
    """Refuse what is no array (H, W, 3) of uint8, and say how to make one.

    Raises:
        ImageError: always names what was given.
    """
    if image is None:
        raise ImageError("image is None, which cv2.imread returns for a file that it cannot read; check the path")
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"image must be an array (H, W, 3) of uint8, not {type(image).__name__}; "
            'np.asarray(picture.convert("RGB")) makes one of a PIL image'
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(
            f"image must be an array (H, W, 3) of uint8, not {image.shape} of {image.dtype}; mobilesam.Predictor.embed "
            "takes grey, transparent and deep images too"
        )


def as_features(value: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Convert an array or a tensor to an embedding of the shape (1, C, g, g).

    Raises:
        ImageError: it has another shape, or is no array of finite numbers.
    """
    try:
        plain = value.detach().float().cpu().numpy() if hasattr(value, "detach") else value
        array = np.ascontiguousarray(plain, np.float32)
    except (TypeError, ValueError):
        raise ImageError(f"features must be an array {shape}, not {type(value).__name__}") from None
    if array.shape != shape or not np.isfinite(array).all():
        raise ImageError(f"features must be finite numbers of the shape {shape}; found {array.shape}")
    return array


def as_prompt(value: Any, name: str, shape: tuple[int | None, ...]) -> NDArray[Any] | None:
    """Convert a part of a prompt to an array of finite numbers; None stays None.

    Args:
        value: a list, an array or a tensor.
        name: how messages call it.
        shape: the shape that it must have; None stands for any length.

    Raises:
        PromptError: it has another shape, or holds something else than finite numbers.
    """
    if value is None:
        return None
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    fits = array.ndim == len(shape) and all(
        length in (None, found) for length, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in "biuf" or not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise PromptError(f"{name} must be numbers of the shape ({wanted}); found {array.shape} of {array.dtype}")
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers; found NaN or infinity")
    return array


def check_labels(labels: NDArray[Any] | None) -> None:
    """Refuse labels of points that SAM gives no meaning.

    Raises:
        PromptError: names the first.
    """
    wrong: NDArray[Any] | list[Any] = [] if labels is None else labels[~np.isin(labels, LABELS)]
    if len(wrong):
        raise PromptError(f"point_labels must be 1 (object), 0 (background) or -1 (no point); found {wrong[0]}")
