"""Settings of a recipe for its photos, their augmentation, and the prompts drawn from their masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from mobilesam.choices import Frame
from mobilesam.errors import SettingsError
from mobilesam.image import MAX_PIXELS
from mobilesam.opening.tones import check_range
from mobilesam.settings import (
    Count,
    Fraction,
    LargeCount,
    PositiveOrZero,
    Probability,
    Range,
    Settings,
)

DRAWING = frozenset(
    {
        "source_weights",
        "other_weight",
        "size_power",
        "crop_probability",
        "min_crop",
        "object_crop_probability",
        "rotate_probability",
        "max_rotation",
        "max_stretch",
        "colour",
        "paste_probability",
    }
)
"""Keys of `DataConfig` for photos that are drawn and augmented; what has cached embeddings is shown as it is."""


def check_weights(name: str, weights: tuple[float, ...]) -> None:
    """Refuse sampling weights that are all zero; an empty tuple is accepted.

    Raises:
        SettingsError: names the field.
    """
    if weights and not any(weights):
        raise SettingsError(f"'{name}' must have a weight above 0, found {weights}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The photos to train on, how often each source is drawn, and the augmentation."""

    paths: tuple[str, ...] = ()
    """Data sets of any layout: tar shards, folders and annotation files, as `mobilesam.data.layouts` lists them. Shell
    patterns are expanded, relative to the working directory. Embedding also takes folders of photos alone, lists of
    paths, Parquet files and addresses in object stores."""
    shards: tuple[str, ...] = ()
    """Older name of `paths`, for tar shards; its patterns are added."""
    coco: tuple[str, ...] = ()
    """Older name of `paths`, for COCO annotation files; its patterns are added."""
    photos: str = ""
    """Folder of the photos of COCO and LVIS files; looked for near each file when empty."""
    unclear_frame: Frame = "upright"
    """For photos with an EXIF orientation whose annotation does not show on which pixels it was drawn: assume the
    upright photo, or the pixels as the file stores them."""
    max_pixels: LargeCount = MAX_PIXELS
    """Larger photos are skipped; width times height."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white in photos of more than 8 bits; by default docs/photos.md's rules decide
    for each photo."""
    only_sources: tuple[str, ...] = ()
    """Sources to use; all when empty."""
    fraction: Fraction = 1.0
    """Fraction of the photos to use, the same ones in every run; the 25 % are a subset of the 50 %."""
    source_weights: dict[str, PositiveOrZero] = field(default_factory=dict)
    """How often a source is drawn, relative to the others; a source that is not named gets `other_weight`."""
    other_weight: PositiveOrZero = 0.5
    """Weight of the sources that `source_weights` does not name."""
    size_power: Annotated[float, Range(low=-10, high=10)] = 0.0
    """Multiply a source's weight by its number of photos to this power: at 0, all sources are drawn equally often."""
    masks_per_photo: Count = 4
    """Masks to prompt per photo; where it has fewer, they repeat."""
    min_area: Probability = 0.001
    """Smallest mask to prompt, as a fraction of the input square's area."""
    crop_probability: Probability = 0.6
    """Probability of a random crop instead of the whole photo."""
    min_crop: Fraction = 0.45
    """Smallest side of a random crop, as a fraction of the photo's."""
    object_crop_probability: Probability = 0.0
    """Probability of a crop around one object instead, 1.15 to 3 times its box, as a second look at inference gets.
    Objects that are too small in the whole photo are large enough in such a crop."""
    rotate_probability: Probability = 0.0
    """Probability of a rotation."""
    max_rotation: Annotated[float, Range(low=0, high=180)] = 15.0
    """Largest rotation, in degrees."""
    max_stretch: Annotated[float, Range(low=1)] = 1.25
    """Largest change of aspect ratio, as a factor; 1 for none."""
    colour: Probability = 0.3
    """Strength of the brightness, contrast, saturation and hue jitter; 0 turns it off."""
    paste_probability: Probability = 0.35
    """Probability that an object of another photo is pasted onto this one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_range is not None:
            check_range(self.value_range)
        if self.other_weight == 0 and not any(self.source_weights.values()):
            raise SettingsError("'other_weight' is 0 and so is every weight in source_weights: no photo would be drawn")

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        if name == "min_crop" and not self.crop_probability:
            return "crop_probability above 0"
        if name == "max_rotation" and not self.rotate_probability:
            return "rotate_probability above 0"
        return None


@dataclass(frozen=True, kw_only=True)
class PromptConfig(Settings):
    """How prompts are drawn from masks (arXiv 2304.02643, appendix A, "Interactive training")."""

    point_probability: Probability = 0.5
    """Fraction of first prompts that are one point; the others are a jittered box."""
    deep_probability: Probability = 0.5
    """Fraction of points drawn near the middle of the object, where people click, rather than anywhere in it."""
    box_jitter: PositiveOrZero = 0.1
    """Standard deviation of each box side, as a fraction of the box."""
    box_jitter_max: PositiveOrZero = 0.02
    """Largest jitter, as a fraction of the side of the input square."""
    round_weights: tuple[PositiveOrZero, ...] = (0.7, 0.2, 0.1)
    """Weights of drawing 1, 2, 3 ... prompt rounds per batch; each round after the first adds a corrective point."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.round_weights:
            raise SettingsError("'round_weights' must have at least one weight, found none")
        check_weights("round_weights", self.round_weights)
