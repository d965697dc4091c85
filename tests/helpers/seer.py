"""A model whose answers are known exactly: what is bright in the picture it was given is the object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor

SIZE, GRID = 64, 4
RADIUS = 6  # of the disc that it paints around a point, in pixels of the input


class SeerInfo:
    """Logits as large as the input, so that nothing is lost on the way back."""

    name, image_size, embed_dim, licence, weights_sha256 = "seer", SIZE, SIZE**2 // GRID**2, "none", "0" * 64
    low_res = SIZE
    prompts_per_call = 16

    def __init__(self, zoom_below: float = 0.0, click_zoom_below: float = 0.0, outside_box: float = 0.0) -> None:
        self.zoom_below, self.click_zoom_below, self.outside_box = zoom_below, click_zoom_below, outside_box


class Seer:
    """Mask 0: what is bright. Masks 1 to 3: the disc around the first point, what is bright, everything."""

    def __init__(self, info: SeerInfo, scores: tuple[float, ...] = (0.9, 0.5, 0.8, 0.6)) -> None:
        self.info = info
        self.scores = scores
        self.encoded: list[NDArray[np.float32]] = []
        self.asked: list[dict[str, NDArray[np.float32]]] = []

    def encode(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.encoded.append(image)
        square = np.zeros((len(image), SIZE, SIZE), np.float32)
        square[:, : image.shape[2], : image.shape[3]] = image[:, 0]
        return square.reshape(len(image), -1, GRID, GRID)

    def decode(self, embedding, coords, labels, mask_input, has_mask_input, min_score=-np.inf):
        self.asked.append({"coords": coords, "labels": labels, "has_mask_input": has_mask_input})
        answers = [self.answer(embedding[i % len(embedding)], xy) for i, xy in enumerate(coords)]
        return np.stack(answers), np.tile(np.array(self.scores, np.float32), (len(coords), 1))

    def answer(self, embedding: NDArray[np.float32], xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """(4, S, S)"""
        bright = (embedding.reshape(SIZE, SIZE) - 127.5) / 25
        y, x = np.mgrid[:SIZE, :SIZE]
        disc = RADIUS - np.hypot(x - xy[0, 0], y - xy[0, 1])
        return np.stack([bright, disc, bright, np.full_like(bright, 5)]).astype(np.float32)


def see(photo: NDArray[np.uint8], **kind: Any) -> ImageEmbedding:
    """A photo, encoded; the model's log starts after it."""
    info = {key: kind.pop(key) for key in ("zoom_below", "click_zoom_below", "outside_box") if key in kind}
    seer = Seer(SeerInfo(**info), **kind)
    image = Predictor(seer).embed(photo)  # type: ignore[arg-type]
    seer.encoded.clear()
    return image


def without_photo(image: ImageEmbedding) -> ImageEmbedding:
    return replace(image, photo=None)


def dark_photo(hw: tuple[int, int], *bright_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A black photo with white boxes."""
    photo = np.zeros((*hw, 3), np.uint8)
    for x0, y0, x1, y1 in bright_xyxy:
        photo[y0:y1, x0:x1] = 255
    return photo
