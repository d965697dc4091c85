from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mobilesam import masks
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import expand, name_datasets, once, read, read_all
from mobilesam.data.photo import PhotoId, PhotoRef, Problem
from mobilesam.data.shapes import PixelShape
from mobilesam.errors import DataError
from tests.helpers.scenes import draw_scene

RGB, OBJECTS = draw_scene(np.random.default_rng(0))
HW = RGB.shape[:2]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def only(path: Path, **options: Path) -> PhotoRef:
    (sample,) = read(path, **options)
    assert isinstance(sample, PhotoRef)
    np.testing.assert_array_equal(sample.open().shape, RGB.shape)
    return sample


def check_masks(sample: PhotoRef, expected: list[np.ndarray]) -> None:
    found = [reference.shape.mask(HW) for reference in sample.annotation().objects]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_shard_and_its_extracted_folder_are_the_same(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(shard) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            (tmp_path / member.name).write_bytes(file.read())
    for a, b in zip(read(shard), read(tmp_path), strict=True):
        assert isinstance(a, PhotoRef)
        assert isinstance(b, PhotoRef)
        assert (a.name, a.annotation().source) == (b.name, b.annotation().source)
        np.testing.assert_array_equal(a.open(), b.open())
        check_masks(a, [reference.shape.mask(HW) for reference in b.annotation().objects])


def coco_file(folder: Path, **extra: object) -> Path:
    disc = OBJECTS[0]
    polygon = [[10.0, 10.0, 40.5, 12.0, 30.0, 60.25]]
    raw = {"size": list(HW), "counts": runs(disc)}
    shared = {"image_id": 7, "category_id": 1, "iscrowd": 0}
    data = {
        "images": [{"id": 7, "file_name": "a.png", "height": HW[0], "width": HW[1], **extra}],
        "annotations": [
            {"id": 1, **shared, "segmentation": polygon, "area": 700.0, "bbox": [10, 10, 30, 50]},
            {"id": 2, **shared, "segmentation": raw, "iscrowd": 1, "area": 1.0, "bbox": [0, 0, 1, 1]},
            {"id": 3, **shared, "segmentation": masks.to_rle(disc), "area": 700.0, "bbox": [0, 0, 1, 1]},
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    save(folder / "a.png", RGB)
    path = folder / "instances.json"
    path.write_text(json.dumps(data))
    return path


def runs(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: column by column, background first."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.view(np.int8), [2]])))
    return np.diff(np.concatenate([[0], edges])).tolist()


def test_cocos_three_kinds_of_segmentation_equal_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = coco_file(tmp_path)
    sample = only(path)
    reference = COCO(str(path))
    expected = [reference.annToMask(reference.anns[i]).astype(bool) for i in (1, 2, 3)]
    check_masks(sample, expected)
    assert [r.is_crowd for r in sample.annotation().objects] == [False, True, False]
    assert sample.image_id == 7


def test_cocos_photos_may_lie_elsewhere_and_a_missing_one_is_a_problem(tmp_path: Path) -> None:
    path = coco_file(tmp_path)
    (tmp_path / "photos").mkdir()
    shutil.move(tmp_path / "a.png", tmp_path / "photos" / "a.png")
    (missing,) = read(path)
    assert isinstance(missing, Problem)
    assert "give the folder of the photos" in missing.reason
    assert only(path, photos=tmp_path / "photos").name == "a.png"


def test_lvis_names_its_photos_by_url(tmp_path: Path) -> None:
    path = coco_file(tmp_path)
    data = json.loads(path.read_text())
    del data["images"][0]["file_name"]
    data["images"][0]["coco_url"] = "http://images.example/val2017/a.png"
    path.write_text(json.dumps(data))
    assert only(path).name == "val2017/a.png"


def test_grabcut_ignores_its_uncertain_band_and_only_255_is_the_object(tmp_path: Path) -> None:
    labels = OBJECTS[0].astype(np.uint8) * 255
    labels[:5] = 128
    labels[-5:] = 64  # background in the data set's lasso labels
    save(tmp_path / "data_GT" / "a.png", RGB)
    save(tmp_path / "boundary_GT" / "a.bmp", labels)
    sample = only(tmp_path)
    check_masks(sample, [labels == 255])
    shape = sample.annotation().objects[0].shape
    assert isinstance(shape, PixelShape)
    np.testing.assert_array_equal(shape.ignored(), labels == 128)


@pytest.mark.parametrize("folders", [("images", "masks"), ("img", "gt")])
def test_berkeley_and_davis_take_everything_but_zero(tmp_path: Path, folders: tuple[str, str]) -> None:
    colour = np.repeat(OBJECTS[1].astype(np.uint8)[..., None] * 200, 3, axis=2)
    save(tmp_path / folders[0] / "a.png", RGB)
    save(tmp_path / folders[1] / "a.png", colour)
    check_masks(only(tmp_path), [OBJECTS[1]])


def test_davis_has_an_object_per_index_and_ignores_255(tmp_path: Path) -> None:
    labels = OBJECTS[0].astype(np.uint8) + 2 * OBJECTS[1].astype(np.uint8)
    labels[-3:] = 255
    save(tmp_path / "JPEGImages" / "480p" / "bear" / "00000.png", RGB)
    save(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", labels)
    sample = only(tmp_path)
    check_masks(sample, [labels == 1, labels == 2])
    np.testing.assert_array_equal(sample.annotation().objects[0].shape.ignored(), labels == 255)
    save(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", OBJECTS[0].astype(np.uint8) * 255)
    check_masks(only(tmp_path), [OBJECTS[0]])


def test_yolo_polygons_are_in_fractions_of_the_photo(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", RGB)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("3 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    h, w = HW
    corners = [w / 4, h / 4, w * 3 / 4, h / 4, w * 3 / 4, h * 3 / 4, w / 4, h * 3 / 4]
    expected = coco_mask.decode(coco_mask.frPyObjects([corners], h, w))[..., 0].astype(bool)
    check_masks(only(tmp_path), [expected])


def test_broken_photos_and_annotations_are_named(tmp_path: Path) -> None:
    for name, record in (("a", "{"), ("b", '{"annotations": 3}')):
        save(tmp_path / f"{name}.jpg", RGB)
        (tmp_path / f"{name}.json").write_text(record)
    photos = list(read(tmp_path))
    assert [p.name for p in photos] == ["a", "b"]
    for photo in photos:
        assert isinstance(photo, PhotoRef)
        with pytest.raises(DataError, match="broken annotation"):
            photo.annotation()
    (tmp_path / "c").mkdir()
    save(tmp_path / "c" / "images" / "x.png", RGB)
    (tmp_path / "c" / "masks").mkdir()
    (problem,) = read(tmp_path / "c")
    assert isinstance(problem, Problem)
    assert "no annotation of its name" in problem.reason


def test_a_photo_that_does_not_decode_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    (tmp_path / "a.json").write_text('{"annotations": []}')
    (sample,) = read(tmp_path)
    with pytest.raises(DataError, match=r"a\.jpg: photo 'a' cannot be read"):
        sample.open()


def test_what_is_no_data_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known layout"):
        list(read(tmp_path))
    with pytest.raises(DataError, match="is no data set"):
        list(read(tmp_path / "nothing"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match="not a COCO annotation file"):
        list(read(tmp_path / "x.json"))


def test_voc_reads_the_segmented_photos_alone_though_it_has_boxes_in_a_folder_annotations(tmp_path: Path) -> None:
    labels = OBJECTS[0].astype(np.uint8) + 2 * OBJECTS[1].astype(np.uint8)
    labels[-3:] = 255
    for name in ("a", "b"):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", RGB)
    (tmp_path / "Annotations").mkdir()
    save(tmp_path / "SegmentationObject" / "a.png", labels)
    save(tmp_path / "SegmentationObject" / "c.png", labels)
    photo, problem = read(tmp_path)
    assert isinstance(photo, PhotoRef)
    assert photo.name == "a.jpg"
    check_masks(photo, [labels == 1, labels == 2])
    np.testing.assert_array_equal(photo.annotation().objects[0].shape.ignored(), labels == 255)
    assert isinstance(problem, Problem)
    assert "no photo" in problem.reason


@pytest.mark.parametrize(
    ("folders", "ids"), [(("JPEGImages", "SegmentationObject"), 2), (("JPEGImages", "Annotations"), 2)]
)
def test_colours_in_place_of_indices_are_objects_of_their_own(
    tmp_path: Path, folders: tuple[str, str], ids: int
) -> None:
    labels = np.zeros((30, 40, 3), np.uint8)
    labels[2:10, 2:10] = (0, 0, 255)
    labels[2:10, 20:30] = (255, 0, 0)  # the same largest channel, and not void
    labels[10:12] = (224, 224, 192)
    for name, picture in zip(folders, (np.zeros((30, 40, 3), np.uint8), labels), strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "a.png")
    (photo,) = read(tmp_path)
    assert isinstance(photo, PhotoRef)
    shapes = [one.shape for one in photo.annotation().objects]
    assert isinstance(shapes[0], PixelShape)
    assert int(np.asarray(shapes[0].ignored()).sum()) == 80
    areas = [int(shape.mask((30, 40)).sum()) for shape in shapes]
    assert (len(areas), sorted(areas)) == (ids, [64, 80])


def test_voc_takes_one_object_of_index_255_for_void(tmp_path: Path) -> None:
    save(tmp_path / "JPEGImages" / "a.jpg", RGB)
    save(tmp_path / "SegmentationObject" / "a.png", OBJECTS[0].astype(np.uint8) * 255)
    check_masks(only(tmp_path), [])


def test_cityscapes_has_an_object_per_instance_id_and_groups_are_crowds(tmp_path: Path) -> None:
    labels = np.full(HW, 7, np.int32)  # road
    labels[OBJECTS[0]], labels[OBJECTS[1]] = 26001, 24
    save(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_0_leftImg8bit.png", RGB)
    save(tmp_path / "gtFine" / "val" / "ulm" / "ulm_0_gtFine_instanceIds.png", labels.astype(np.uint16))
    save(tmp_path / "gtFine" / "val" / "ulm" / "ulm_0_gtFine_labelIds.png", labels.astype(np.uint8))
    photo = only(tmp_path)
    assert photo.id == PhotoId(tmp_path.name, "val/ulm/ulm_0_leftImg8bit.png")
    check_masks(photo, [labels == 24, labels == 26001])
    assert [one.is_crowd for one in photo.annotation().objects] == [True, False]


def test_photos_of_two_data_sets_that_share_every_name_are_told_apart(shard: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "a" / "x.tar", tmp_path / "b" / "x.tar"]
    for copy in copies:
        copy.parent.mkdir()
        shutil.copy(shard, copy)
    ids = [item.id for item in read_all([str(copy) for copy in copies])]
    assert len(set(ids)) == 24
    assert set(ids) == {item.id for item in read_all([str(copy) for copy in reversed(copies)])}
    assert str(ids[0]) == "a/x.tar/photo_00"


def test_a_photo_that_is_named_twice_is_there_once_and_another_file_of_its_name_is_a_problem(tmp_path: Path) -> None:
    one, other = (PhotoRef(PhotoId("d", "a"), FileRef(str(tmp_path / name)), None) for name in "ab")
    assert list(once([one, one, other, one])) == [one, Problem(one.id, "another photo has the same name")]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["train/a.tar", "train/b.tar"], ["a", "b"]),
        (["one/a.tar", "two/a.tar", "c.json"], ["one/a.tar", "two/a.tar", "c"]),
        (["x/a.tar", "x/a.json"], ["a.tar", "a.json"]),
        (["p/x/a.tar", "q/x/a.tar"], ["p/x/a.tar", "q/x/a.tar"]),
    ],
)
def test_data_sets_are_named_by_what_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert name_datasets([Path(p) for p in paths]) == names
    assert name_datasets([Path(p) for p in reversed(paths)]) == names[::-1]


def test_a_pattern_without_a_match_is_named_and_a_data_set_given_twice_counts_once(shard: Path) -> None:
    assert expand([str(shard.parent / "*.tar"), str(shard)]) == [shard]
    with pytest.raises(DataError, match=r"no data set matches 'nowhere/\*\.tar'"):
        expand(["nowhere/*.tar"])


def test_a_record_without_its_fields_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    path = coco_file(tmp_path)
    data = json.loads(path.read_text())
    data["images"][:0] = [{"id": 5}, {"file_name": "a.png"}, None]
    path.write_text(json.dumps(data))
    *problems, photo = read(path)
    assert [type(p) for p in problems] == [Problem] * 3
    assert isinstance(photo, PhotoRef)
