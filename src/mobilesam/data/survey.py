"""What data sets hold before anything is learnt from them: which photos, of which sources, and what is wrong with them.

Nothing is dropped silently. A photo that cannot be used is counted and named with its reason, and the others are used;
a data set that cannot be read at all is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mobilesam.data.decoded import UNREAD
from mobilesam.data.files import FileRef, open_picture
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import DAMAGED, PhotoId, PhotoRef, Problem, decode
from mobilesam.data.shapes import PixelShape, RleShape, Shape
from mobilesam.data.store import listing_checksum
from mobilesam.errors import DataError

JPEG_END = b"\xff\xd9"
PNG_START = b"\x89PNG"
NAMED = 3  # of the photos skipped for one reason, how many a message names


@dataclass(frozen=True)
class Survey:
    """The photos that can be used, and why the others cannot."""

    photos: list[PhotoRef]
    sources: list[str]
    """Of each photo; all "unread" when the annotations were not asked for."""
    skipped: dict[str, list[PhotoId]]
    """Reason → photos."""
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Reason → objects of photos that can be used but for these, as "photo: object"."""
    listings: dict[str, str] = field(default_factory=dict)
    """Data set → checksum of all its photos' names and sizes, by which a store of embeddings is found."""

    def without(self, photos: Iterable[PhotoId]) -> Survey:
        """The same without some photos, which are not counted as skipped."""
        left_out = set(photos)
        kept = [(p, source) for p, source in zip(self.photos, self.sources, strict=True) if p.id not in left_out]
        return Survey([p for p, _ in kept], [source for _, source in kept], self.skipped, self.broken, self.listings)

    def summary(self) -> str:
        """One line: how many photos, and what was skipped."""
        parts = [f"{len(self.photos)} photos"]
        parts += [f"skipped {len(photos)}: {reason} ({some(photos)})" for reason, photos in self.skipped.items()]
        parts += [f"left out {len(them)} objects: {reason} ({some(them)})" for reason, them in self.broken.items()]
        return "; ".join(parts)


def some(things: Sequence[PhotoId | str]) -> str:
    """The first few of them, for a message."""
    return ", ".join(str(thing) for thing in things[:NAMED]) + (", ..." if len(things) > NAMED else "")


def survey(patterns: Sequence[str], *, photos: Path | None = None, need_masks: bool = True) -> Survey:
    """Look at every photo of some data sets once, without decoding it where that can be avoided.

    Args:
        patterns: shards, folders and annotation files of any layout (`layouts.read_all`).
        photos: folder of the photos of COCO and LVIS files; by default found near each file.
        need_masks: read the annotations too, and skip photos that have none.

    Raises:
        DataError: a data set cannot be read, or no photo is left.
    """
    skipped: dict[str, list[PhotoId]] = defaultdict(list)
    broken: dict[str, list[str]] = defaultdict(list)
    listed: dict[str, list[PhotoRef]] = defaultdict(list)
    kept: list[PhotoRef] = []
    sources: list[str] = []
    for item in read_all(patterns, photos=photos):
        if isinstance(item, Problem):
            skipped[item.reason].append(item.id)
            continue
        listed[item.id.dataset].append(item)
        source, reason = UNREAD, damage(item.file)
        if need_masks and not reason:
            source, reason, lost = look_at_annotation(item)
            for object_id, why in lost:
                broken[why].append(f"{item.id}: {object_id}")
        if reason:
            skipped[reason].append(item.id)
        else:
            kept.append(item)
            sources.append(source)
    listings = {dataset: listing_checksum(members) for dataset, members in listed.items()}
    found = Survey(kept, sources, dict(skipped), dict(broken), listings)
    if not kept:
        raise DataError(f"no photo can be used: {found.summary()}")
    return found


def damage(file: FileRef) -> str | None:
    """Why a file's bytes cannot be a whole photo.

    A JPEG that ends as it should is believed, and a PNG whose checksums are right; any other is decoded.
    """
    try:
        if file.read_end(len(JPEG_END)) == JPEG_END:
            return None
        encoded = file.read()
        if encoded.startswith(PNG_START):
            with open_picture(encoded) as photo:
                photo.verify()
        else:
            decode(encoded)
    except (OSError, ValueError, SyntaxError):
        return DAMAGED
    return None


def look_at_annotation(photo: PhotoRef) -> tuple[str, str | None, tuple[tuple[str, str], ...]]:
    """The photo's source, why its annotation as a whole cannot be used, and the objects that cannot."""
    try:
        annotation = photo.annotation()
        shapes = [one.shape for one in annotation.objects if not one.is_crowd]
        if not any(map(has_pixels, shapes)):
            return "", f"no usable mask: {annotation.broken[0][1]}" if annotation.broken else "no masks", ()
        # The size of a photo inside a tar is not looked up: that would read the whole of it.
        if photo.file.member is None and (found := sizes(shapes)) and found != {stored_hw(photo.file)}:
            return "", "a mask of another size than the photo", ()
    except (OSError, ValueError, DataError) as error:
        return "", str(error), ()
    return annotation.source, None, annotation.broken


def has_pixels(shape: Shape) -> bool:
    """Whether there is an object. Of label pictures that say nothing but object or not, some are empty."""
    return not isinstance(shape, PixelShape) or shape.value is not None or bool(shape.mask((0, 0)).any())


def sizes(shapes: Iterable[Shape]) -> set[tuple[int, int]]:
    """The sizes (H, W) of masks that have one of their own; polygons take the photo's."""
    files = {shape.file for shape in shapes if isinstance(shape, PixelShape)}
    stated = {(s.run_lengths["size"][0], s.run_lengths["size"][1]) for s in shapes if isinstance(s, RleShape)}
    return stated | {stored_hw(file) for file in files}


def stored_hw(file: FileRef) -> tuple[int, int]:
    """Height and width of a picture that is a file of its own; only its first bytes are read."""
    with Image.open(file.path) as picture:
        return picture.height, picture.width
