from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilesam import temporaries
from mobilesam.files import replacing, save_text

WRITER = """
import sys
from pathlib import Path
from mobilesam.files import replacing
from mobilesam.temporaries import folder_in
folder = Path(sys.argv[1])
with replacing(folder / "a.txt") as partial, folder_in(folder) as scratch:
    partial.write_text("half")
    (scratch / "encoder.onnx").write_text("half")
    print("writes", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_what_a_killed_process_left_is_swept_by_the_next_write_and_what_a_live_one_writes_is_not(
    tmp_path: Path,
) -> None:
    others = [tmp_path / ".mobilesam-notes", tmp_path / ".a-0123456789abcdef.txt"]
    for path in others:
        path.write_text("mine")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writes\n"
        under_way = set(tmp_path.iterdir()) - set(others)
        temporaries.sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {*others, *under_way}
        assert len(under_way) == 2
        process.send_signal(signal.SIGKILL)
    assert set(tmp_path.iterdir()) == {*others, *under_way}
    temporaries._swept.clear()  # as in another process
    save_text("b", tmp_path / "b.md")
    assert set(tmp_path.iterdir()) == {*others, tmp_path / "b.md"}


@pytest.mark.parametrize("letter", ["a", "ü", "照", "😀"])
def test_names_of_255_bytes_are_written(tmp_path: Path, letter: str) -> None:
    stem = letter * (251 // len(letter.encode()))
    name = stem + "x" * (251 - len(stem.encode())) + ".txt"
    assert len(name.encode()) == 255
    with replacing(tmp_path / name) as partial:
        assert partial.suffix == ".txt"
        partial.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert len(os.fsencode(temporaries.name_for(name))) <= 255


def test_no_character_is_cut() -> None:
    assert temporaries.shorten("照片", 5) == "照"
    assert temporaries.shorten("照片", 6) == "照片"
    assert temporaries.shorten("a", -1) == ""
