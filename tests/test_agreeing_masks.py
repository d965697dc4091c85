from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilesam import masks
from mobilesam.data.decoded import DecodedPhoto
from mobilesam.data.photo import PhotoId
from mobilesam.data.survey import survey
from mobilesam.predict.predictor import Predictor
from tests.helpers.scenes import write_shard
from tests.helpers.seer import Seer, SeerInfo, dark_photo

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "agreeing_masks.py"))
LEFT, RIGHT = (4, 8, 24, 28), (40, 30, 60, 50)
SCORES = (0.9, 0.5, 0.95, 0.6)  # of a point's masks, only "what is bright" passes the filters


class BlindOnOneSide(Seer):
    """A seer that takes the right half of any picture for background."""

    def encode(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        image = image.copy()
        image[..., image.shape[-1] // 2 :] = image.min()
        return super().encode(image)


def predictor(kind: type[Seer] = Seer) -> Predictor:
    return Predictor(kind(SeerInfo(), SCORES))  # type: ignore[arg-type]


def a_photo(*annotated_xyxy: tuple[int, int, int, int]) -> DecodedPhoto:
    rgb = dark_photo((64, 64), LEFT)
    objects = tuple(masks.to_rle(dark_photo((64, 64), box)[..., 0] > 0) for box in annotated_xyxy)
    return DecodedPhoto(PhotoId("set", "sub/photo"), "pets", rgb, objects, tuple(map(masks.area, objects)))


def test_an_object_on_which_all_views_agree_is_found() -> None:
    (found,) = SCRIPT["find"]([predictor(), predictor()], a_photo(), 8, 0.85)
    assert found.box_xyxy == LEFT


def test_what_is_annotated_is_not_found_again() -> None:
    assert SCRIPT["find"]([predictor()], a_photo(RIGHT), 8, 0.85)
    assert SCRIPT["find"]([predictor()], a_photo(LEFT, RIGHT), 8, 0.85) == []


def test_a_mask_that_the_mirrored_photo_does_not_give_is_dropped() -> None:
    assert SCRIPT["find"]([predictor(BlindOnOneSide)], a_photo(), 8, 0.85) == []


def test_a_mask_that_another_image_size_does_not_give_is_dropped() -> None:
    class Blind(BlindOnOneSide):
        def encode(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
            return super().encode(image[..., ::-1])

    assert SCRIPT["find"]([predictor(), predictor(Blind)], a_photo(), 8, 0.85) == []


def test_training_reads_what_is_written(tmp_path: Path) -> None:
    photo = a_photo()
    found = SCRIPT["find"]([predictor()], photo, 8, 0.85)
    SCRIPT["write"](tmp_path, photo, found)
    read = survey([str(tmp_path / "*")])
    assert read.sources == ["found"]
    (one,) = read.photos[0].annotation().objects
    assert np.array_equal(one.mask((64, 64)), found[0].array)


def test_photos_with_many_annotated_objects_are_left_out(tmp_path: Path) -> None:
    photos = survey([str(write_shard(tmp_path / "a.tar", 5))]).photos
    assert SCRIPT["choose"](photos, 1, None) == []
    assert len(SCRIPT["choose"](photos, 2, 3)) == 3


def test_finished_photos_are_skipped(tmp_path: Path, tiny_pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = write_shard(tmp_path / "a.tar", 3)
    command = [str(shard), "-o", str(tmp_path / "found"), "-m", str(tiny_pair), "--max-objects", "2",
               "--points-per-side", "2", "--image-size", "64"]  # fmt: skip
    SCRIPT["main"]([*command, "--photos", "2"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    SCRIPT["main"](command)
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert len(list((tmp_path / "found" / "a").glob("*.json"))) == 3
