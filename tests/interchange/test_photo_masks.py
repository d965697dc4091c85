from __future__ import annotations

import pytest

from mobilesam import to_coco, to_labelme, to_svg
from mobilesam.errors import SettingsError
from mobilesam.predict.results import Mask
from tests.helpers.blobs import blobs


def test_without_masks_the_size_of_the_photo_must_be_given() -> None:
    for make in (lambda **size: to_coco([], "a.png", **size), lambda **size: to_labelme([], "a.png", **size)):
        with pytest.raises(SettingsError, match="original_hw"):
            make()
        assert make(original_hw=(4, 5))
    assert to_coco([], "a.png", original_hw=(4, 5))["annotations"] == []
    with pytest.raises(SettingsError, match="one size"):
        to_svg([Mask(blobs(0), 0.5)], original_hw=(4, 5))
