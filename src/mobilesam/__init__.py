"""Promptable image segmentation (MobileSAM) that is fast on a CPU or a phone.

    import mobilesam

    sam = mobilesam.load()                            # the embedded model: no download, no torch
    image = sam.embed("dog.jpg")                      # the encoder runs once
    found = image.predict(points=[(520, 375)])        # as many prompts as you like
    found.best.cutout().save("dog.png")

Importing this package loads none of its dependencies; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilesam.errors import (
        DataError,
        DownloadError,
        ExportError,
        ImageError,
        MissingExtraError,
        MobileSamError,
        ModelError,
        PromptError,
        SettingsError,
    )
    from mobilesam.everything.folder import FolderResult, PhotoResult, segment_folder
    from mobilesam.everything.generate import segment_everything
    from mobilesam.everything.results import FoundMask
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.interchange.coco import to_coco
    from mobilesam.interchange.cvat import to_cvat
    from mobilesam.interchange.label_studio import to_label_studio
    from mobilesam.interchange.labelme import to_labelme
    from mobilesam.interchange.photo_masks import PhotoMasks
    from mobilesam.interchange.supervision import to_supervision
    from mobilesam.interchange.svg import to_svg
    from mobilesam.masks import Polygon
    from mobilesam.predict.embedding import ImageEmbedding
    from mobilesam.predict.load import load
    from mobilesam.predict.predictor import Predictor
    from mobilesam.predict.results import Mask, Prediction
    from mobilesam.tracking.folder import TrackResult, track_video
    from mobilesam.tracking.results import TrackedFrame, TrackedObject
    from mobilesam.tracking.settings import ObjectPrompt, TrackSettings
    from mobilesam.tracking.track import track

__version__ = "0.2.0.dev0"

_HOMES = {
    "load": "mobilesam.predict.load",
    "Predictor": "mobilesam.predict.predictor",
    "ImageEmbedding": "mobilesam.predict.embedding",
    "Prediction": "mobilesam.predict.results",
    "Mask": "mobilesam.predict.results",
    "segment_everything": "mobilesam.everything.generate",
    "segment_folder": "mobilesam.everything.folder",
    "FolderResult": "mobilesam.everything.folder",
    "PhotoResult": "mobilesam.everything.folder",
    "FoundMask": "mobilesam.everything.results",
    "EverythingSettings": "mobilesam.everything.settings",
    "PhotoMasks": "mobilesam.interchange.photo_masks",
    "to_coco": "mobilesam.interchange.coco",
    "to_cvat": "mobilesam.interchange.cvat",
    "to_label_studio": "mobilesam.interchange.label_studio",
    "to_labelme": "mobilesam.interchange.labelme",
    "to_svg": "mobilesam.interchange.svg",
    "to_supervision": "mobilesam.interchange.supervision",
    "Polygon": "mobilesam.masks",
    "track": "mobilesam.tracking.track",
    "track_video": "mobilesam.tracking.folder",
    "ObjectPrompt": "mobilesam.tracking.settings",
    "TrackResult": "mobilesam.tracking.folder",
    "TrackSettings": "mobilesam.tracking.settings",
    "TrackedFrame": "mobilesam.tracking.results",
    "TrackedObject": "mobilesam.tracking.results",
    "MobileSamError": "mobilesam.errors",
    "ImageError": "mobilesam.errors",
    "PromptError": "mobilesam.errors",
    "SettingsError": "mobilesam.errors",
    "ModelError": "mobilesam.errors",
    "DownloadError": "mobilesam.errors",
    "DataError": "mobilesam.errors",
    "ExportError": "mobilesam.errors",
    "MissingExtraError": "mobilesam.errors",
}

__all__ = [
    "DataError",
    "DownloadError",
    "EverythingSettings",
    "ExportError",
    "FolderResult",
    "FoundMask",
    "ImageEmbedding",
    "ImageError",
    "Mask",
    "MissingExtraError",
    "MobileSamError",
    "ModelError",
    "ObjectPrompt",
    "PhotoMasks",
    "PhotoResult",
    "Polygon",
    "Prediction",
    "Predictor",
    "PromptError",
    "SettingsError",
    "TrackResult",
    "TrackSettings",
    "TrackedFrame",
    "TrackedObject",
    "__version__",
    "load",
    "segment_everything",
    "segment_folder",
    "to_coco",
    "to_cvat",
    "to_label_studio",
    "to_labelme",
    "to_supervision",
    "to_svg",
    "track",
    "track_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mobilesam' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
