"""What is in the data before anything is learnt from it: which photos, of which sources, and what is wrong with them.

Nothing is dropped silently. A photo that cannot be used is counted and named with its reason; what makes a whole shard
unreadable stops the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mobilesam import coco
from mobilesam.errors import DataError, first_line
from mobilesam.shards import PhotoSource, decode, expand, index_shard, source_of
from mobilesam.train.config import DataConfig

JPEG_END = b"\xff\xd9"
NAMED = 3  # of the photos skipped for one reason, how many a message names


@dataclass(frozen=True)
class Survey:
    """The photos that can be used, and why the others cannot."""

    samples: list[PhotoSource]
    sources: list[str]
    """Of each sample; all "unread" when the annotations were not asked for."""
    skipped: dict[str, list[str]]
    """Reason → names of photos."""

    def without(self, names: Iterable[str]) -> Survey:
        """The same without some photos, which are not counted as skipped."""
        left_out = set(names)
        kept = [(s, source) for s, source in zip(self.samples, self.sources, strict=True) if s.name not in left_out]
        return Survey([s for s, _ in kept], [source for _, source in kept], self.skipped)

    def summary(self) -> str:
        """One line: how many photos, and what was skipped."""
        parts = [f"{len(self.samples)} photos"]
        for reason, names in self.skipped.items():
            more = ", ..." if len(names) > NAMED else ""
            parts.append(f"skipped {len(names)}: {reason} ({', '.join(names[:NAMED])}{more})")
        return "; ".join(parts)


def survey(config: DataConfig, *, need_masks: bool = True) -> Survey:
    """Look at every photo of a recipe's data once, without decoding it.

    Args:
        config: which shards and COCO files.
        need_masks: read the annotations too, and skip photos that have none.

    Raises:
        DataError: a shard cannot be read, or no photo is left.
    """
    skipped: dict[str, list[str]] = defaultdict(list)
    samples: list[PhotoSource] = []
    sources: list[str] = []
    seen: set[str] = set()
    for sample in (s for file in data_files(config) for s in list_photos(file, config.photos)):
        source, reason = "unread", None
        if sample.name in seen:
            reason = "a photo of this name was there before"
        else:
            seen.add(sample.name)
            reason = damage(sample)
            if need_masks and not reason:
                source, reason = look_at_record(sample)
        if reason:
            skipped[reason].append(sample.name)
        else:
            samples.append(sample)
            sources.append(source)
    if not samples:
        raise DataError(f"no photo can be used: {Survey(samples, sources, skipped).summary()}")
    return Survey(samples, sources, dict(skipped))


def data_files(config: DataConfig) -> list[str]:
    """The recipe's shards and COCO files.

    Raises:
        DataError: the recipe names neither, or a pattern matches nothing.
    """
    if not config.shards and not config.coco:
        raise DataError("the recipe names no data: set data.shards to tar shards, or data.coco to annotation files")
    return [*expand(config.shards), *expand(config.coco)]


def list_photos(file: str, photos: str) -> Sequence[PhotoSource]:
    """The photos of a shard, or of a COCO file (.json) whose photos lie in a folder.

    Raises:
        DataError: the file cannot be read.
    """
    return list(coco.read_sources(file, photos)) if file.endswith(".json") else index_shard(file)


def damage(sample: PhotoSource) -> str | None:
    """Why the photo's bytes cannot be a whole photo. A JPEG that ends as it should is believed."""
    try:
        if sample.read_end(len(JPEG_END)) != JPEG_END:
            decode(sample.read_bytes())
    except (OSError, ValueError):
        return "the photo is damaged or truncated"
    return None


def look_at_record(sample: PhotoSource) -> tuple[str, str | None]:
    """The photo's source, and why its annotations cannot be used."""
    try:
        record = sample.read_record()
        if not record["annotations"]:
            return "", "no masks"
        if any("counts" not in a["segmentation"] or "area" not in a for a in record["annotations"]):
            return "", "a mask without run lengths or area"
        return source_of(record), None
    except (ValueError, KeyError, TypeError, OSError) as error:
        return "", f"broken annotations ({type(error).__name__}: {first_line(error)})"
