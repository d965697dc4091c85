"""What an evaluation is told; part of its report, so that a number can be traced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from mobilesam.errors import SettingsError
from mobilesam.evaluate.protocols import NEED_TEACHER, PROTOCOLS


@dataclass(frozen=True)
class EvaluateSettings:
    """One evaluation.

    Raises:
        SettingsError: an unknown protocol, or one that needs a teacher without one.
    """

    data: tuple[str, ...]
    protocols: tuple[str, ...]
    model: str = "embedded"
    backend: str = "auto"
    device: str = "cpu"
    teacher: str = ""
    """The model that `teacher` and `two-point` compare with."""
    images: str = ""
    """Folder of a COCO file's photos."""
    min_area: int = 1
    """Objects with fewer pixels are left out."""
    max_objects: int = 0
    """Only the largest objects of each photo; 0 takes all."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.protocols if name not in PROTOCOLS]
        if unknown or not self.protocols:
            raise SettingsError(f"unknown protocol '{', '.join(unknown)}'; known: {', '.join(PROTOCOLS)}")
        if NEED_TEACHER & set(self.protocols) and not self.teacher:
            raise SettingsError(f"{', '.join(sorted(NEED_TEACHER & set(self.protocols)))}: name a model with --teacher")

    @property
    def fingerprint(self) -> str:
        """Names a journal: results of other settings are never mixed in."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
