"""A prompt's box lowers the logits outside of it, in first and second looks alike."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.predict.enclosure import Enclosure
from mobilesam.predict.prompts import make_prompt
from tests.helpers.seer import dark_photo, see

HW = (120, 160)


def lowered(box: tuple[float, ...], hw: tuple[int, int], photo_hw: tuple[int, int], origin=(0, 0)) -> np.ndarray:
    logits = np.zeros(hw, np.float32)
    Enclosure(box, 3.0).lower(logits, photo_hw, origin)
    return logits


def test_pixels_whose_centre_lies_outside_the_box_are_lowered_by_the_penalty() -> None:
    expected = np.full((4, 5), -3.0, np.float32)
    expected[1:3, 1:4] = 0
    np.testing.assert_array_equal(lowered((1.2, 0.9, 4.4, 2.5), (4, 5), (4, 5)), expected)


def test_logits_of_another_size_and_of_a_region_are_lowered_at_the_same_places_of_the_photo() -> None:
    whole = lowered((30, 20, 50, 90), HW, HW)
    np.testing.assert_array_equal(lowered((30, 20, 50, 90), (60, 80), HW), whole[::2, ::2])
    np.testing.assert_array_equal(lowered((30, 20, 50, 90), (100, 60), (100, 60), (20, 10)), whole[10:110, 20:80])


def test_a_box_beside_a_region_lowers_all_of_it() -> None:
    assert (lowered((0, 0, 10, 10), (5, 5), (5, 5), (50, 50)) == -3).all()


def test_a_point_of_the_object_outside_the_box_says_that_the_object_goes_on_there() -> None:
    def enclosure(points: list[tuple[int, int]], labels: list[int]) -> Enclosure | None:
        return Enclosure.of(make_prompt(HW, points=points, labels=labels, box=(30, 20, 50, 90)), 3.0)

    assert enclosure([(35, 40)], [1]) == Enclosure((30, 20, 50, 90), 3.0)
    assert enclosure([(35, 40), (100, 40)], [1, 0]) == Enclosure((30, 20, 50, 90), 3.0)
    assert enclosure([(35, 40), (100, 40)], [1, 1]) is None


def test_without_a_box_or_without_a_penalty_nothing_is_enclosed() -> None:
    assert Enclosure.of(make_prompt(HW, points=[(1, 1)]), 3.0) is None
    assert Enclosure.of(make_prompt(HW, box=(1, 1, 9, 9)), 0.0) is None


@pytest.mark.parametrize("zoom", [False, True])
def test_what_the_model_is_unsure_of_ends_at_the_box_and_what_it_is_sure_of_goes_on(zoom: bool) -> None:
    photo = dark_photo(HW, (20, 30, 40, 60), (60, 30, 70, 60))
    photo[30:60, 60:70] = 160  # logit 1.3; the rest of what is bright has 5.1
    plain = see(photo, zoom_below=1.0).predict(box=(25, 25, 62, 65), zoom=zoom)
    enclosed = see(photo, zoom_below=1.0, outside_box=3.0).predict(box=(25, 25, 62, 65), zoom=zoom)
    assert plain.best.array[45, 65]
    assert not enclosed.best.array[45, 65]
    assert enclosed.best.array[45, 22], "sure, though outside of the box"
    np.testing.assert_array_equal(enclosed.best.array[25:65, 25:62], plain.best.array[25:65, 25:62])
    np.testing.assert_array_equal(enclosed.best.array, enclosed.logits(0) > 0)


def test_a_batch_of_boxes_is_enclosed_as_each_alone() -> None:
    image = see(dark_photo(HW, (20, 30, 40, 60)), zoom_below=0.3, outside_box=6.0)
    boxes = [(25, 35, 45, 65), (0, 0, 159, 119)]
    assert image.predict_batch(boxes=boxes) == [image.predict(box=box) for box in boxes]
    assert image.predict(box=boxes[0]).best.box_xyxy == (25, 35, 40, 60)
