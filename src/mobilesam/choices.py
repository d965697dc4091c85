"""Named choices that the command line, the settings and the library share.

They are kept apart from the code that they select, so that `mobilesam --help` can list them without importing numpy.
"""

from __future__ import annotations

from typing import Literal, get_args

from mobilesam.errors import SettingsError

BackendName = Literal["auto", "onnx", "openvino", "litert", "executorch", "coreml", "torch"]
"""The library that runs a model."""

Precision = Literal["float32", "bfloat16"]
"""The number format in which OpenVINO computes, and torch the image encoder."""

ExportFormat = Literal["onnx", "ort", "litert", "executorch", "coreml", "openvino", "anylabeling", "sam", "hub"]
"""The kinds of files that `mobilesam export` writes."""

StoredPrecision = Literal["float32", "float16", "int8-weights", "mixed", "int8"]
"""The number format of the weights in exported files: "mixed" has 4 to 8 bits; with "int8" the runtime multiplies in
int8 too."""

Zoom = Literal["auto"] | bool
"""When to zoom: "auto" (objects so small that it was measured to help this model), True (always) or False (never)."""

ZoomWord = Literal["auto", "on", "off"]
"""`Zoom` as a word, for the command line, requests to the service and the files of a run."""

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


def zoom_of(word: ZoomWord) -> Zoom:
    """`Zoom` of its word.

    Raises:
        SettingsError: the word is none of the three.
    """
    if word not in get_args(ZoomWord):  # in a file that somebody edited
        raise SettingsError(f"zoom must be one of {', '.join(get_args(ZoomWord))}, not {word!r:.40}")
    return "auto" if word == "auto" else word == "on"


def zoom_word(zoom: Zoom) -> ZoomWord:
    """The word of a `Zoom`: the inverse of `zoom_of`."""
    return "auto" if zoom == "auto" else "on" if zoom else "off"
