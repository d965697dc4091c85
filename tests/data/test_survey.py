from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.errors import DataError
from mobilesam.masks import to_rle
from mobilesam.train.config import DataConfig
from mobilesam.train.survey import survey
from tests.helpers.scenes import add_member


def jpg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def record() -> bytes:
    mask = np.zeros((32, 48), bool)
    mask[4:20, 4:20] = True
    return json.dumps({"annotations": [{"segmentation": to_rle(mask), "area": 256}], "source": "a"}).encode()


@pytest.fixture
def bad_shard(tmp_path: Path) -> Path:
    path = tmp_path / "bad.tar"
    photo = jpg()
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
    return path


def test_what_cannot_be_used_is_counted_and_named(bad_shard: Path) -> None:
    found = survey(DataConfig(shards=(str(bad_shard), str(bad_shard))))
    assert [s.name for s in found.samples] == ["good", "trailing"]
    assert found.sources == ["a", "a"]
    reasons = {name: reason for reason, names in found.skipped.items() for name in names if "before" not in reason}
    assert reasons["cut"] == "the photo is damaged or truncated"
    assert reasons["empty"] == "no masks"
    assert reasons["broken"].startswith("broken annotations (JSONDecodeError")
    assert reasons["poly"] == "a mask without run lengths or area"
    assert len(found.skipped["a photo of this name was there before"]) == 6
    summary = found.summary()
    assert summary.startswith("2 photos; ")
    assert "skipped 1: no masks (empty)" in summary
    assert "skipped 6: a photo of this name was there before (good, trailing, cut, ...)" in summary


def test_annotations_are_not_read_when_nobody_needs_them(bad_shard: Path) -> None:
    found = survey(DataConfig(shards=(str(bad_shard),)), need_masks=False)
    assert [s.name for s in found.samples] == ["good", "trailing", "empty", "broken", "poly"]


def test_nothing_usable_and_nothing_named_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a.jpg", b"x")
        add_member(tar, "a.json", record())
    with pytest.raises(DataError, match=r"no photo can be used.*damaged or truncated"):
        survey(DataConfig(shards=(str(path),)))
    with pytest.raises(DataError, match="names no data"):
        survey(DataConfig())


def test_a_truncated_tar_is_refused_with_the_mend(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tar"
    path.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"cut\.tar.*fetch it again"):
        survey(DataConfig(shards=(str(path),)))
