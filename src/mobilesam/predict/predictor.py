"""`Predictor`: a loaded model that encodes photos, with any backend."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mobilesam.image import PhotoLike, input_size, open_photo, to_input
from mobilesam.predict.backend import Backend, ModelInfo, picklable
from mobilesam.predict.embedding import ImageEmbedding


@dataclass(frozen=True)
class Predictor:
    """A loaded model that encodes photos; it has no state, so threads may share it.

    It can be pickled for other processes, which open the same files with the same options.
    """

    backend: Backend

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
        """
        rgb = open_photo(photo)
        original_hw = (rgb.shape[0], rgb.shape[1])
        size = self.info.image_size
        array = self.backend.encode(to_input(rgb, size))
        return ImageEmbedding(self.backend, array, original_hw, input_size(original_hw, size), rgb)

    def load_embedding(self, path: str | os.PathLike[str], *, photo: PhotoLike | None = None) -> ImageEmbedding:
        """Read an embedding from a file that `ImageEmbedding.save` wrote.

        Args:
            path: the file.
            photo: the photo it was made from, which cut-outs and zoom need; the file does not contain it.

        Raises:
            ModelError: the file is damaged or belongs to another model.
            ImageError: the photo cannot be opened or has another size than the one embedded.
        """
        return ImageEmbedding.load(path, self.backend, photo=photo)
