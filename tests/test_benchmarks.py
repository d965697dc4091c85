"""Every benchmark and every script of the recipes runs, at its smallest size; what it prints then means nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

import mobilesam
from benchmarks.common import make_pair
from benchmarks.second_looks import Asked, default_second, margin
from mobilesam.predict import zoom
from mobilesam.predict.prompts import make_prompt
from tests.helpers.scenes import write_shard

ROOT = Path(__file__).parents[1]
MAIN = '__name__ == "__main__"'
SCRIPTS = [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py")) if MAIN in path.read_text(encoding="utf-8")]
RUNS = "test_each_benchmark_runs"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("recipes/**/*")]

needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")


def call(folder: Path, *words: str, **more: str) -> str:
    """What a Python command of the repository prints, run in a folder."""
    paths = (str(ROOT), str(ROOT / "src"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | more
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def printed_by(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    """What each benchmark of this session prints; two at a time, because they mostly import. They share their pairs."""
    pairs = tmp_path_factory.mktemp("pairs")
    make_pair("tiny", pairs / "tiny")
    kept = {"MOBILESAM_BENCHMARK_PAIRS": str(pairs)}
    wanted = {item.callspec.params["name"] for item in request.session.items if RUNS in item.name}  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(call, ROOT, "-m", f"benchmarks.{name}", "--smoke", **kept) for name in sorted(wanted)}


@pytest.mark.torch
@needs_openvino
@pytest.mark.parametrize("name", SCRIPTS)
def test_each_benchmark_runs_at_its_smallest_size(name: str, printed_by: dict[str, Future[str]]) -> None:
    if name.startswith("serve"):
        pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")
    if name == "operators" and Version(version("onnxruntime")) < Version("1.29"):
        pytest.skip("this onnxruntime cannot run a graph for no prompt without a second try, which is not timed")
    printed = printed_by[name].result()
    assert re.search(r"\d", printed), "no number"
    assert "nan" not in printed.split()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_benchmark_stands_in_the_table(name: str) -> None:
    assert f"`{name}.py" in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def documented() -> list[tuple[str, str, list[str]]]:
    """(document, script, its options) of each benchmark that a document gives as a command."""
    found = []
    for path in DOCUMENTS:
        if path.is_file() and path.suffix in (".md", ".toml", ".py"):
            for script, rest in re.findall(r"-m benchmarks\.([a-z]\w*)([^`\n]*)", path.read_text(encoding="utf-8")):
                found.append((str(path.relative_to(ROOT)), script, re.findall(r"--[\w-]+", rest)))
    return found


def test_documents_name_benchmarks_and_options_that_exist() -> None:
    assert documented()
    for document, script, options in documented():
        assert script in SCRIPTS, f"{document}: no benchmarks/{script}.py"
        source = (ROOT / "benchmarks" / f"{script}.py").read_text(encoding="utf-8")
        assert all(f'"{option}"' in source for option in options), f"{document}: {script} {options}"


def test_no_document_calls_a_benchmark_as_a_file() -> None:
    wrong = [p for p in DOCUMENTS if p.suffix in (".md", ".toml") and "python benchmarks/" in p.read_text("utf-8")]
    assert not wrong


@pytest.mark.parametrize("prompt", [{"box": (170.0, 15.0, 260.0, 90.0)}, {"points": [(215, 50)]}])
def test_the_benchmark_of_looks_makes_the_second_looks_of_the_library(prompt: dict[str, Any]) -> None:
    image = mobilesam.load(backend="onnx", threads=1, image_size=256).embed(ROOT / "examples" / "coffee.png")
    asked = Asked(image, make_prompt(image.original_hw, **prompt))
    region = margin(asked, asked.box(asked.logits > 0), zoom.REGION_FACTOR)
    second = asked.second(region, asked.logits) > 0
    assert np.array_equal(second, image.predict(**prompt, zoom=True).best.array)
    assert not np.array_equal(second, asked.logits > 0)
    by_default, _ = default_second(asked, asked.logits)
    assert np.array_equal(by_default > 0, image.predict(**prompt).best.array)


@pytest.mark.torch
def test_the_miniature_recipe_runs_to_its_tables(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "photos.tar", 12)  # a tenth may be held out
    few = write_shard(tmp_path / "few.tar", 2, scale=2)  # the recipe measures objects of 1000 pixels and more
    folder = ROOT / "recipes" / "miniature"
    tiny = ("run.steps=2", "run.batch_size=2", "validation.every=1")
    settings = [word for setting in tiny for word in ("--set", setting)]
    embed = ("-m", "mobilesam", "distill", "embed", str(folder / "decoupled.toml"), "--set", f"data.shards={shard}")
    call(tmp_path, *embed)
    call(tmp_path, str(folder / "run.py"), str(shard), str(few), "--jobs", "1", "--only", "decoupled-0", *settings)
    printed = call(tmp_path, str(folder / "tables.py"))
    assert re.search(r"\| decoupled \| 1 \|", printed)
    assert "the teacher" in printed


def test_shards_become_a_coco_data_set(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "photos.tar", 8)
    call(tmp_path, str(ROOT / "recipes" / "fine_tune" / "to_coco.py"), str(shard), "a", "out", "--held-out", "0.5")
    parts = [json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("train", "held_out")]
    names = [photo["file_name"] for part in parts for photo in part["images"]]
    assert sorted(names) == [f"photo_{i:02}.jpg" for i in (0, 2, 4, 6)]
    assert all((tmp_path / "out" / "images" / name).is_file() for name in names)
    assert all(len(part["annotations"]) == 2 * len(part["images"]) for part in parts)
