"""Files on disk and in tars: bytes that have not been read yet, and pictures that have."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError


@dataclass(frozen=True)
class FileRef:
    """A file, or one member of an uncompressed tar."""

    path: str
    member: tuple[int, int] | None = None
    """(offset, size) in bytes inside `path`."""

    @property
    def num_bytes(self) -> int:
        """Size in bytes."""
        return Path(self.path).stat().st_size if self.member is None else self.member[1]

    def read(self) -> bytes:
        """All bytes."""
        return self.read_end(self.num_bytes)

    def read_end(self, count: int) -> bytes:
        """The last `count` bytes."""
        size = self.num_bytes
        offset = 0 if self.member is None else self.member[0]
        with open(self.path, "rb") as file:
            file.seek(offset + max(0, size - count))
            return file.read(min(count, size))


def open_picture(encoded: bytes) -> Image.Image:
    """Encoded picture → Pillow's image, whose pixels are not read yet.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged or no picture.
    """
    try:
        return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError:  # Pillow's own message names an object in memory
        raise OSError("not a picture of a known format") from None
