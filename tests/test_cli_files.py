"""What the command line does to files that are there already, and to the consoles and pipes it writes to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.files import save_picture
from mobilesam.journal import JOURNAL
from tests.helpers.readers import read_cvat

CLICK = ("--point", "290,120")
QUICK = ("--points-per-side", "3")


@pytest.fixture
def photos(tmp_path: Path, coffee: Path) -> Path:
    """A folder of three small photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(coffee) as image:
        for name in ("a.png", "b.png", "c.png"):
            image.save(folder / name)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("spelling", ["absolute", "link", "dots"])
def test_a_photo_is_not_replaced_by_its_mask_however_its_path_is_written(
    run, photos: Path, tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    output = {"absolute": photos / "a.png", "link": "link.png", "dots": "photos/../photos/a.png"}[spelling]
    before = contents(photos)
    for more in ((), ("--overwrite",)):
        code, _, err = run("segment", "photos/a.png", *CLICK, "-o", output, *more)
        assert code == 2
        assert "would overwrite" in err
    assert contents(photos) == before
    assert (tmp_path / "link.png").is_symlink()


@pytest.mark.parametrize("output", ["photos/a.png", "link.png"])
def test_a_photo_that_standard_input_comes_from_is_not_replaced(
    run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    before = contents(photos)
    with (photos / "a.png").open() as source:
        monkeypatch.setattr(sys, "stdin", source)
        code, _, err = run("segment", "-", *CLICK, "-o", output, "--overwrite")
    assert (code, "would overwrite" in err) == (2, True)
    assert contents(photos) == before


def test_results_that_are_named_by_standard_input_do_not_replace_it(
    run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a.png").rename(photos / "stdin_mask.png")
    before = contents(photos)
    with (photos / "stdin_mask.png").open() as source:
        monkeypatch.setattr(sys, "stdin", source)
        code, _, err = run("segment", "-", *CLICK, "-o", "photos", "--overwrite")
    assert (code, "would overwrite the input 'standard input'" in err) == (1, True)
    assert contents(photos) == before


def test_files_of_others_stay_unless_overwrite_says_so(run, coffee: Path, tmp_path: Path) -> None:
    for name in ("m.png", "m.json"):
        (tmp_path / name).write_bytes(b"mine")
        code, _, err = run("segment", coffee, *CLICK, "-o", name)
        assert code == 1
        assert "--overwrite" in err
        assert (tmp_path / name).read_bytes() == b"mine"
        assert run("segment", coffee, *CLICK, "-o", name, "--overwrite")[0] == 0
        assert run("segment", coffee, *CLICK, "-o", name)[0] == 0, "now it is ours"


def test_truth_beside_the_photos_and_a_folder_of_others_survive_everything(run, photos: Path) -> None:
    (photos / "a.json").write_text('{"image": {}, "annotations": []}')
    (photos / "b_masks").mkdir()
    (photos / "b_masks" / "0001.png").write_bytes(b"drawn by hand")
    (photos / "c_masks").mkdir()
    for name in ("notes.txt", "0099.png"):
        (photos / "c_masks" / name).write_bytes(b"mine")
    (photos / "c.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    before = contents(photos)
    code, _, err = run("everything", "photos", *QUICK, "-o", "photos", "-w", "masks", "-w", "labels")
    after = contents(photos)
    assert before.items() <= after.items()
    assert (code, "b_masks/0001.png" in err) == (1, True)
    assert (photos / "c_masks" / "0001.png").exists()
    assert (photos / "a_png.json").exists()
    code, _, err = run("everything", "photos/c.png", *QUICK, "-o", "photos", "-w", "yolo")
    assert (code, "c.txt" in err) == (1, True)
    assert before.items() <= contents(photos).items()
    assert run("everything", "photos/c.png", *QUICK, "-o", "photos", "-w", "yolo", "--overwrite")[0] == 0
    assert run("everything", "photos/c.png", "--points-per-side", "2", "-o", "photos", "-w", "yolo")[0] == 0


def test_a_coco_file_of_others_is_refused_before_the_search(run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "instances.json").write_text("{}")
    code, out, err = run("everything", "photos", *QUICK, "-o", "out", "-w", "coco")
    assert (code, out, "instances.json" in err) == (1, "", True)
    assert contents(tmp_path / "out") == {"instances.json": b"{}"}


def test_fewer_masks_leave_no_picture_of_the_run_before(run, photos: Path, tmp_path: Path) -> None:
    run("everything", "photos/a.png", "--points-per-side", "6", "-o", "out", "-w", "masks")
    many = len(list((tmp_path / "out" / "a_masks").iterdir()))
    run("everything", "photos/a.png", "--points-per-side", "1", "-o", "out", "-w", "masks")
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert len(list((tmp_path / "out" / "a_masks").iterdir())) == len(record["annotations"]) < many


KILLED = """
import os, signal, sys
from mobilesam.everything import write
save = write.save_picture
def once(*args, **kwargs):
    save(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
write.save_picture = once
from mobilesam.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_a_kill_between_two_settings_leaves_nothing_called_finished(run, photos: Path, tmp_path: Path) -> None:
    command = ("everything", "photos/a.png", "-o", "out", "-w", "labels", "-w", "coco")
    assert run(*command, *QUICK)[0] == 0
    killed = subprocess.run([sys.executable, "-c", KILLED, *command, "--points-per-side", "6"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "instances.json").exists()
    code, out, _ = run(*command, *QUICK)
    assert (code, "skipped" in out) == (0, False)
    with Image.open(tmp_path / "out" / "a_labels.png") as labels:
        count = len(np.unique(np.asarray(labels))) - 1
    assert count <= len(json.loads((tmp_path / "out" / "a.json").read_text())["annotations"])


def test_masks_of_an_earlier_run_are_no_photos(run, photos: Path) -> None:
    os.chdir(photos)
    for _ in range(2):
        assert run("segment", ".", *CLICK)[0] == 0
        run("segment", "*.png", *CLICK, "--overlay")
    assert sorted(p.name for p in photos.iterdir()) == [
        name for letter in "abc" for name in (f"{letter}.png", f"{letter}_mask.png", f"{letter}_overlay.png")
    ]
    for letter in "abc":
        (photos / f"{letter}.png").unlink()
    code, _, err = run("segment", ".", *CLICK)
    assert code == 1
    assert "6 results of mobilesam are left out" in err
    assert run("segment", "a_overlay.png", *CLICK)[0] == 0, "a result that is named is a photo"


def test_photos_of_one_name_on_two_days_are_two_photos(run, coffee: Path, chelsea: Path, tmp_path: Path) -> None:
    for day, photo in (("day1", coffee), ("day2", chelsea)):
        (tmp_path / day).mkdir()
        shutil.copy(photo, tmp_path / day / "IMG_0001.png")
        code, out, _ = run("everything", f"{day}/IMG_0001.png", *QUICK, "-o", "out")
        assert (code, "skipped" in out) == (0, False)
    sizes = {json.loads(p.read_text())["image"]["width"] for p in (tmp_path / "out").glob("*.json")}
    assert len(sizes) == 2


@pytest.mark.parametrize("more", [(), ("--overlay", "--cutout"), ("--all",), ("-w", "labelme"), ("-o", ".")])
def test_results_of_another_photo_of_the_same_name_are_kept_and_its_own_are_replaced(
    run, photos: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    for folder, photo in (("one", "a.png"), ("two", "b.png")):
        (tmp_path / folder).mkdir()
        shutil.copy(photos / photo, tmp_path / folder / "a.png")
    words = (*CLICK, "-o", "out", *more)
    assert run("segment", "one/a.png", *words)[0] == 0
    place = tmp_path if "." in more else tmp_path / "out"
    first = contents(place)
    first.pop(JOURNAL, None)  # which gets a line for each file
    assert run("segment", tmp_path / "two" / "a.png", *words)[0] == 0
    both = contents(place)
    assert {name: both[name] for name in first} == first
    assert len(both) > len(first)
    for photo in ("two/a.png", "one/a.png"):  # again: the names stay
        assert run("segment", photo, *words)[0] == 0
        assert set(contents(place)) == set(both)


def test_a_mask_that_names_no_photo_is_kept(run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    save_picture(np.zeros((4, 4), bool), tmp_path / "out" / "a_mask.png")
    before = contents(tmp_path / "out")
    assert run("segment", "photos/a.png", *CLICK, "-o", "out")[0] == 0
    assert set(contents(tmp_path / "out")) == {"a_mask.png", "a_png_mask.png"}
    assert contents(tmp_path / "out")["a_mask.png"] == before["a_mask.png"]


@pytest.mark.parametrize("command", [("segment", *CLICK), ("everything", *QUICK)])
def test_photos_of_one_name_are_two_photos_in_files_for_annotation_tools(
    run, photos: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(photos / "a.png", tmp_path / folder / "a.png")
    found = ("one/a.png", "two/a.png", "photos/b.png")
    verb, *words = command
    assert run(verb, *found, *words, "-o", "out", "-w", "cvat", "-w", "label-studio")[0] == 0
    names = ["one/a.png", "two/a.png", "b.png"]
    assert [photo["name"] for photo in read_cvat((tmp_path / "out" / "cvat.xml").read_text())] == names
    tasks = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == names


def test_sub_folders_are_kept_in_the_output(run, photos: Path, tmp_path: Path) -> None:
    for folder in ("x", "y/z"):
        (photos / folder).mkdir(parents=True)
        shutil.copy(photos / "a.png", photos / folder / "a.png")
    assert run("segment", "photos", "-r", *CLICK, "-o", "masks")[0] == 0
    expected = {"a_mask.png", "b_mask.png", "c_mask.png", "x/a_mask.png", "y/z/a_mask.png"}
    assert set(contents(tmp_path / "masks")) == expected
    assert run("everything", "photos", "-r", *QUICK, "-o", "out", "-w", "labels", "-w", "coco")[0] == 0
    made = set(contents(tmp_path / "out"))
    assert {name.replace("_mask", "_labels") for name in expected} | {"x/a.json", "y/z/a.json"} <= made
    coco = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert len({image["file_name"] for image in coco["images"]}) == 5
    _, out, _ = run("everything", "photos", "-r", *QUICK, "-o", "out", "-w", "labels", "-w", "coco")
    assert out.count("skipped") == 5


@pytest.mark.parametrize("name", ["run.2", "masks.v1.0", "2026.11.27"])
def test_a_folder_may_have_a_dot_in_its_name(run, photos: Path, tmp_path: Path, name: str) -> None:
    for _ in range(2):  # missing at first
        assert run("segment", "photos", *CLICK, "-o", name)[0] == 0
        assert set(contents(tmp_path / name)) == {"a_mask.png", "b_mask.png", "c_mask.png"}
    (tmp_path / "x.png").mkdir()
    assert run("segment", "photos/a.png", *CLICK, "-o", "x.png")[0] == 0
    assert set(contents(tmp_path / "x.png")) == {"a_mask.png"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "", *CLICK),
        ("segment", " ", *CLICK),
        ("segment", "photos", *CLICK, "-o", ""),
        ("segment", "photos", *CLICK, "--output="),
        ("everything", "photos", "-o", ""),
        ("everything", "", "-o", "out"),
        ("evaluate", "photos", "-o", ""),
        ("evaluate", ""),
        ("export", "embedded", "-o", ""),
        ("train", ""),
        ("distill", "embed", "recipe.toml", "-o", ""),
        ("models", "verify", ""),
    ],
)
def test_an_empty_argument_is_an_error_and_not_the_current_folder(
    run, photos: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    before = contents(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert "empty argument" in err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("letter", ["x", "照"])
def test_photos_with_names_of_255_bytes_get_results(run, photos: Path, tmp_path: Path, letter: str) -> None:
    stem = letter * (251 // len(letter.encode()))
    names = [f"{stem}{'y' * (251 - len(stem.encode()))}.png", f"{stem[:-3]}zzz.png"]
    (tmp_path / "long").mkdir()
    for name in names:
        shutil.copy(photos / "a.png", tmp_path / "long" / name)
    assert len(names[0].encode()) == 255
    assert run("segment", "long", *CLICK, "-o", "masks")[0] == 0
    assert len(contents(tmp_path / "masks")) == 2
    forms = ("-w", "labels", "-w", "overlay", "-w", "masks", "-w", "yolo")
    assert run("everything", "long", *QUICK, "-o", "out", *forms)[0] == 0
    assert len(list((tmp_path / "out").glob("*_overlay.jpg"))) == 2
    assert run("segment", "photos/a.png", *CLICK, "-o", names[0])[0] == 0


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_consoles_that_lack_a_letter_print_something_else(photos: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    shutil.copy(photos / "a.png", photos / "a照片 ü 😀.png")
    command = [sys.executable, "-m", "mobilesam", "segment", str(photos), *CLICK, "-o", "out", *more]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    answer = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert len(answer.stdout.decode("cp1252").splitlines()) == 4
    assert (tmp_path / "out" / "a照片 ü 😀_mask.png").exists()
    if more:
        assert "a照片" in json.loads(answer.stdout.splitlines()[1])["photo"]


@pytest.mark.parametrize("verb", ["segment", "everything"])
def test_a_closed_pipe_stops_the_work_quietly(photos: Path, tmp_path: Path, verb: str) -> None:
    for i in range(40):
        shutil.copy(photos / "a.png", photos / f"d{i:02}.png")
    options = CLICK if verb == "segment" else (*QUICK, "-w", "labels")
    command = [sys.executable, "-m", "mobilesam", verb, str(photos), *options, "-o", "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    assert err == b""
    assert process.returncode == 1
    assert len(list((tmp_path / "out").glob("*.png"))) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("more", [("-o", "-"), ("--json",)])
def test_a_full_standard_output_is_named(coffee: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "mobilesam", "segment", str(coffee), *CLICK, *more]
    with open("/dev/full", "wb") as full:
        answer = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.decode() == "error: No space left on device, where standard output or temporary files go\n"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_name_that_is_not_utf8_is_written_in_every_form(run, photos: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "only", ignore_errors=True)
    (tmp_path / "only").mkdir()
    os.rename(photos / "a.png", os.fsencode(tmp_path / "only") + b"/b\xff.png")
    forms = ("cvat", "label-studio", "labelme")
    code, _, err = run("segment", "only", *CLICK, "-o", "one", *(a for form in forms for a in ("-w", form)))
    assert (code, err) == (0, "")
    code, _, err = run("everything", "only", *QUICK, "-o", "all", *(a for f in (*forms, "coco") for a in ("-w", f)))
    assert (code, err) == (0, "")
    for folder in ("one", "all"):
        assert 'name="b\\udcff.png"' in (tmp_path / folder / "cvat.xml").read_text(encoding="utf-8")
        assert "b%FF.png" in (tmp_path / folder / "label_studio.json").read_text(encoding="utf-8")


def test_an_output_that_is_a_file_where_a_folder_is_needed_is_named(run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    code, _, err = run("everything", photos, *QUICK, "-o", "taken")
    assert code == 1
    assert "'taken' is no folder, so nothing can be written into it; give another --output" in err
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("verb", ["everything", "annotate", "evaluate run", "distill embed"])
@pytest.mark.parametrize("workers", ["0", "-3", "1025", "99999999999999999999"])
def test_a_number_of_workers_that_cannot_be_is_refused(run, photos: Path, verb: str, workers: str) -> None:
    code, _, err = run(*verb.split(), photos, "--workers", workers)
    assert code == 2
    assert "is not in the range 1<=x<=1024" in err


def test_a_closed_standard_input_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = run("segment", "-", *CLICK, "-o", "o.png")
    assert code == 1
    assert "standard input is closed" in err


def test_missing_folders_of_an_output_file_are_made(run, coffee: Path, tmp_path: Path) -> None:
    code, _, err = run("segment", coffee, *CLICK, "-o", "new/folder/m.png")
    assert (code, (tmp_path / "new" / "folder" / "m.png").exists()) == (0, True), err
    (tmp_path / "taken").write_text("mine")
    code, _, err = run("segment", coffee, *CLICK, "-o", "taken/m.png")
    assert (code, "'taken' is no folder" in err) == (1, True)


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make a folder in /proc")
@pytest.mark.parametrize("verb", ["segment", "everything", "annotate"])
def test_a_folder_that_cannot_be_made_is_explained(run, coffee: Path, verb: str) -> None:
    words = {"segment": (*CLICK, "-o", "/proc/x/m.png"), "everything": (*QUICK, "-o", "/proc/x")}
    code, _, err = run(verb, coffee if verb != "annotate" else coffee.parent, *words.get(verb, ("-o", "/proc/x")))
    assert code == 1
    assert "cannot make the folder '/proc/x': " in err
    assert "give another --output" in err
