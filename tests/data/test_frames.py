from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.data.layouts import read, read_all
from mobilesam.data.photo import Framing, PhotoRef, frame_of
from mobilesam.data.shapes import check_size
from mobilesam.errors import DataError
from mobilesam.everything import write
from mobilesam.everything.candidates import FoundMask
from mobilesam.image import Frame, open_photo
from mobilesam.pixels import turn

HW = (240, 320)
Y, X = np.mgrid[: HW[0], : HW[1]]
OBJECT = (X > 200) & (X < 300) & (Y > 20) & (Y < 90)  # in one corner, so that no turn leaves it where it was
RED = np.where(OBJECT[..., None], (220, 30, 30), (30, 60, 90)).astype(np.uint8)


def save(path: Path, orientation: int, pixels: np.ndarray = RED) -> np.ndarray:
    """Write a photo of stored pixels; returns where the object lies on upright pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, quality=95, exif=exif.tobytes())
    return found_in(open_photo(path))


def found_in(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., 0] > 120) & (rgb[..., 1] < 120)


def write_coco(folder: Path, mask: np.ndarray, *, is_polygon: bool = False) -> Path:
    segmentation = polygons(mask) if is_polygon else masks.to_rle(mask)
    image = {"id": 1, "file_name": "images/a.jpg", "height": mask.shape[0], "width": mask.shape[1]}
    annotation = {"id": 1, "image_id": 1, "segmentation": segmentation, "area": int(mask.sum()), "iscrowd": 0}
    (folder / "c.json").write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    return folder / "c.json"


def write_coco_polygons(folder: Path, mask: np.ndarray) -> Path:
    return write_coco(folder, mask, is_polygon=True)


def write_sa1b(folder: Path, mask: np.ndarray) -> Path:
    record = {
        "image": {"height": mask.shape[0], "width": mask.shape[1]},
        "annotations": [{"id": 1, "segmentation": masks.to_rle(mask), "area": int(mask.sum())}],
    }
    (folder / "images" / "a.json").write_text(json.dumps(record))
    return folder / "images"


def write_yolo(folder: Path, mask: np.ndarray) -> Path:
    (outline,) = polygons(mask)
    unit = np.array(outline).reshape(-1, 2) / mask.shape[::-1]
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 " + " ".join(map(str, unit.ravel())) + "\n")
    return folder


def write_labels(folder: Path, mask: np.ndarray) -> Path:
    (folder / "masks").mkdir()
    Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / "a.png")
    return folder


def polygons(mask: np.ndarray) -> list[list[float]]:
    """The object is a rectangle: its pixel edges."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def only(path: Path, frame: Frame = "upright") -> PhotoRef:
    (photo,) = read(path, unclear_frame=frame)
    assert isinstance(photo, PhotoRef)
    return photo


def read_back(photo: PhotoRef) -> float:
    """IoU of the object on the pixels and the mask of the annotation."""
    rgb = photo.open()
    hw = (rgb.shape[0], rgb.shape[1])
    (one,) = photo.annotation().objects
    mask = check_size(one.shape.mask(hw), hw, one.id)
    on_pixels = found_in(rgb)
    return float((mask & on_pixels).sum() / (mask | on_pixels).sum())


WRITERS = [write_coco, write_coco_polygons, write_sa1b, write_yolo, write_labels]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("writer", WRITERS)
def test_masks_of_upright_pixels_come_back_on_their_object(
    tmp_path: Path, writer: Callable[[Path, np.ndarray], Path], orientation: int
) -> None:
    upright = save(tmp_path / "images" / "a.jpg", orientation)
    assert read_back(only(writer(tmp_path, upright))) >= 0.99


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("writer", WRITERS)
def test_masks_of_stored_pixels_come_back_on_their_object(
    tmp_path: Path, writer: Callable[[Path, np.ndarray], Path], orientation: int
) -> None:
    save(tmp_path / "images" / "a.jpg", orientation)
    photo = only(writer(tmp_path, OBJECT), "stored")
    assert read_back(photo) >= 0.99
    if orientation in (5, 6, 7, 8) and writer is not write_yolo:  # the size tells, whatever the setting
        assert read_back(only(tmp_path / "c.json" if writer in WRITERS[:2] else photo_folder(tmp_path, writer))) >= 0.99


def photo_folder(folder: Path, writer: object) -> Path:
    return folder / "images" if writer is write_sa1b else folder


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_everything_writes_is_read_back(tmp_path: Path, orientation: int) -> None:
    upright = save(tmp_path / "images" / "a.jpg", orientation)
    box = (0, 0, 9, 9)
    found = [FoundMask(masks.to_rle(upright), int(upright.sum()), box, 0.9, 0.9, (1.0, 1.0), box)]
    rgb = open_photo(tmp_path / "images" / "a.jpg")
    write.write(tmp_path / "images", "a", "images/a.jpg", rgb, found, ["coco"], "me")
    assert read_back(only(tmp_path / "images")) >= 0.99
    coco = write.write_coco(tmp_path / "images", ["a"]).rename(tmp_path / "c.json")
    assert read_back(only(coco)) >= 0.99


def test_the_first_size_that_fits_one_frame_decides() -> None:
    stored, upright = (240, 320), (320, 240)
    assert frame_of(stored, 1, (), "stored") == Framing("upright")
    assert frame_of(stored, 6, (upright, stored), "stored") == Framing("upright", 6)
    assert frame_of(stored, 6, ((9, 9), stored), "upright") == Framing("stored", 6)
    for orientation, hw, sizes in (
        (3, stored, (stored,)),
        (6, (50, 50), ((50, 50),)),
        (8, stored, ()),
        (8, stored, ((9, 9),)),
    ):
        for unclear in ("stored", "upright"):
            assert frame_of(hw, orientation, sizes, unclear) == Framing(unclear, orientation, is_certain=False)


@pytest.mark.parametrize(
    ("orientation", "writer", "is_certain"), [(6, write_labels, True), (6, write_yolo, False), (3, write_labels, False)]
)
def test_a_photo_says_whether_its_frame_was_certain(
    tmp_path: Path, writer: Callable[[Path, np.ndarray], Path], orientation: int, is_certain: bool
) -> None:
    upright = save(tmp_path / "images" / "a.jpg", orientation)
    assert only(writer(tmp_path, upright)).framing() == Framing("upright", orientation, is_certain)


def test_the_frame_may_be_asked_for(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 6)
    photo = only(write_labels(tmp_path, upright))
    assert photo.open().shape == (320, 240, 3)
    np.testing.assert_array_equal(turn(photo.open(frame="stored"), 6), photo.open(frame="upright"))


def test_a_reduced_photo_is_in_the_same_frame(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 6)
    assert only(write_labels(tmp_path, upright)).open(max_side=100).shape == (160, 120, 3)
    (tmp_path / "masks" / "a.png").unlink()
    Image.fromarray(OBJECT.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    assert only(tmp_path).open(max_side=100).shape == (120, 160, 3)


def test_a_mask_that_fits_neither_frame_is_a_named_problem(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.jpg", 6)
    with pytest.raises(DataError, match=r"the mask is 100x100, the photo 240x320"):
        read_back(only(write_labels(tmp_path, OBJECT[:100, :100])))


def test_a_malformed_annotation_does_not_keep_the_photo_from_opening(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 6)
    for text in ("{", '{"annotations": [3]}', '{"annotations": [{"segmentation": {"size": "x"}}], "image": 3}'):
        (tmp_path / "images" / "a.json").write_text(text)
        assert only(tmp_path / "images").open().shape[:2] == upright.shape


def test_the_setting_reaches_every_photo(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 3)
    write_labels(tmp_path, upright)
    (photo,) = read_all([str(tmp_path)], unclear_frame="stored")
    assert isinstance(photo, PhotoRef)
    assert photo.framing() == Framing("stored", 3, is_certain=False)


def test_hidden_files_of_macos_are_no_photos(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 1)
    write_labels(tmp_path, upright)
    (tmp_path / "images" / "._a.jpg").write_bytes(b"\x00\x05\x16\x07")
    assert [photo.name for photo in read(tmp_path)] == ["a.jpg"]
