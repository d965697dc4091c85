from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.decoded import read_photo
from mobilesam.data.files import FileRef
from mobilesam.data.survey import damage, survey
from mobilesam.errors import DataError
from mobilesam.evaluate.photo import read_objects
from mobilesam.masks import to_rle
from tests.helpers.scenes import add_member, draw_scene, save_picture


def picture(kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)).save(file, kind)
    return file.getvalue()


def record(hw: tuple[int, int] = (32, 48)) -> bytes:
    mask = np.zeros(hw, bool)
    mask[4:20, 4:20] = True
    return json.dumps({"annotations": [{"segmentation": to_rle(mask), "area": 256}], "source": "a"}).encode()


@pytest.fixture
def bad_shard(tmp_path: Path) -> Path:
    path = tmp_path / "bad.tar"
    photo = picture()
    with tarfile.open(path, "w") as tar:
        for name, image, annotation in (
            ("good", photo, record()),
            ("trailing", photo + b"\0\0", record()),
            ("cut", photo[: len(photo) // 2], record()),
            ("empty", photo, b'{"annotations": []}'),
            ("broken", photo, b"{not json"),
            ("poly", photo, b'{"annotations": [{"segmentation": [[1, 2, 3]], "area": 3}]}'),
        ):
            add_member(tar, f"{name}.jpg", image)
            add_member(tar, f"{name}.json", annotation)
        add_member(tar, "alone.jpg", photo)
        add_member(tar, "lost.json", record())
    return path


def test_what_cannot_be_used_is_counted_and_named(bad_shard: Path) -> None:
    found = survey([str(bad_shard)])
    assert [str(photo.id) for photo in found.photos] == ["bad/good", "bad/trailing"]
    assert found.sources == ["a", "a"]
    reasons = {str(photo): reason for reason, photos in found.skipped.items() for photo in photos}
    assert reasons["bad/cut"] == "the photo is damaged or truncated"
    assert reasons["bad/empty"] == "no masks"
    assert reasons["bad/broken"].startswith("broken annotation: not JSON")
    assert "at least three (x, y) pairs" in reasons["bad/poly"]
    assert reasons["bad/alone"] == "no annotation beside the photo"
    assert reasons["bad/lost"] == "an annotation without a photo of its name"
    summary = found.summary()
    assert summary.startswith("2 photos; ")
    assert not found.broken
    assert "skipped 1: no masks (bad/empty)" in summary


def test_a_broken_object_costs_itself_and_is_counted_and_named(tmp_path: Path) -> None:
    annotations = json.loads(record())["annotations"]
    annotations.append({"id": 7, "segmentation": [[1, 2, 3]], "area": 3})
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add_member(tar, "a.jpg", picture())
        add_member(tar, "a.json", json.dumps({"annotations": annotations}).encode())
    found = survey([str(tmp_path / "s.tar")])
    assert [photo.name for photo in found.photos] == ["a"]
    ((reason, objects),) = found.broken.items()
    assert "at least three (x, y) pairs" in reason
    assert objects == ["s/a: a/7"]
    assert "left out 1 objects" in found.summary()


def test_long_lists_of_names_are_cut_short(shard: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in "abcde":
            add_member(tar, f"{name}.jpg", picture())
            add_member(tar, f"{name}.json", b'{"annotations": []}')
    found = survey([str(shard), str(tmp_path / "s.tar")])
    assert found.summary() == "12 photos; skipped 5: no masks (s/a, s/b, s/c, ...)"


def test_annotations_are_not_read_when_nobody_needs_them(bad_shard: Path) -> None:
    found = survey([str(bad_shard)], need_masks=False)
    assert [p.name for p in found.photos] == ["good", "trailing", "empty", "broken", "poly", "alone"]
    assert set(found.sources) == {"unread"}


def test_two_data_sets_that_share_every_name_keep_all_their_photos(shard: Path, tmp_path: Path) -> None:
    copies = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        copies.append(shutil.copy(shard, tmp_path / folder / "x.tar"))
    found = survey([str(copy) for copy in copies])
    assert len({photo.id for photo in found.photos}) == 24
    assert not found.skipped
    first = found.photos[0].id
    assert len(found.without([first]).photos) == 23
    assert str(first) == "one/x.tar/photo_00"


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a.jpg", b"x")
        add_member(tar, "a.json", record())
    with pytest.raises(DataError, match=r"no photo can be used.*the photo is not a photo"):
        survey([str(path)])


def test_a_truncated_tar_is_refused_with_the_mend(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tar"
    path.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"cut\.tar.*fetch it again"):
        survey([str(path)])


def test_a_png_is_checked_without_decoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = picture("PNG")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    monkeypatch.setattr("mobilesam.data.survey.open_stored", lambda *_, **__: pytest.fail("decoded"))
    for name, data, reason in (
        ("whole", whole, None),
        ("cut", whole[: len(whole) // 2], "the photo is damaged or truncated"),
        ("flipped", bytes(flipped), "the photo is damaged or truncated"),
    ):
        (tmp_path / name).write_bytes(data)
        assert damage(FileRef(str(tmp_path / name))) == reason, name


@pytest.mark.parametrize("layout", ["extracted", "pixels"])
def test_a_mask_of_another_size_than_its_photo_is_named(tmp_path: Path, layout: str) -> None:
    rgb, (disc, _) = draw_scene(np.random.default_rng(0))
    if layout == "extracted":
        for name, hw in (("a", (96, 96)), ("b", (32, 48))):
            save_picture(tmp_path / f"{name}.jpg", rgb)
            (tmp_path / f"{name}.json").write_bytes(record(hw))
    else:
        for name, mask in (("a", disc), ("b", disc[:50])):
            save_picture(tmp_path / "img" / f"{name}.jpg", rgb)
            save_picture(tmp_path / "gt" / f"{name}.png", mask.astype(np.uint8) * 255)
    found = survey([str(tmp_path)])
    assert [Path(p.name).stem for p in found.photos] == ["a"]
    assert [Path(p.path).stem for p in found.skipped["a mask of another size than the photo"]] == ["b"]


def test_a_damaged_or_empty_label_picture_is_named(tmp_path: Path) -> None:
    rgb, (disc, _) = draw_scene(np.random.default_rng(0))
    for name, mask in (("a", disc), ("b", disc & False), ("c", disc)):
        save_picture(tmp_path / "images" / f"{name}.jpg", rgb)
        save_picture(tmp_path / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)
    (tmp_path / "masks" / "c.png").write_bytes(b"no picture")
    found = survey([str(tmp_path)])
    assert [p.name for p in found.photos] == ["a.jpg"]
    reasons = {photo.path: reason for reason, photos in found.skipped.items() for photo in photos}
    assert reasons["b.jpg"] == "no masks"
    assert "c.png: the mask cannot be read (the picture is not a photo in a known format" in reasons["c.jpg"]


SCENE, (DISC, SQUARE) = draw_scene(np.random.default_rng(1))
TRIANGLE = [[10, 10, 60, 10, 60, 60]]


def in_container(folder: Path, container: str, objects: list[dict[str, object]], image: dict[str, int]) -> Path:
    """One photo of 96x96 with these objects, in a tar, in a folder or in a COCO file."""
    photo = picture_of(SCENE)
    about = {"image": {"file_name": "a.jpg", **image}, "annotations": objects}
    if container == "tar":
        with tarfile.open(folder / "d.tar", "w") as tar:
            add_member(tar, "a.jpg", photo)
            add_member(tar, "a.json", json.dumps(about).encode())
        return folder / "d.tar"
    (folder / "d").mkdir()
    (folder / "d" / "a.jpg").write_bytes(photo)
    if container == "folder":
        (folder / "d" / "a.json").write_text(json.dumps(about))
        return folder / "d"
    annotations = [{"image_id": 1, **one} for one in objects]
    images = [{"id": 1, **about["image"]}]  # type: ignore[dict-item]
    (folder / "d" / "d.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder / "d" / "d.json"


def picture_of(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("container", ["tar", "folder", "coco"])
def test_a_mask_of_another_size_costs_its_object_in_training_and_in_evaluation(tmp_path: Path, container: str) -> None:
    good = [{"id": i, "segmentation": to_rle(DISC)} for i in range(9)]
    path = in_container(tmp_path, container, [*good, {"id": 99, "segmentation": to_rle(DISC[:50])}], {})
    found = survey([str(path)])
    (photo,) = found.photos
    ((reason, objects),) = found.broken.items()
    assert reason == "a mask of another size than the photo"
    assert [one.rpartition("/")[2].rpartition(" ")[2] for one in objects] == ["99"]
    assert "left out 1 objects: a mask of another size" in found.summary()
    with pytest.warns(UserWarning, match="left out: .*99"):
        assert len(read_photo(photo).run_lengths) == 9
    truths, problems = read_objects(photo.id, photo.annotation(), (96, 96))
    assert len(truths) == 9
    assert [problem.reason.partition(":")[0].rpartition("/")[2].rpartition(" ")[2] for problem in problems] == ["99"]


@pytest.mark.parametrize("container", ["tar", "folder", "coco"])
def test_polygons_that_were_drawn_on_another_size_are_counted_at_the_start(tmp_path: Path, container: str) -> None:
    objects: list[dict[str, object]] = [
        {"id": 1, "segmentation": to_rle(DISC)},
        {"id": 2, "segmentation": TRIANGLE},
    ]
    found = survey([str(in_container(tmp_path, container, objects, {"width": 192, "height": 192}))])
    ((reason, named),) = found.broken.items()
    assert reason == "its polygons were drawn on a photo of another size"
    assert len(named) == 1
    assert named[0].endswith("2")
    assert len(found.photos) == 1


def test_a_photo_whose_objects_are_all_of_another_size_is_skipped_and_named(tmp_path: Path) -> None:
    objects: list[dict[str, object]] = [{"id": 1, "segmentation": TRIANGLE}, {"id": 2, "segmentation": TRIANGLE}]
    path = in_container(tmp_path, "tar", objects, {"width": 192, "height": 192})
    with pytest.raises(DataError, match=r"skipped 1: its polygons were drawn on a photo of another size \(d/a\)"):
        survey([str(path)])


def test_crowds_of_another_size_are_not_counted_since_nobody_uses_them(tmp_path: Path) -> None:
    objects: list[dict[str, object]] = [
        {"id": 1, "segmentation": to_rle(DISC)},
        {"id": 2, "segmentation": to_rle(DISC[:50]), "iscrowd": 1},
    ]
    assert not survey([str(in_container(tmp_path, "coco", objects, {}))]).broken
