from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.store_writer import StoreWriter
from mobilesam.errors import DataError
from tests.helpers.stores import HEADER, write

ROOT = Path(__file__).parents[2]


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
def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "s.npz"
    code = FULL_DISK.format(limit=int(len(whole) * share), path=str(path))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27]" in result.stderr  # what workers take for a full disk, and not for a bad shard


def test_the_same_embeddings_make_the_same_bytes_over_whatever_was_there(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(b"x" * 10_000_000)
    assert write(tmp_path / "b.npz").read_bytes() == whole
