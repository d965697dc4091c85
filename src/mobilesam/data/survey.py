"""Survey of data sets before training: their photos, the sources of these, and everything that is broken.

Nothing is dropped silently. A photo that cannot be used is counted and named with its reason, and the others are used;
a data set that cannot be read at all is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mobilesam.data.checksums import listing_checksum
from mobilesam.data.decoded import UNREAD
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import Item, ObjectRef, PhotoId, PhotoRef, Problem, Size
from mobilesam.data.shapes import PixelShape, PolygonShape, RleShape, Shape, label_size
from mobilesam.errors import DataError, ImageError
from mobilesam.image import MAX_PIXELS, Frame, open_stored
from mobilesam.opening.encoded import opened
from mobilesam.opening.pixels import SIDEWAYS

JPEG_END = b"\xff\xd9"
PNG_START = b"\x89PNG"
OTHER_SIZE = "a mask of another size than the photo"
OTHER_PHOTO = "its polygons were drawn on a photo of another size"
NO_MASKS = "no masks"
"""Why a photo is skipped that has an annotation without objects: nothing is wrong with it."""
NAMED = 3  # how many skipped photos a message names per reason


@dataclass(frozen=True)
class Survey:
    """The photos that can be used, and why the others cannot."""

    photos: list[PhotoRef]
    sources: list[str]
    """Source of each photo; all "unread" where annotations were not requested."""
    skipped: dict[str, list[PhotoId]]
    """Reason → photos."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Reason → broken objects, as "photo: object", of photos that are usable otherwise."""
    listings: dict[str, str] = field(default_factory=dict)
    """Data set → checksum of the names and sizes of all its photos, by which its embedding store is found."""
    unclear: list[PhotoId] = field(default_factory=list)
    """Photos with an EXIF orientation whose annotation does not show if it was drawn upright (`photo.frame_of`)."""

    def without(self, photos: Iterable[PhotoId]) -> Survey:
        """A copy without some photos, which are not counted as skipped."""
        left_out = set(photos)
        kept = [(p, source) for p, source in zip(self.photos, self.sources, strict=True) if p.id not in left_out]
        unclear = [id for id in self.unclear if id not in left_out]
        sources = [source for _, source in kept]
        return replace(self, photos=[p for p, _ in kept], sources=sources, unclear=unclear)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The skipped photos that something is wrong with: all but those whose annotation lists no object."""
        wrong = ((id, why) for why, photos in self.skipped.items() if why != NO_MASKS for id in photos)
        return tuple(Problem(id, why) for id, why in wrong)

    def summary(self) -> str:
        """One line: how many photos, and what was skipped."""
        parts = [f"{len(self.photos)} photos"]
        parts += [f"skipped {len(photos)}: {reason} ({some(photos)})" for reason, photos in self.skipped.items()]
        parts += [f"left out {len(them)} objects: {reason} ({some(them)})" for reason, them in self.broken.items()]
        if self.unclear:
            frame = next(photo.unclear_frame for photo in self.photos if photo.id == self.unclear[0])
            told = f"annotations of {len(self.unclear)} turned photos may be of stored or of upright pixels"
            parts.append(f"{told}, {frame} is taken: unclear_frame ({some(self.unclear)})")
        return "; ".join(parts)


def some(things: Sequence[PhotoId | str]) -> str:
    """Join the first few names, for a message."""
    return ", ".join(str(thing) for thing in things[:NAMED]) + (", ..." if len(things) > NAMED else "")


def survey(
    patterns: Sequence[str],
    *,
    photos: Path | None = None,
    need_masks: bool = True,
    unclear_frame: Frame = "upright",
    max_pixels: int = MAX_PIXELS,
    value_range: tuple[float, float] | None = None,
) -> Survey:
    """Check every photo of some data sets once, without decoding the pixels where that can be avoided.

    Args:
        patterns: shards, folders and annotation files of any layout (`layouts.read_all`).
        photos: folder of the photos of COCO and LVIS files; by default found near each file.
        need_masks: read the annotations too, and skip photos that have none.
        unclear_frame, max_pixels, value_range: see `PhotoRef`.

    Raises:
        DataError: a data set cannot be read, or no photo is left.
    """
    items = read_all(
        patterns, photos=photos, unclear_frame=unclear_frame, max_pixels=max_pixels, value_range=value_range
    )
    return survey_items(items, need_masks=need_masks, max_pixels=max_pixels)


def survey_items(items: Iterable[Item], *, need_masks: bool = True, max_pixels: int = MAX_PIXELS) -> Survey:
    """As `survey`, of photos that a reader has listed."""
    skipped: dict[str, list[PhotoId]] = defaultdict(list)
    broken: dict[str, list[str]] = defaultdict(list)
    listed: dict[str, list[PhotoRef]] = defaultdict(list)
    kept: list[PhotoRef] = []
    sources: list[str] = []
    unclear: list[PhotoId] = []
    for item in items:
        if isinstance(item, Problem):
            skipped[item.reason].append(item.id)
            continue
        listed[item.id.dataset].append(item)
        source, reason = UNREAD, damage(item.file, max_pixels)
        if need_masks and not reason:
            looked = look_at_annotation(item)
            source, reason = looked.source, looked.reason
            for object_id, why in looked.broken:
                broken[why].append(f"{item.id}: {object_id}")
            if looked.is_unclear:
                unclear.append(item.id)
        if reason:
            skipped[reason].append(item.id)
        else:
            kept.append(item)
            sources.append(source)
    listings = {dataset: listing_checksum(members) for dataset, members in listed.items()}
    found = Survey(kept, sources, dict(skipped), dict(broken), listings, unclear)
    if not kept:
        raise DataError(f"no photo can be used: {found.summary()}")
    return found


def damage(file: FileRef, max_pixels: int = MAX_PIXELS) -> str | None:
    """Say why a photo's file is damaged or incomplete, judged by its bytes; None where it seems fine.

    A JPEG that ends as it should is believed, and a PNG whose checksums are right; any other is decoded.
    """
    try:
        if file.read_end(len(JPEG_END)) == JPEG_END:
            return None
        encoded = file.read()
        if encoded.startswith(PNG_START):
            with opened(encoded, "the photo", max_pixels) as photo:
                photo.verify()
        else:
            open_stored(encoded, what="the photo", max_pixels=max_pixels)
    except (ImageError, DataError) as error:  # the latter of an empty row of a Parquet file
        return str(error).partition(" (")[0]  # without what the decoder says, so that equal reasons are counted as one
    except OSError:
        return "the photo is missing or cannot be read"
    return None


@dataclass(frozen=True)
class Look:
    """Result of checking the annotation of one photo."""

    source: str = ""
    reason: str | None = None
    """Why the whole annotation is unusable; None where it is usable."""
    broken: tuple[tuple[str, str], ...] = ()
    """Objects that are unusable, as (object id, reason)."""
    is_unclear: bool = False
    """Whether the annotation does not show if it was drawn on stored or upright pixels."""


def look_at_annotation(photo: PhotoRef) -> Look:
    """Check a photo's annotation and header; an object that does not fit the photo is broken, the others are used."""
    try:
        annotation = photo.annotation()
        objects = [one for one in annotation.objects if not one.is_crowd and has_pixels(one.shape)]
        if not objects:
            return Look(reason=f"no usable mask: {annotation.broken[0][1]}" if annotation.broken else NO_MASKS)
        hw, orientation = photo.header()
        framing = photo.framing_of(hw, orientation)
        unfit = misfits(objects, hw[::-1] if framing.frame == "upright" and orientation in SIDEWAYS else hw)
    except (OSError, ValueError, DataError) as error:
        return Look(reason=str(error))
    if len(unfit) == len(objects):
        return Look(reason=unfit[0][1])
    return Look(annotation.source, None, (*annotation.broken, *unfit), not framing.is_certain)


def has_pixels(shape: Shape) -> bool:
    """Whether a shape covers any pixel. Only label pictures with a single object can be empty."""
    return not isinstance(shape, PixelShape) or shape.value is not None or bool(shape.mask((0, 0)).any())


def misfits(objects: Sequence[ObjectRef], hw: Size) -> list[tuple[str, str]]:
    """The objects that were made for a photo of another size than (H, W), as (object id, reason).

    These are the ones that `decoded.measure` and `evaluate` leave out, found without decoding a mask.
    """
    pictures: dict[FileRef, Size] = {}  # many objects share a label picture
    found = []
    for one in objects:
        shape = one.shape
        if isinstance(shape, PolygonShape):
            if not shape.fits(hw):
                found.append((one.id, OTHER_PHOTO))
        elif shape_size(shape, pictures) != hw:
            found.append((one.id, OTHER_SIZE))
    return found


def shape_size(shape: RleShape | PixelShape, pictures: dict[FileRef, Size]) -> Size:
    """Size (H, W) of a mask; those of label pictures are kept in `pictures`."""
    if isinstance(shape, RleShape):
        height, width = shape.run_lengths["size"]
        return height, width
    if shape.file not in pictures:
        pictures[shape.file] = label_size(shape.file)
    return pictures[shape.file]
