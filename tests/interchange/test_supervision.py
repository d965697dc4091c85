from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from mobilesam import masks, to_supervision
from mobilesam.errors import MissingExtraError
from mobilesam.predict.results import Mask
from tests.helpers.blobs import blobs


def test_supervision_gets_boxes_masks_and_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detections:
        def __init__(self, **given: np.ndarray) -> None:
            self.__dict__.update(given)

        @classmethod
        def empty(cls) -> Detections:
            return cls(xyxy=np.zeros((0, 4)))

    module = ModuleType("supervision")
    vars(module)["Detections"] = Detections
    monkeypatch.setitem(sys.modules, "supervision", module)
    some = [Mask(masks.to_rle(blobs(seed)), 0.25 * seed) for seed in range(3)]
    found = to_supervision(some)
    assert (found.xyxy.shape, found.mask.shape, found.mask.dtype) == ((3, 4), (3, 60, 80), np.bool_)
    np.testing.assert_array_equal(found.mask[1], some[1].array)
    assert found.xyxy[2].tolist() == list(some[2].box_xyxy)
    assert found.confidence.tolist() == [0.0, 0.25, 0.5]
    assert len(some[0].to_supervision().xyxy) == 1
    assert len(to_supervision([]).xyxy) == 0


def test_without_supervision_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"to_supervision needs .*: pip install supervision"):
        Mask(blobs(0), 0.5).to_supervision()
