"""Shapes of annotated objects: run lengths, polygons, and pixels of a label picture.

A shape holds the annotation's data; `mask` and `rle` convert it to pixels or run lengths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mobilesam.data.files import FileRef
from mobilesam.data.lossy import is_lossy
from mobilesam.data.polygons import check_polygons, fill
from mobilesam.errors import DataError, ImageError, first_line
from mobilesam.masks import Rle, from_rle, to_rle
from mobilesam.opening.encoded import opened
from mobilesam.rle import check_rle

# H W photo

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.int32]
WITH_ALPHA = ("LA", "RGBA", "PA")
LOSSY = ("JPEG", "MPO")
PERHAPS_LOSSY = ("WEBP", "AVIF", "JPEG2000", "HEIF")
OPAQUE = 255
COLOURED = 1 << 24  # added to the colours of a label picture
WHOLE = 1 << 31  # labels that are stored as floating-point values are smaller
NOISE = 8  # grey values: compression makes the black of a JPEG vary by this much

SLACK = 2  # pixels by which the size of a photo in its annotation may be wrong, as programs round it


@dataclass(frozen=True)
class RleShape:
    """COCO's compressed run lengths."""

    run_lengths: Rle
    area: int | None = None
    """Area in pixels that the annotation states; None where it states none."""

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask (H, W). A DataError where it has another size, or its runs do not add up to it."""
        return from_rle(self.run_lengths, hw)

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths; errors as in `mask`."""
        return check_rle(self.run_lengths, hw)


@dataclass(frozen=True)
class PolygonShape:
    """Polygons of COCO, YOLO or LabelMe, filled as pycocotools fills them."""

    polygons: tuple[tuple[float, ...], ...]
    """Each (x0, y0, x1, y1, ...) in pixels, or in 0-1 when `is_normalised`."""
    is_normalised: bool = False
    drawn_on: tuple[int, int] | None = None
    """Size (height, width) that the annotation states for its photo; None where it states none."""

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask (H, W). A DataError where a polygon is malformed or absurdly long."""
        return from_rle(self.rle(hw), hw)

    def fits(self, hw: tuple[int, int]) -> bool:
        """Whether it was drawn on a photo of that size, as far as the annotation tells."""
        return self.drawn_on is None or all(abs(a - b) <= SLACK for a, b in zip(self.drawn_on, hw, strict=True))

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths of a photo of that size; errors as in `mask`, and one where it was drawn on another size."""
        if self.drawn_on is not None and not self.fits(hw):
            raise DataError(
                f"its polygons were drawn on a photo of {self.drawn_on[1]}x{self.drawn_on[0]}, this one has "
                f"{hw[1]}x{hw[0]}; scale them, or correct the width and height in the annotation"
            )
        return fill(self.polygons, hw, (hw[1], hw[0]) if self.is_normalised else (1, 1))


@dataclass(frozen=True)
class PixelShape:
    """An object given by pixel values of a label picture: one value, or every value but 0."""

    file: FileRef
    value: int | None = None
    """None: everything but 0, or the opaque part; where there is `ignore`, 255 alone; see `object_pixels`."""
    ignore: int | None = None

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        return self.select(self.pixels())

    def pixels(self) -> Labels:
        """The values (H, W) of the label picture, as `select` takes them."""
        return label_pixels(self.file) if self.value is not None else object_pixels(self.file, self.ignore)

    def select(self, pixels: Labels) -> NDArray[np.bool_]:
        """The mask (H, W) of this object in a label picture that has been read."""
        if self.value is not None:
            return pixels == self.value
        return pixels != 0 if self.ignore is None else pixels == OPAQUE

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths."""
        return to_rle(self.mask(hw))

    def ignored(self) -> NDArray[np.bool_] | None:
        """The pixels (H, W) that evaluation does not count, neither as object nor as background."""
        return None if self.ignore is None else self.pixels() == self.ignore


Shape = RleShape | PolygonShape | PixelShape


def to_shape(segmentation: Any, area: int | None = None) -> RleShape | PolygonShape:
    """Convert a COCO segmentation (polygons, run lengths or compressed run lengths) to a shape.

    Raises:
        DataError: it is none of the three, or its numbers are impossible.
    """
    if segmentation is None or segmentation == []:
        raise DataError("no segmentation")
    if isinstance(segmentation, list):
        return PolygonShape(check_polygons(segmentation))
    return RleShape(check_rle(segmentation), area)


def label_pixels(file: FileRef) -> Labels:
    """Read a label picture as (H, W): palette indices, 8 or 16-bit grey values, or colours.

    A colour is 0x1RRGGBB, which no index or grey value equals; black is 0.

    Some programs (CVAT, for Pascal VOC) write a colour in place of an index. A colour picture of greys alone is read as
    grey values. Floating-point values are taken where all are whole numbers.

    Raises:
        DataError: it is missing or damaged, or holds fractions.
    """
    with _label_picture(file) as image:
        if image.mode == "F":
            return _whole(np.asarray(image), file)
        if image.mode in ("P", "PA", "L", "1", "LA") or image.mode.startswith("I"):
            return _values(image)
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
        if np.array_equal(red, green) and np.array_equal(red, blue):
            return red
        colours = red.astype(np.int32)
        for channel in (green, blue):  # in place: a large picture of colours takes a lot of memory as it is
            colours <<= 8
            colours |= channel
        return np.add(colours, COLOURED, out=colours, where=colours != 0)


def object_pixels(file: FileRef, ignore: int | None = None) -> Labels:
    """The label picture (H, W) of one object: 0 outside of it, `ignore` where that is uncertain.

    A picture with transparency, in a channel of its own or of one colour of its palette, is cut out: its opaque part is
    the object. Of a palette, the colours count and not the indices. The noise of a JPEG, and of a WebP, AVIF or
    JPEG 2000 that is bright enough, is taken out: each pixel becomes 0, 255 or `ignore`, whichever is nearest. Of
    floating-point values, the object is every finite one but 0; where there is `ignore`, 255 alone.

    Raises:
        DataError: it is missing, damaged, or a JPEG too dark to tell the object from noise.
    """
    with _label_picture(file) as image:
        if (alpha := _alpha(image)) is not None and alpha.min() < OPAQUE:
            return _nearest(alpha, None)
        if image.mode == "F":
            return _object_of(np.asarray(image), ignore)
        pixels, kind = _of_palette(image) if image.mode in ("P", "PA") else _values(image), image.format
    brightest = int(pixels.max())
    if kind not in LOSSY and not (kind in PERHAPS_LOSSY and brightest > OPAQUE // 2):
        return pixels
    if NOISE < brightest <= OPAQUE // 2:
        raise DataError(
            f"{file.path}: a JPEG mask needs 255 on the object, its brightest pixel is {brightest}; use PNG"
        )
    return _nearest(pixels, ignore)


def lossy_format(file: FileRef) -> str:
    """The format of a label picture that was compressed with loss, so that values cannot tell objects apart; else "".

    Raises:
        DataError: it is missing or damaged.
    """
    with _label_picture(file) as image:
        return f"lossy {image.format}" if is_lossy(image) else ""


def label_size(file: FileRef) -> tuple[int, int]:
    """Read the size (height, width) of a label picture from its header.

    Raises:
        DataError: it is missing or damaged.
    """
    with _label_picture(file) as image:
        return image.height, image.width


def _alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    """The transparency of a picture (H, W), 255 where it is opaque; None where it has none."""
    if image.mode in WITH_ALPHA:
        return np.asarray(image.getchannel("A"))
    image.load()  # some formats tell only then
    if "transparency" not in image.info:
        return None
    if image.mode.startswith("I"):  # Pillow cannot convert it: one grey value is transparent
        return np.where(np.asarray(image) == image.info["transparency"], 0, OPAQUE).astype(np.uint8)
    return np.asarray(image.convert("RGBA").getchannel("A"))


def _of_palette(image: Image.Image) -> Labels:
    """The brightness (H, W) of a picture with a palette: 255 for every colour that is neither grey nor black.

    The indices, where the colours in use do not tell an object from a black background.
    """
    indices = _values(image)
    colours = np.zeros((1 << 8, 3), np.uint8)
    palette = np.array((image.getpalette("RGB") or [])[: colours.size], np.uint8).reshape(-1, 3)
    colours[: len(palette)] = palette
    is_grey = (colours == colours[:, :1]).all(axis=1)
    values = np.where(is_grey, colours[:, 0], OPAQUE).astype(np.uint8)  # (256,)
    used = values[np.bincount(indices.ravel(), minlength=len(values)) > 0]
    return values[indices] if used.min() == 0 < used.max() else indices


def _values(image: Image.Image) -> Labels:
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32)
    if image.mode == "PA":  # which has an index and the transparency
        return np.asarray(image.getchannel(0))
    pixels = np.asarray(image if image.mode in ("P", "L") else image.convert("RGB"))
    return pixels if pixels.ndim == 2 else pixels.max(axis=2)


def _whole(values: NDArray[np.float32], file: FileRef) -> Labels:
    """Labels (H, W) that a file stores as floating-point values. A DataError where one is no whole number."""
    is_label = (np.abs(values) < WHOLE) & (values == np.round(values))  # neither holds for NaN
    if not is_label.all():
        wrong = float(values[~is_label][0])
        raise DataError(f"{file.path}: labels are whole numbers, found {wrong:g}; save it with 8 or 16 bits per pixel")
    return values.astype(np.int32)


def _object_of(values: NDArray[np.float32], ignore: int | None) -> Labels:
    """The object in floating-point values (H, W), as `PixelShape.select` looks for it."""
    if ignore is None:
        return (np.isfinite(values) & (values != 0)).astype(np.uint8)
    pixels = np.where(values == OPAQUE, OPAQUE, 0).astype(np.uint8)
    pixels[values == ignore] = ignore
    return pixels


def _nearest(pixels: Labels, ignore: int | None) -> Labels:
    levels = np.array(sorted({0, OPAQUE} | ({ignore} if ignore is not None else set())), np.uint8)
    middles = (levels[1:].astype(int) + levels[:-1] + 1) // 2
    return levels[np.searchsorted(middles, pixels, side="right")]


@contextmanager
def _label_picture(file: FileRef) -> Iterator[ImageFile.ImageFile]:
    """A label picture, open; its format and mode are known, its pixels not yet read.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with file.open() as data, opened(data, "the picture") as image:
            yield image
    except (OSError, ImageError) as error:
        raise DataError(f"{file.path}: the mask cannot be read ({first_line(error)})") from error


def check_mask_size(mask: NDArray[np.bool_], hw: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """Return the mask, if it has the photo's size.

    Raises:
        DataError: it has not.
    """
    if mask.shape != hw:
        raise DataError(f"{name}: the mask is {mask.shape[1]}x{mask.shape[0]}, the photo {hw[1]}x{hw[0]}")
    return mask
