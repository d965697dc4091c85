"""Named choices that the command line, the settings and the library share.

They are kept apart from the code that they select, so that `mobilesam --help` can list them without importing numpy.
"""

from __future__ import annotations

from typing import Literal

BackendName = Literal["auto", "onnx", "openvino", "torch"]
"""The library that runs a model."""

Precision = Literal["float32", "bfloat16"]
"""The number format in which OpenVINO computes, and torch the image encoder."""

ZoomWord = Literal["auto", "on", "off"]
"""The command line's choices for second looks (predicting again on an enlarged crop)."""

DenseWhere = Literal["small", "uncovered"]
"""Where points of the full grid are prompted after a coarse grid."""

Frame = Literal["stored", "upright"]
"""The pixels as the file stores them, or turned as its EXIF orientation says."""

Form = Literal["labels", "overlay", "masks", "yolo", "coco"]
"""Output formats for all masks of a photo."""
