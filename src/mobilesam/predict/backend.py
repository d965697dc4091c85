"""The interface of a backend, which runs the image encoder and the mask decoder of a model in some runtime."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobilesam.choices import Precision as Precision
from mobilesam.contract import PATCH_SIZE, check_side, read_sides
from mobilesam.errors import ImageError, ModelError, PromptError

Floats = NDArray[np.float32]

NEARLY_0 = 16.0  # resizing by a sharp filter overshoots the range a little
SIGMAS = 3.0  # ImageNet-normalised photos reach -2.1 to 2.6, those scaled to 0-1 reach 1
_log = logging.getLogger(__name__)
_warned: set[str] = set()
"""What was warned of in this process."""


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a model that callers need; stored in the metadata of its ONNX files."""

    name: str
    image_size: int
    embed_dim: int
    licence: str
    weights_sha256: str
    """Identity of the weights, the same for every backend; an embedding fits only the weights that made it."""
    image_sizes: str = ""
    """Other image sizes that the model supports, such as "256-1024/32"; empty if attention fixes the size."""
    zoom_below: float = 0.0
    """Zoom "auto" applies to boxes whose longer side is below this fraction of the photo's; 0: never."""
    click_zoom_below: float = 0.0
    """The same for point prompts, by the box of the best mask before zoom."""
    outside_box: float = 0.0
    """Subtracted from mask logits outside a prompt's box, which is taken to enclose the object; 0: nothing."""

    @property
    def sides(self) -> range:
        """`image_sizes` as a range of pixels."""
        return read_sides(self.image_sizes)

    def at(self, image_size: int | None) -> ModelInfo:
        """The same model, loaded at another image size; None for its default.

        Raises:
            SettingsError: the model does not support that size.
        """
        if image_size is None:
            return self
        return replace(self, image_size=check_side(image_size, self.image_size, self.sides, self.name))

    @property
    def grid(self) -> int:
        """Side of the embedding, in cells."""
        return self.image_size // PATCH_SIZE

    @property
    def low_res(self) -> int:
        """Side of the low-resolution mask logits, in pixels."""
        return 4 * self.grid

    @property
    def prompts_per_call(self) -> int:
        """Number of prompts per call of the decoder: more are faster, but memory grows with their logits."""
        return max(16, min(32, 2**20 // self.low_res**2))


class Backend(Protocol):
    """Runs the encoder and the decoder of `mobilesam.contract`; safe to call from several threads."""

    @property
    def info(self) -> ModelInfo:
        """Properties of the model that it runs."""
        ...

    def encode(self, image: Floats) -> Floats:
        """Encode photos (B, 3, H, W), RGB 0-255 with the long side at image_size, into (B, C, g, g)."""
        ...

    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """Decode N prompts into mask logits (S, 4, 4g, 4g) and scores (N, 4).

        `embedding` (1 or N, C, g, g) and `mask_input` are one per prompt or one for all. Only the S prompts whose best
        score exceeds `min_score` get logits, in their order.
        """
        ...


def picklable(backend: Backend) -> Backend:
    """Return a backend unchanged if it can be pickled and so sent to another process.

    Raises:
        ModelError: it cannot be pickled; says what to send instead.
    """
    if not type(backend).__module__.startswith(
        "mobilesam."
    ):  # ours can; a trial would copy the large weights of torch's
        try:
            pickle.dumps(backend)
        except Exception as error:  # whatever its parts raise
            raise ModelError(
                f"the backend {type(backend).__name__} cannot be pickled ({error}); load the model in the other "
                "process, and send it photos, or embeddings as files (image.save)"
            ) from error
    return backend


def check_image(image: Floats, info: ModelInfo) -> None:
    """Check the shape of an encoder's input before it reaches native code, and warn of values in another range.

    Raises:
        ImageError: the array is not (B, 3, H, W) with the longer side at the model's image size.
    """
    if image.ndim != 4 or image.shape[1] != 3 or max(image.shape[2:]) != info.image_size or 0 in image.shape:
        raise ImageError(
            f"the encoder of '{info.name}' takes (B, 3, H, W) with the longer of H and W at {info.image_size}, "
            f"not {image.shape}"
        )
    warn_of_range(float(image.min()), float(image.max()))


def warn_of_range(low: float, high: float) -> None:
    """Log a warning, once per process, if a photo's values look normalised already; the encoder does that itself.

    Args:
        low: the smallest value of the encoder's input.
        high: the largest one. Zero throughout is a black photo and passes.
    """
    found = ""
    if low < -NEARLY_0 or high > 255 + NEARLY_0:
        found = "values outside of 0-255"
    if low >= -SIGMAS and high <= SIGMAS and (low, high) != (0, 0):
        found = f"no value beyond {SIGMAS:g}, as in a photo that was scaled to 0-1 or normalised"
    if found:
        _warn_once(
            "range",
            f"the photo that was given to the encoder has {found} ({low:.3g} to {high:.3g}); give RGB from 0 to 255: "
            "the model subtracts the mean and divides by the deviation itself, and masks are wrong otherwise",
        )


def computed_precision(asked: Precision, runtime: str, has_bfloat16: Callable[[], bool]) -> Precision:
    """The precision in which a runtime computes on this processor; warns, once per process, if it is not `asked`.

    Args:
        asked: what the caller chose.
        runtime: its name, for the message.
        has_bfloat16: says whether the runtime computes in bfloat16 on this processor.
    """
    if asked == "float32" or has_bfloat16():
        return asked
    _warn_once(
        f"bfloat16 {runtime}",
        f"{runtime} has no fast bfloat16 on this processor, so it computes in float32",
    )
    return "float32"


def check_prompts(
    info: ModelInfo,
    embedding: Floats,
    point_coords: Floats,
    point_labels: Floats,
    mask_input: Floats,
    has_mask_input: Floats,
) -> None:
    """Check that the shapes of a decoder's inputs agree, before they reach native code.

    Raises:
        PromptError: names the array, its shape and the expected one.
    """
    # OpenVINO raises no error for some wrong shapes, but returns random values.
    n, p = (*point_coords.shape, 0, 0)[:2]
    rest = (info.embed_dim, info.grid, info.grid)
    shapes: dict[str, tuple[Floats, set[tuple[int, ...]]]] = {
        "point_coords": (point_coords, {(n, p, 2)}),
        "point_labels": (point_labels, {(n, p)}),
        "embedding": (embedding, {(1, *rest), (n, *rest)}),
        "mask_input": (mask_input, {(m, 1, info.low_res, info.low_res) for m in (1, n)}),
        "has_mask_input": (has_mask_input, {(len(mask_input),) if mask_input.ndim else ()}),
    }
    for name, (array, allowed) in shapes.items():
        if array.shape not in allowed:
            expected = " or ".join(map(str, sorted(allowed)))
            raise PromptError(f"{name} of {n} prompts of {p} points must be {expected}, not {array.shape}")


def _warn_once(about: str, message: str) -> None:
    if about not in _warned:
        _warned.add(about)
        _log.warning("%s", message)
