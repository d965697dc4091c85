"""Settings of an evaluation; they are part of its report, so that each result can be reproduced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from mobilesam.choices import BackendName, Frame, Precision
from mobilesam.errors import SettingsError
from mobilesam.evaluate.protocols import NEED_TEACHER, PROTOCOLS
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import MAX_PIXELS
from mobilesam.opening.tones import check_range
from mobilesam.predict.zoom import Zoom
from mobilesam.settings import CountOrZero, LargeCount, Settings, Side
from mobilesam.text import unknown

EVERYTHING = "everything"
"""Name of the protocol that searches a photo for all masks, without a prompt per object."""
JOURNAL_VERSION = 3  # of the format of its lines; a journal of another version is not continued


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """Settings of one evaluation: data, protocols, model and options.

    Raises:
        SettingsError: a protocol is unknown or needs a teacher that is not given, or a setting has no effect.
    """

    data: tuple[str, ...]
    """Paths of shards, folders and annotation files; shell patterns are expanded."""
    protocols: tuple[str, ...]
    """Names of the protocols to run."""
    model: str = "embedded"
    """The model under test: a name that `mobilesam models` lists, a checkpoint, or a folder."""
    backend: BackendName = "auto"
    """The backend that runs the model under test."""
    device: str = "cpu"
    """Device of both models: "cpu", or a GPU as the backend names it."""
    teacher: str = ""
    """The model that the protocols `teacher` and `two-point` compare with."""
    images: str = ""
    """Folder with the photos of a COCO or LVIS file; found near the file if empty."""
    unclear_frame: Frame = "upright"
    """For photos with an EXIF orientation: the orientation of annotations that do not state it."""
    max_pixels: LargeCount = MAX_PIXELS
    """Larger photos are problems; width times height."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white in photos of more than 8 bits; see `mobilesam.image.open_photo`."""
    min_area: CountOrZero = 1
    """Objects with fewer pixels are excluded."""
    max_objects: CountOrZero = 0
    """Number of largest objects to use per photo; 0 uses all."""
    everything: EverythingSettings = field(default_factory=EverythingSettings)
    """Settings of the search for the protocol `everything`."""
    precision: Precision = "float32"
    """Number format in which OpenVINO computes."""
    image_size: Side | None = None
    """Side in pixels of the model's square input; None for the model's default."""
    zoom: Zoom = "auto"
    """Zoom option of the model under test; the teacher always uses "auto"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value_range is not None:
            check_range(self.value_range)
        known = (*PROTOCOLS, EVERYTHING)
        if not self.protocols:
            raise SettingsError(f"name at least one protocol (--protocol); known: {', '.join(known)}")
        for name in self.protocols:
            if name not in known:
                raise SettingsError(unknown("protocol", name, known))
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
        """The selected protocols that prompt for one object at a time: all but `everything`."""
        return tuple(name for name in self.protocols if name in PROTOCOLS)

    @property
    def fingerprint(self) -> str:
        """Hash of all settings; with that of the models it says which journal continues."""
        record = {**asdict(self), "journal": JOURNAL_VERSION}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
