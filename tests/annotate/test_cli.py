from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

FAST = ("--image-size", 256, "--backend", "onnx", "--shard-photos", 2, "--workers", 1)


def test_boxes_of_a_detector_become_masks(run, photos, detections, tmp_path) -> None:
    code, out, err = run("annotate", photos, "-o", tmp_path / "out", "--prompts", detections, "--coco", *FAST)
    assert code == 0, err
    assert "3 of 3 shards done" in out
    assert len(json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]) == 10
    code, out, _ = run("annotate", "status", tmp_path / "out", "--json")
    found = json.loads(out)
    assert (code, found["is_complete"], found["photos_done"], found["masks"]) == (0, True, 5, 10)


def test_a_bad_photo_is_named_and_the_exit_code_is_1(run, photos, detections, tmp_path) -> None:
    (photos / "c.png").write_bytes(b"")
    code, out, _ = run("annotate", photos, "-o", tmp_path / "out", "--prompts", detections, *FAST)
    assert code == 1
    assert "4 of 5 photos, 8 masks, 1 errors" in out
    assert "photos/c.png" in (tmp_path / "out" / "errors.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--zoom", "off"), "are for prompts"),
        (("--zoom-batch", "4"), "are for prompts"),
        (("--prompts", "x.json", "--own-boxes"), "two sources of prompts"),
        (("--prompts", "x.json", "--set", "points_per_side=4"), "--set changes the search"),
        (("--address", "auto"), "needs the engine ray"),
        (("--prompts", "missing.json"), "cannot be read"),
    ],
)
def test_options_that_do_nothing_are_errors(run, photos, tmp_path, words, message) -> None:
    code, _, err = run("annotate", photos, "-o", tmp_path / "out", *words)
    assert code != 0
    assert message in err


def test_status_of_something_else_says_what_is_missing(run, tmp_path) -> None:
    code, _, err = run("annotate", "status", tmp_path)
    assert code == 1
    assert "holds no run of annotate or distill embed" in err


def test_an_output_in_a_store_is_refused_and_says_where_claims_live(run, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ((photos, "-o", "s3://bucket/masks", *FAST), ("status", "s3://bucket/masks")):
        code, _, err = run("annotate", *words)
        assert code != 0
        assert "the plan and the claims are in it; give a folder, and --results s3://BUCKET/PREFIX" in err
    assert {path.name for path in tmp_path.iterdir()} <= {"photos", "detections.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("stage", ["plan", "report"])
def test_sigterm_outside_of_the_engines_ends_with_a_message_and_nothing_half_written(
    stage, run, photos, detections, tmp_path, monkeypatch
) -> None:
    import mobilesam.annotate.plan as plan
    import mobilesam.annotate.report as report

    def ended(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr(*((plan, "find_tasks", ended) if stage == "plan" else (report, "to_coco", ended)))
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nobody has taken the signal"))
    try:
        words = ("annotate", photos, "-o", tmp_path / "out", "--prompts", detections, "--coco")
        code, _, err = run(*words, *FAST)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 143
    assert "stopped: what is finished stays" in err
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not [name for name in left if name.startswith(".") or name.startswith("instances")]
    assert ("job.json" in left) == (stage == "report")


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_sigterm_while_prompts_are_read_ends_with_a_message(photos, tmp_path) -> None:
    os.mkfifo(tmp_path / "boxes.json")  # a network folder that does not answer
    words = [sys.executable, "-m", "mobilesam", "annotate", str(photos), "-o", str(tmp_path / "out")]
    words += ["--prompts", str(tmp_path / "boxes.json"), "--image-size", "256"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    with open(tmp_path / "boxes.json", "w"):  # opens when it is read
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    with process.stderr as told:
        assert "stopped: what is finished stays" in told.read()


def test_a_second_start_makes_what_was_deleted(run, photos, detections, tmp_path) -> None:
    words = ("annotate", photos, "-o", tmp_path / "out", "--prompts", detections, *FAST)
    assert run(*words)[0] == 0
    for path in (tmp_path / "out" / "shards").iterdir():
        path.unlink()
    code, out, err = run(*words)
    assert code == 0, err
    assert "3 of 3 shards done" in out
    assert len(list((tmp_path / "out" / "shards").iterdir())) == 3


def test_without_a_number_there_is_a_worker_for_each_core_and_the_bytes_are_those_of_one(
    run, photos, detections, tmp_path, monkeypatch
) -> None:
    from mobilesam.engines import room
    from mobilesam.shards import run as shards_run

    asked: list[int] = []
    original = shards_run.run_crew
    monkeypatch.setattr(room, "cores", lambda: 2)
    monkeypatch.setattr(room, "free_mb", lambda: 64_000.0)
    monkeypatch.setattr(shards_run, "run_crew", lambda crew, engine, workers, *rest: (
        asked.append(workers), original(crew, engine, workers, *rest)))  # fmt: skip
    written = []
    for words in ((), ("--workers", "1")):
        out = tmp_path / f"out{len(written)}"
        common = (photos, "-o", out, "--prompts", detections, "--shard-photos", "2", "--image-size", "256")
        assert run("annotate", *common, *words)[0] == 0
        written.append({path.name: path.read_bytes() for path in (out / "shards").iterdir()})
    assert run("annotate", *common, *words)[0] == 0  # nothing is left to do, so no worker starts
    assert asked == [2, 1]
    assert written[0] == written[1]
