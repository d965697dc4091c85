from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.store import Store
from mobilesam.data.store_writer import StoreWriter
from mobilesam.errors import DataError, OutputError
from tests.helpers.stores import HEADER, PHOTOS, embedding, write

ROOT = Path(__file__).parents[2]


def test_a_torn_file_goes_on_to_the_same_bytes_wherever_it_was_cut(tmp_path: Path) -> None:
    for dtype in ("float16", "int8"):
        header = replace(HEADER, dtype=dtype)
        whole = write(tmp_path / f"{dtype}.npz", header, {"bad": "truncated"}).read_bytes()
        for cut in [0, 1, 31, *np.random.default_rng(0).integers(0, len(whole), 40), len(whole)]:
            path = tmp_path / f"{dtype}_{cut}.npz"
            path.with_name(path.name + ".partial").write_bytes(whole[: int(cut)])
            assert write(path, header, {"bad": "truncated"}).read_bytes() == whole, cut


def test_a_damaged_record_is_cut_off_with_all_behind_it(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "a.npz").read_bytes())
    torn = whole.copy()
    torn[len(torn) // 2] ^= 1
    (tmp_path / "b.npz.partial").write_bytes(torn)
    assert write(tmp_path / "b.npz").read_bytes() == whole


def test_a_partial_store_of_another_kind_is_not_continued(tmp_path: Path) -> None:
    StoreWriter(tmp_path / "s.npz", HEADER).file.close()
    with pytest.raises(DataError, match=r"has other settings \(teacher is t, not other\)"):
        StoreWriter(tmp_path / "s.npz", replace(HEADER, teacher="other"))


def test_embeddings_with_nan_are_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s.npz", HEADER) as store, pytest.raises(DataError, match=r"'p'.*not finite"):
        store.add("p", 0, np.full((8, 2, 2), np.nan, np.float32))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.helpers.stores import HEADER, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
write(Path({path!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits a process's file size")
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "s.npz"
    code = FULL_DISK.format(limit=int(len(whole) * share), path=str(path))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "DataError" in result.stderr
    assert "un the same command again" in result.stderr
    assert not path.exists()
    assert write(path).read_bytes() == whole


def test_one_begun_in_format_1_is_finished(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s.npz", replace(HEADER, format=1)) as writer:
        writer.add("photo_0", 0, embedding(0))
    store = Store(write(tmp_path / "s.npz"))
    assert store.photos == set(PHOTOS)
    store.check_photo("photo_0", b"anything")
    with pytest.raises(DataError, match="has changed"):
        store.check_photo("photo_1", b"anything")


def test_a_file_of_somebody_else_is_not_continued(tmp_path: Path) -> None:
    partial = tmp_path / "s.npz.partial"
    partial.write_bytes(b"my notes")
    with pytest.raises(OutputError, match="not written by mobilesam"):
        StoreWriter(tmp_path / "s.npz", HEADER)
    assert partial.read_bytes() == b"my notes"
