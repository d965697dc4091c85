from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import EverythingSettings, PhotoResult, masks, rle, segment_folder
from mobilesam.errors import DataError, MobileSamError, ModelError, SettingsError
from mobilesam.everything import folder as folder_module
from mobilesam.everything.folder import fingerprint
from tests.helpers.readers import read_cvat
from tests.helpers.stored import opened

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = ("labels", "overlay", "masks", "yolo", "coco")
FEW = EverythingSettings(points_per_side=3)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Different photos of one name in two folders."""
    paths = (tmp_path / "one" / "a.png", tmp_path / "two" / "a.png")
    for path, name in zip(paths, ("coffee", "chelsea"), strict=True):
        path.parent.mkdir()
        shutil.copy(EXAMPLES / f"{name}.png", path)
    return paths


def size_in(record: Path) -> tuple[int, int]:
    image = json.loads(record.read_text())["image"]
    return image["width"], image["height"]


def test_a_photo_of_the_same_name_is_another_photo(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for path in two:
        result = segment_folder(embedded, [path], out, settings=FEW, forms=["coco"])
        assert not result.photos[0].skipped
    assert (size_in(out / "a.json"), size_in(out / "a_png.json")) == ((600, 400), (451, 300))
    assert [image["width"] for image in json.loads((out / "instances.json").read_text())["images"]] == [451]
    for photos in (two, two[::-1]):
        again = segment_folder(embedded, photos, out, settings=FEW, forms=["coco"])
        assert all(photo.skipped for photo in again.photos)
        assert {photo.photo: photo.name for photo in again.photos} == {str(two[0]): "a", str(two[1]): "a_png"}


def test_photos_of_one_name_in_one_call_get_separate_files(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    for out, photos in ((tmp_path / "x", two), (tmp_path / "y", two[::-1])):
        segment_folder(embedded, photos, out, settings=FEW, forms=())
        assert size_in(out / "one_a_png.json") == (600, 400)
        assert size_in(out / "two_a_png.json") == (451, 300)


def test_a_photo_that_was_edited_in_place_is_done_again(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=())
    shutil.copy(two[1], two[0])
    (result,) = segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=()).photos
    assert (result.skipped, result.name) == (False, "a")
    assert size_in(tmp_path / "out" / "a.json") == (451, 300)
    os.utime(two[0], ns=(0, 0))  # of the same size, but changed at another time
    assert not segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=()).photos[0].skipped
    assert segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=()).photos[0].skipped


def test_photos_and_results_may_be_moved_together(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    segment_folder(embedded, two[0].parent, two[0].parent / "out", settings=FEW, forms=())
    moved = two[0].parent.rename(tmp_path / "elsewhere")
    assert segment_folder(embedded, moved, moved / "out", settings=FEW, forms=()).photos[0].skipped


FORGED = [
    [],
    {"photo": {}, "made_by": "x"},
    {"photo": "a.png", "made_by": "x"},
    {"photo": {"path": 3, "size": 1, "mtime_ns": 1}, "made_by": "x"},
    {"photo": {"path": "a\0.png", "size": 1, "mtime_ns": 1}, "made_by": "x"},
    {"photo": {"path": "x" * 5000, "size": 1, "mtime_ns": 1}, "made_by": ["x"]},
]


@pytest.mark.parametrize("forged", [*(json.dumps(one).encode() for one in FORGED), b"[" * 10**5, b"{", b"\xff\xfe\xfd"])
def test_a_record_that_is_none_is_another_programs_file(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path, forged: bytes
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.json").write_bytes(forged)
    (result,) = segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=["coco"]).photos
    assert (result.name, result.error, result.skipped) == ("a_png", None, False)
    assert (tmp_path / "out" / "a.json").read_bytes() == forged


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda record: record.pop("annotations"), "annotations"),
        (lambda record: record.update(image=3), "is damaged"),
        (lambda record: record["image"].update(height=4), "the mask is 600x400"),
        (lambda record: record["annotations"].append(3), "not a mask's record"),
        (lambda record: record["annotations"][0].update(predicted_iou=float("nan")), "not a finite number"),
        (lambda record: record["annotations"][0].update(crop_box=[0, 0]), "not a mask's record"),
        (lambda record: record["annotations"][0]["segmentation"].update(counts="5"), "add up to"),
        (
            lambda record: record["annotations"][0]["segmentation"].update(size=[10**6, 10**6]),
            "the mask is 1000000x1000000",
        ),
    ],
)
def test_a_record_that_was_changed_is_named_and_made_again_when_it_is_deleted(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path, change, why: str
) -> None:
    segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=["coco"])
    path = tmp_path / "out" / "a.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=rf"a\.json' is damaged.*{why}.*delete it" if why != "is damaged" else why):
        segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=["coco"])
    path.unlink()
    assert segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=["coco"]).coco is not None


def test_another_programs_file_is_not_overwritten(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "one" / "a.json").write_text("{}")
    instances = two[0].rename(two[0].with_stem("instances"))
    result = segment_folder(embedded, [two[1], instances], tmp_path / "one", settings=FEW, forms=["coco"])
    assert [photo.name for photo in result.photos] == ["a_png", "instances_png"]
    assert (tmp_path / "one" / "a.json").read_text() == "{}"
    assert result.coco == tmp_path / "one" / "instances.json"


def test_a_result_does_not_take_the_place_of_a_photo(embedded: mobilesam.Predictor, two: tuple[Path, Path]) -> None:
    labels = shutil.copy(EXAMPLES / "chelsea.png", two[0].with_stem("a_labels"))
    before = labels.read_bytes()
    result = segment_folder(embedded, two[0].parent, two[0].parent, settings=FEW, forms=["labels"])
    assert ["would overwrite" in str(photo.error) for photo in result.photos] == [True, False]
    assert labels.read_bytes() == before


def test_results_are_told_one_by_one_and_a_photo_given_twice_is_done_once(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    told: list[PhotoResult] = []
    photos = [two[0], tmp_path / "bad.png", tmp_path / "missing.png", two[0]]
    result = segment_folder(
        embedded, photos, tmp_path / "out", settings=FEW, forms=ALL, workers=2, on_result=told.append
    )
    assert told == result.photos
    assert [photo.name for photo in result.photos] == ["a", "bad", "missing"]
    assert [photo.name for photo in result.failed] == ["bad", "missing"]
    assert "does not exist" in str(result.failed[1].error)
    assert all(file.exists() for file in result.photos[0].files)
    assert result.photos[0].num_masks == len(json.loads((tmp_path / "out" / "a.json").read_text())["annotations"])
    with pytest.raises(SettingsError, match="labels, overlay, masks, yolo, labelme, coco, cvat, label-studio"):
        segment_folder(embedded, photos, tmp_path / "out", forms=["xml"])


def test_what_is_asked_otherwise_is_done_again(embedded: mobilesam.Predictor) -> None:
    class Coarser:
        precision = "bfloat16"
        info = embedded.info

    class Smaller:
        info = embedded.info.at(256)

    settings = EverythingSettings()
    others = [mobilesam.Predictor(backend()) for backend in (Coarser, Smaller)]
    prints = {fingerprint(sam, settings, ALL) for sam in (embedded, *others)}
    prints |= {fingerprint(embedded, replace(settings, refine=True), ALL), fingerprint(embedded, settings, ALL[1:])}
    assert len(prints) == 5
    assert fingerprint(embedded, settings, ALL[::-1]) in prints


def test_a_photo_of_another_precision_of_the_same_weights_is_done_again(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, settings = [two[0]], EverythingSettings(points_per_side=2)
    coarse = opened(tmp_path / "model", "int8-weights")
    for sam, is_skipped in ((embedded, False), (coarse, False), (coarse, True), (embedded, False)):
        (result,) = segment_folder(sam, photos, tmp_path / "out", settings=settings, forms=[]).photos
        assert result.skipped == is_skipped


def test_deep_photos_are_opened_by_the_range_asked_for_and_done_again_by_another(
    embedded: mobilesam.Predictor, tmp_path: Path
) -> None:
    deep = (np.add.outer(np.arange(100), np.arange(120)) * 10).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")

    def overlay(value_range: tuple[float, float] | None) -> tuple[bool, bytes]:
        (photo,) = segment_folder(
            embedded, tmp_path / "a.png", tmp_path / "out", settings=FEW, forms=["overlay"], value_range=value_range
        ).photos
        return photo.skipped, (tmp_path / "out" / "a_overlay.jpg").read_bytes()

    narrow, wide, again, none = overlay((0, 100)), overlay((0, 9000)), overlay((0.0, 9000.0)), overlay(None)
    assert [skipped for skipped, _ in (narrow, wide, again, none)] == [False, False, True, False]
    assert narrow[1] != wide[1]
    with pytest.raises(SettingsError, match="'value_range' takes two numbers"):
        segment_folder(embedded, tmp_path / "a.png", tmp_path / "other", value_range=(9, 1))
    assert not (tmp_path / "other").exists()


def test_sub_folders_and_the_limit_of_pixels(embedded: mobilesam.Predictor, two: tuple[Path, Path]) -> None:
    folder = two[0].parent.parent
    result = segment_folder(
        embedded, folder, folder / "out", settings=FEW, forms=(), recursive=True, max_pixels=451 * 300
    )
    assert [(photo.name, photo.error is None) for photo in result.photos] == [("one/a", False), ("two/a", True)]
    assert "600x400" in str(result.failed[0].error)


QUICK = ("--points-per-side", "4", "--json")


def test_a_folder_is_done_once_and_only_what_is_unfinished_again(run, tmp_path: Path) -> None:
    photos = (EXAMPLES / "coffee.png", EXAMPLES / "chelsea.png")
    code, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", *QUICK, "--workers", "2")
    assert code == 0
    first = [json.loads(line) for line in out.splitlines()]
    assert [line["num_masks"] > 0 for line in first[:2]] == [True, True]
    whole = (tmp_path / "out" / "coffee.json").read_bytes()
    (tmp_path / "out" / "chelsea.json").unlink()
    code, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", *QUICK)
    second = [json.loads(line) for line in out.splitlines()]
    assert [line.get("skipped", False) for line in second[:2]] == [True, False]
    assert (tmp_path / "out" / "coffee.json").read_bytes() == whole
    assert len(json.loads((tmp_path / "out" / "instances.json").read_text())["images"]) == 2
    _, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", "--points-per-side", "3", "--json")
    assert not any(json.loads(line).get("skipped") for line in out.splitlines()), "other settings: done again"


def test_the_fast_ways_are_options(run) -> None:
    fast = ("--points-per-side", "6", "--coarse", "2", "--refine", "--dense-where", "uncovered", "--json")
    code, out, _ = run("everything", EXAMPLES / "coffee.png", "-o", "out", *fast)
    assert code == 0
    assert json.loads(out)["num_masks"] > 0
    code, _, err = run("everything", EXAMPLES / "coffee.png", "-o", "out", "--dense-where", "nowhere")
    assert code == 2
    assert "'nowhere' is not one of 'small', 'uncovered'" in err


def test_a_broken_photo_is_named_and_the_others_done(run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    code, out, err = run("everything", "bad.png", EXAMPLES / "chelsea.png", "-o", "out", *QUICK)
    assert code == 1
    assert "'bad.png' is not a photo" in err
    assert "chelsea_overlay.jpg" in out
    code, _, err = run("everything", "chelsea.png", "-w", "xml")
    assert code == 2
    assert "'xml' is not one of 'labels', 'overlay', 'masks', 'yolo', 'labelme', 'coco', 'cvat', 'label-studio'" in err


def test_every_setting_can_be_set_and_means_what_its_option_means(run) -> None:
    def search(*arguments: str) -> bool:
        """Whether the photo was searched, and not finished before with the same settings."""
        code, out, err = run("everything", EXAMPLES / "coffee.png", "-o", "out", "--json", *arguments)
        assert code == 0, err
        return not json.loads(out).get("skipped")

    assert search("--set", "points_per_side=3", "--set", "pred_iou_thresh=0.5", "--set", "stability_score_thresh=none")
    assert not search("--points-per-side", "3", "--pred-iou-thresh", "0.5")
    assert search("--points-per-side", "3", "--pred-iou-thresh", "0.5", "--set", "stability_score_offset=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "smal_share=1"), "unknown key 'smal_share'; did you mean 'small_share'?"),
        (
            ("--set", "points_per_side=0"),
            "'points_per_side' must be an integer of at least 1 and at most 1024, found 0",
        ),
        (("--points-per-side", "0"), "'points_per_side' must be an integer of at least 1 and at most 1024, found 0"),
        (("--set", "refine"), "--set takes key.path=value, found 'refine'"),
        (
            ("--points-per-side", "8", "--set", "points_per_side=9"),
            "'points_per_side' is set twice: by its own option, and by --set points_per_side=...; leave one out",
        ),
        (("--dense-where", "small"), "'dense_where' does nothing here: only a coarse_factor above 1 uses it"),
        (("--set", "small_share=0.05"), "'small_share' does nothing here: only a coarse_factor above 1 uses it"),
        (
            ("--coarse", "2", "--dense-where", "uncovered", "--set", "small_share=0.1"),
            "'small_share' does nothing here: only dense_where = \"small\" uses it",
        ),
        (
            ("--set", "crop_overlap_ratio=0.4"),
            "'crop_overlap_ratio' does nothing here: only crop_n_layers above 0 uses it",
        ),
        (("--set", "crop_nms_thresh=0.4"), "'crop_nms_thresh' does nothing here: only crop_n_layers above 0 uses it"),
        (
            ("--set", "crop_n_points_downscale_factor=2"),
            "'crop_n_points_downscale_factor' does nothing here: only crop_n_layers above 0 uses it",
        ),
        (("--recursive",), "--recursive does nothing here: none of the inputs is a folder"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_written(run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run("everything", EXAMPLES / "coffee.png", "-o", "out", *arguments)
    assert code == 2
    assert err.strip() == f"error: {message}"
    assert not Path("out").exists()


def test_files_for_annotation_tools_hold_the_masks_of_the_records(run, coffee: Path, chelsea: Path) -> None:
    words = ("-o", "out", "-w", "cvat", "-w", "label-studio", "-w", "labelme", *QUICK)
    for _ in range(2):  # the second time everything is finished, and only the files of all photos are made again
        code, out, err = run("everything", coffee, chelsea, *words)
        assert code == 0, err
    assert '{"cvat": "out/cvat.xml"}' in out
    records = [json.loads(Path("out", f"{name}.json").read_text()) for name in ("coffee", "chelsea")]
    photos = read_cvat(Path("out/cvat.xml").read_text())
    tasks = json.loads(Path("out/label_studio.json").read_text())
    assert [photo["name"] for photo in photos] == ["coffee.png", "chelsea.png"]
    assert [task["data"]["image"] for task in tasks] == ["coffee.png", "chelsea.png"]
    for name, record, photo, task in zip(("coffee", "chelsea"), records, photos, tasks, strict=True):
        expected = [masks.from_rle(one["segmentation"]) for one in record["annotations"]]
        assert len(photo["masks"]) == len(expected) > 0
        assert all(np.array_equal(a, b) for a, b in zip(photo["masks"], expected, strict=True))
        assert len(task["predictions"][0]["result"]) == len(expected)
        shapes = json.loads(Path("out", f"{name}_labelme.json").read_text())
        assert len({shape["group_id"] for shape in shapes["shapes"]}) == len(expected)
        assert Path("out", shapes["imagePath"]).exists()


def test_photos_may_be_larger_than_masks_whose_size_a_file_alone_states(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rle, "MAX_PIXELS", 100)
    monkeypatch.setattr("mobilesam.everything.generate.MAX_WAITING", 0)  # masks are kept as run lengths
    done = segment_folder(embedded, two[:1], tmp_path / "out", settings=FEW, forms=(*ALL, "cvat"))
    assert done.failed == []
    assert done.photos[0].num_masks
    assert len(json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]) == done.photos[0].num_masks


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "needs more memory than there is"),
        (cv2.error("Insufficient memory"), "too large for OpenCV"),
        (DataError("x is broken"), "x is broken"),
        (ModelError("the backend failed"), "the backend failed"),
    ],
)
def test_whatever_one_photo_raises_the_others_are_done(
    embedded: mobilesam.Predictor,
    two: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    why: str,
) -> None:
    original = folder_module.segment_everything

    def failing(predictor, rgb, **options):
        if rgb.shape[1] == 600:
            raise error
        return original(predictor, rgb, **options)

    monkeypatch.setattr(folder_module, "segment_everything", failing)
    done = segment_folder(embedded, two, tmp_path / "out", settings=FEW, forms=())
    assert [photo.photo for photo in done.failed] == [str(two[0])]
    assert isinstance(done.failed[0].error, MobileSamError)
    assert why in str(done.failed[0].error)
    assert done.photos[1].num_masks


def test_a_setting_that_is_wrong_for_every_photo_is_raised_at_once(
    embedded: mobilesam.Predictor, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_, **options):
        raise SettingsError("no")

    monkeypatch.setattr(folder_module, "segment_everything", failing)
    with pytest.raises(SettingsError, match="no"):
        segment_folder(embedded, two, tmp_path / "out", settings=FEW, forms=())
