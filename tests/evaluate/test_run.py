from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mobilesam.data.checksums import state_checksum
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.errors import DataError, OutOfMemoryError, SettingsError
from mobilesam.evaluate import run as run_module
from mobilesam.evaluate.journal import identify, read_journal
from mobilesam.evaluate.photo import load_models
from mobilesam.evaluate.records import EvaluatedPhoto, Row
from mobilesam.evaluate.run import find_photos, run
from mobilesam.evaluate.settings import EvaluateSettings
from tests.helpers.scenes import write_shard


def rows(results: list[EvaluatedPhoto]) -> list[Row]:
    return [row for result in results for row in result.rows]


def test_every_object_is_asked_once_per_protocol_and_the_photo_encoded_once(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.predict.onnx import OnnxBackend

    calls = []
    encode = OnnxBackend.encode
    monkeypatch.setattr(OnnxBackend, "encode", lambda self, image: calls.append(1) or encode(self, image))
    results, _ = run(settings, tmp_path / "j")
    assert len(results) == len(calls) == 12
    assert len(rows(results)) == 12 * 2 * 3


def test_nothing_is_decoded_that_no_protocol_asked_for(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.predict.onnx import OnnxBackend

    calls = []
    decode = OnnxBackend.decode
    monkeypatch.setattr(OnnxBackend, "decode", lambda *args: calls.append(1) or decode(*args))
    run(replace(settings, protocols=("box",)), tmp_path / "j")
    assert len(calls) == 24


def test_processes_and_a_second_run_give_the_same_digits(settings: EvaluateSettings, tmp_path: Path) -> None:
    alone, _ = run(settings, tmp_path / "a")
    again, _ = run(settings, tmp_path / "b")
    together, _ = run(settings, tmp_path / "c", workers=2)
    assert alone == again == together


@pytest.mark.skipif(sys.platform != "linux", reason="others tell it by getrusage alone, or not at all")
def test_the_memory_is_that_of_the_largest_process_and_not_what_its_parent_held(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=2**40))
    boxes = replace(settings, protocols=("box",))
    assert 50 < run(boxes, tmp_path / "a")[1] < 1e5
    monkeypatch.setattr(run_module, "peak_mb", lambda: 1.0)  # of this process; workers import it anew
    assert 50 < run(boxes, tmp_path / "b", workers=2)[1] < 1e5
    assert run(boxes, tmp_path / "b", workers=2)[1] == 1.0  # nothing is left to do


def test_a_journal_keeps_photos_of_one_name_in_two_data_sets_apart(
    settings: EvaluateSettings, twins: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(settings, data=tuple(map(str, twins)), protocols=("box",))
    first, _ = run(both, tmp_path / "j")
    assert [result.photo for result in first] == [
        PhotoId(f"{twin}/s.tar", f"photo_{i:02}") for twin in ("one", "two") for i in range(3)
    ]
    monkeypatch.setattr(run_module, "evaluate_photo", None)  # nothing is left to do
    assert run(both, tmp_path / "j")[0] == first


KILLED = """
import os, signal, sys
from pathlib import Path
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings
seen = []
def lethal(result):
    seen.append(result)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
settings = EvaluateSettings(
    data=({shard!r},), protocols=("box", "click", "noc"), backend="onnx", image_size=256, zoom=False
)
run(settings, Path({journal!r}), on_result=lethal)
"""


def test_a_killed_run_goes_on_where_it_stopped(settings: EvaluateSettings, shard: Path, tmp_path: Path) -> None:
    journal = tmp_path / "killed"
    code = KILLED.format(shard=str(shard), journal=str(journal))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    kept = journal.read_text().count("\n") - 1
    assert 4 <= kept <= 5
    with journal.open("a") as file:
        file.write('{"name": "cut o')  # as a kill in the middle of a line would leave it
    whole, _ = run(settings, tmp_path / "whole")
    resumed, _ = run(settings, journal)
    assert resumed == whole
    assert journal.read_text().count("\n") == 13, "the five photos of before were not run again"


def test_a_run_killed_before_its_first_photo_can_be_killed_again(settings: EvaluateSettings, tmp_path: Path) -> None:
    boxes = replace(settings, protocols=("box",))
    whole, _ = run(boxes, tmp_path / "j")
    lines = (tmp_path / "j").read_text().splitlines(keepends=True)
    (tmp_path / "j").write_text(lines[0])
    run(boxes, tmp_path / "j")
    assert run(boxes, tmp_path / "j")[0] == whole


def test_a_journal_of_other_settings_is_not_mixed_in(settings: EvaluateSettings, tmp_path: Path) -> None:
    run(replace(settings, protocols=("box",)), tmp_path / "j")
    results, _ = run(replace(settings, protocols=("click",)), tmp_path / "j")
    assert {row.protocol for row in rows(results)} == {"click"}


@pytest.mark.parametrize(
    "line", [bytes(200), b"\xff\xfe{", b"[" * 100_000, b"[]", b'{"photo": 3}', b'{"dataset": "d", "photo": "p"}']
)
def test_a_line_that_a_power_cut_left_costs_its_photo_alone(
    settings: EvaluateSettings, tmp_path: Path, line: bytes
) -> None:
    boxes = replace(settings, protocols=("box",))
    whole = run(boxes, tmp_path / "j")[0]
    first, *lines = (tmp_path / "j").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([first, line + b"\n", *lines[1:]]))
    states = {item.id: state_checksum(item) for item in find_photos(boxes) if isinstance(item, PhotoRef)}
    fingerprint = identify(boxes, load_models(boxes))
    assert len(read_journal(tmp_path / "j", fingerprint, states)) == len(lines) - 1
    assert run(boxes, tmp_path / "j")[0] == whole


def test_second_looks_are_a_setting_of_the_run(settings: EvaluateSettings, tmp_path: Path) -> None:
    boxes = replace(settings, protocols=("box",))
    off, _ = run(replace(boxes, zoom=False), tmp_path / "j")
    on, _ = run(replace(boxes, zoom=True), tmp_path / "j")  # the journal of the other is not taken
    assert [row.iou for row in rows(off)] != [row.iou for row in rows(on)]


def test_objects_of_all_image_ids_of_a_photo_are_asked(settings: EvaluateSettings, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "a.png")
    import json

    square = [[8, 8, 40, 8, 40, 40, 8, 40]]
    polygons = [{"id": i, "image_id": i, "segmentation": square} for i in (1, 2)]
    images = [{"id": i, "file_name": "a.png"} for i in (1, 2)]
    (tmp_path / "t.json").write_text(json.dumps({"images": images, "annotations": polygons}))
    coco = replace(settings, data=(str(tmp_path / "t.json"),), protocols=("box",), images=str(tmp_path / "photos"))
    (photo,) = run(coco, tmp_path / "j")[0]
    assert len(photo.rows) == 2
    assert not photo.problems


def test_a_folder_of_photos_without_a_coco_file_is_refused(settings: EvaluateSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--images"):
        run(replace(settings, images=str(tmp_path)), tmp_path / "j")
    with pytest.raises(DataError, match="'s3://b/p' is in an object store"):
        run(replace(settings, images="s3://b/p"), tmp_path / "j")
    assert not os.listdir(tmp_path)


def test_patterns_are_expanded_and_missing_data_is_named(settings: EvaluateSettings, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", 1)
    write_shard(tmp_path / "b.tar", 2)
    assert len(list(find_photos(replace(settings, data=(str(tmp_path / "*.tar"),))))) == 3
    with pytest.raises(DataError, match="none"):
        list(find_photos(replace(settings, data=("none.tar",))))


def test_there_are_no_more_processes_than_photos(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StartedError(Exception):
        pass

    def start(workers: int, *_: object) -> None:
        raise StartedError(workers)

    monkeypatch.setattr(run_module, "ProcessPoolExecutor", start)
    count = sum(isinstance(item, PhotoRef) for item in find_photos(settings))
    with pytest.raises(StartedError, match=f"^{count}$"):
        run(settings, tmp_path / "j", workers=40)
    with pytest.raises(SettingsError, match="'workers' must be"):
        run(settings, tmp_path / "j", workers=10**9)


def start_nothing(settings: EvaluateSettings) -> None:
    """In place of loading the models."""


def die(photo: object) -> tuple[EvaluatedPhoto, float]:
    """As a system that runs out of memory ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def note_precision(settings: EvaluateSettings) -> None:
    """In place of loading the models."""
    Path(os.environ["MOBILESAM_TEST_NOTES"], str(os.getpid())).write_text(settings.precision)


@pytest.mark.torch
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_workers_are_told_the_precision_that_this_processor_computes_in(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each of them would say once more that it has no bfloat16."""
    monkeypatch.setattr("mobilesam.model.backend.has_bfloat16", lambda: False)
    monkeypatch.setattr(run_module, "_start_worker", note_precision)
    monkeypatch.setattr(run_module, "_work", die)
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("MOBILESAM_TEST_NOTES", str(notes))
    with pytest.raises(OutOfMemoryError):
        run(replace(settings, backend="torch", precision="bfloat16"), tmp_path / "j", workers=2)
    # A worker may be ended before it has written, but not the one that died in its first photo.
    assert {note.read_text() for note in notes.iterdir()} - {""} == {"float32"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_start_worker", start_nothing)
    monkeypatch.setattr(run_module, "_work", die)
    with pytest.raises(OutOfMemoryError, match=r"photo '.*photo_00' .* fewer than 2 workers \(--workers\)"):
        run(settings, tmp_path / "j", workers=2)
