"""Settings of `mobilesam annotate` that decide what is written; two runs with the same ones write the same bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mobilesam.choices import AnnotatePrompts, Frame, ShardForm, Zoom, zoom_of, zoom_word
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import MAX_PIXELS
from mobilesam.opening.tones import check_range
from mobilesam.recipe import from_dict
from mobilesam.settings import Count, CountOrZero, LargeCount, Settings


@dataclass(frozen=True, kw_only=True)
class AnnotateSettings(Settings):
    """What is asked of each photo and how the answers are written."""

    prompts: AnnotatePrompts = "everything"
    """"everything": all masks of each photo; "given": one mask for each box or point of the prompt file."""
    form: ShardForm = "sa1b"
    """"sa1b": a tar with each photo and its record, which training reads; "parquet": a row for each mask."""
    shard_photos: Count = 256
    """Most photos in a shard, the unit that is written, resumed and retried."""
    zoom: Zoom = "auto"
    """Second looks at small boxes, as in `mobilesam.ImageEmbedding.predict`."""
    zoom_batch: CountOrZero = 0
    """Regions of second looks in a call of the encoder, gathered across photos; 0: what is fastest with the backend."""
    max_pixels: LargeCount = MAX_PIXELS
    """Larger photos are refused."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white in photos of more than 8 bits; see `mobilesam.image.open_photo`."""
    unclear_frame: Frame = "upright"
    """For photos with an EXIF orientation whose annotation does not show on which pixels it was drawn, such as one
    turned by 180 degrees: assume the upright photo, or the pixels as the file stores them."""
    everything: EverythingSettings = field(default_factory=EverythingSettings)
    """Settings of the search where prompts is "everything"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_range is not None:
            check_range(self.value_range)

    def record(self) -> dict[str, Any]:
        """The settings as the plan of a run records them, with zoom as a word."""
        return {**asdict(self), "zoom": zoom_word(self.zoom)}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> AnnotateSettings:
        """Read what `record` made.

        Raises:
            SettingsError: a value is wrong, or a key is unknown.
        """
        if isinstance(record, dict) and "zoom" in record:
            record = {**record, "zoom": zoom_of(record["zoom"])}
        return from_dict(cls, record)
