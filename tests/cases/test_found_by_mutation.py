"""The small inputs that mutation found first, and that no other test has: each is refused by an error of ours.

`fuzz/known.py` has the others, from photos that claim a size to states of runs that hold a function; README.md says
which is where.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId
from mobilesam.data.polygons import check_polygons
from mobilesam.errors import DataError, ImageError, MobileSamError, SettingsError
from mobilesam.image import open_photo
from mobilesam.names import output_names
from mobilesam.shards.tasks import Task
from tests.fuzz.known import case


@pytest.mark.parametrize("photo", ["a\0.png", bytearray(b"x"), "a" * 300, ""])
def test_what_is_no_path_and_no_photo_is_an_image_error(photo: Any) -> None:
    with pytest.raises(ImageError):
        open_photo(photo)


def test_a_photo_that_claims_900_megapixels_is_refused_before_it_is_embedded() -> None:
    task = Task(PhotoId("set", "x"), FileRef("claim30000.png"), (0, 0))
    with pytest.raises(ImageError, match="too many pixels"):
        task.decode(case("claim30000.png"))


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), None, "1"])
def test_a_polygon_of_impossible_numbers_is_refused(number: Any) -> None:
    with pytest.raises(DataError):
        check_polygons([[0, 0, number, 0, 1, 1]])


def test_names_of_results_are_unique() -> None:
    names = output_names(["x/a.png", "y/a.png", "z/a_1.png"])
    assert len(set(names)) == 3


@pytest.fixture(scope="module")
def saved(embedded: mobilesam.Predictor, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], np.ndarray]:
    """Header and values of an embedding file."""
    path = tmp_path_factory.mktemp("saved") / "e.npz"
    embedded.embed(np.zeros((40, 60, 3), np.uint8)).save(path)
    with np.load(path) as data:
        return json.loads(bytes(data["header"])), data["embedding"]


CHANGES: dict[str, Callable[[dict[str, Any], np.ndarray], tuple[Any, np.ndarray]]] = {
    "no input_hw": lambda head, values: ({k: v for k, v in head.items() if k != "input_hw"}, values),
    "another shape of the photo": lambda head, values: ({**head, "original_hw": [4000, 100]}, values),
    "another format": lambda head, values: ({**head, "format": "other"}, values),
    "half the channels": lambda head, values: (head, values[:, : values.shape[1] // 2]),
    "text": lambda head, values: (head, np.array(["x"])),
    "NaN": lambda head, values: (head, values * np.nan),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_embedding_file_is_refused(
    saved: tuple[dict[str, Any], np.ndarray], embedded: mobilesam.Predictor, tmp_path: Path, name: str
) -> None:
    head, values = CHANGES[name](*saved)
    header = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez(tmp_path / "x.npz", header=header, embedding=values)
    with pytest.raises(MobileSamError):
        embedded.load_embedding(tmp_path / "x.npz")


def test_settings_of_another_kind_are_refused() -> None:
    for value in ("x", 2.5):
        with pytest.raises(SettingsError, match="points_per_side"):
            mobilesam.EverythingSettings(points_per_side=value)
