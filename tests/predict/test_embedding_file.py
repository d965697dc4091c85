"""Files of embeddings whose sums are right and whose contents are not: named, bounded in time and memory."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import ModelError
from mobilesam.predict.embedding_file import FORMAT, MAX_PIXELS

POINT = (290, 120)
Files = dict[str, bytes]


@pytest.fixture
def saved(coffee_embedding: mobilesam.ImageEmbedding, tmp_path: Path) -> Path:
    coffee_embedding.save(tmp_path / "coffee.emb")
    return tmp_path / "coffee.emb"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def rewrite(path: Path, files: Files, how: int = zipfile.ZIP_STORED) -> None:
    """The same zip with other members; its sums are right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | files
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def header(path: Path, **changes: Any) -> Files:
    with np.load(path) as data:
        found = json.loads(bytes(data["header"])) | changes
    kept = {key: value for key, value in found.items() if value is not ...}
    return {"header.npy": npy(np.frombuffer(json.dumps(kept).encode(), np.uint8))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "mobilesam-embedding-9"}, f"'mobilesam-embedding-9', this version reads '{FORMAT}'"),
        ({"format": ...}, "its format is 'None'"),
        ({"input_hw": ...}, "two whole numbers"),
        ({"weights_sha256": ...}, "must be texts"),
        ({"weights_sha256": 3}, "must be texts"),
        ({"model": None}, "must be texts"),
        ({"original_hw": [400, 600.0]}, "two whole numbers"),
        ({"original_hw": [400, True]}, "two whole numbers"),
        ({"original_hw": [400, -600]}, "two whole numbers"),
        ({"original_hw": [400]}, "two whole numbers"),
        ({"original_hw": "400x600"}, "two whole numbers"),
        ({"original_hw": [400_000, 600_000]}, "pixels"),
        ({"original_hw": [400, 600_000]}, "is not resized to"),
        ({"original_hw": [600, 400]}, "is not resized to"),
        ({"input_hw": [341, 511]}, "is not resized to"),
    ],
)
def test_a_wrong_header_is_named(
    embedded: mobilesam.Predictor, saved: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(saved, header(saved, **changes))
    with pytest.raises(ModelError, match=message):
        embedded.load_embedding(saved)


@pytest.mark.parametrize("text", [b"[1]", b"{", b"[" * 60_000, b"\xff", b'"text"', b""])
def test_a_header_that_is_none_is_named(embedded: mobilesam.Predictor, saved: Path, text: bytes) -> None:
    rewrite(saved, {"header.npy": npy(np.frombuffer(text, np.uint8))})
    with pytest.raises(ModelError, match="not an embedding saved by mobilesam"):
        embedded.load_embedding(saved)


def arrays() -> dict[str, tuple[np.ndarray, str]]:
    good = np.zeros((1, 256, 32, 32), np.float32)
    last = good.copy()
    last[0, -1, -1, -1] = np.nan
    return {
        "half the channels": (good[:, :128], "not \\(1, 256, 32, 32\\)"),
        "two photos": (np.zeros((2, 128, 32, 32), np.float32), "not \\(1, 256, 32, 32\\)"),
        "no grid": (good.ravel(), "not \\(1, 256, 32, 32\\)"),
        "a number": (np.float32(3), "not \\(1, 256, 32, 32\\)"),
        "other side": (good[..., :24, :24], "made at image_size 384"),
        "float64": (good[..., :16].astype(np.float64), "float64"),
        "text": (np.array(["x"]), "expected float32"),
        "nan": (last, "not finite"),
        "inf": (np.full_like(good, -np.inf), "not finite"),
    }


@pytest.mark.parametrize("name", arrays())
def test_a_wrong_array_is_named(embedded: mobilesam.Predictor, saved: Path, name: str) -> None:
    array, message = arrays()[name]
    rewrite(saved, {"embedding.npy": npy(array)})
    with pytest.raises(ModelError, match=message):
        embedded.load_embedding(saved)


def test_pickled_objects_are_refused(embedded: mobilesam.Predictor, saved: Path) -> None:
    rewrite(saved, {"embedding.npy": npy(np.array([{}], dtype=object))})
    with pytest.raises(ModelError, match="not an embedding"):
        embedded.load_embedding(saved)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_compressed_file_is_refused_and_a_whole_one_read(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding, saved: Path, how: int
) -> None:
    rewrite(saved, {}, how)
    np.testing.assert_array_equal(embedded.load_embedding(saved).array, coffee_embedding.array)
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 255
    saved.write_bytes(data)
    with pytest.raises(ModelError, match="not an embedding saved by mobilesam, or is damaged"):
        embedded.load_embedding(saved)


def test_what_unfolds_to_much_more_is_refused_unread(
    embedded: mobilesam.Predictor, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(saved, {"embedding.npy": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    read = []
    original = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, name, *rest: read.append(name) or original(self, name))
    with pytest.raises(ModelError, match=r"has 67108864 bytes, at most"):
        embedded.load_embedding(saved)
    assert read == ["header.npy"]


def test_a_claim_of_many_values_takes_no_memory(embedded: mobilesam.Predictor, saved: Path) -> None:
    data = npy(np.zeros((1, 256, 32, 32), np.float32))
    rewrite(saved, {"embedding.npy": data.replace(b"(1, 256, 32, 32), }", b"(9999999999999,), }")})
    with pytest.raises(ModelError, match="9999999999999"):
        embedded.load_embedding(saved)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<!doctype html>"])
def test_what_came_in_its_place_is_named(embedded: mobilesam.Predictor, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.emb").write_bytes(content)
    with pytest.raises(ModelError, match=r"a Git LFS pointer|a web page"):
        embedded.load_embedding(tmp_path / "x.emb")


def test_the_bound_is_above_what_cameras_take() -> None:
    assert MAX_PIXELS > 200e6
