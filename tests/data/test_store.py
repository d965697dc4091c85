from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.store import Store
from mobilesam.data.store_format import FORMAT, to_npy
from mobilesam.data.store_writer import StoreWriter
from mobilesam.errors import DataError
from tests.helpers.stores import HEADER, PHOTOS, embedding, write


def test_embeddings_come_back_as_half_floats(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "s.npz", skipped={"bad": "truncated"}))
    assert store.photos == set(PHOTOS)
    assert store.header == HEADER
    assert store.skipped == {"bad": "truncated"}
    np.testing.assert_array_equal(store.read("photo_4"), embedding(4).astype(np.float16).astype(np.float32))


def test_int8_keeps_each_channel_within_half_a_step(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "s.npz", replace(HEADER, dtype="int8")))
    step = np.abs(embedding(2)).max(axis=(1, 2), keepdims=True) / 127
    assert (np.abs(store.read("photo_2") - embedding(2)) <= 0.51 * step + 1e-3 * np.abs(embedding(2))).all()
    assert store.photos == set(PHOTOS)


def test_other_tools_read_it_and_find_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "s.npz")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["photo_1.0"], embedding(1).astype(np.float16))


def test_a_flipped_bit_is_found_and_never_read(tmp_path: Path) -> None:
    path = write(tmp_path / "s.npz")
    start = path.read_bytes().index(embedding(3).astype(np.float16).tobytes())
    data = bytearray(path.read_bytes())
    data[start + 5] ^= 16
    path.write_bytes(data)
    store = Store(path)
    assert store.verify() == ["photo_3.0.npy"]
    store.read("photo_2")
    with pytest.raises(DataError, match=r"'photo_3\.0\.npy' is damaged.*delete this file"):
        store.read("photo_3")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK but not really")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    for name in ("a.npz", "b.npz", "none.npz"):
        with pytest.raises(DataError, match="no store of embeddings"):
            Store(tmp_path / name)


def test_a_store_travels_to_another_process(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "s.npz"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read("photo_0"), store.read("photo_0"))


def test_a_photo_that_changed_since_it_was_embedded_is_refused(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "s.npz"))
    store.check_photo("photo_1", b"photo_1")
    with pytest.raises(DataError, match=r"'photo_1' has changed since .*s\.npz was written; delete that run's folder"):
        store.check_photo("photo_1", b"photo_I")


def test_a_store_of_format_1_has_no_checksums_of_photos_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with StoreWriter(path, replace(HEADER, format=1)) as writer:
        for i, name in enumerate(PHOTOS):
            writer.add(name, 0, embedding(i))
        writer.finish({})
    store = Store(path)
    assert store.header.format == 1
    assert store.photos == set(PHOTOS)
    store.check_photo("photo_1", b"anything")
    assert HEADER.differences(store.header) == ""


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "s.npz", replace(HEADER, format=FORMAT + 1))
    with pytest.raises(DataError, match=r"s\.npz has format 3, this version reads up to 2; upgrade"):
        Store(path)


def rewritten(path: Path, **members: bytes) -> Path:
    """The store with other members and right checksums; `a_json` stands for a.json."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (found | {key.replace("__", "."): data for key, data in members.items()}).items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"header__json": b"["}, "no header of a store"),
        ({"header__json": b"[" * 100_000}, "nested too deep"),
        ({"header__json": b'{"teacher": "t"}'}, "no header of a store"),
        ({"header__json": b'{"teacher": "t", "image_size": 64, "embed_dim": 8, "shard": 3}'}, "shard is 3"),
        ({"skipped__json": b"[" * 100_000}, "nested too deep"),
        ({"skipped__json": b"[1]"}, "must give the reason"),
    ],
)
def test_a_store_with_right_checksums_and_wrong_json_is_named(
    tmp_path: Path, changes: dict[str, bytes], why: str
) -> None:
    with pytest.raises(DataError, match=why):
        Store(rewritten(write(tmp_path / "s.npz"), **changes))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x93NUMPY\x01\x00v\x00{" + b" " * 200, "not a .npy array"),
        (to_npy(np.ones((8, 3, 4), np.float64)), "an array of float64"),
        (to_npy(np.ones((8, 3), np.float16)), r"its shape \(8, 3\)"),
        (to_npy(np.ones((7, 3, 4), np.float16)), r"its shape \(7, 3, 4\)"),
        (to_npy(np.ones((8, 3, 400), np.float16)), r"its shape \(8, 3, 400\)"),
    ],
)
def test_a_record_with_a_right_checksum_and_wrong_values_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    store = Store(rewritten(write(tmp_path / "s.npz"), photo_0__0__npy=data))
    assert store.verify() == []
    with pytest.raises(DataError, match=why):
        store.read("photo_0")
    with pytest.raises(DataError, match=r"no record 'photo_9\.0\.npy'"):
        store.read("photo_9")


def test_a_changed_name_never_gives_one_photo_the_embedding_of_another(tmp_path: Path) -> None:
    whole = write(tmp_path / "s.npz").read_bytes()
    path = tmp_path / "t.npz"
    path.write_bytes(whole.replace(b"photo_0.0.npy", b"photo_1.0.npy"))  # both places: the member and the directory
    with pytest.raises(DataError, match="two records have one name"):
        Store(path)
    path.write_bytes(whole.replace(b"photo_0.0.npy", b"photo_9.0.npy", 1))  # the member alone
    with pytest.raises(DataError, match="its name differs"):
        Store(path).read("photo_0")
