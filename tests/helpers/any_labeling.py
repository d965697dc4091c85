"""X-AnyLabeling as a client: its way of opening and feeding a `segment_anything` model, told anew from its source.

Read: `segment_anything.py` and `sam_onnx.py` of its `services/auto_labeling`, and docs/en/custom_model.md, of 2026-11.
What it does: five keys of the YAML are required, three more are read; files are relative to the YAML. A photo is warped
into the top left corner of 684 x 1024 and fed as (684, 1024, 3) float32, RGB 0-255, without a batch, to the encoder's
first input. Prompts are lists of marks; a point (0, 0) with label -1 always follows. Masks are made at 684 x 1024,
warped back to the photo, and the first of them becomes polygons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

REQUIRED = ("type", "name", "display_name", "encoder_model_path", "decoder_model_path")
READ = ("input_size", "max_width", "max_height")
FED_HW = (684, 1024)


class Client:
    """One opened model."""

    def __init__(self, config: Path) -> None:
        lines = config.read_text(encoding="utf-8").splitlines()
        self.config = dict(line.split(": ", 1) for line in lines)
        assert set(REQUIRED) <= set(self.config)
        assert all(int(self.config[key]) > 0 for key in READ)
        self.encoder, self.decoder = (
            ort.InferenceSession(str(config.parent / self.config[f"{half}_model_path"]))
            for half in ("encoder", "decoder")
        )

    def embed(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """The embedding, and the scale from the photo to what was fed."""
        scale = min(FED_HW[0] / rgb.shape[0], FED_HW[1] / rgb.shape[1])
        fed = cv2.warpAffine(rgb, self._matrix(scale), FED_HW[::-1], flags=cv2.INTER_LINEAR)
        name = self.encoder.get_inputs()[0].name
        return self.encoder.run(None, {name: fed.astype(np.float32)})[0], scale

    def masks(
        self, embedding: NDArray[np.float32], scale: float, marks: list[dict[str, Any]], hw: tuple[int, int]
    ) -> list[NDArray[np.bool_]]:
        """All masks of one prompt, at the photo's size."""
        points: list[Any] = []
        labels: list[int] = []
        for mark in marks:
            data = mark["data"]
            points += [data] if mark["type"] == "point" else [data[:2], data[2:]]
            labels += [mark["label"]] if mark["type"] == "point" else [2, 3]
        coords = np.array([*points, (0, 0)], np.float32) * np.float32(scale)
        feed = {
            "image_embeddings": embedding,
            "point_coords": coords[None],
            "point_labels": np.array([[*labels, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(FED_HW, np.float32),
        }
        logits, _, _ = self.decoder.run(None, feed)  # the tool takes exactly three outputs
        back = self._matrix(1 / scale)
        return [cv2.warpAffine(mask, back, hw[::-1], flags=cv2.INTER_LINEAR) > 0 for mask in logits[0]]

    @staticmethod
    def _matrix(scale: float) -> NDArray[np.float64]:
        return np.array([[scale, 0, 0], [0, scale, 0]], np.float64)
