from __future__ import annotations

import numpy as np
import pytest

from mobilesam.errors import PromptError
from mobilesam.predict.prompts import make_prompt

HW = (400, 600)


def test_a_point_is_closed_by_a_padding_row_and_is_ambiguous() -> None:
    prompt = make_prompt(HW, points=[(300, 180)])
    assert prompt.coords.tolist() == [[300, 180], [0, 0]]
    assert prompt.labels.tolist() == [1, -1]
    assert prompt.is_ambiguous


def test_a_box_adds_its_corners_after_the_points() -> None:
    prompt = make_prompt(HW, points=[(300, 200)], labels=[0], box=(120, 60, 480, 320))
    assert prompt.coords.tolist() == [[300, 200], [120, 60], [480, 320]]
    assert prompt.labels.tolist() == [0, 2, 3]
    assert not prompt.is_ambiguous


def test_a_box_is_sorted_and_clipped_to_the_photo() -> None:
    assert make_prompt(HW, box=(480, 320, -20, 60)).coords.tolist() == [[0, 60], [480, 320]]


def test_a_prior_alone_is_a_prompt_and_makes_a_point_unambiguous() -> None:
    assert make_prompt(HW, has_prior=True).labels.tolist() == [-1]
    assert not make_prompt(HW, points=(5, 5), has_prior=True).is_ambiguous


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to segment"),
        ({"points": []}, "points must be"),
        ({"points": [(700, 100)]}, "outside the photo, 600 px wide and 400 px high"),
        ({"points": [(100, 500)]}, "swapped"),
        ({"points": [(np.nan, 1)]}, "finite"),
        ({"points": [(1, 2, 3)]}, r"\(1, 3\)"),
        ({"points": "here"}, "numbers"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points need 1 labels"),
        ({"points": [(1, 2)], "labels": [2]}, "1 .object. or 0 .background."),
        ({"labels": [1], "box": (1, 2, 3, 4)}, "0 points need 0 labels"),
        ({"box": (10, 10, 10, 50)}, "covers nothing"),
        ({"box": (700, 10, 800, 50)}, "covers nothing"),
        ({"box": (1, 2, 3)}, r"\(x0, y0, x1, y1\)"),
        ({"box": [(1, 2, 3, 4)] * 2}, "predict_batch"),
        ({"box": (1, 2, np.inf, 4)}, "finite"),
        ({"box": (1, 2, 1e300, 4)}, "finite"),
        ({"box": [[1, 2], [3]]}, "numbers"),
        ({"box": ("1", "2", "3", "4")}, "numbers"),
        ({"points": [(1 + 2j, 1)]}, "numbers"),
        ({"points": [(None, 1)]}, "finite|numbers"),
    ],
)
def test_a_bad_prompt_says_how_to_mend_it(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        make_prompt(HW, **arguments)
    assert issubclass(PromptError, ValueError)
