"""Opening encoded photos: supported formats, size limits, and error messages for files that are refused.

All code that reads pixels uses `opened`: prediction, training, evaluation and distillation, for photos and label
pictures. Inside it, every exception of a decoder becomes an `ImageError` that names the photo.

Pillow's plugins are called here one by one and not by `Image.open`. That function tries some forty formats, of which
EPS starts another program, and its limit of pixels is a global of the host process: to raise it here would raise it
for everyone, and to catch its warning is not safe in threads.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from mobilesam.errors import ImageError, MissingExtraError, first_line
from mobilesam.extras import install_command, is_installed
from mobilesam.opening.decoders import BYTES, bytes_per_pixel

MAX_PIXELS = 200_000_000
"""Pixels (width times height) of the largest photo that is opened unless another limit is given: above the largest
cameras of telephones; its pixels take 600 MB, and opening it twice that."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2"}
    | {".heic", ".heif"}
)
"""What counts as a photo when a folder is searched."""

PLUGINS = {
    "JPEG": "JpegImagePlugin",  # and MPO
    "PNG": "PngImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
    "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "PPM": "PpmImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "AVIF": "AvifImagePlugin",
}
"""Supported formats, and Pillow's module for each."""

READ = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000, AVIF, HEIC"
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
FOREIGN = {
    b"%!PS": "an EPS drawing",
    b"\xc5\xd0\xd3\xc6": "an EPS drawing",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"<svg": "an SVG drawing",
    b"<!DOC": "a web page",
    b"<html": "a web page",
    b"version https://": "a Git LFS pointer; fetch the photo itself with 'git lfs pull'",
    b"\x00\x05\x16\x07": "what macOS keeps beside a photo",
}
"""First bytes of other kinds of files that are often mistaken for photos, and what they are."""

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview
"""An encoded photo: a path, or the bytes of a file."""


def is_photo_name(name: str) -> bool:
    """Whether a file of that name, without its folder, counts as a photo: a known suffix, and not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


@contextmanager
def opened(source: Source | BinaryIO, what: str, max_pixels: int = MAX_PIXELS) -> Iterator[ImageFile.ImageFile]:
    """Open a photo and read its header but not its pixels; a context manager that closes it.

    Args:
        source: a path, the bytes of a file, or an open file, which is not closed.
        what: how messages call it.
        max_pixels: refuse a photo whose width times height is more, or that needs more than 6 bytes for each of so
            many pixels, before it takes memory.

    Raises:
        ImageError: it is missing, damaged, too large, of another format or no file; or anything else was raised
            inside the block.
    """
    with explained(what), _file(source, what) as file:
        image = _identify(file, what)
        try:
            check_pixels(image.size, what, max_pixels)
            check_memory(image, what, max_pixels)
            yield image
        finally:
            image.close()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn every exception of an image decoder, raised inside this block, into an `ImageError`."""
    try:
        yield
    except (ImageError, MissingExtraError):
        raise
    except MemoryError:
        raise ImageError(f"{what} needs more memory than there is") from None
    except Exception as error:
        raise ImageError(f"{what} is damaged or truncated ({first_line(error)})") from error


def check_pixels(size: tuple[int, int], what: str, max_pixels: int) -> None:
    """Refuse a photo without pixels, or with more than the limit.

    Raises:
        ImageError: `size`, (width, height), is empty or above the limit.
    """
    width, height = size
    if min(size) < 1:
        raise ImageError(f"{what} is empty")
    if width * height > max_pixels:
        raise ImageError(
            f"{what} has too many pixels: {width}x{height} are {width * height:,}, the limit is {max_pixels:,}; "
            "raise it with max_pixels (--max-pixels)"
        )


def check_memory(image: Image.Image, what: str, max_pixels: int) -> None:
    """Refuse a photo whose decoder needs more memory than the largest photo of other formats.

    Raises:
        ImageError: it has fewer than `max_pixels` pixels, but each takes more than 6 bytes.
    """
    each, count = bytes_per_pixel(image), image.width * image.height
    if count * each > max_pixels * BYTES:
        raise ImageError(
            f"{what} needs {count * each / 1e9:.1f} GB: {image.width}x{image.height} pixels of {each:.0f} bytes "
            f"while a {image.format} of this kind is decoded; the limit is {max_pixels * BYTES / 1e9:.1f} GB, "
            f"{BYTES:.0f} bytes for each of max_pixels (--max-pixels); raise it, or convert the photo to PNG or JPEG"
        )


def check_file(path: Path) -> None:
    """Refuse a path that is not a regular file; reading a pipe could block for ever.

    Raises:
        ImageError: it is missing, a folder, a pipe, a device or a socket, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ImageError(f"'{path}' does not exist") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"'{path}' cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(mode):
        raise ImageError(f"'{path}' is a folder; give a photo")
    if not stat.S_ISREG(mode):
        raise ImageError(f"'{path}' is a pipe, a device or a socket, not a photo")


@contextmanager
def _file(source: Source | BinaryIO, what: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
        return
    if not isinstance(source, str | os.PathLike):
        source.seek(0)
        yield source
        return
    path = Path(source)
    check_file(path)
    try:
        file = path.open("rb")
    except PermissionError:
        raise ImageError(f"{what} may not be read (permission denied)") from None
    with file:
        yield file


def _identify(file: BinaryIO, what: str) -> ImageFile.ImageFile:
    """Read the photo's header with the decoder whose signature matches its first bytes."""
    head = file.read(64)
    if is_heif(head):
        return _heif(file, what)
    reason = ""
    for name, plugin in PLUGINS.items():
        importlib.import_module(f"PIL.{plugin}")
        factory, accept = Image.OPEN[name]
        answer = accept(head[:16]) if accept else True
        if isinstance(answer, str):  # this Pillow was built without the decoder
            reason = answer
        elif answer:
            file.seek(0)
            try:
                return factory(file, "")
            except (SyntaxError, IndexError, TypeError, struct.error) as error:
                reason = first_line(error)
    for start, kind in FOREIGN.items():
        if head.startswith(start):
            raise ImageError(f"{what} is {kind}, not a photo in a known format ({READ})")
    if reason:
        raise ImageError(f"{what} is damaged or truncated ({reason})")
    raise ImageError(f"{what} is not a photo in a known format ({READ})")


def is_heif(head: bytes) -> bool:
    """Whether a file's first bytes are those of HEIC. AVIF has the same container and may have the same first brand."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head


def _heif(file: BinaryIO, what: str) -> ImageFile.ImageFile:
    if not is_installed("pillow_heif"):
        raise ImageError(f"{what} is a HEIC photo, which needs {install_command('heif')}; or convert it to JPEG")
    from pillow_heif import HeifImageFile  # its opener is not registered, which would change Pillow for the host

    file.seek(0)
    image: ImageFile.ImageFile = HeifImageFile(file, "")  # type: ignore[no-untyped-call]
    return image


def tiff_orientation(image: Image.Image) -> int:
    """The EXIF orientation of a TIFF that is not loaded yet, else 1: Pillow turns a TIFF while loading it."""
    value = image.tag_v2.get(ORIENTATION, 1) if image.format == "TIFF" and hasattr(image, "tag_v2") else 1
    return value if value in TURNS else 1


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation (1-8) of a photo; 1 (as stored) where there is none or it cannot be read.

    A PNG that was not loaded is decoded only where something that may be EXIF lies behind its pixels.
    """
    try:
        if image.format == "PNG" and "exif" not in image.info and not _tells_after_pixels(image):
            value = Image.Image.getexif(image).get(ORIENTATION, 1)
        else:
            value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a broken block of EXIF is no reason to refuse the photo
        return 1
    return value if value in TURNS else 1


ORIENTATION = 0x0112
TURNS = range(2, 9)


def _tells_after_pixels(image: Image.Image) -> bool:
    """Whether a PNG has EXIF, or a text that may hold it, behind its pixels, where it is read only with them."""
    file = getattr(image, "fp", None)
    if file is None:  # loaded and closed: all of it was read
        return False
    position, is_behind = file.tell(), False
    try:
        file.seek(len(PNG_START))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if is_behind and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            is_behind |= kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        file.seek(position)


PNG_START = b"\x89PNG\r\n\x1a\n"
