"""Named choices that the command line, the settings and the library share.

They are kept apart from the code that they select, so that `mobilesam --help` can list them without importing numpy.
"""

from __future__ import annotations

from typing import Literal

BackendName = Literal["auto", "onnx", "openvino", "litert", "executorch", "coreml", "torch"]
"""The library that runs a model."""

Precision = Literal["float32", "bfloat16"]
"""The number format in which OpenVINO computes, and torch the image encoder."""

ExportFormat = Literal["onnx", "ort", "litert", "executorch", "coreml", "openvino", "anylabeling", "sam", "hub"]
"""The kinds of files that `mobilesam export` writes."""

StoredPrecision = Literal["float32", "float16", "int8-weights", "mixed", "int8"]
"""The number format of the weights in exported files: "mixed" has 4 to 8 bits; with "int8" the runtime multiplies in
int8 too."""

ZoomWord = Literal["auto", "on", "off"]
"""The command line's choices for second looks (predicting again on an enlarged crop)."""

DenseWhere = Literal["small", "uncovered"]
"""Where points of the full grid are prompted after a coarse grid."""

Frame = Literal["stored", "upright"]
"""The pixels as the file stores them, or turned as its EXIF orientation says."""

Form = Literal["labels", "overlay", "masks", "yolo", "labelme", "coco", "cvat", "label-studio"]
"""Output formats for all masks of a photo."""

TrackForm = Literal["indexed", "overlay", "masks", "coco"]
"""Output formats for objects that were followed through a video."""

AnnotationForm = Literal["labelme", "cvat", "label-studio"]
"""Files of annotation tools that `segment` writes."""

AnnotatePrompts = Literal["everything", "given"]
"""What `annotate` asks of each photo: all masks, or the prompts of a file."""

ShardForm = Literal["sa1b", "parquet"]
"""Formats of the shards of `annotate`."""

Engine = Literal["local", "ray"]
"""What runs the workers of `annotate`."""

MOST_WORKERS = 1024
"""Processes, or threads of each, that a command starts at most on a machine."""
