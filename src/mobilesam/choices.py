"""Named choices that the command line, the settings and the library share.

They stand apart from what they choose, so that `mobilesam --help` can list them without importing numpy.
"""

from __future__ import annotations

from typing import Literal

BackendName = Literal["auto", "onnx", "openvino", "torch"]
"""What runs a model."""

Precision = Literal["float32", "bfloat16"]
"""What OpenVINO computes in."""

ZoomWord = Literal["auto", "on", "off"]
"""Second looks, as the command line says them."""

DenseWhere = Literal["small", "uncovered"]
"""Where the full grid of points is asked after a coarse one."""

Frame = Literal["stored", "upright"]
"""The pixels as the file stores them, or turned as its EXIF orientation says."""

Form = Literal["labels", "overlay", "masks", "yolo", "coco"]
"""What is written of all masks of a photo."""
