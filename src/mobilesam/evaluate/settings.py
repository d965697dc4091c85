"""What an evaluation is told; part of its report, so that a number can be traced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from mobilesam.choices import BackendName, Precision
from mobilesam.errors import SettingsError
from mobilesam.evaluate.everything import EVERYTHING
from mobilesam.evaluate.protocols import NEED_TEACHER, PROTOCOLS
from mobilesam.everything.settings import EverythingSettings
from mobilesam.predict.zoom import Zoom
from mobilesam.recipe import CountOrZero, Settings, Side


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """One evaluation.

    Raises:
        SettingsError: an unknown protocol, or one that needs a teacher without one.
    """

    data: tuple[str, ...]
    """Shards, folders or COCO files."""
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
        if NEED_TEACHER & set(self.protocols) and not self.teacher:
            raise SettingsError(f"{', '.join(sorted(NEED_TEACHER & set(self.protocols)))}: name a model with --teacher")

    @property
    def per_object(self) -> tuple[str, ...]:
        """The protocols that ask about one object at a time."""
        return tuple(name for name in self.protocols if name in PROTOCOLS)

    @property
    def fingerprint(self) -> str:
        """Names a journal: results of other settings are never mixed in."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
