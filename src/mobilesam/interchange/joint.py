"""The annotation tools whose files hold several photos."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mobilesam.interchange.photo_masks import PhotoMasks

JOINT_FILES = {"cvat": "cvat.xml", "label-studio": "label_studio.json"}
"""Format of an annotation tool → the file that holds all photos."""


def joint_text(form: str, photos: Sequence[PhotoMasks]) -> str:
    """The contents of a file of `JOINT_FILES` for these photos, with the settings of `to_cvat` or `to_label_studio`."""
    if form == "cvat":
        from mobilesam.interchange.cvat import to_cvat  # loads urllib and http, which a cold start need not pay for

        return to_cvat(photos)
    from mobilesam.interchange.label_studio import to_label_studio

    return json.dumps(to_label_studio(photos)) + "\n"
