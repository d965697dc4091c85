"""A model whose answers are known exactly: it looks the truth up instead of looking at the photo."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mobilesam.predict.backend import ModelInfo
from mobilesam.predict.embedding import ImageEmbedding

SIZE = 64
INFO = ModelInfo("oracle", SIZE, 1, "none", "0" * 64)
Reply = Callable[[int], list[NDArray[np.bool_]]]


class Oracle:
    """Answers every prompt with masks chosen by the number of clicks; scores fall from mask 0 to mask 3."""

    def __init__(self, reply: Reply, scores: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6)) -> None:
        self.info = INFO
        self.reply = reply
        self.scores = scores
        self.asked: list[dict[str, NDArray[np.float32]]] = []

    def encode(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((1, 1, 4, 4), np.float32)

    def decode(self, embedding, coords, labels, mask_input, has_mask_input, min_score=-np.inf):
        self.asked.append({"coords": coords, "labels": labels, "has_mask_input": has_mask_input})
        num_clicks = int(((labels == 0) | (labels == 1)).sum())
        masks = self.reply(num_clicks)
        masks = [*masks, *[masks[-1]] * (4 - len(masks))]
        logits = np.stack([np.where(mask, 10.0, -10.0) for mask in masks]).astype(np.float32)
        return logits[None], np.array([self.scores], np.float32)


def ask(reply: Reply | NDArray[np.bool_], scores: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6)) -> ImageEmbedding:
    """An embedding of a 64x64 photo whose logits are full size, so that nothing is resampled."""
    oracle = FullSize(reply if callable(reply) else repeat(reply), scores)
    return ImageEmbedding(oracle, np.zeros((1, 1, 4, 4), np.float32), (SIZE, SIZE), (SIZE, SIZE))


def repeat(mask: NDArray[np.bool_]) -> Reply:
    return lambda _: [mask]


class FullSize(Oracle):
    """Logits as large as the photo."""

    class Info:
        name, image_size, embed_dim, licence, weights_sha256 = "oracle", SIZE, 1, "none", "0" * 64
        low_res = SIZE
        prompts_per_call = 16
        zoom_below = click_zoom_below = outside_box = 0.0

    def __init__(self, reply: Reply, scores: tuple[float, ...]) -> None:
        super().__init__(reply, scores)
        self.info = self.Info  # type: ignore[assignment]


def square(x: int = 16, y: int = 16, side: int = 24) -> NDArray[np.bool_]:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[y : y + side, x : x + side] = True
    return mask
