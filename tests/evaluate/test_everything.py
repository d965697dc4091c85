from __future__ import annotations

import numpy as np
import pytest

from mobilesam.evaluate.everything import photo_recall
from tests.helpers.oracle import square

RGB = np.zeros((64, 64, 3), np.uint8)
TRUTHS = [square(0, 0, 20), square(30, 30, 20)]


def test_a_generator_that_finds_everything_recalls_everything() -> None:
    assert photo_recall(lambda rgb: [(t, 0.5) for t in TRUTHS], RGB, TRUTHS) == {"ar_10": 1, "ar_100": 1, "ar_1000": 1}


def test_only_the_best_scored_count_within_a_limit() -> None:
    noise = [(square(44, 0, 3), 0.9)] * 15
    recall = photo_recall(lambda rgb: [(TRUTHS[0], 0.1), *noise, (TRUTHS[1], 0.95)], RGB, TRUTHS)
    assert recall == {"ar_10": 0.5, "ar_100": 1, "ar_1000": 1}


def test_one_mask_recalls_one_object() -> None:
    recall = photo_recall(lambda rgb: [(TRUTHS[0] | TRUTHS[1], 0.9)], RGB, TRUTHS)
    assert recall["ar_10"] == pytest.approx(0.05)  # IoU 0.5 with either, for one of the two, at one of ten thresholds


def test_nothing_found_is_zero_and_nothing_to_find_is_no_number() -> None:
    assert photo_recall(lambda rgb: [], RGB, TRUTHS)["ar_100"] == 0
    assert np.isnan(photo_recall(lambda rgb: [(TRUTHS[0], 1.0)], RGB, [])["ar_100"])
