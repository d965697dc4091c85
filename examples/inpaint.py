"""Removes an object from a photo: its mask goes to OpenCV's inpainting, which continues what is around it.

python inpaint.py photo.jpg 326,229,406,326 out.png            # the box around the object: x0,y0,x1,y1
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from PIL import Image

import mobilesam


def remove(photo: Image.Image, box: tuple[float, float, float, float], *, grow: float = 8) -> Image.Image:
    """The photo without the object in the box."""
    rgb = np.asarray(photo.convert("RGB"))
    mask = mobilesam.load(quick_start=True).embed(rgb).predict(box=box).best
    paint = mask.for_inpainting(grow=grow, feather=4)  # (H, W): 255 paint, 0 keep, between: blend
    filled = cv2.inpaint(rgb, paint, inpaintRadius=5, flags=cv2.INPAINT_TELEA)  # wherever `paint` is above 0
    share = paint[..., None] / 255.0  # (H, W, 1): the soft edge hides the seam
    return Image.fromarray(np.rint(share * filled + (1 - share) * rgb).astype(np.uint8))


if __name__ == "__main__":
    x0, y0, x1, y1 = map(float, sys.argv[2].split(","))
    remove(Image.open(sys.argv[1]), (x0, y0, x1, y1)).save(sys.argv[3])
