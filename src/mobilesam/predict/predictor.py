"""`Predictor`: a loaded model that encodes photos, with any backend."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from mobilesam.errors import ImageError, SettingsError
from mobilesam.image import PhotoLike, Rgb, input_size, open_photo, to_input, to_square
from mobilesam.predict.backend import Backend, Floats, ModelInfo, picklable
from mobilesam.predict.embedding import ImageEmbedding


@dataclass(frozen=True)
class Predictor:
    """A loaded model that encodes photos; it has no state, so threads may share it.

    It can be pickled for other processes, which open the same files with the same options.
    """

    backend: Backend
    """What computes the network: onnxruntime, OpenVINO, torch or another runtime."""

    def __getstate__(self) -> dict[str, Backend]:
        return {"backend": picklable(self.backend)}

    @property
    def info(self) -> ModelInfo:
        """Name, image size and identity of the model."""
        return self.backend.info

    def embed(self, photo: PhotoLike) -> ImageEmbedding:
        """Encode a photo, so that it can be prompted any number of times.

        Args:
            photo: path, bytes, PIL image or array; see `mobilesam.image.open_photo`.

        Raises:
            ImageError: the photo cannot be opened.

        Examples:
            >>> image = sam.embed("examples/coffee.png")
            >>> image.original_hw, image.image_size
            ((400, 600), 512)
        """
        rgb = open_photo(photo)
        return self._embedding(rgb, self.backend.encode(to_input(rgb, self.info.image_size)))

    def embed_many(self, photos: Iterable[PhotoLike], *, batch_size: int = 8) -> Iterator[ImageEmbedding]:
        """Encode photos in batches; each result equals that of `embed` with the same photo.

        This is for GPUs. On a CPU, batches are no faster than one by one, and slower in onnxruntime.

        Args:
            photos: any number of photos of any sizes, opened as they are needed.
            batch_size: number of photos per call of the encoder, at least 1; memory grows with it.

        Returns:
            Their embeddings, in the order of the photos.

        Raises:
            ImageError: while iterating, where a photo cannot be opened; it names the photo's index, from 0, and comes
                after the embeddings of all photos before it.
            SettingsError: batch_size is below 1.

        Examples:
            >>> photos = ["examples/coffee.png", "examples/chelsea.png"]
            >>> [image.original_hw for image in sam.embed_many(photos)]
            [(400, 600), (300, 451)]
        """
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise SettingsError(f"batch_size must be a whole number of at least 1, not {batch_size!r:.40}")
        if isinstance(photos, (str, bytes, os.PathLike, Image.Image)):
            raise ImageError("embed_many takes a list of photos; for a single one, call embed")
        return self._embed_batches(_open_all(photos), batch_size)

    def _embed_batches(self, photos: Iterator[Rgb | ImageError], batch_size: int) -> Iterator[ImageEmbedding]:
        """`embed_many` with opened photos; an error among them ends it."""
        while batch := list(islice(photos, batch_size)):
            opened = [photo for photo in batch if not isinstance(photo, ImageError)]
            if opened:
                squares = np.concatenate([to_square(photo, self.info.image_size) for photo in opened])  # (B, 3, S, S)
                arrays = self.backend.encode(squares)  # (B, C, g, g)
                for i, photo in enumerate(opened):
                    # Copied, because a part of an array keeps the whole of it in memory.
                    yield self._embedding(photo, arrays[i : i + 1].copy())
            if isinstance(batch[-1], ImageError):
                raise batch[-1]

    def _embedding(self, rgb: Rgb, array: Floats) -> ImageEmbedding:
        original_hw = (rgb.shape[0], rgb.shape[1])
        input_hw = input_size(original_hw, self.info.image_size)
        return ImageEmbedding(self.backend, array, original_hw, input_hw, rgb)

    def load_embedding(self, path: str | os.PathLike[str], *, photo: PhotoLike | None = None) -> ImageEmbedding:
        """Read an embedding from a file that `ImageEmbedding.save` wrote.

        Args:
            path: the file.
            photo: the photo it was made from, which cut-outs and zoom need; the file does not contain it.

        Raises:
            ModelError: the file is damaged or belongs to another model.
            ImageError: the photo cannot be opened or has another size than the one embedded.

        Examples:
            >>> image.save("coffee.embedding")
            >>> again = sam.load_embedding("coffee.embedding", photo="examples/coffee.png")
            >>> again.predict(points=[(290, 120)]) == image.predict(points=[(290, 120)])
            True
        """
        return ImageEmbedding.load(path, self.backend, photo=photo)


def _open_all(photos: Iterable[PhotoLike]) -> Iterator[Rgb | ImageError]:
    """Open photos one after the other; the first that cannot be opened is given as its error, and ends them."""
    for index, photo in enumerate(photos):
        try:
            yield open_photo(photo)
        except ImageError as error:
            named = ImageError(f"photo {index} of embed_many: {error}")
            named.__cause__ = error
            yield named
            return
