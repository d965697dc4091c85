"""Files whose bytes are fetched by ranges, such as objects in stores and members of tars."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RangeFile(io.RawIOBase):
    """A file object whose bytes are fetched by ranges.

    Args:
        fetch: gives the bytes from one position up to another.
        size: number of bytes.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self.fetch, self.size, self.position = fetch, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, start + offset)
        return self.position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer, at most up to the end."""
        view = memoryview(buffer)
        data = self.fetch(self.position, max(self.position, min(self.size, self.position + len(view))))
        view[: len(data)] = data
        self.position += len(data)
        return len(data)
