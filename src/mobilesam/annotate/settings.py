"""Settings of `mobilesam annotate` that decide what is written; two runs with the same ones write the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from mobilesam.choices import AnnotatePrompts, ShardForm, ZoomWord
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import MAX_PIXELS
from mobilesam.settings import Count, CountOrZero, Settings


@dataclass(frozen=True, kw_only=True)
class AnnotateSettings(Settings):
    """What is asked of each photo and how the answers are written."""

    prompts: AnnotatePrompts = "everything"
    """"everything": all masks of each photo; "given": one mask for each box or point of the prompt file."""
    form: ShardForm = "sa1b"
    """"sa1b": a tar with each photo and its record, which training reads; "parquet": a row for each mask."""
    shard_photos: Count = 256
    """Most photos in a shard, the unit that is written, resumed and retried."""
    zoom: ZoomWord = "auto"
    """Second looks at small boxes: "auto", "on" or "off"."""
    zoom_batch: CountOrZero = 0
    """Regions of second looks in a call of the encoder, gathered across photos; 0: what is fastest with the backend."""
    max_pixels: Count = MAX_PIXELS
    """Larger photos are refused."""
    everything: EverythingSettings = field(default_factory=EverythingSettings)
    """Settings of the search where prompts is "everything"."""
