"""`mobilesam evaluate`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import extras
from mobilesam.evaluate import report
from tests.helpers.scenes import add_member, write_shard

needs_coco_eval = pytest.mark.skipif(not find_spec("faster_coco_eval"), reason="the extra eval is not installed")


def rows_of(path: str) -> list[dict[str, Any]]:
    return json.loads(Path(path).read_text())["rows"]


def test_data_sets_that_share_every_file_name_get_their_own_numbers(run, twins: tuple[Path, Path]) -> None:
    one, two = twins
    for name, data in (("a", [one]), ("b", [two]), ("both", [one, two]), ("reversed", [two, one])):
        assert run("evaluate", *data, "-p", "box", "-p", "box-jitter", "-o", f"{name}.json")[0] == 0
    a, b, both = (rows_of(f"{name}.json") for name in ("a", "b", "both"))
    ious = [[row["iou"] for row in rows] for rows in (a, b, both)]
    assert ious[0] != ious[1]
    assert ious[2] == [*ious[0], *ious[1]]
    written = json.loads(Path("both.json").read_text())
    assert written["counts"]["photos"] == 6
    assert written["counts"]["objects"] == 12
    alone = [json.loads(Path(f"{name}.json").read_text())["summary"]["box"] for name in "ab"]
    together = written["summary"]["box"]["by_dataset"]
    assert list(together) == ["one/s.tar", "two/s.tar"]
    assert [part["mean_iou"] for part in together.values()] == [one["mean_iou"] for one in alone]
    # The order of the data sets changes the order of the rows and nothing else.
    reversed_summary = json.loads(Path("reversed.json").read_text())["summary"]["box"]
    assert (reversed_summary["low"], reversed_summary["high"]) == tuple(
        written["summary"]["box"][end] for end in ("low", "high")
    )


def test_two_reports_of_data_sets_that_share_names_are_paired_photo_by_photo(run, twins: tuple[Path, Path]) -> None:
    for name, zoom in (("a", "off"), ("b", "on")):
        run("evaluate", *twins, "-p", "box", "--zoom", zoom, "-o", f"{name}.json")
    code, out, _ = run("evaluate", "compare", "a.json", "b.json", "--json")
    assert code == 0
    difference = json.loads(out)["compare"]["box"]
    a, b = ([row["iou"] for row in rows_of(f"{name}.json")] for name in "ab")
    assert difference["num_objects"] == 12
    assert difference["difference"] == pytest.approx(sum(b) / 12 - sum(a) / 12)


def test_two_data_sets_of_one_name_with_equal_paths_are_not_compared(run, tmp_path: Path) -> None:
    for i, folder in enumerate(("one", "two", "copy")):
        (tmp_path / folder).mkdir()
        write_shard(tmp_path / folder / "val.tar", 2, seed=i % 2)
        assert run("evaluate", f"{folder}/val.tar", "-p", "box", "-o", f"{folder}.json")[0] == 0
    assert [{row["photo"] for row in rows_of(f"{name}.json")} for name in ("one", "two")] == [
        {"photo_00", "photo_01"},
        {"photo_00", "photo_01"},
    ]
    code, _, err = run("evaluate", "compare", "one.json", "two.json")
    assert code == 1
    assert "different data under one name: val" in err
    assert run("evaluate", "compare", "one.json", "copy.json")[0] == 0
    older = json.loads(Path("two.json").read_text())
    del older["data"], older["data_bytes"]
    Path("older.json").write_text(json.dumps(older))
    assert run("evaluate", "compare", "one.json", "older.json")[0] == 0, "older reports do not tell"


def test_a_data_set_in_which_one_letter_was_edited_is_another(run, tmp_path: Path) -> None:
    write_shard(tmp_path / "val.tar", 2, seed=0)
    assert run("evaluate", "val.tar", "-p", "box", "-o", "one.json")[0] == 0
    shard = (tmp_path / "val.tar").read_bytes()
    assert b'"source": "a"' in shard
    (tmp_path / "val.tar").write_bytes(shard.replace(b'"source": "a"', b'"source": "c"', 1))
    assert run("evaluate", "val.tar", "-p", "box", "-o", "two.json")[0] == 0
    code, _, err = run("evaluate", "compare", "one.json", "two.json")
    assert code == 1
    assert "different data under one name: val" in err


def test_run_writes_report_tables_and_worst_cases(run, shard: Path, tmp_path: Path) -> None:
    words = ("-p", "box", "-p", "click", "-p", "noc", "-o", "r.json", "--save-worst", 2)
    assert run("evaluate", "run", shard, *words)[0] == 0
    written = report.read_report(Path("r.json"))
    assert set(written.summary) == {"box", "click", "noc"}
    assert written.summary["box"].num_objects == 24
    assert set(written.summary["box"].by_source) == {"a", "b"}
    assert written.model["weights_sha256"] == mobilesam.load().info.weights_sha256
    table = Path("r.md").read_text()
    assert f"{written.summary['click'].mean_iou:.3f}" in table
    assert "NoC@85" in table
    assert "best-scored of three" in table
    pictures = sorted(p.name for p in Path("r_worst").iterdir())
    assert pictures == [f"{p}_{i:02}.png" for p in ("box", "click", "noc") for i in (1, 2)]
    assert not Path("r.json.journal").exists()

    code, out, _ = run("evaluate", "compare", "r.json", "r.json")
    assert code == 0
    assert "+0.000 to +0.000" in out
    assert run("evaluate", "compare", "r.json")[0] == 2
    assert run("evaluate", "run", tmp_path / "none.tar")[0] == 1


def test_missing_folders_of_the_report_are_made(run, shard: Path) -> None:
    code, _, err = run("evaluate", shard, "-p", "box", "--max-objects", "1", "-o", "new/folder/r.json")
    assert (code, Path("new/folder/r.md").exists()) == (0, True), err


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What models were asked for; none is loaded, which ends the call."""
    asked: list[dict[str, Any]] = []

    def load(model: str, **options: Any) -> None:
        asked.append({"model": model, **options})
        raise mobilesam.MobileSamError("enough")

    for module in ("predict.load", "evaluate.photo"):
        monkeypatch.setattr(f"mobilesam.{module}.load", load)
    return asked


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Annotations and detections, as far as that is looked at before a model is loaded."""
    for name in ("truth.json", "boxes.json"):
        (tmp_path / name).write_text("[]")
    return tmp_path / "truth.json", tmp_path / "boxes.json"


@needs_coco_eval
def test_the_folder_of_a_report_on_detections_is_made_before_the_work(
    run, files: tuple[Path, Path], loaded: list[dict[str, Any]]
) -> None:
    run("evaluate", "detections", *files, "-o", "new/folder/r.json")
    assert Path("new/folder").is_dir()
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("detections", "none.json", "boxes.json"), "there is no file 'none.json'"),
        (("detections", "truth.json", "none.json"), "there is no file 'none.json'"),
        (("detections", "truth.json", "boxes.json", "-m", "nonsense"), "unknown model 'nonsense'"),
        (("run", "truth.json", "-p", "box", "-m", "nonsense"), "unknown model 'nonsense'"),
        (("run", "truth.json", "-p", "teacher", "--teacher", "none.pt"), "none.pt: no such file"),
        (("run", "none.tar", "-p", "box"), "no data set matches 'none.tar'"),
        (("run", "a.txt", "-p", "box"), "'a.txt' is no data set"),
        (("run", ".", "--images", "."), "'images' (--images) does nothing here"),
    ],
)
def test_what_is_missing_is_told_before_a_folder_is_made_or_a_model_loaded(
    run,
    words: tuple[str, ...],
    message: str,
    files: tuple[Path, Path],
    loaded: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    files[0].with_name("a.txt").write_text("")
    monkeypatch.chdir(files[0].parent)
    code, _, err = run("evaluate", *words, "-o", "new/r.json")
    assert code != 0
    assert message in " ".join(err.split())
    assert not loaded
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "none.json", "none.json"), "the report 'none.json' cannot be read: No such file or directory"),
        (("detection", "a.json", "b.json"), "'detection' is no subcommand and no file; did you mean 'detections'?"),
        (("run", "x", "-p", "bx"), "unknown protocol 'bx'; did you mean 'box'? known: "),
        (("run", "x", "-p", "everything", "--set", "points_per_side=4"), "such as everything.points_per_side=4"),
    ],
)
def test_what_is_misspelt_or_missing_is_told_as_it_should_be(run, words: tuple[str, ...], message: str) -> None:
    code, _, err = run("evaluate", *words)
    assert code != 0
    assert message in " ".join(err.split())


def test_a_shell_pattern_like_a_subcommand_is_a_pattern(run) -> None:
    Path("detections1").mkdir()
    assert "no subcommand" not in run("evaluate", "detections*", "-p", "box")[2]


def test_a_bare_call_means_run(run, shard: Path) -> None:
    for words in ((shard, "-p", "box"), ("-p", "box", shard), ("run", shard, "-p", "box")):
        code, out, _ = run("evaluate", *words, "--max-objects", "1", "--json", "-o", "r.json")
        assert code == 0
        assert json.loads(out)["summary"]["box"]["num_objects"] == 12


def test_without_words_the_verbs_are_listed(run) -> None:
    for words in ((), ("--help",)):
        _, out, err = run("evaluate", *words)
        assert all(verb in out + err for verb in ("run", "detections", "compare"))


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (("truth.json", "--detections", "boxes.json"), "mobilesam evaluate detections COCO.json BOXES.json"),
        (("x.tar", "-p", "everything", "--search", "points_per_side=2"), "--set everything.NAME=VALUE"),
    ],
)
def test_old_options_fail_with_the_new_spelling(run, words: tuple[str, ...], now: str) -> None:
    code, _, err = run("evaluate", *words)
    assert code == 2
    assert now in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--teacher", "embedded"), "--teacher"),
        (("--set", "everything.points_per_side=2"), "--set"),
        (("-p", "everything", "--save-worst", "2"), "--save-worst"),
        (("-p", "everything", "--zoom", "on"), "--zoom"),
        (("--images", "photos"), "--images"),
        (("--backend", "onnx", "--precision", "bfloat16"), "precision"),
        (("-p", "box", "-p", "box"), "twice"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_an_option_that_would_do_nothing_is_an_error(run, shard: Path, words: tuple[str, ...], named: str) -> None:
    code, _, err = run("evaluate", shard, *words)
    assert code == 2
    assert named in err
    assert not Path("report.json").exists()


@pytest.mark.parametrize("option", [("--workers", "2"), ("--min-area", "9"), ("--save-worst", "2"), ("-p", "box")])
def test_detections_refuse_the_options_of_run(run, option: tuple[str, str]) -> None:
    code, _, err = run("evaluate", "detections", "truth.json", "boxes.json", *option)
    assert code == 2
    assert option[0] in err


@needs_coco_eval
def test_detections_hand_every_option_of_the_runtime_on(
    run, files: tuple[Path, Path], loaded: list[dict[str, Any]]
) -> None:
    options = {
        "model": "mobile_sam",
        "backend": "openvino",
        "precision": "bfloat16",
        "image_size": 384,
        "device": "D",
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert run("evaluate", "detections", *files, *words)[0] == 1
    assert loaded == [options]


@needs_coco_eval
def test_a_setting_of_the_search_comes_from_the_command_line(run, shard: Path) -> None:
    def call(*texts: str) -> int:
        words = ("evaluate", "run", shard, "-p", "everything", "-o", "r.json", "--json")
        return run(*words, *(word for text in texts for word in ("--set", text)))[0]

    assert call("everything.points_per_side=2") == 0
    assert json.loads(Path("r.json").read_text())["settings"]["everything"]["points_per_side"] == 2
    assert call("points_per_side=2") == 2
    assert call("everything.points=2") == 2
    assert call("everything.points_per_side=many") == 2


def test_everything_without_its_extra_names_it_before_the_run(
    run, shard: Path, loaded: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "faster_coco_eval")
    code, _, err = run("evaluate", shard, "-p", "everything", "-o", "new/r.json")
    assert code == 1
    assert "eval]" in err
    assert not loaded
    assert not list(Path().iterdir())


def test_a_broken_photo_is_named_with_its_data_set(run, tmp_path: Path) -> None:
    from tests.helpers.scenes import wide_shard

    wide_shard(tmp_path / "wide.tar")
    code, out, err = run("evaluate", "wide.tar", "-p", "box", "--json")
    assert code == 1  # nothing else is in it
    assert "problem: wide/wide_1: " in err
    assert json.loads(out)["counts"] == {"photos": 2, "objects": 0, "left_out": 0, "problems": 1}


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("detections", "--help"), ("compare", "--help")])
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code = f"""
import sys
sys.argv = ["mobilesam", "evaluate", *{words!r}]
from mobilesam.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0
assert not {{"torch", "onnxruntime", "numpy", "cv2", "faster_coco_eval"}} & set(sys.modules), "heavy import"
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage: mobilesam evaluate" in result.stdout


def test_an_evaluation_that_measured_nothing_fails_and_says_so(run, shard: Path, tmp_path: Path) -> None:
    code, _, err = run("evaluate", shard, "-p", "box", "--min-area", "1000000", "-o", "r.json")
    assert code == 1
    assert "nothing was measured: no object of 12 photos was asked about" in err
    assert Path("r.json").exists()
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        add_member(tar, "a.jpg", b"no photo")
        add_member(tar, "a.json", b'{"annotations": []}')
    code, _, err = run("evaluate", "bad.tar", "-p", "box", "-o", "bad.json")
    assert code == 1
    assert "problem: bad/a" in err
    assert "nothing was measured: none of 1 photos" in err


def test_the_frame_of_photos_that_do_not_tell_is_an_option(run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    rgb = np.full((96, 128, 3), 60, np.uint8)
    rgb[10:40, 10:40] = 230
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    Image.fromarray(rgb).save(tmp_path / "set" / "images" / "a.png", exif=exif.tobytes())
    Image.fromarray((rgb[..., 0] > 100).astype(np.uint8)).save(tmp_path / "set" / "masks" / "a.png")
    means = []
    for frame in ("stored", "upright"):
        run("evaluate", "set", "-p", "box", "--unclear-frame", frame, "-o", "r.json")
        written = json.loads(Path("r.json").read_text())
        assert written["settings"]["unclear_frame"] == frame
        means.append(written["summary"]["box"]["mean_iou"])
    assert means[0] > means[1] + 0.1


def test_a_report_replaces_no_file_of_others_and_no_data(run, shard: Path, tmp_path: Path) -> None:
    for name in ("r.json", "r.md", "r.json.journal"):
        (tmp_path / name).write_text("mine\n")
        code, _, err = run("evaluate", shard, "-p", "box", "-o", "r.json")
        assert (code, name in err) == (1, True), err
        assert (tmp_path / name).read_text() == "mine\n"
        (tmp_path / name).unlink()
        assert not list(tmp_path.iterdir())
    for _ in range(2):
        assert run("evaluate", shard, "-p", "box", "-o", "r.json")[0] == 0
    before = (tmp_path / "r.json").read_bytes()
    for more in ((), ("--overwrite",)):
        code, _, err = run("evaluate", "r.json", "-p", "box", "-o", "r.json", *more)
        assert (code, "would overwrite the input" in err) == (1, True)
    assert (tmp_path / "r.json").read_bytes() == before
    code, _, err = run("evaluate", "r*.json", "-p", "box", "-o", "r.json", "--overwrite")  # a pattern is no path
    assert (code, "would overwrite the input" in err) == (1, True)
