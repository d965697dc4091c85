from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.checksums import listing_checksum
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoRef, Problem
from mobilesam.errors import DataError
from tests.helpers.children import in_child
from tests.helpers.scenes import add_member, draw_scene


def test_photos_and_masks_come_back_from_the_tar(shard: Path) -> None:
    photos = list(read(shard))
    assert [str(p.id) for p in photos] == [f"synthetic/photo_{i:02}" for i in range(12)]
    rgb, objects = draw_scene(np.random.default_rng(0))
    photo = photos[0]
    assert isinstance(photo, PhotoRef)
    annotation = photo.annotation()
    assert annotation.source == "a"
    assert np.abs(photo.open().astype(int) - rgb).mean() < 10  # JPEG
    for one, mask in zip(annotation.objects, objects, strict=True):
        np.testing.assert_array_equal(one.shape.mask((96, 96)), mask)


def test_a_photo_without_annotation_and_an_annotation_without_photo_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a.jpg", b"x")
        add_member(tar, "b.PNG", b"x")
        add_member(tar, "b.json", b'{"annotations": []}')
        add_member(tar, "c.json", b"{}")
    first, second, third = read(path)
    assert isinstance(first, PhotoRef)
    with pytest.raises(DataError, match="no annotation"):
        first.annotation()
    assert isinstance(second, PhotoRef)
    assert second.annotation().objects == ()
    assert isinstance(third, Problem)
    assert third.name == "c"


def test_damage_is_reported_with_the_photos_name(shard: Path, tmp_path: Path) -> None:
    good = list(read(shard))[3]
    assert isinstance(good, PhotoRef)
    assert good.file.member is not None
    with pytest.raises(DataError, match="'photo_03' cannot be read"):
        replace(good, file=FileRef(good.file.path, (good.file.member[0], 100))).open()
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match=r"bad\.tar"):
        list(read(bad))


@pytest.mark.parametrize("size", [b"\x80" + b"\x7f" * 11, b"\x80" + b"\0" * 6 + b"\x01\0\0\0\0", b"77777777777 "])
@pytest.mark.parametrize("kind", [b"0", b"x"])
def test_a_header_of_an_absurd_size_is_named(tmp_path: Path, size: bytes, kind: bytes) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        add_member(tar, "a.jpg", b"x" * 10)
    data = bytearray(path.read_bytes())
    data[124:136], data[156:157] = size, kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    found, *_ = in_child(f"""
from pathlib import Path
from mobilesam.data.layouts import read
try:
    print([item.reason for item in read(Path({str(path)!r}))])
except MobileSamError as error:
    print(error)
""")
    assert "not a readable, uncompressed tar" in found


def test_names_that_no_file_could_have_are_written_out_or_named(tmp_path: Path) -> None:
    for name, stem in (("bytes", "\udcc3x"), ("long", "x" * 70_000)):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo(f"{stem}.jpg"))
    (photo,) = read(tmp_path / "bytes.tar")
    assert photo.name == "\\udcc3x"
    assert listing_checksum([photo])  # type: ignore[list-item]
    (problem,) = read(tmp_path / "long.tar")
    assert isinstance(problem, Problem)
    assert problem.reason == "its name is longer than 4096 bytes"
