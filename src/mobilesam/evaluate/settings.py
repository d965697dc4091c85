"""What an evaluation is told; part of its report, so that a number can be traced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from mobilesam.choices import BackendName, Frame, Precision
from mobilesam.errors import SettingsError
from mobilesam.evaluate.protocols import NEED_TEACHER, PROTOCOLS
from mobilesam.everything.settings import EverythingSettings
from mobilesam.predict.zoom import Zoom
from mobilesam.recipe import CountOrZero, Settings, Side

EVERYTHING = "everything"
"""The protocol that asks about all objects of a photo at once."""
JOURNAL_VERSION = 2  # of the records in a journal


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """One evaluation.

    Raises:
        SettingsError: an unknown protocol, one that needs a teacher without one, or a setting that nothing would use.
    """

    data: tuple[str, ...]
    """Shards, folders and annotation files; shell patterns are expanded."""
    protocols: tuple[str, ...]
    """Names of the protocols to measure by."""
    model: str = "embedded"
    """The model under test: a name of `mobilesam models`, a checkpoint, or a folder."""
    backend: BackendName = "auto"
    """What runs it."""
    device: str = "cpu"
    """Where it runs: "cpu", or a GPU as the backend names it."""
    teacher: str = ""
    """The model that `teacher` and `two-point` compare with."""
    images: str = ""
    """Folder of a COCO file's photos."""
    unclear_frame: Frame = "upright"
    """Which pixels of a photo with an EXIF orientation an annotation is taken to be drawn on that does not tell."""
    min_area: CountOrZero = 1
    """Objects with fewer pixels are left out."""
    max_objects: CountOrZero = 0
    """Only the largest objects of each photo; 0 takes all."""
    everything: EverythingSettings = field(default_factory=EverythingSettings)
    """How `everything` searches a photo."""
    precision: Precision = "float32"
    """What OpenVINO computes in."""
    image_size: Side | None = None
    """Side in pixels of the square that the model sees; None for its own."""
    zoom: Zoom = "auto"
    """Second looks of the model under test; the teacher's are its own "auto"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*PROTOCOLS, EVERYTHING)
        unknown = [name for name in self.protocols if name not in known]
        if unknown or not self.protocols:
            raise SettingsError(f"unknown protocol '{', '.join(unknown)}'; known: {', '.join(known)}")
        twice = {name for name in self.protocols if self.protocols.count(name) > 1}
        if twice:
            raise SettingsError(f"protocol named twice: {', '.join(sorted(twice))}")
        comparing = sorted(NEED_TEACHER & set(self.protocols))
        if comparing and not self.teacher:
            raise SettingsError(f"{', '.join(comparing)}: name the model to compare with (--teacher)")
        if self.teacher and not comparing:
            needs = " and ".join(sorted(NEED_TEACHER))
            raise SettingsError(f"'teacher' (--teacher) does nothing here: only the protocols {needs} use it")
        if EVERYTHING not in self.protocols and self.everything != EverythingSettings():
            raise SettingsError(
                f"'everything' (--set {EVERYTHING}.NAME=VALUE) does nothing: only the protocol of that name uses it"
            )
        if self.zoom != "auto" and not self.per_object:
            raise SettingsError(f"'zoom' (--zoom) does nothing here: the protocol {EVERYTHING} has no second looks")

    @property
    def per_object(self) -> tuple[str, ...]:
        """The protocols that ask about one object at a time."""
        return tuple(name for name in self.protocols if name in PROTOCOLS)

    @property
    def fingerprint(self) -> str:
        """Names a journal: results of other settings are never mixed in."""
        record = {**asdict(self), "journal": JOURNAL_VERSION}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
