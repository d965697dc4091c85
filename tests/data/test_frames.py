from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.data.cached import open_stores
from mobilesam.data.checksums import listing_checksum, photo_checksum
from mobilesam.data.decoded import decode_photo, read_bytes, read_photo
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import read, read_all
from mobilesam.data.photo import Framing, PhotoId, PhotoRef, frame_of
from mobilesam.data.shapes import check_mask_size
from mobilesam.data.store_format import StoreHeader
from mobilesam.data.store_writer import StoreWriter
from mobilesam.data.survey import survey
from mobilesam.data.truths import CocoTruth, RecordTruth
from mobilesam.errors import DataError
from mobilesam.everything import write
from mobilesam.everything.results import FoundMask
from mobilesam.image import Frame, open_photo
from mobilesam.opening.pixels import turn
from tests.helpers.scenes import add_member

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
    mask = check_mask_size(one.shape.mask(hw), hw, one.id)
    on_pixels = found_in(rgb)
    return float((mask & on_pixels).sum() / (mask | on_pixels).sum())


def write_labelme(folder: Path, mask: np.ndarray) -> Path:
    (outline,) = polygons(mask)
    shape = {"label": "a", "shape_type": "polygon", "points": np.array(outline).reshape(-1, 2).tolist()}
    record = {"shapes": [shape], "imageHeight": mask.shape[0], "imageWidth": mask.shape[1]}
    (folder / "images" / "a.json").write_text(json.dumps(record))
    return folder / "images"


WRITERS = [write_coco, write_coco_polygons, write_sa1b, write_yolo, write_labels, write_labelme]


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
    return folder / "images" if writer in (write_sa1b, write_labelme) else folder


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_everything_writes_is_read_back(tmp_path: Path, orientation: int) -> None:
    upright = save(tmp_path / "images" / "a.jpg", orientation)
    found = [
        FoundMask(masks.to_rle(upright), 0.9, stability_score=0.9, point_xy=(1.0, 1.0), crop_box_xyxy=(0, 0, 9, 9))
    ]
    rgb = open_photo(tmp_path / "images" / "a.jpg")
    write.write(tmp_path / "images", "a", "images/a.jpg", rgb, found, ["coco"], {"made_by": "me"})
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_training_reads_a_photo_in_the_frame_of_its_masks(tmp_path: Path, frame: Frame, orientation: int) -> None:
    upright = save(tmp_path / "images" / "a.jpg", orientation)
    reference = only(write_labels(tmp_path, OBJECT if frame == "stored" else upright), frame)
    for photo in (read_photo(reference), decode_photo(reference, read_bytes(reference))):
        on_pixels, mask = found_in(photo.rgb), photo.mask(0)
        assert (mask & on_pixels).sum() / (mask | on_pixels).sum() >= 0.99


def test_bytes_that_were_read_are_decoded_without_the_file(tmp_path: Path) -> None:
    upright = save(tmp_path / "images" / "a.jpg", 6)
    reference = only(write_labels(tmp_path, upright))
    expected, encoded = reference.open(), read_bytes(reference)
    (tmp_path / "images" / "a.jpg").unlink()
    np.testing.assert_array_equal(reference.decode(encoded), expected)


def test_a_survey_counts_photos_whose_frame_is_unclear(tmp_path: Path) -> None:
    for name, orientation in (("a", 3), ("b", 6), ("c", 1), ("d", 8)):
        upright = save(tmp_path / "images" / f"{name}.jpg", orientation)
        write_labels(tmp_path, upright) if name == "a" else None
        Image.fromarray(upright.astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    for frame in ("upright", "stored"):
        found = survey([str(tmp_path)], unclear_frame=frame)
        assert [photo.name for photo in found.photos] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
        assert [id.path for id in found.unclear] == ["a.jpg"]
        told = f"annotations of 1 turned photos may be of stored or of upright pixels, {frame} is taken: unclear_frame"
        assert told in found.summary()
    assert not found.without(found.unclear).unclear
    assert "turned" not in found.without(found.unclear).summary()


def test_a_survey_reads_no_more_of_a_photo_in_a_tar_than_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    save(tmp_path / "a.jpg", 3, noise)
    record = {"annotations": [{"segmentation": masks.to_rle(np.ones((400, 600), bool))}]}
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add_member(tar, "a.jpg", (tmp_path / "a.jpg").read_bytes())
        add_member(tar, "a.json", json.dumps(record).encode())
    read_end, counts = FileRef.read_end, []
    monkeypatch.setattr(FileRef, "read_end", lambda self, count: counts.append(count) or read_end(self, count))
    monkeypatch.setattr("mobilesam.data.survey.open_stored", lambda *_, **__: pytest.fail("decoded"))
    assert len(survey([str(tmp_path / "s.tar")]).unclear) == 1
    assert max(counts) < 1000 < (tmp_path / "a.jpg").stat().st_size


def test_embeddings_of_photos_the_other_way_up_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, save(tmp_path / "images" / "a.jpg", 3))
    photos = survey([str(tmp_path)], unclear_frame="stored")
    for frame in ("stored", "upright"):
        shard = f"x {listing_checksum(photos.photos)}"
        header = StoreHeader(teacher="t", image_size=64, embed_dim=1, shard=shard, unclear_frame=frame)
        with StoreWriter(tmp_path / "x.npz", header) as store:
            store.add("a.jpg", 0, np.zeros((1, 4, 4), np.float32), photo_checksum(read_bytes(photos.photos[0])))
            store.finish({})
        if frame == "stored":
            assert list(open_stores(tmp_path, photos, teacher="t")) == [photos.photos[0].id]
    with pytest.raises(DataError, match=r"unclear_frame 'upright', the recipe says 'stored'"):
        open_stores(tmp_path, photos, teacher="t")


@pytest.mark.parametrize("form", ["coco", "labelme"])
@pytest.mark.parametrize("size", [(240, 320), (242, 318), (480, 640), (320, 240), (0, 0), None])
def test_polygons_that_were_drawn_on_another_size_are_named(
    tmp_path: Path, form: str, size: tuple[int, int] | None
) -> None:
    polygon = [20.0, 20.0, 90.0, 20.0, 90.0, 70.0]
    height, width = size or (None, None)
    if form == "coco":
        record = {"id": 1, "image_id": 1, "segmentation": [polygon]}
        truth: Any = CocoTruth("coco", (record,), image={"id": 1, "height": height, "width": width})
    else:
        shape = {"label": "x", "points": np.reshape(polygon, (-1, 2)).tolist(), "shape_type": "polygon"}
        whole = {"shapes": [shape], "imageHeight": height, "imageWidth": width}
        (tmp_path / "p.json").write_text(json.dumps(whole))
        truth = RecordTruth(FileRef(str(tmp_path / "p.json")))
    (found,) = truth.read(PhotoId("d", "p.png")).objects
    if size in ((480, 640), (320, 240)):
        with pytest.raises(DataError, match=rf"drawn on a photo of {width}x{height}, this one has 320x240"):
            found.mask((240, 320))
    else:
        assert found.mask((240, 320)).sum() == pytest.approx(70 * 50 / 2, rel=0.05)
